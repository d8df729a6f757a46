"""The account in the background, against a management API on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.account_watch import AccountPace, AccountStatus, AccountWatch
from app.errors import ComfyRunPodError
from app.settings import Secret, Settings
from tests.unit.endpoint.management import KEY, Management, managing
from tests.unit.jobs.helpers import until

SLOW = AccountPace(shown_s=600, hidden_s=600, failed_s=600)


@pytest.fixture
async def api() -> AsyncIterator[Management]:
    async with managing() as served:
        yield served


@pytest.fixture
def settings(tmp_path: Path, api: Management) -> Settings:
    known = Settings(data_dir=tmp_path, output_dir=tmp_path / "out", runpod_api_key=Secret(KEY))
    return replace(known, runpod_api_url=api.url)


@asynccontextmanager
async def running(watch: AccountWatch) -> AsyncIterator[list[AccountStatus]]:
    seen: list[AccountStatus] = []
    watch.watch(seen.append)
    task = asyncio.create_task(watch.run())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_endpoints_come_with_their_prices_and_those_that_take_no_jobs_are_left_out(
    settings: Settings, api: Management
) -> None:
    api.endpoints["balancer"] = {**api.endpoints["ep-one"], "id": "balancer", "type": "LOAD_BALANCER"}
    async with running(AccountWatch(settings, pace=SLOW)) as seen:
        await until(lambda: seen)
        (listed,) = seen[-1].endpoints.values()
        assert listed.endpoint.id == "ep-one"
        assert listed.rate is not None
        assert listed.price is not None
        assert listed.rate.usd_per_s == listed.price.highest > listed.price.lowest
        assert (listed.rate.idle_s, listed.is_off) == (5.0, False)


async def test_a_failure_is_told_and_what_was_known_stays(settings: Settings, api: Management) -> None:
    watch = AccountWatch(settings, pace=SLOW)
    async with running(watch) as seen:
        await until(lambda: seen)
        watch.use(replace(settings, runpod_api_key=Secret("rpa_another")))
        await until(lambda: seen[-1].problem)
        # Another key may be another account: nothing of the one before is shown for it.
        assert seen[-1].problem == "RunPod does not accept the API key."
        assert seen[-1].hint == "It may be mistyped or revoked."
        assert (seen[-1].endpoints, seen[-1].checked_at) == ({}, 0.0)
        watch.use(settings)
        await until(lambda: seen[-1].endpoints)
        api.key = "changed"
        watch.look_now()
        await until(lambda: seen[-1].problem)
        assert list(seen[-1].endpoints) == ["ep-one"]


@pytest.mark.parametrize("lacks", ["key", "management"])
async def test_without_a_key_or_beside_somebody_elses_job_api_nothing_is_asked(
    settings: Settings, api: Management, lacks: str
) -> None:
    if lacks == "key":
        settings = replace(settings, runpod_api_key=Secret(""))
    else:
        elsewhere = Settings(data_dir=settings.data_dir, output_dir=settings.output_dir)
        settings = replace(
            settings, runpod_api_url=elsewhere.runpod_api_url, runpod_base_url="http://127.0.0.1:9/v2"
        )
    async with running(AccountWatch(settings)) as seen:
        await asyncio.sleep(0.1)
        assert (seen, api.asked) == ([], [])


async def test_unseen_it_is_asked_more_seldom(settings: Settings, api: Management) -> None:
    watch = AccountWatch(settings, pace=AccountPace(shown_s=0.01, hidden_s=600, failed_s=600))
    watch.set_shown(shown=False)
    async with running(watch) as seen:
        await until(lambda: seen)
        await asyncio.sleep(0.1)
        assert len(seen) == 1
        watch.set_shown(shown=True)
        watch.look_now()
        await until(lambda: len(seen) > 3)


async def test_a_change_is_seen_at_once_and_a_refusal_is_raised(settings: Settings, api: Management) -> None:
    watch = AccountWatch(settings, pace=SLOW)
    async with running(watch) as seen:
        await until(lambda: seen)
        await watch.change("ep-one", workers_max=0)
        await until(lambda: seen[-1].endpoints["ep-one"].is_off)
        with pytest.raises(ComfyRunPodError, match="above"):
            await watch.change("ep-one", workers_min=9)
        workers, roll_out = await watch.workers("ep-one")
        assert (workers.workers[0].id, roll_out.total > 0) == ("w1", True)
        assert (await watch.compared([], 7)).startswith("RunPod billed $")
