"""Running git and uv: found, listened to, and ended when the task that waits for them is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

from worker.process import ChildProcess

from ..errors import NeedsSetup, ProcessFailed
from ..threads import to_its_end, unbroken

T = TypeVar("T")
OnLine = Callable[[str], None]

#: ``git ls-remote`` prints a line for each branch and tag.
_KEPT_LINES = 20_000
_LONGEST_LINE = 64 * 1024
_LARGEST_LOG = 4 << 20

_ENDS = re.compile(rb"\r\n|\n|\r(?=[^\n])")
#: A scheme, and what stands between its ``://`` and the last ``@`` before the path. The scheme's length is
#: bounded, because some lines are one endless word.
_USERINFO = re.compile(r"([a-z][a-z0-9+.-]{0,19}://)([^/\s]+)(?=@)", re.IGNORECASE)

#: Where a person's settings, caches and keys are, and the way to the network.
HOME = (
    "HOME", "USERPROFILE", "HOMEDRIVE", "HOMEPATH", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA",
    "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
    "NO_PROXY",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that has ended: its exit code, and what it printed (standard output and error as one)."""

    code: int
    lines: tuple[str, ...]


class _Watched(ChildProcess):
    """A child whose progress bars are told too, while they are drawn."""

    def __init__(self, argv: Sequence[str], *, on_redraw: OnLine | None, **options: Any) -> None:
        # Before the reader begins.
        self._on_redraw = on_redraw
        super().__init__(argv, **options)

    def _read(self) -> None:
        stream = self._popen.stdout
        kept = b""
        while stream is not None and (piece := os.read(stream.fileno(), _LONGEST_LINE)):
            kept += piece
            while end := _ENDS.search(kept):
                line, kept = kept[: end.start()], kept[end.end() :]
                if end[0] != b"\r":
                    self._take_in(line)
                elif self._on_redraw is not None:
                    with contextlib.suppress(RuntimeError):  # the loop is closed
                        self._on_redraw(line.decode("utf-8", "replace"))
            if len(kept) > _LONGEST_LINE:
                self._take_in(kept)
                kept = b""
        if kept:
            self._take_in(kept)
        super()._read()  # finds the end, and closes the log

    def _take_in(self, raw: bytes) -> None:
        # Also addresses that we did not give it: of a clone's origin, of a requirement.
        super()._take_in(masked(raw.decode("utf-8", "replace")).encode())


async def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    log_file: Path | None = None,
    on_line: OnLine | None = None,
    on_redraw: OnLine | None = None,
    redact: Iterable[str] = (),
) -> Ended:
    """Run a program to its end. Cancelling ends it and everything that it started, and returns only then.

    Args:
        log_file: the command and its output are appended there.
        on_line: called on the loop with each line.
        on_redraw: called on the loop with a line that will be drawn over, such as a progress bar.
        redact: secrets beside those in addresses, which are found here.

    Raises:
        ProcessFailed: when it cannot be started.
    """
    loop = asyncio.get_running_loop()
    hidden = sorted({*redact, *secrets_in(*argv, *env.values()), *_passwords(env)}, key=len, reverse=True)

    def on_loop(call: OnLine | None) -> OnLine | None:
        return None if call is None else lambda line: _call_soon(loop, call, line)

    def start() -> ChildProcess:
        if log_file is not None:
            _begin_log(log_file, argv, hidden)
        return _Watched(
            argv,
            env=env,
            cwd=cwd,
            log_file=log_file,
            keep_lines=_KEPT_LINES,
            on_line=on_loop(on_line),
            on_redraw=on_loop(on_redraw),
            redact=hidden,
        )

    starting = asyncio.ensure_future(asyncio.to_thread(start))
    try:
        child = await unbroken(starting)
    except asyncio.CancelledError:
        if starting.exception() is None:
            await to_its_end(starting.result().stop)
        raise
    except OSError as error:
        name = Path(argv[0]).stem
        if shutil.which(argv[0]) is None:
            hint = "Install it, or give its path."
            raise NeedsSetup(f"There is no program {name} at {argv[0]}.", hint=hint) from error
        raise ProcessFailed(f"{name} cannot be started: {error.strerror}.") from error
    try:
        pause = 0.005
        while child.running:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.05)
    except asyncio.CancelledError:
        await to_its_end(child.stop)
        raise
    await to_its_end(child.kill_group)
    return Ended(child.returncode or 0, tuple(child.tail(_KEPT_LINES)))


def _call_soon(loop: asyncio.AbstractEventLoop, call: OnLine, line: str) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(call, line)


def _begin_log(log_file: Path, argv: Sequence[str], hidden: Sequence[str]) -> None:
    command = shlex.join(argv)
    for secret in hidden:
        command = command.replace(secret, "***")
    log_file.parent.mkdir(parents=True, exist_ok=True)
    mode = "w" if log_file.exists() and log_file.stat().st_size > _LARGEST_LOG else "a"
    with log_file.open(mode, encoding="utf-8", errors="replace") as log:
        log.write(f"$ {command}\n")


def masked(text: str) -> str:
    """A text without the names and passwords in its addresses; the ``git@`` of an SSH address stays."""
    return _USERINFO.sub(lambda match: match[1] + ("***" if _is_secret(match) else match[2]), text)


def secrets_in(*texts: str) -> set[str]:
    """What addresses in texts must not show: ``user:token`` and the token, or a name that may be a token."""
    secrets: set[str] = set()
    for text in texts:
        for match in _USERINFO.finditer(text):
            if _is_secret(match):
                token = match[2].partition(":")[2] or match[2]
                secrets |= {match[2], token, unquote(token)}
    return secrets


def _is_secret(userinfo: re.Match[str]) -> bool:
    return ":" in userinfo[2] or "ssh" not in userinfo[1].lower()


def _passwords(env: Mapping[str, str]) -> set[str]:
    return {value for name, value in env.items() if name.upper().endswith("_PASSWORD") and value}


def find_git() -> Path:
    """Raises NeedsSetup, with how to get it, when there is none."""
    places = ["git"]
    if sys.platform == "win32":
        places += [f"{os.environ.get('PROGRAMFILES', 'C:/Program Files')}/Git/cmd/git.exe"]
    found = next((path for place in places if (path := shutil.which(place))), None)
    if found is None:
        commands = {"win32": "winget install Git.Git", "darwin": "xcode-select --install"}
        command = commands.get(sys.platform, "sudo apt install git")
        raise NeedsSetup("git is not installed.", hint=f"Install it, for example with `{command}`.")
    return Path(found)


def find_uv() -> Path:
    """The one that ``UV`` names, beside our Python, on the path, or where its installers and ours put it.

    Raises:
        NeedsSetup: with how to get it, when there is none.
    """
    name = "uv.exe" if sys.platform == "win32" else "uv"
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    places = [
        os.environ.get("UV", ""),
        str(Path(sys.executable).with_name(name)),
        "uv",
        str(home / ".local" / "bin" / name),
        str(home / ".cargo" / "bin" / name),
        str(data / "comfy-runpod" / "uv" / "bin" / name),
    ]
    found = next((path for place in places if place and (path := shutil.which(place))), None)
    if found is None:
        raise NeedsSetup(
            "uv, which installs Python programs, is not on this computer.",
            hint="Get it with `pip install uv` or from docs.astral.sh/uv, or set UV to its path.",
        )
    return Path(found)
