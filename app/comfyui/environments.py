"""The Python environment of a ComfyUI: made and filled by uv."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.process import clean_environment

from ..errors import ProcessFailed
from .causes import failed
from .programs import HOME, OnLine, run

_OWN = re.compile(
    r"UV_(.*INDEX.*|FIND_LINKS|CACHE_DIR|PYTHON.*|OFFLINE|NATIVE_TLS|SYSTEM_CERTS|HTTP_TIMEOUT|LINK_MODE)"
)
_UNSOLVABLE = "no solution found"
#: How uv draws its explanation: a tree in older versions, indented lines in newer ones.
_DRAWN = re.compile(r"^[\s│╰─▶├×]*(?:cause: )?")


def python_in(venv: Path) -> Path:
    return venv.joinpath(*(("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")))


def unsolvable(lines: Sequence[str]) -> str:
    """Why uv found no versions that go together, as half a sentence; empty when it did not say that."""
    told = explained(lines)
    if told is None:
        return ""
    reason = " ".join(told).removeprefix("Because ").partition(", we can conclude")[0].rstrip(".")
    return reason or "its requirements cannot be met together"


def explained(lines: Sequence[str]) -> tuple[str, ...] | None:
    """uv's whole explanation, as lines without what it draws around them; None when it found a solution."""
    begin = next((number for number, line in enumerate(lines) if _UNSOLVABLE in line.lower()), None)
    if begin is None:
        return None
    told: list[str] = []
    for line in lines[begin + 1 :]:
        words = _DRAWN.sub("", line).strip()
        if not words or words.startswith("hint:"):
            break
        told.append(words)
    return tuple(told)


class Unsolvable(ProcessFailed):
    """No versions go together; ``details["reason"]`` says why, as half a sentence."""


@dataclass(frozen=True, slots=True)
class Uv:
    """Runs uv.

    Attributes:
        log_file: gets each command and what uv says.
        on_line: called with what uv says while it downloads and installs.
    """

    program: Path
    log_file: Path | None = None
    on_line: OnLine | None = None

    async def make(self, venv: Path, python: str) -> None:
        """Make an environment with a Python such as ``3.12``, or the one at a path.

        Raises:
            ProcessFailed: when that Python is not to be had.
        """
        words = ["venv", "--no-project", "--python", python, "--prompt", venv.parent.name, str(venv)]
        await self.told("Making the Python environment", words, venv.parent)

    async def install(
        self,
        python: Path,
        words: Sequence[str],
        cwd: Path,
        *,
        doing: str,
        index: str = "",
        dry_run: bool = False,
        on_line: OnLine | None = None,
    ) -> tuple[str, ...]:
        """``uv pip install`` into the environment of a Python; what uv said.

        Args:
            words: packages and files of requirements.
            cwd: what relative paths in requirements begin at.
            doing: what an error calls it.
            index: the address of an index to use in place of the usual one.

        Raises:
            Unsolvable: with the requirements that do not go together.
            ProcessFailed: with the likely cause.
        """
        options = ["--python", str(python)]
        options += ["--default-index", index] if index else []
        options += ["--dry-run"] if dry_run else []
        return await self.told(doing, ["pip", "install", *options, *words], cwd, on_line)

    async def told(
        self, doing: str, words: list[str], cwd: Path, on_line: OnLine | None = None
    ) -> tuple[str, ...]:
        """What uv says to a command; raises as :meth:`install` does."""

        def told(line: str) -> None:
            for call in (self.on_line, on_line):
                if call is not None:
                    call(line)

        ended = await run(
            [str(self.program), *words], env=_environment(), cwd=cwd, log_file=self.log_file, on_line=told
        )
        if ended.code != 0:
            raise _uv_failed(doing, ended.lines)
        return ended.lines


def _uv_failed(doing: str, lines: Sequence[str]) -> ProcessFailed:
    text = "\n".join(lines).lower()
    # With no network uv also says that it found no solution: that is not the cause.
    offline = "network was disabled" in text or "network is disabled" in text
    reason = "" if offline else unsolvable(lines)
    error = failed(doing, lines, cause=reason)
    return Unsolvable(error.summary, reason=reason, **error.details) if reason else error


def _environment() -> dict[str, str]:
    """With the user's indexes, caches, proxies and certificates, and without the environment we run in."""
    own = [name for name in os.environ if _OWN.fullmatch(name.upper())]
    env = clean_environment({"NO_COLOR": "1"}, keep=(*HOME, *own))
    # To uv an empty variable is a wrong one.
    return {name: value for name, value in env.items() if value and name.upper() != "VIRTUAL_ENV"}
