"""What goes along with the files: where each belongs, their hashes, and the script for the pod."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from ...errors import ProcessFailed
from ...files import resource
from .model import Entry, Unit

VERSION = 1
_SCRIPT = ("extract", "extract_models.py")


def set_id_of(entries: Sequence[Entry], limits: Sequence[int]) -> str:
    """What all batches of these files share in their names: the same files give the same."""
    listed = sorted([entry.path, entry.size, entry.sha256] for entry in entries)
    return hashlib.sha256(json.dumps([VERSION, listed, list(limits)]).encode()).hexdigest()[:8]


def script_name(set_id: str) -> str:
    return f"comfy-{set_id}-extract.py"


def manifest_name(set_id: str, number: int, of: int) -> str:
    return f"comfy-{set_id}-{number}-of-{of}.json"


def sums_name(set_id: str, number: int, of: int) -> str:
    return f"SHA256SUMS-{set_id}-{number}-of-{of}"


def along(set_id: str, number: int, of: int, units: Sequence[Unit]) -> dict[str, bytes]:
    """The files that go along with a batch, by name, in the order in which they are sent.

    ``SHA256SUMS-…`` has the form of ``sha256sum``, with paths relative to the models folder.
    """
    entries = [entry for unit in units for entry in unit.entries]
    sums = "".join(f"{entry.sha256}  {entry.path}\n" for entry in sorted(entries, key=lambda e: e.path))
    raw = {
        "version": VERSION,
        "set": set_id,
        "batch": number,
        "of": of,
        "files": [{"name": unit.name, **_listed(unit.entries[0])} for unit in units if not unit.zipped],
        "zips": [
            {"name": unit.name, "size": unit.size, "files": [_listed(entry) for entry in unit.entries]}
            for unit in units
            if unit.zipped
        ],
    }
    return {
        script_name(set_id): script(),
        manifest_name(set_id, number, of): json.dumps(raw, indent=1, ensure_ascii=False).encode() + b"\n",
        sums_name(set_id, number, of): sums.encode(),
    }


def script() -> bytes:
    """The extraction script, with the line ends of Unix wherever it was checked out."""
    place = resource(*_SCRIPT)
    try:
        return place.read_bytes().replace(b"\r\n", b"\n")
    except OSError as error:
        raise ProcessFailed(f"{place} cannot be read: {error.strerror}.", hint="Install again.") from error


def _listed(entry: Entry) -> dict[str, Any]:
    return {"path": entry.path, "size": entry.size, "sha256": entry.sha256}
