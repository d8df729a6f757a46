"""What we made in a staging folder, so that nothing else is ever removed from it, and what was sent of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...errors import BadInput
from ...files import write_private

_RECORD = "comfy-staging.json"
_SENT = "comfy-sent.json"


def made_in(folder: Path) -> frozenset[str]:
    """The names of the files that we made, or were about to make when we were killed. Blocks."""
    return frozenset(name for name in _read(folder / _RECORD) if _is_plain(name))


def note_made(folder: Path, names: Iterable[str]) -> None:
    """Before they are made. Blocks."""
    write_private(folder / _RECORD, json.dumps(sorted(names)))


def sent_from(folder: Path) -> frozenset[str]:
    """The contents that were once shown as sent to their end. Blocks."""
    return frozenset(_read(folder / _SENT))


def note_sent(folder: Path, contents: Iterable[str]) -> None:
    """Blocks."""
    write_private(folder / _SENT, json.dumps(sorted(contents)))


def clean_up(folder: Path) -> None:
    """Remove what was staged, and the folder when nothing else is in it. The models stay. Blocks.

    Raises:
        BadInput: when something cannot be removed.
    """
    if not folder.is_dir():
        return
    remove(folder, made_in(folder))
    try:
        for name in (_RECORD, _SENT):
            (folder / name).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()
    except OSError as error:
        raise _stays(folder, error) from error


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove files that we made, and what is half made of them. Blocks."""
    try:
        for name in names:
            (folder / name).unlink(missing_ok=True)
            (folder / (name + ".part")).unlink(missing_ok=True)
    except OSError as error:
        raise _stays(folder, error) from error


def _stays(folder: Path, error: OSError) -> BadInput:
    return BadInput(f"What was staged in {folder} cannot be removed: {error.strerror}.")


def _is_plain(name: str) -> bool:
    return name not in ("", ".", "..") and not set("/\\:\0") & set(name)


def _read(path: Path) -> list[str]:
    try:
        raw: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return [name for name in raw if isinstance(name, str)] if isinstance(raw, list) else []
