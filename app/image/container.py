"""``python -m app.image.container NAME docker run …``: a container that lives no longer than who started it.

Killing Docker's program leaves its container running. This process ends it by name when its lifeline is cut,
which also happens when the endpoint that started it is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType

from worker.process import hold_lifeline

_REMOVE_S = 20.0


def main(words: list[str]) -> int:
    """The exit code is the container's."""
    name, *argv = words
    # Of our own group, so that whoever ends us ends it too.
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL)

    def remove() -> None:
        subprocess.run(
            [argv[0], "rm", "--force", name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_REMOVE_S,
            check=False,
        )

    def lost() -> None:
        try:
            remove()
        finally:
            os._exit(0)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    hold_lifeline(lost)
    signal.signal(signal.SIGTERM, pass_on)
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
