"""What was built, pushed and deployed, and when: a line of JSON for each, in a file that only grows."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

_MOST_READ = 4 << 20
#: How long going back to the version before is offered.
BACK_S = 86_400.0


class What(StrEnum):
    BUILT = "built"
    TESTED = "tested"
    PUSHED = "pushed"
    DEPLOYED = "deployed"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done with an image.

    Attributes:
        at: seconds since 1970.
        image: its whole name.
        image_id, digest: of the engine, and of the registry; empty where it is not known.
        manifest: its digest.
        before: the image that the endpoint had.
        version: the endpoint's.
        note: a sentence, such as what the test found.
    """

    what: What
    at: float
    image: str
    image_id: str = ""
    digest: str = ""
    manifest: str = ""
    size: int = 0
    seconds: float = 0.0
    endpoint_id: str = ""
    before: str = ""
    version: int | None = None
    ok: bool = True
    note: str = ""


class History:
    """Args:
    path: of the file; made with the first event.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, event: Event) -> None:
        """Blocks. A line is written at once, so that a kill leaves at most a broken last one."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({**asdict(event), "what": event.what.value}) + "\n"
        with self._path.open("ab+") as file:
            # What a kill left half written shall not spoil this one, too.
            torn = file.tell() > 0 and not self._ends_whole()
            file.write((("\n" if torn else "") + line).encode())

    def events(self) -> list[Event]:
        """The newest first. Blocks."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(size - _MOST_READ, 0))
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        found = (_event(line) for line in lines)
        return [event for event in found if event is not None][::-1]

    def _ends_whole(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, 2)
            return file.read(1) == b"\n"


def way_back(events: list[Event], endpoint_id: str, now: float | None = None) -> Event | None:
    """The deployment that can be undone: the endpoint's last, of the last day, with an image before it."""
    now = time.time() if now is None else now
    last = next(
        (each for each in events if each.what is What.DEPLOYED and each.endpoint_id == endpoint_id), None
    )
    usable = last is not None and last.ok and last.before and last.before != last.image
    return last if last is not None and usable and now - last.at < BACK_S else None


def image_id_of(events: list[Event], image: str) -> str:
    """The engine's id of an image by its name, or by the digest that it was pushed with; empty: not known."""
    digest = image.partition("@")[2]
    named = (each for each in events if each.image_id and each.image == image and not digest)
    pushed = (each for each in events if each.image_id and digest and each.digest == digest)
    found = next(named, None) or next(pushed, None)
    return found.image_id if found is not None else ""


def _event(line: bytes) -> Event | None:
    try:
        data: Any = json.loads(line)
        known = {name: data[name] for name in Event.__dataclass_fields__ if name in data}
        return Event(**{**known, "what": What(data["what"]), "at": float(data["at"])})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
