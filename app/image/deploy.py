"""An endpoint on RunPod given another image, followed until all of its workers have it, and given it back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..endpoint.account import AccountClient
from ..endpoint.account_model import RollOut
from ..endpoint.errors import RateLimited
from ..errors import BadInput, Unreachable

_POLL_S = 3.0
#: Without a step forward for so long, RunPod is probably not able to start workers with the image.
STALLED_S = 900.0
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a roll-out is.

    Attributes:
        version: the endpoint's; None when RunPod does not tell.
        on_latest, total: workers.
    """

    version: int | None
    on_latest: int
    total: int
    note: str = ""

    @property
    def part(self) -> float | None:
        return min(self.on_latest / self.total, 1.0) if self.total else None


@dataclass(frozen=True, slots=True)
class Deployed:
    """An endpoint that has a new image.

    Attributes:
        image, before: the names of the new one and of the one that it had.
        version: the endpoint's, of the release; None when RunPod does not tell.
    """

    endpoint_id: str
    image: str
    before: str
    version: int | None


class Stalled(Unreachable):
    """A roll-out does not go on. The endpoint has the new image; nothing is undone by itself."""

    code = "roll_out_stalled"


def checked_image(image: str) -> str:
    """A name that an endpoint may be given: with a tag of its own, or a digest.

    Raises:
        BadInput: for ``latest``, with the reason.
    """
    if "@sha256:" in image:
        return image
    # A colon before the last stroke belongs to the registry's port.
    tag = image.rpartition("/")[2].partition(":")[2]
    if tag in ("", "latest"):
        raise BadInput(
            "An endpoint is not given `latest`: its workers may keep running the image that their machine "
            "has under that name, and there is no way back.",
            hint="Build and push it under another tag, such as the date.",
        )
    return image


async def deploy(
    client: AccountClient,
    endpoint_id: str,
    image: str,
    on_progress: Callable[[Progress], None],
    *,
    stalled_s: float = STALLED_S,
    poll_s: float = _POLL_S,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Deployed:
    """Give an endpoint an image and follow the roll-out to its end. Cancelled, RunPod goes on with it.

    Args:
        stalled_s: how long nothing may happen.

    Raises:
        Stalled: when nothing does.
        ComfyRunPodError: as RunPod says; what was given stays given.
    """
    checked_image(image)
    before = await client.endpoint(endpoint_id)
    was = before.image or ""
    first = await client.roll_out(endpoint_id)
    if was != image:
        await client.change(endpoint_id, image=image)
    version = await follow(
        client, endpoint_id, on_progress, stalled_s=stalled_s, poll_s=poll_s, sleep=sleep, clock=clock,
        after=first.version if was != image else None,
    )  # fmt: skip
    return Deployed(endpoint_id, image, was, version)


async def follow(
    client: AccountClient,
    endpoint_id: str,
    on_progress: Callable[[Progress], None],
    *,
    stalled_s: float = STALLED_S,
    poll_s: float = _POLL_S,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
    after: int | None = None,
) -> int | None:
    """Wait for the end of an endpoint's roll-out; its version.

    Args:
        after: the version before it: as long as RunPod tells that one, the roll-out has not begun.
    """
    moved_at, last, pause_s = clock(), None, poll_s
    while True:
        note = ""
        try:
            now: RollOut | None = await client.roll_out(endpoint_id)
            pause_s = poll_s
        except RateLimited:
            now, note, pause_s = None, "RunPod is asked too often", min(pause_s * 2, _LONGEST_PAUSE_S)
        except Unreachable as error:
            now, note = None, error.summary.rstrip(".")
        if now is not None:
            begun = after is None or now.version is None or now.version != after
            seen = (now.version, now.on_latest, now.total, now.in_progress)
            if seen != last:
                moved_at, last = clock(), seen
            on_progress(Progress(now.version, now.on_latest if begun else 0, now.total))
            if begun and not now.in_progress and now.on_latest >= now.total:
                return now.version
        elif last is not None:
            on_progress(Progress(last[0], last[1], last[2], note))
        if clock() - moved_at > stalled_s:
            told = f"{last[1]} of {last[2]} workers have the new image" if last else "RunPod does not answer"
            raise Stalled(
                f"The roll-out has not moved for {stalled_s / 60:.0f} min: {told}.",
                hint="Look at the workers' logs on the endpoint's page, or go back to the image before.",
            )
        await sleep(pause_s)
