"""ComfyUI installations on this disk, and what can be said of one without running anything of it."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import NeedsSetup
from .installation import Installation

_MAX_FILES, _MAX_ENTRIES = 20_000, 2_000
_WITHIN_S = 1.0
_LONGEST_TEXT = 65_536
_HOMES = ("ComfyUI", "comfyui", "Documents/ComfyUI", "Desktop/ComfyUI")
_GATHERED_IN = ("src", "code", "git", "projects", "Projects", "ai", "AI", "apps", "dev", "repos", "Documents")
_VERSION = re.compile(r"""^\s*(?:__version__|version)\s*=\s*["']([^"'\n]{1,40})["']""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Found:
    """A folder that is, or should be, a ComfyUI.

    Attributes:
        models_bytes: what its models folder holds; None when there are too many files to count.
        problem: one sentence on why it cannot be run, or an empty text.
    """

    folder: Path
    version: str | None = None
    custom_nodes: int = 0
    models_bytes: int | None = None
    python: Path | None = None
    problem: str = ""


def find_installations(home: Path | None = None) -> list[Found]:
    """Those at the usual places, the ones that can be run first. Blocks, for a second or so at most."""
    ends_at = time.monotonic() + _WITHIN_S
    found: list[Found] = []
    seen: set[Path] = set()
    for folder in _candidates(home or Path.home(), everywhere=home is None):
        if time.monotonic() > ends_at:
            break
        try:
            real = folder.resolve()
            if real in seen or not (real / "main.py").is_file():
                continue
        except (OSError, RuntimeError, ValueError):
            continue
        seen.add(real)
        found.append(_described(folder, ends_at))
    return sorted(found, key=lambda each: bool(each.problem))


def describe(folder: Path) -> Found:
    """What one folder holds. Blocks, for a second or so at most."""
    return _described(folder, time.monotonic() + _WITHIN_S)


def _described(folder: Path, ends_at: float) -> Found:
    python, problem = None, ""
    try:
        python = Installation.at(folder).python
    except NeedsSetup as error:
        problem = error.summary
    except (OSError, ValueError) as error:
        return Found(folder, problem=f"{folder} cannot be read ({type(error).__name__}).")
    return Found(
        folder, _version(folder), _custom_nodes(folder), _size(folder / "models", ends_at), python, problem
    )


def _candidates(home: Path, *, everywhere: bool) -> Iterator[Path]:
    for name in _HOMES:
        yield home / name
    yield from _of_comfy_desktop(home)
    for place in _GATHERED_IN:
        yield home / place / "ComfyUI"
    roots = [home, home / "Downloads", home / "Desktop"]
    if everywhere:
        yield Path("/opt/ComfyUI")
        roots += [Path(f"{letter}:/") for letter in "CDE"] if sys.platform == "win32" else []
    for root in roots:
        for name in ("ComfyUI_windows_portable", "ComfyUI_windows_portable_nvidia"):
            yield root / name / "ComfyUI"


def _of_comfy_desktop(home: Path) -> Iterator[Path]:
    """Comfy Desktop notes where its models and nodes are; a ComfyUI may lie there or in its app folder."""
    places = (".config/ComfyUI", "AppData/Roaming/ComfyUI", "Library/Application Support/ComfyUI")
    for place in places:
        base = _json(home / place / "config.json").get("basePath")
        if isinstance(base, str) and base:
            yield Path(base)
            yield Path(base) / "ComfyUI"


def _json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(_text(path))
    except (ValueError, RecursionError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _text(path: Path) -> str:
    """The beginning of a file; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST_TEXT).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def _version(folder: Path) -> str | None:
    texts = (_text(folder / name) for name in ("comfyui_version.py", "pyproject.toml"))
    match = next((match for text in texts if (match := _VERSION.search(text))), None)
    return match[1] if match else None


def _custom_nodes(folder: Path) -> int:
    """Packs of nodes: folders and single Python files; switched off and hidden ones do not count."""
    count = 0
    for number, entry in enumerate(_entries(folder / "custom_nodes")):
        if number >= _MAX_ENTRIES:
            break
        name = entry.name
        if name.startswith((".", "__")) or name.endswith(".disabled"):
            continue
        count += _is_folder(entry) or name.endswith(".py")
    return count


def _size(folder: Path, ends_at: float) -> int | None:
    """Bytes below a folder; None when it is no folder, too large to count, or time is up."""
    if not folder.is_dir():
        return None
    total, files, waiting = 0, 0, [folder]
    while waiting:
        for entry in _entries(waiting.pop()):
            files += 1
            if files > _MAX_FILES or time.monotonic() > ends_at:
                return None
            if _is_folder(entry) and not entry.is_symlink():
                waiting.append(Path(entry.path))
            else:
                total += _bytes_of(entry)
    return total


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except (OSError, ValueError):
        return


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _bytes_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size if entry.is_file() else 0
    except OSError:
        return 0
