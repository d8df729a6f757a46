"""Staging: a folder with all that is sent, as hard links, so that no file is stored twice.

A file that cannot be linked (it is on another drive, or the drive knows no links) goes into a zip. Staging
the same files again, also after a kill, gives the same folder: what is there and right stays as it is, since
runpodctl goes on with a broken transfer only when name and bytes are the same.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import BadInput, NeedsSetup
from ...threads import in_thread
from . import record
from .archive import content_of, size_of, split, write_zip
from .manifest import along, script_name, set_id_of
from .model import Batch, Entry, Item, OnState, Phase, SendState, Unit
from .names import checked_path, flat_names
from .reading import Watch, changed, sha256_of

_GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one call of ``runpodctl send``, and of one zip.

    Attributes:
        files: in one batch, without the three that go along.
        batch_bytes, zip_bytes: a larger file is alone in its batch or zip.
    """

    files: int = 30
    batch_bytes: int = 100 * _GB
    zip_bytes: int = 4 * _GB


@dataclass(slots=True)
class _Staging:
    """One staging under way: ``made`` grows before anything is made."""

    folder: Path
    limits: Limits
    watch: Watch
    made: set[str] = field(default_factory=set)

    def about_to_make(self, names: Sequence[str]) -> None:
        """Raises BadInput when a file of somebody else has one of the names."""
        for name in names:
            if name not in self.made and os.path.lexists(self.folder / name):
                raise BadInput(
                    f"{self.folder} already holds a file {name} that is not from here.",
                    hint="Choose an empty folder for staging.",
                )
        if not self.made.issuperset(names):
            self.made.update(names)
            record.note_made(self.folder, self.made)


async def stage(
    items: Sequence[Item],
    folder: Path,
    *,
    limits: Limits | None = None,
    on_state: OnState | None = None,
) -> list[Batch]:
    """Lay out what is to be sent in ``folder``, best one on the drive of the models.

    Hashes what has no SHA-256 yet; ``on_state`` is told of it on the loop, at most ten times a second.
    Cancelling ends it between two pieces of a file; what is made stays, for the next time or `clean_up`.

    Raises:
        BadInput: a path cannot be sent, a file has changed or cannot be read, or the folder is not ours.
        NeedsSetup: there is no room for the zips.
    """
    loop = asyncio.get_running_loop()

    def report(done: int, total: int) -> None:
        if on_state is not None:
            state = SendState(Phase.STAGING, done_bytes=done, total_bytes=total)
            loop.call_soon_threadsafe(on_state, state)

    if not items:
        raise BadInput("There is nothing to send.")
    # Before the thread: what is wrong with a path is told at once.
    paths = [checked_path(item.path) for item in items]
    if len(set(paths)) < len(paths):
        raise BadInput("One file is to be sent twice.")
    total = sum(item.size for item in items if item.sha256 is None)
    return await in_thread(lambda stop: _stage(items, folder, limits or Limits(), Watch(report, stop, total)))


def _stage(items: Sequence[Item], folder: Path, limits: Limits, watch: Watch) -> list[Batch]:
    try:
        folder = folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        staging = _Staging(folder, limits, watch, set(record.made_in(folder)))
        return _laid_out(items, staging)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise NeedsSetup(f"There is no room left for {folder}.", hint=_ELSEWHERE) from error
        raise BadInput(f"{folder} cannot be used for staging: {error.strerror or error}.") from error


