"""A ComfyUI that somebody else started: its process, and starting it in its place."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from ..errors import NeedsSetup, ProcessFailed
from .ports import listener

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "0.0.0.0"})
_GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class Foreign:
    """Its process, and how it was started: enough to start the same again.

    Attributes:
        args: its arguments without the port.
    """

    pid: int
    folder: Path
    python: Path
    args: tuple[str, ...]
    port: int


def foreign_at(url: str) -> Foreign:
    """The process behind an address of this computer. Blocks.

    Raises:
        NeedsSetup: when it is not here, is another user's, or was not started by a ``main.py``.
    """
    parts = urlsplit(url)
    if parts.hostname not in _LOOPBACK or parts.port is None:
        raise NeedsSetup(
            f"The ComfyUI at {url} does not run on this computer.", hint="It can only be watched."
        )
    pid, _ = listener(parts.port)
    if pid is None:
        raise NeedsSetup(
            f"The process of the ComfyUI at {url} cannot be found; it may be another user's.",
            hint="End it yourself, and start it here.",
        )
    try:
        process = psutil.Process(pid)
        words, folder, python = process.cmdline(), Path(process.cwd()), Path(process.exe())
    except psutil.Error as error:
        raise NeedsSetup(
            f"The process of the ComfyUI at {url} tells nothing of itself.",
            hint="End it yourself, and start it here.",
        ) from error
    place = next((n for n, word in enumerate(words) if Path(word).name == "main.py"), None)
    main = None if place is None else folder / words[place]
    if place is None or main is None or not main.is_file():
        raise NeedsSetup(
            f"What answers at {url} was not started by a main.py.", hint="End it yourself, and start it here."
        )
    # The word, not the program behind it: in a venv that is the system's own Python.
    given = Path(words[0])
    python = given if given.is_absolute() else python
    return Foreign(pid, main.parent.resolve(), python, _without_port(words[place + 1 :]), parts.port)


def end(foreign: Foreign) -> None:
    """End it, and everything it started. Blocks until it has ended.

    Raises:
        ProcessFailed: when it does not end.
    """
    try:
        process = psutil.Process(foreign.pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.terminate()
    _, left = psutil.wait_procs(family, timeout=_GRACE_S)
    for member in left:
        with contextlib.suppress(psutil.Error):
            member.kill()
    _, left = psutil.wait_procs(left, timeout=_GRACE_S)
    if left:
        raise ProcessFailed(f"The ComfyUI in process {foreign.pid} does not end.", hint="End it yourself.")


def _without_port(words: Sequence[str]) -> tuple[str, ...]:
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word == "--port":
            skip = True
        elif not word.startswith("--port="):
            kept.append(word)
    return tuple(kept)
