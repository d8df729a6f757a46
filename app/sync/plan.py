"""What a sync would do, worked out from how both sides stand and what is wanted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .compare import place_here
from .model import Act, Entry, Picture, Plan, Standing, Step, Wish

GB = 1e9


def make_plan(
    picture: Picture,
    wish: Wish,
    folder: Path,
    *,
    volume_size: int | None = None,
    rate: float | None = None,
    sha256_of: dict[str, str] | None = None,
) -> Plan:
    """The steps, their bytes, and what is to know before.

    Args:
        volume_size: of the volume in bytes, where it is known.
        rate: bytes per second of the last transfer.
        sha256_of: what files of the volume have, by path, where it is known.
    """
    steps = [
        step
        for entry in picture.entries
        if (step := _step(entry, wish, folder, (sha256_of or {}).get(str(entry.path)))) is not None
    ]
    chosen = {step.path for step in steps}
    moving = [step for step in steps if step.act is not Act.DELETE]
    size = sum(step.size for step in moving)
    grows = sum(_growth(step) for step in steps)
    uploads = [step for step in moving if step.act is Act.UPLOAD]
    # Parts of uploads that were begun take room that no list shows.
    begun = {entry.path: entry.begun for entry in picture.entries}
    there = sum(begun.get(step.path, 0) for step in uploads)
    free = None if volume_size is None else max(0, volume_size - picture.used - sum(begun.values()))
    peak = grows + sum(step.there.size for step in uploads if step.there is not None) - there
    obstacle, warnings = "", _warnings(picture, uploads, free, peak)
    if uploads and free is not None and peak > free:
        up = sum(step.size for step in uploads)
        obstacle = f"{up / GB:.1f} GB to upload, {free / GB:.1f} GB free."
    return Plan(
        steps=tuple(steps),
        files=len(moving),
        size=size,
        free=free,
        grows=grows,
        seconds=(size - there) / rate if rate and size else None,
        differing=sum(
            entry.standing is Standing.DIFFERS and entry.path not in chosen for entry in picture.entries
        ),
        warnings=tuple(warnings),
        obstacle=obstacle,
    )


def _step(entry: Entry, wish: Wish, folder: Path, sha256: str | None) -> Step | None:
    path = str(entry.path)
    if path in wish.skip or (wish.only is not None and path not in wish.only):
        return None
    here, there = entry.here, entry.there
    match entry.standing:
        case Standing.HERE if wish.upload and here is not None:
            why = "It is on this computer only."
            return Step(Act.UPLOAD, entry.path, here.place, here.mark.size, why)
        case Standing.THERE if there is not None:
            if path in wish.delete:
                place = place_here(folder, entry.path)
                why = "It was chosen to be deleted."
                return Step(Act.DELETE, entry.path, place, 0, why, replaces=there.etag, there=there)
            if wish.download:
                place = place_here(folder, entry.path)
                why = "It is on the volume only."
                return Step(Act.DOWNLOAD, entry.path, place, there.size, why, there=there, sha256=sha256)
        case Standing.DIFFERS | Standing.UNVERIFIED if here is not None and there is not None:
            if path in wish.overwrite:
                why = f"It replaces the volume's. {entry.why}"
                return Step(
                    Act.UPLOAD, entry.path, here.place, here.mark.size, why, replaces=there.etag, there=there
                )
            if path in wish.overwrite_here:
                why = f"The volume's replaces it. {entry.why}"
                return Step(
                    *(Act.DOWNLOAD, entry.path, here.place, there.size, why),
                    there=there,
                    overwrites_here=True,
                    sha256=sha256,
                )
        case _:
            pass
    return None


def _growth(step: Step) -> int:
    before = step.there.size if step.there is not None else 0
    if step.act is Act.UPLOAD:
        return step.size - before
    return -before if step.act is Act.DELETE else 0


def _warnings(picture: Picture, uploads: Sequence[Step], free: int | None, peak: int) -> list[str]:
    found = list(picture.notes)
    if uploads and free is not None:
        largest = max(step.size for step in uploads)
        if peak <= free < peak + largest:
            # While parts are joined, both they and the whole take room.
            found.append(f"The volume will be nearly full: {free / GB:.1f} GB are free.")
    broken = [entry.path.name for entry in picture.entries if entry.standing is Standing.BROKEN]
    if broken:
        some = ", ".join(broken[:3]) + (" …" if len(broken) > 3 else "")
        found.append(f"Truncated, and not sent: {some}.")
    return found
