"""The endpoint as a process of its own, with real workers."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from app.endpoint.local import LocalEndpoint, peek
from app.errors import ProcessFailed
from tests.unit.endpoint.helpers import make_config
from worker.process import wait_for_end


@pytest.fixture
async def endpoint(tmp_path: Path, sdk_worker: tuple[str, ...]) -> AsyncIterator[LocalEndpoint]:
    made = LocalEndpoint(make_config(tmp_path, worker_argv=sdk_worker, poll_hold_s=20))
    yield made
    await made.stop()
    await _reaped()


async def _reaped() -> None:
    """The threads that collect exit codes have ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("reap-"):
            await asyncio.to_thread(thread.join, 10)


async def _workers(pid: int) -> list[psutil.Process]:
    while not (children := psutil.Process(pid).children(recursive=True)):
        await asyncio.sleep(0.05)
    return children


async def test_a_killed_endpoint_goes_on_where_it_was(endpoint: LocalEndpoint) -> None:
    config = endpoint.config
    access = await endpoint.ensure()
    async with endpoint.client() as client:
        running = await client.run({"mode": "first_time_hang", "mark": "m"})
        waiting = await client.run({"mode": "echo"})
        while not (config.volume_dir / "m").exists():
            await asyncio.sleep(0.05)
    family = await _workers(access.pid)
    psutil.Process(access.pid).kill()
    for process in family:
        assert await asyncio.to_thread(wait_for_end, process.pid, 10), "a worker outlived the endpoint"

    again = await endpoint.ensure()
    assert again.pid != access.pid
    assert again.api_key == access.api_key
    async with endpoint.client() as client:
        for job_id, retries in ((running.id, 1), (waiting.id, 0)):
            while not (reply := await client.status(job_id)).is_final:
                await asyncio.sleep(0.05)
            assert (reply.status, reply.retries) == ("COMPLETED", retries)


async def test_it_is_found_replaced_and_stopped(tmp_path: Path) -> None:
    sleeper = (sys.executable, "-c", "import sys; sys.stdin.read()")
    config = make_config(tmp_path, worker_argv=sleeper, idle_exit_s=60)
    endpoint = LocalEndpoint(config)
    first = await endpoint.ensure()
    assert first.api_key not in repr(first)
    state = config.data_dir / "endpoint.json"
    assert state.stat().st_mode & 0o077 == 0 or sys.platform == "win32"

    assert await LocalEndpoint(config).ensure() == first, "the living one is adopted"

    other = LocalEndpoint(dataclasses.replace(config, worker_env={**config.worker_env, "OTHER": "1"}))
    second = await other.ensure()
    assert second.pid != first.pid, "an idle one with other settings is replaced"

    async with other.client() as client:
        await client.run({"a": 1})
    assert (await endpoint.ensure()).pid == second.pid, "a busy one is not"
    assert not await endpoint.stop_if_idle()
    async with other.client() as client:
        await client.purge_queue()
    family = await _workers(second.pid)
    assert await endpoint.stop_if_idle()
    for pid in (second.pid, *(process.pid for process in family)):
        assert await asyncio.to_thread(wait_for_end, pid, 5)
    assert not state.exists()
    await endpoint.stop()  # nothing to stop is no error
    with pytest.raises(ProcessFailed):
        endpoint.client()
    await _reaped()


async def test_only_one_runs_on_a_folder(tmp_path: Path) -> None:
    config = make_config(tmp_path, worker_argv=(sys.executable, "-c", "import sys; sys.stdin.read()"))
    panels = [LocalEndpoint(config) for _ in range(2)]
    first, second = await asyncio.gather(*(panel.ensure() for panel in panels))
    assert first == second
    file = tmp_path / "c.json"
    config.to_file(file)
    refused = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "app.endpoint", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 3
    assert len(refused.stderr.splitlines()) == 1
    await panels[0].stop()
    await _reaped()


async def test_it_starts_after_another_one_has_ended(tmp_path: Path) -> None:
    config = make_config(tmp_path, workers=0)
    config.data_dir.mkdir(parents=True)
    log = config.data_dir / "logs" / "endpoint.log"
    with FileLock(config.data_dir / "endpoint.lock").acquire():
        starting = asyncio.create_task(LocalEndpoint(config).ensure())
        while not (log.exists() and "already runs" in log.read_text(encoding="utf-8")):
            await asyncio.sleep(0.05)
        assert not starting.done()
    await starting
    await LocalEndpoint(config).stop()
    await _reaped()


async def test_a_stale_state_file_does_not_matter(tmp_path: Path) -> None:
    config = make_config(tmp_path, workers=0)
    config.data_dir.mkdir(parents=True)
    stale = {"port": 1, "key": "k", "pid": 2**22 + 1, "digest": config.digest}
    (config.data_dir / "endpoint.json").write_text(json.dumps(stale))
    endpoint = LocalEndpoint(config)
    assert (await endpoint.ensure()).pid != stale["pid"]
    await endpoint.stop()
    await _reaped()


async def test_another_process_of_the_same_number_is_left_alone(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    config.data_dir.mkdir(parents=True)
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as other:
        state = {"port": 1, "key": "k", "pid": other.pid, "digest": "x"}
        (config.data_dir / "endpoint.json").write_text(json.dumps(state))
        await LocalEndpoint(config).stop()
        assert other.poll() is None
        assert other.stdin is not None
        other.stdin.close()


async def test_it_ends_by_itself_when_nobody_needs_it(tmp_path: Path) -> None:
    config = make_config(tmp_path, workers=0, idle_exit_s=0.5)
    access = await LocalEndpoint(config).ensure()
    assert await asyncio.to_thread(wait_for_end, access.pid, 20)
    assert not (config.data_dir / "endpoint.json").exists()
    await _reaped()


async def test_looking_at_it_neither_starts_it_nor_keeps_it_up(tmp_path: Path) -> None:
    config = make_config(tmp_path, workers=0, idle_exit_s=1.0)
    assert await peek(config.data_dir, config.endpoint_id) is None
    access = await LocalEndpoint(config).ensure()
    looks = 0
    while (health := await peek(config.data_dir, config.endpoint_id)) is not None:
        assert health.jobs["inQueue"] == 0
        looks += 1
        await asyncio.sleep(0.02)
    assert looks > 5
    assert await asyncio.to_thread(wait_for_end, access.pid, 20)
    assert await peek(config.data_dir, config.endpoint_id) is None
    await _reaped()


async def test_a_failed_start_shows_the_log(tmp_path: Path) -> None:
    config = make_config(tmp_path, workers=0)
    config.data_dir.mkdir(parents=True)
    (config.data_dir / "jobs.sqlite3").write_bytes(b"this is not a database" * 100)
    with pytest.raises(ProcessFailed) as caught:
        await LocalEndpoint(config).ensure()
    assert "not a database" in str(caught.value)
    assert any("not a database" in line for line in caught.value.details["log"])
    await _reaped()


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["missing.json"]])
def test_a_wrong_call_is_one_sentence(arguments: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "app.endpoint", *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
