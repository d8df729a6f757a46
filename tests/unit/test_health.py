"""The chip of the endpoint: true figures, and nothing woken for them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.health import EndpointStatus, HealthWatch, Pace
from app.services import EndpointTarget
from app.settings import Secret, Settings

KEY = "rpa_0123456789"
QUICK = Pace(busy_s=0.02, idle_s=0.05, longest_s=0.1)
SLOW = Pace(busy_s=60, idle_s=60, longest_s=600)


class RunPod:
    """Answers health requests as it is told to."""

    def __init__(self) -> None:
        self.answer: Any = {"jobs": {}, "workers": {}}
        self.status = 200
        self.asked: list[str] = []
        self.url = ""

    async def health(self, request: web.Request) -> web.Response:
        self.asked.append(request.match_info["endpoint"])
        assert request.headers["Authorization"] in (f"Bearer {KEY}", "Bearer another")
        return web.json_response(self.answer, status=self.status)


@pytest.fixture
async def runpod() -> AsyncIterator[RunPod]:
    runpod = RunPod()
    app = web.Application()
    app.router.add_get("/v2/{endpoint}/health", runpod.health)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    runpod.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v2"
    yield runpod
    await runner.cleanup()


@pytest.fixture
def settings(tmp_path: Path, runpod: RunPod) -> Settings:
    return Settings(
        data_dir=tmp_path, output_dir=tmp_path, runpod_base_url=runpod.url, runpod_api_key=Secret(KEY)
    )


@contextlib.asynccontextmanager
async def running(watch: HealthWatch) -> AsyncIterator[list[EndpointStatus]]:
    seen: list[EndpointStatus] = []
    watch.watch(seen.append)
    task = asyncio.create_task(watch.run())
    try:
        yield seen
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(true: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


async def first_look(watch: HealthWatch, target: str) -> EndpointStatus:
    watch.look_at(target)
    async with running(watch):
        await until(lambda: watch.status.checked_at)
    return watch.status


@pytest.mark.parametrize(
    ("workers", "jobs", "text", "tone"),
    [
        ({"running": 1, "initializing": 1}, {"inQueue": 3}, "1 running · 1 starting · 3 in queue", ""),
        ({"running": 1, "idle": 2}, {"inQueue": 0}, "1 running · 0 in queue", ""),
        ({}, {}, "No warm worker · 0 in queue", ""),
        ({"ready": 0, "idle": 0}, {"inQueue": 2}, "No warm worker · 2 in queue", ""),
        ({"idle": 2, "ready": 2}, {}, "2 idle · 0 in queue", ""),
        ({"throttled": 3}, {"inQueue": 4}, "3 throttled · 4 in queue", "amber"),
        ({"throttled": 3, "running": 1}, {"inQueue": 4}, "1 running · 3 throttled · 4 in queue", ""),
        ({"unhealthy": 1}, {"inQueue": 1}, "1 unhealthy · 1 in queue", "amber"),
        ({"running": "many", "new word": 5}, {"inQueue": None}, "No warm worker · 0 in queue", ""),
    ],
)  # fmt: skip
async def test_the_figures_in_words(
    runpod: RunPod, settings: Settings, workers: Any, jobs: Any, text: str, tone: str
) -> None:
    runpod.answer = {"workers": workers, "jobs": jobs}
    status = await first_look(HealthWatch(settings, pace=SLOW), "abcdef")
    assert (status.kind, status.reachable, status.text, status.tone) == ("runpod", True, text, tone)
    assert status.in_queue == (jobs.get("inQueue") or 0)
    assert abs(status.checked_at - time.time()) < 10
    assert runpod.asked == ["abcdef"]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (500, "Endpoint unreachable"),
        (429, "Endpoint unreachable"),
        (401, "API key not accepted"),
        (404, "Endpoint not found"),
    ],
)
async def test_what_is_wrong_in_words(runpod: RunPod, settings: Settings, code: int, text: str) -> None:
    runpod.status = code
    status = await first_look(HealthWatch(settings, pace=SLOW), "abcdef")
    assert (status.reachable, status.text, status.tone) == (False, text, "red")


async def test_nobody_there_is_unreachable(settings: Settings) -> None:
    nowhere = replace(settings, runpod_base_url="http://127.0.0.1:9/v2")
    status = await first_look(HealthWatch(nowhere, pace=SLOW), "abcdef")
    assert (status.text, status.tone) == ("Endpoint unreachable", "red")


async def test_without_a_key_nothing_is_asked_until_there_is_one(runpod: RunPod, settings: Settings) -> None:
    watch = HealthWatch(replace(settings, runpod_api_key=Secret("")), pace=QUICK)
    watch.look_at("abcdef")
    async with running(watch) as seen:
        await until(lambda: seen and seen[-1].text == "Not connected")
        await asyncio.sleep(0.1)
        assert (len(seen), seen[-1].reachable, seen[-1].tone) == (1, None, "")
        assert runpod.asked == []
        watch.use(settings)
        await until(lambda: seen[-1].reachable)


async def test_a_new_key_is_used_at_once(runpod: RunPod, settings: Settings) -> None:
    watch = HealthWatch(settings, pace=SLOW)
    watch.look_at("abcdef")
    async with running(watch) as seen:
        await until(lambda: seen and seen[-1].reachable)
        watch.use(replace(settings, runpod_api_key=Secret("another")))
        await until(lambda: len(runpod.asked) == 2)


async def test_unseen_it_looks_seldom_and_at_once_when_it_is_seen_again(
    runpod: RunPod, settings: Settings
) -> None:
    watch = HealthWatch(settings, pace=Pace(busy_s=0.01, idle_s=0.01, hidden_s=60, longest_s=60))
    watch.look_at("abcdef")
    watch.set_shown(shown=False)
    watch.set_busy(busy=True)
    async with running(watch) as seen:
        await until(lambda: seen and seen[-1].reachable)
        await asyncio.sleep(0.1)
        assert len(runpod.asked) == 1
        watch.set_shown(shown=True)
        await until(lambda: len(runpod.asked) > 3)


async def test_with_jobs_it_looks_more_often(runpod: RunPod, settings: Settings) -> None:
    watch = HealthWatch(settings, pace=Pace(busy_s=0.01, idle_s=60, longest_s=60))
    watch.look_at("abcdef")
    async with running(watch) as seen:
        await until(lambda: seen and seen[-1].reachable)
        await asyncio.sleep(0.1)
        assert len(runpod.asked) == 1
        watch.set_busy(busy=True)
        await until(lambda: len(runpod.asked) > 5)
        watch.set_busy(busy=False)
        await asyncio.sleep(0.1)
        asked = len(runpod.asked)
        await asyncio.sleep(0.1)
        assert len(runpod.asked) == asked
        watch.look_now()
        await until(lambda: len(runpod.asked) == asked + 1)


async def test_how_often_it_looks_with_jobs_is_a_setting(runpod: RunPod, settings: Settings) -> None:
    watch = HealthWatch(replace(settings, health_interval_s=0.02), pace=Pace(idle_s=60))
    watch.look_at("abcdef")
    watch.set_busy(busy=True)
    async with running(watch) as seen:
        await until(lambda: seen and seen[-1].reachable)
        await until(lambda: len(runpod.asked) > 5, 2)
        watch.use(replace(settings, health_interval_s=60.0))
        await asyncio.sleep(0.1)
        asked = len(runpod.asked)
        await asyncio.sleep(0.1)
        assert len(runpod.asked) == asked


async def test_after_failures_it_waits_longer(runpod: RunPod, settings: Settings) -> None:
    runpod.status = 503
    watch = HealthWatch(settings, pace=Pace(busy_s=0.02, idle_s=0.02, longest_s=60))
    watch.look_at("abcdef")
    async with running(watch) as seen:
        await asyncio.sleep(1.0)
        assert 3 <= len(runpod.asked) <= 7
        runpod.status = 200
        watch.look_now()
        await until(lambda: seen[-1].reachable)
        asked = len(runpod.asked)
        await until(lambda: len(runpod.asked) > asked + 5, 2)


async def test_another_target_is_shown_at_once(runpod: RunPod, settings: Settings) -> None:
    runpod.answer = {"workers": {"running": 1}}
    watch = HealthWatch(settings, pace=SLOW)
    watch.look_at("abcdef")
    async with running(watch) as seen:
        await until(lambda: seen and seen[-1].running)
        watch.look_at("demo")
        assert seen[-1] == EndpointStatus(kind="demo")
        watch.look_at("uvwxyz")
        await until(lambda: seen[-1].running)
    assert runpod.asked == ["abcdef", "uvwxyz"]
    assert [status.kind for status in seen if status.running] == ["runpod", "runpod"]


async def test_figures_of_the_former_target_are_not_shown(settings: Settings, tmp_path: Path) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        entered.set()
        await leave.wait()
        return web.json_response({"workers": {"running": 7}})

    app = web.Application()
    app.router.add_get("/v2/slow1/health", slow)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v2"
    watch = HealthWatch(replace(settings, runpod_base_url=url), pace=SLOW)
    watch.look_at("slow1")
    async with running(watch) as seen:
        await entered.wait()
        watch.look_at("demo")
        leave.set()
        await until(lambda: seen[-1].checked_at)
        assert [status.running for status in seen] == [0] * len(seen)
        assert seen[-1].kind == "demo"
    await runner.cleanup()


async def test_a_local_endpoint_is_not_started_by_looking(settings: Settings, tmp_path: Path) -> None:
    watch = HealthWatch(settings, pace=QUICK)
    for target in ("demo", "local"):
        watch.look_at(target)
        async with running(watch) as seen:
            await until(lambda seen=seen: len(seen) > 3)
        assert seen[-1].kind == target
        assert (seen[-1].reachable, seen[-1].text) == (None, "No warm worker · 0 in queue")
    assert [*tmp_path.iterdir()] == []


async def test_a_local_endpoint_is_looked_at_and_not_kept_up(settings: Settings, tmp_path: Path) -> None:
    target = EndpointTarget("demo", settings)
    assert await target.peek() is None
    await target.client()
    try:
        watch = HealthWatch(settings, pace=QUICK)
        watch.look_at("demo")
        async with running(watch) as seen:
            await until(lambda: seen[-1:] and seen[-1].idle, 30)
            assert (seen[-1].reachable, seen[-1].text) == (True, "1 idle · 0 in queue")
    finally:
        await target.stop()
    assert await target.peek() is None