def _laid_out(items: Sequence[Item], staging: _Staging) -> list[Batch]:
    entries = {_entry(item, staging.watch): item.place for item in items}
    limits = staging.limits
    set_id = set_id_of(list(entries), (limits.files, limits.batch_bytes, limits.zip_bytes))
    names = flat_names(entry.path for entry in entries)
    staging.about_to_make(sorted(names.values()))
    units = [
        Unit(names[entry.path], entry.size, entry.sha256, (entry,))
        for entry, place in entries.items()
        if _linked(place, staging.folder / names[entry.path], staging.watch)
    ]
    linked = {entry for unit in units for entry in unit.entries}
    rest = [entry for entry in entries if entry not in linked]
    groups = {_zip_name(group): group for group in split(rest, limits.zip_bytes)}
    # What an earlier staging left takes room that the zips may need.
    kept = {unit.name for unit in units} | set(groups)
    record.remove(staging.folder, {name for name in staging.made - kept if set_id not in name})
    units += _zipped(groups, entries, staging)
    batches = _batches(sorted(units, key=lambda unit: unit.entries[0].path), set_id, staging)
    sent = {unit.name for batch in batches for unit in batch.units}
    record.remove(staging.folder, staging.made - sent)
    record.note_made(staging.folder, sent)
    return batches


def _entry(item: Item, watch: Watch) -> Entry:
    try:
        size = item.place.stat().st_size
        regular = item.place.is_file()
    except OSError as error:
        raise BadInput(f"{item.place} cannot be read: {error.strerror}.") from error
    if not regular or size != item.size:
        raise changed(item.place)
    # Some publish it in upper case.
    sha256 = (item.sha256 or "").lower() or sha256_of(item.place, item.size, watch)
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise BadInput(f"{sha256[:80]!r} is no SHA-256.")
    return Entry(checked_path(item.path), item.size, sha256)


def _linked(place: Path, link: Path, watch: Watch) -> bool:
    watch.check()
    # A link to a symbolic link would be sent as one.
    source = place.resolve()
    try:
        if link.is_symlink() or not (link.exists() and link.samefile(source)):
            link.unlink(missing_ok=True)
            os.link(source, link)
    except OSError:
        return False
    return True


def _zip_name(group: Sequence[Entry]) -> str:
    return f"comfy-models-{content_of(group)[:16]}.zip"


_ELSEWHERE = "Free some, or stage in a folder on the drive of the models, where nothing is copied."


def _zipped(groups: dict[str, tuple[Entry, ...]], places: dict[Entry, Path], staging: _Staging) -> list[Unit]:
    staging.about_to_make(list(groups))
    missing = [group for name, group in groups.items() if not (staging.folder / name).is_file()]
    needed, free = sum(map(size_of, missing)), shutil.disk_usage(staging.folder).free
    if missing and needed > free:
        raise NeedsSetup(
            f"Packing takes {needed / _GB:.1f} GB in {staging.folder}, and {free / _GB:.1f} GB are free.",
            hint=_ELSEWHERE,
            needed=needed,
            free=free,
        )
    staging.watch.total += sum(entry.size for group in missing for entry in group)
    units = []
    for name, group in groups.items():
        target = staging.folder / name
        # One of that name is whole, and its name tells what it holds.
        if not target.is_file():
            write_zip(target, [(entry, places[entry]) for entry in group], staging.watch)
        units.append(Unit(name, target.stat().st_size, content_of(group), group, zipped=True))
    return units


def _batches(units: Sequence[Unit], set_id: str, staging: _Staging) -> list[Batch]:
    groups: list[list[Unit]] = []
    room = 0
    for unit in units:
        if not groups or len(groups[-1]) >= staging.limits.files or unit.size > room:
            groups.append([])
            room = staging.limits.batch_bytes
        groups[-1].append(unit)
        room -= unit.size
    batches = []
    for number, group in enumerate(groups, 1):
        texts = along(set_id, number, len(groups), group)
        staging.about_to_make(list(texts))
        for name, text in texts.items():
            _write(staging.folder / name, text)
        extra = [Unit(name, len(text), hashlib.sha256(text).hexdigest()) for name, text in texts.items()]
        batches.append(
            Batch(staging.folder, set_id, number, len(groups), (*extra, *group), script_name(set_id))
        )
    return batches


def _write(path: Path, text: bytes) -> None:
    if path.is_symlink() or not path.is_file() or path.read_bytes() != text:
        path.unlink(missing_ok=True)
        path.write_bytes(text)
