"""The zips that are sent where hard links cannot be made: the same bytes whenever they are made."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from .model import Entry
from .reading import Watch, changed, pieces

_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16
_UNIX = 3
#: What a member needs beside its data and twice its name, and the end of a zip, in bytes, rounded up.
_PER_MEMBER, _END = 256, 256


def split(entries: Sequence[Entry], largest: int) -> list[tuple[Entry, ...]]:
    """Entries in groups of at most ``largest`` bytes, in the order of their paths. A larger file is alone."""
    groups: list[list[Entry]] = []
    room = 0
    for entry in sorted(entries, key=lambda entry: entry.path):
        if not groups or entry.size > room:
            groups.append([])
            room = largest
        groups[-1].append(entry)
        room -= entry.size
    return [tuple(group) for group in groups]


def content_of(entries: Sequence[Entry]) -> str:
    """A name for what a zip of these entries holds: its SHA-256, of paths, sizes and hashes."""
    listed = json.dumps([[entry.path, entry.size, entry.sha256] for entry in entries])
    return hashlib.sha256(listed.encode()).hexdigest()


def size_of(entries: Sequence[Entry]) -> int:
    """How large a zip of these entries is at most, in bytes."""
    return sum(entry.size + 2 * len(entry.path.encode()) + _PER_MEMBER for entry in entries) + _END


def write_zip(target: Path, members: Sequence[tuple[Entry, Path]], watch: Watch) -> None:
    """Pack files, not compressed, under the names of their entries; ``target`` is there whole or not at all.

    ``target`` with ``.part`` at its end is written on the way, and left behind when the process is killed.

    Raises:
        BadInput: when a file is not what its entry says.
        OSError: when the drive is full.
    """
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED, allowZip64=True) as packed:
            for entry, place in sorted(members, key=lambda member: member[0].path):
                info = zipfile.ZipInfo(entry.path, _TIME)
                info.external_attr = _MODE
                info.create_system = _UNIX
                info.file_size = entry.size
                digest = hashlib.sha256()
                with packed.open(info, "w", force_zip64=True) as out:
                    for piece in pieces(place, entry.size, watch):
                        digest.update(piece)
                        out.write(piece)
                if digest.hexdigest() != entry.sha256:
                    raise changed(place)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
