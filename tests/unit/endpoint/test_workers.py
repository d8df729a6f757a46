"""The pool with the SDK's real worker loop, in our own process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.endpoint.client import JobClient
from app.endpoint.config import EndpointConfig
from app.endpoint.model import JobReply
from app.endpoint.platform import Platform
from app.endpoint.workers import WorkerPool
from tests.unit.endpoint.helpers import KEY, make_config
from worker.process import wait_for_end

PLANTED = "rpa_PLANTED_IN_THE_HOME_FOLDER"


class Running:
    """A platform with its pool and a client."""

    def __init__(self, platform: Platform, pool: WorkerPool, client: JobClient) -> None:
        self.platform = platform
        self.pool = pool
        self.client = client
        self.headers: list[str | None] = []

    async def result(self, **job_input: Any) -> JobReply:
        return await self.until_final((await self.client.run(job_input)).id)

    async def until_final(self, job_id: str) -> JobReply:
        while not (reply := await self.client.status(job_id)).is_final:
            await asyncio.sleep(0.05)
        return reply

    async def until_running(self, job_id: str) -> None:
        while (await self.client.status(job_id)).status != "IN_PROGRESS":
            await asyncio.sleep(0.01)

    async def only_worker(self) -> psutil.Process:
        while not (pids := self.pool.pids()):
            await asyncio.sleep(0.05)
        return psutil.Process(pids[0])


@asynccontextmanager
async def running(config: EndpointConfig) -> AsyncIterator[Running]:
    headers: list[str | None] = []
    platform = Platform(
        config, KEY, on_request=lambda request: headers.append(request.headers.get("Authorization"))
    )
    port = await platform.start()
    url = f"http://127.0.0.1:{port}/worker/{platform.secret}"
    pool = WorkerPool(config, platform.dispatcher, url=url, secret=platform.secret)
    platform.workers = pool.counts
    pool.start()
    async with JobClient(f"http://127.0.0.1:{port}/v2", config.endpoint_id, KEY) as client:
        made = Running(platform, pool, client)
        made.headers = headers
        try:
            yield made
        finally:
            platform.dispatcher.close()
            await pool.stop()
            await platform.close()


@pytest.fixture
def planted_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home-of-the-user"
    (home / ".runpod").mkdir(parents=True)
    (home / ".runpod" / "config.toml").write_text(f'[default]\napi_key = "{PLANTED}"\n')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("RUNPOD_API_KEY", PLANTED)
    monkeypatch.setenv("SOME_TOKEN", "x")
    return home


async def test_one_worker_through_its_life(
    tmp_path: Path, sdk_worker: tuple[str, ...], planted_home: Path
) -> None:
    config = make_config(tmp_path, worker_argv=sdk_worker, worker_env={"EXTRA": "1"}, poll_hold_s=20)
    async with running(config) as it:
        assert (await it.client.health()).workers["initializing"] == 1

        reply = await it.result(mode="echo", text="ü")
        assert (reply.status, reply.output) == ("COMPLETED", {"echo": {"mode": "echo", "text": "ü"}})
        assert (reply.worker_id, reply.retries, reply.error) == ("local-w1", 0, None)
        assert reply.execution_ms is not None

        reply = await it.result(mode="error")
        assert (reply.status, reply.error, reply.output) == ("FAILED", "node 7 failed", {"images": ["a.png"]})

        reply = await it.result(mode="raise")
        assert (reply.status, reply.error_message) == ("FAILED", "boom")

        reply = await it.result(mode="home")
        assert reply.output["home"] == str(config.data_dir / "home")
        assert "EXTRA" in reply.output["names"]
        assert not {"RUNPOD_API_KEY", "SOME_TOKEN"} & set(reply.output["names"])

        job = await it.client.run({"mode": "progress"})
        while (reply := await it.client.status(job.id)).output is None:
            await asyncio.sleep(0.05)
        assert (reply.status, reply.output) == ("IN_PROGRESS", {"step": 1})
        assert (await it.client.health()).workers["running"] == 1

        # Nothing but the cancel can end that job, and the next one needs the worker free.
        next_job = await it.client.run({"mode": "pid"})
        assert (await it.client.cancel(job.id)).status == "CANCELLED"
        before = (await it.until_final(next_job.id)).output["pid"]
        reply = await it.client.status(job.id)
        assert (reply.status, reply.has_output) == ("CANCELLED", False)
        assert (await it.client.health()).workers["idle"] == 1

        # Cancelled in the moment it was taken, before the SDK has begun it.
        job = await it.client.run({"mode": "hang"})
        await it.until_running(job.id)
        await it.client.cancel(job.id)
        assert (await it.result(mode="pid")).output == {"pid": before}

        assert before == (await it.only_worker()).pid
        assert (await it.result(mode="fresh")).output == {"pid": before}
        assert (await it.result(mode="pid")).output["pid"] != before

        secret = it.platform.secret
        seen = set(it.headers)
        worker = await it.only_worker()
        family = [worker, *worker.children(recursive=True)]
    assert seen == {f"Bearer {KEY}", "local"}, "the planted key reached a request"
    assert all(wait_for_end(process.pid, 5) for process in family)
    log = (config.data_dir / "logs" / "worker-1.log").read_text(encoding="utf-8")
    assert "Started" in log or "Finished" in log
    assert secret not in log
    assert PLANTED not in log
    assert (config.data_dir / "home").stat().st_mode & 0o077 == 0 or os.name != "posix"


async def test_a_killed_worker_is_replaced_and_its_job_run_once_more(
    tmp_path: Path, sdk_worker: tuple[str, ...]
) -> None:
    config = make_config(tmp_path, worker_argv=sdk_worker, poll_hold_s=20)
    async with running(config) as it:
        job = await it.client.run({"mode": "first_time_hang", "mark": "m"})
        while not (config.volume_dir / "m").exists():
            await asyncio.sleep(0.05)
        worker = await it.only_worker()
        heartbeats = worker.children(recursive=True)
        assert heartbeats, "the SDK started no ping process"
        worker.kill()
        reply = await it.until_final(job.id)
        assert (reply.status, reply.retries) == ("COMPLETED", 1)
        assert all(wait_for_end(process.pid, 5) for process in heartbeats), (
            "a ping process outlived its worker"
        )


@pytest.mark.skipif(os.name != "posix", reason="needs SIGSTOP")
async def test_a_silent_worker_is_replaced(tmp_path: Path, sdk_worker: tuple[str, ...]) -> None:
    config = make_config(
        tmp_path, worker_argv=sdk_worker, poll_hold_s=20, ping_interval_ms=1000, worker_lost_after_s=3.0
    )
    async with running(config) as it:
        job = await it.client.run({"mode": "first_time_hang", "mark": "m"})
        while not (config.volume_dir / "m").exists():
            await asyncio.sleep(0.05)
        worker = await it.only_worker()
        for process in (worker, *worker.children(recursive=True)):
            process.suspend()
        reply = await it.until_final(job.id)
        assert (reply.status, reply.retries) == ("COMPLETED", 1)
        assert (await it.only_worker()).pid != worker.pid


async def test_a_worker_that_dies_of_its_start_is_started_ever_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    rest = WorkerPool._rest

    async def note(pool: WorkerPool, slot: Any, lived_s: float, *, wanted: bool) -> None:
        pauses.append(slot.pause_s)
        await rest(pool, slot, lived_s, wanted=wanted)

    monkeypatch.setattr(WorkerPool, "_rest", note)
    async with running(make_config(tmp_path)) as it:  # a worker that ends at once
        while len(pauses) < 3:
            await asyncio.sleep(0.05)
        job = await it.client.run({"a": 1})
        while not (await it.client.health()).workers["unhealthy"]:
            await asyncio.sleep(0.02)
        assert (await it.client.status(job.id)).status == "IN_QUEUE"
    assert pauses[:3] == [0.2, 0.4, 0.8]


async def test_a_program_that_does_not_exist_takes_nothing_down(tmp_path: Path) -> None:
    async with running(make_config(tmp_path, worker_argv=(str(tmp_path / "missing"),))) as it:
        while not (await it.client.health()).workers["unhealthy"]:
            await asyncio.sleep(0.02)
