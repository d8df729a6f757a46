"""Runs a command on a pseudo-terminal and passes on what it draws; ends with its exit code. POSIX only.

Started as a script, so that Docker shows bytes, and that it ends with the group that it is in. Imports only
the standard library.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType

_ROWS_AND_COLUMNS = (50, 160)
_PIECE = 64 * 1024


def main(argv: list[str]) -> int:
    ours, theirs = _terminal()
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if child is None:
            raise SystemExit(1)
        child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    while piece := _read(ours):
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    return child.wait()


def _terminal() -> tuple[int, int]:
    # Not there on Windows, where nobody starts this.
    import fcntl
    import struct
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *_ROWS_AND_COLUMNS, 0, 0))
    return ours, theirs


def _read(ours: int) -> bytes:
    try:
        return os.read(ours, _PIECE)
    except OSError:  # on Linux, when the last writer has gone
        return b""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
