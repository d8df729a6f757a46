"""Progress posts: in order, the latest only, never two at once, none after the end."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.unit.worker.helpers import until
from worker import progress as module
from worker.contract import Progress
from worker.progress import ProgressPoster


class Platform:
    """Takes posts; holds each until ``go`` is set."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.arrived: list[float] = []
        self.asked: list[web.Request] = []
        self.at_once = 0
        self.most_at_once = 0
        self.status = 200
        self.go = asyncio.Event()
        self.go.set()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.arrived.append(asyncio.get_running_loop().time())
        self.asked.append(request)
        self.posts.append(json.loads(await request.text()))
        try:
            await self.go.wait()
        finally:
            self.at_once -= 1
        return web.Response(status=self.status)

    @property
    def steps(self) -> list[int]:
        return [post["output"]["progress"]["step"] for post in self.posts]


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    platform = Platform()
    app = web.Application()
    app.router.add_post("/job-done/{worker}/{job}", platform.take)
    async with TestServer(app) as server:
        platform.url = str(server.make_url("/job-done/$RUNPOD_POD_ID/$ID")) + "?gpu=x"
        yield platform
        platform.go.set()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def posting(http: aiohttp.ClientSession, url: str | None) -> ProgressPoster:
    return ProgressPoster(http, url, key="the-key", worker_id="w1", job_id="j1")


async def test_a_post_is_what_the_platform_expects(platform: Platform, http: aiohttp.ClientSession) -> None:
    async with posting(http, platform.url) as poster:
        poster.report(Progress(node_id="3", step=1, steps=4), b"jpeg")
        await until(lambda: platform.posts)
    (request,) = platform.asked
    assert request.path_qs == "/job-done/w1/j1?gpu=x&isStream=false"
    assert request.headers["Authorization"] == "the-key"
    assert request.content_type == "application/x-www-form-urlencoded"
    (post,) = platform.posts
    assert post["status"] == "IN_PROGRESS"
    assert Progress.parse(post["output"]) == Progress(
        node_id="3", step=1, steps=4, preview=base64.b64encode(b"jpeg").decode()
    )


async def test_posts_are_ordered_one_at_a_time_and_the_latest_only(
    platform: Platform, http: aiohttp.ClientSession
) -> None:
    platform.go.clear()
    async with posting(http, platform.url) as poster:
        poster.report(Progress(step=1))
        await until(lambda: platform.posts)
        for step in range(2, 50):
            poster.report(Progress(step=step))
        platform.go.set()
        await until(lambda: len(platform.posts) == 2)
        poster.report(Progress(step=50))
        await until(lambda: len(platform.posts) == 3)
    assert platform.steps == [1, 49, 50]
    assert platform.most_at_once == 1


async def test_there_are_at_most_four_posts_a_second(platform: Platform, http: aiohttp.ClientSession) -> None:
    async with posting(http, platform.url) as poster:
        step = 0
        while len(platform.posts) < 5:
            poster.report(Progress(step=(step := step + 1)))
            await asyncio.sleep(0.005)
    # From the end of one post to the begin of the next; a millisecond for the clock.
    assert platform.arrived[-1] - platform.arrived[0] >= 4 * 0.25 - 0.001
    assert platform.steps == sorted(platform.steps)


async def test_nothing_is_posted_after_the_end(platform: Platform, http: aiohttp.ClientSession) -> None:
    async with posting(http, platform.url) as poster:
        poster.report(Progress(step=1))
        await until(lambda: platform.posts)
        poster.report(Progress(step=2))
    poster.report(Progress(step=3))
    # Longer than the pause between two posts: whatever was to come had time to.
    await asyncio.sleep(0.4)
    assert platform.steps == [1]
    assert platform.at_once == 0


async def test_a_post_that_hangs_does_not_keep_the_job(
    platform: Platform, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module._POST_TIMEOUT_S == 2.0
    monkeypatch.setattr(module, "_POST_TIMEOUT_S", 0.1)
    platform.go.clear()
    async with asyncio.timeout(20):
        async with posting(http, platform.url) as poster:
            poster.report(Progress(step=1))
            await until(lambda: platform.posts)
    assert not platform.go.is_set(), "the platform never answered, and yet we are here"


@pytest.mark.parametrize("trouble", ["status", "refused"])
async def test_a_lost_progress_costs_no_job(
    platform: Platform, http: aiohttp.ClientSession, trouble: str
) -> None:
    platform.status = 500
    url = platform.url if trouble == "status" else "http://127.0.0.1:9/$ID?x=1"
    async with posting(http, url) as poster:
        poster.report(Progress(step=1))
        await asyncio.sleep(0.3)
        poster.report(Progress(step=2))
        await until(lambda: trouble == "refused" or platform.steps == [1, 2])


async def test_a_big_preview_is_left_out_and_a_small_one_shown_once(
    platform: Platform, http: aiohttp.ClientSession
) -> None:
    async with posting(http, platform.url) as poster:
        for step, preview in ((1, bytes(64 * 1024)), (2, bytes(64 * 1024 + 1)), (3, None)):
            poster.report(Progress(step=step), preview)
            await until(lambda step=step: platform.steps[-1:] == [step])  # type: ignore[misc]
    previews = [post["output"]["progress"].get("preview") for post in platform.posts]
    assert [preview and len(preview) for preview in previews] == [87_384, None, None]


async def test_without_an_address_nothing_is_posted(http: aiohttp.ClientSession) -> None:
    async with posting(http, None) as poster:
        poster.report(Progress(step=1), b"x")
