"""What was done with images, what is live, and the way back, as the Image page shows them. Knows no Qt."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from .endpoint.account_model import Endpoint
from .errors import BadInput
from .image.deploy import checked_image
from .image.history import Event, What
from .jobs.figures import ago, day_of
from .ui.image import shown

_DONE: Final = {What.BUILT: "Built", What.TESTED: "Tested", What.PUSHED: "Pushed", What.DEPLOYED: "Deployed"}
#: A tag as it is proposed: it says when and of what an image was made, so it is given once.
_PROPOSED = re.compile(r"\d{4}-\d\d-\d\d-[0-9a-f]{6}(?:-\d+)?")
_MOST_RUNS = 200


def tag_of(name: str) -> str:
    """The tag of an image's whole name; a digest's beginning for one without."""
    if "@" in name:
        return name.rpartition("@")[2][:15]
    # A colon before the last stroke belongs to the registry's port.
    return name.rpartition("/")[2].partition(":")[2]


def is_given_once(tag: str) -> bool:
    """Whether a tag names one build for good, so that no other is made under it."""
    return _PROPOSED.fullmatch(tag) is not None


def moment(at: float, now: float) -> str:
    """``today 14:02``, ``yesterday 18:02``, ``12 Oct``."""
    days = (day_of(now) - day_of(at)).days
    if days in (0, 1):
        return f"{'yesterday' if days else 'today'} {time.strftime('%H:%M', time.localtime(at))}"
    return ago(at, now)


def history_of(
    events: Sequence[Event], name_of: Callable[[str], str], live: Collection[Event], now: float
) -> list[shown.PastRun]:
    """Args:
    live: the deployments that are in force.
    """
    return [
        shown.PastRun(
            _DONE[each.what],
            tag_of(each.image),
            moment(each.at, now),
            each.ok,
            each.digest[:15],
            name_of(each.endpoint_id) if each.endpoint_id else "",
            f"version {each.version}" if each.version is not None else "",
            each.note,
            is_live=each in live,
        )
        for each in events[:_MOST_RUNS]
    ]


def live_on(events: Sequence[Event], endpoint_id: str, endpoints: Sequence[Endpoint]) -> Event | None:
    """The deployment that an endpoint runs; None when somebody else has given it another image since."""
    last = next((e for e in events if e.what is What.DEPLOYED and e.endpoint_id == endpoint_id), None)
    if last is None or not last.ok:
        return None
    known = next((each.image for each in endpoints if each.id == endpoint_id), None)
    return last if known in (None, last.image) else None


def back_to(event: Event | None) -> str:
    """What can be gone back to, as ``version 6``; else by its tag."""
    if event is None:
        return ""
    return f"version {event.version - 1}" if event.version and event.version > 1 else tag_of(event.before)


def deploy_of(
    endpoints: Sequence[Endpoint], endpoint_id: str, image: str, note: str, live: Event | None,
    back: Event | None,
) -> shown.DeployShown:  # fmt: skip
    """Args:
    note: why the endpoints are not known; empty: they are.
    """
    try:
        checked_image(image)
        refusal = note
    except BadInput as error:
        refusal = error.sentence
    choices = tuple(shown.EndpointChoice(each.id, each.name or each.id) for each in endpoints)
    told = ""
    if live is not None:
        name = next((each.label for each in choices if each.id == live.endpoint_id), live.endpoint_id)
        what = f"Version {live.version}" if live.version is not None else tag_of(live.image)
        told = f"{what} is live on {name}."
    return shown.DeployShown(choices, endpoint_id, refusal, told, back_to(back))
