"""Deployment over a management API on loopback that takes what RunPod documents, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.endpoint.account import AccountClient
from app.endpoint.errors import UnknownEndpoint
from app.errors import BadInput, Refused
from app.image.deploy import Progress, Stalled, checked_image, deploy
from app.settings import Secret
from tests.unit.endpoint.management import KEY, Management, managing, problem

NEW = "someone/comfy:2026-11-28-3f9c1a"


class Clock:
    """A time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)

    def time(self) -> float:
        return self.now


@pytest.fixture
async def api() -> AsyncIterator[Management]:
    async with managing() as management:
        yield management


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _client(api: Management, clock: Clock) -> AccountClient:
    return AccountClient(api.url, Secret(KEY), sleep=clock.sleep)


async def test_an_image_is_rolled_out_to_all_workers(api: Management, clock: Clock) -> None:
    api.rolling = [(0, 3, True), (1, 3, True), (3, 3, True), (3, 3, False)]
    told: list[Progress] = []
    done = await deploy(_client(api, clock), "ep-one", NEW, told.append, sleep=clock.sleep, clock=clock.time)
    assert (done.image, done.before, done.version) == (NEW, "someone/comfy:1", 5)
    assert [(each.version, each.on_latest, each.total) for each in told] == [
        (5, 0, 3), (5, 1, 3), (5, 3, 3), (5, 3, 3)
    ]  # fmt: skip
    assert api.endpoints["ep-one"]["image"] == NEW
    # Nothing else of the endpoint is touched.
    assert [each for each in api.asked if not each.startswith("GET")] == ["PATCH serverless/ep-one"]


async def test_an_endpoint_without_workers_has_it_at_once(api: Management, clock: Clock) -> None:
    api.rolling = [(0, 0, False)]
    done = await deploy(_client(api, clock), "ep-one", NEW, lambda _: None, sleep=clock.sleep)
    assert done.version == 5
    assert clock.slept == []


async def test_what_it_has_already_is_only_followed(api: Management, clock: Clock) -> None:
    api.releases["rollout"] = {"inProgress": False, "workersOnLatest": 2, "workersTotal": 2}
    done = await deploy(_client(api, clock), "ep-one", "someone/comfy:1", lambda _: None, sleep=clock.sleep)
    assert done.before == "someone/comfy:1"
    assert not any(each.startswith("PATCH") for each in api.asked)


async def test_a_roll_out_that_stalls_ends_with_how_far_it_came(api: Management, clock: Clock) -> None:
    api.rolling = [(1, 3, True)]
    with pytest.raises(Stalled, match="not moved for 15 min: 1 of 3 workers"):
        await deploy(_client(api, clock), "ep-one", NEW, lambda _: None, sleep=clock.sleep, clock=clock.time)
    assert 900 <= clock.now < 960
    assert api.endpoints["ep-one"]["image"] == NEW


async def test_one_that_only_just_moves_is_waited_for(api: Management, clock: Clock) -> None:
    steps = [(done, 4, True) for done in range(5) for _ in range(200)]
    api.rolling = [*steps, (4, 4, False)]
    await deploy(_client(api, clock), "ep-one", NEW, lambda _: None, sleep=clock.sleep, clock=clock.time)
    assert clock.now > 2_900


async def test_being_asked_too_often_is_waited_for_and_told(api: Management, clock: Clock) -> None:
    api.rolling = [(0, 1, True), (1, 1, False)]
    told: list[Progress] = []

    def progress(each: Progress) -> None:
        if not told:
            api.first = [problem(429, "Too Many Requests", "slow down") for _ in range(3)]
        told.append(each)

    await deploy(_client(api, clock), "ep-one", NEW, progress, sleep=clock.sleep, clock=clock.time)
    assert [each.note for each in told] == ["", "RunPod is asked too often", ""]
    assert [each.on_latest for each in told] == [0, 0, 1]


async def test_a_lost_connection_is_no_end(api: Management, clock: Clock) -> None:
    api.rolling = [(0, 1, True), (1, 1, False)]
    told: list[Progress] = []

    def progress(each: Progress) -> None:
        if not told:
            api.first = [None, None, None]
        told.append(each)

    await deploy(_client(api, clock), "ep-one", NEW, progress, sleep=clock.sleep, clock=clock.time)
    assert "RunPod cannot be reached" in told[1].note


async def test_what_runpod_refuses_is_said_in_its_words(api: Management, clock: Clock) -> None:
    client = _client(api, clock)
    with pytest.raises(UnknownEndpoint):
        await deploy(client, "ep-none", NEW, lambda _: None, sleep=clock.sleep)
    refusal = problem(422, "Unprocessable Entity", "Request validation failed.", ["image: no such tag"])

    def refuse(_: Progress) -> None:
        raise AssertionError("nothing was rolled out")

    before = api._change
    api._change = lambda *_: refusal  # type: ignore[method-assign]
    with pytest.raises(Refused, match="image: no such tag"):
        await deploy(client, "ep-one", NEW, refuse, sleep=clock.sleep)
    api._change = before  # type: ignore[method-assign]
    assert api.endpoints["ep-one"]["image"] == "someone/comfy:1"


@pytest.mark.parametrize(
    "image", ["someone/comfy", "someone/comfy:latest", "127.0.0.1:5000/comfy", "ghcr.io/a/b:latest"]
)
async def test_latest_is_refused_with_the_reason(api: Management, clock: Clock, image: str) -> None:
    with pytest.raises(BadInput, match="not given `latest`"):
        await deploy(_client(api, clock), "ep-one", image, lambda _: None)
    assert api.asked == []


@pytest.mark.parametrize("image", ["a/b:1", "127.0.0.1:5000/b:x", f"a/b@sha256:{'0' * 64}"])
def test_a_tag_or_a_digest_is_taken(image: str) -> None:
    assert checked_image(image) == image
