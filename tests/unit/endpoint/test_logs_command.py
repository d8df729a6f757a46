"""``comfy-runpod endpoint logs``, in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.cli import _parser
from app.commands import logs as module
from app.commands.endpoint import endpoint
from app.endpoint.errors import KeyRefused
from app.endpoint.worker_logs import UnknownWorker
from app.errors import BadInput
from app.settings import Secret, Settings
from tests.unit.endpoint.management import KEY, Management, WorkerLog, managing
from tests.unit.jobs.helpers import until


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Management]:
    monkeypatch.setattr(module, "_QUIET_S", 0.1)
    async with managing() as management:
        management.logs = {"w1": WorkerLog(), "w2": WorkerLog()}
        management.logs["w1"].say("\x1b[31mhello\x1b[0m", ts="2026-06-01T12:00:02Z")
        management.logs["w2"].say("WARNING | low memory", ts="2026-06-01T12:00:01Z")
        management.logs["w2"].say("worker is ready", source="system", ts="2026-06-01T12:00:03Z")
        yield management


async def run(tmp_path: Path, api: Management, *words: str, key: str = KEY) -> int:
    settings = Settings(
        data_dir=tmp_path,
        output_dir=tmp_path,
        runpod_api_url=api.url,
        runpod_api_key=Secret(key),
        runpod_endpoint_id="ep-one",
    )
    return await endpoint(_parser().parse_args(["endpoint", "logs", *words]), settings)


async def test_lines_of_all_workers_are_printed_by_their_time(
    tmp_path: Path, api: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(tmp_path, api) == 0
    told = [line.split(None, 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert told == ["w2  WARNING  low memory", "w1  INFO     hello", "w2  INFO     worker is ready"]


async def test_one_worker_one_source_as_json(
    tmp_path: Path, api: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("ep-one", "--worker", "w2", "--source", "container", "--tail", "5", "--json")
    assert await run(tmp_path, api, *words) == 0
    assert json.loads(capsys.readouterr().out) == {
        "worker": "w2", "source": "container", "at": 1780315201.0, "line": "WARNING | low memory",
    }  # fmt: skip
    assert "GET serverless/ep-one/workers/w2/logs?tail=5&source=container" in api.asked


async def test_it_is_followed_until_the_worker_goes(
    tmp_path: Path, api: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    following = asyncio.create_task(run(tmp_path, api, "--worker", "w1", "--follow"))
    await until(lambda: api.logs["w1"].readers)
    await asyncio.sleep(0.2)
    api.logs["w1"].say("later")
    said = ""
    while "later" not in said:
        said += capsys.readouterr().out
        await asyncio.sleep(0.01)
    assert said.split()[1:] == ["INFO", "hello", *said.split()[3:]]
    api.gone("w1")
    assert await following == 0


async def test_what_cannot_be_had_is_said(
    tmp_path: Path, api: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnknownWorker, match="has gone"):
        await run(tmp_path, api, "--worker", "nobody")
    with pytest.raises(KeyRefused):
        await run(tmp_path, api, "--worker", "w1", key="rpa_another_key")
    with pytest.raises(BadInput, match="--tail"):
        await run(tmp_path, api, "--tail", "5001")
    api.workers["workers"] = []
    assert await run(tmp_path, api) == 0
    assert capsys.readouterr().err == "No worker is up, so there is no log.\n"
