"""A batch looked at as one, and `comfy-runpod jobs … --batch` on a store, in this process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.cli import _parser
from app.commands.batch import Batch
from app.commands.jobs import jobs
from app.errors import BadInput
from app.jobs.model import Job, OutputFile
from app.jobs.states import Hold, State
from app.jobs.store import JobStore
from app.settings import Settings
from tests.unit.jobs.helpers import spec

FIRST, SECOND = "abcdef12" * 4, "abcdff34" * 4


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[JobStore]:
    opened = JobStore(tmp_path / "jobs.sqlite")
    await opened.open()
    yield opened
    await opened.close()


def job(number: int, state: State, **values: Any) -> Job:
    return Job(
        f"{number:08}" * 4, number, f"fox · seed {number}", "demo", "/out", state, batch=FIRST, **values
    )


def picture(name: str) -> tuple[OutputFile, ...]:
    return (OutputFile(name, f"/out/{name}"),)


# -- as one ----------------------------------------------------------------------------------------------


def test_those_run_again_count_once_and_only_the_last_try_is_retried() -> None:
    batch = Batch(
        (
            job(1, State.DONE, outputs=picture("a.png")),
            job(2, State.FAILED),
            job(3, State.CANCELLED),
            job(4, State.TIMED_OUT, retry_of="00000002" * 4),
            job(5, State.ON_HOLD, hold=Hold.LIMIT),
        )
    )
    assert batch.counts == {State.ON_HOLD: 1, State.DONE: 1, State.CANCELLED: 1, State.TIMED_OUT: 1}
    assert [each.seq for each in batch.to_retry] == [3, 4]
    assert [each.seq for each in batch.unfinished] == [5]
    assert batch.described(0.0).splitlines() == [
        "batch abcdef12  4 jobs on demo: 1 on hold, 1 done, 1 cancelled, 1 timed out",
        f"  id         {FIRST}",
        "  results    1 file in /out",
        "  00000001  done            demo     fox · seed 1",
        "  00000002  failed          demo     fox · seed 2 (run again)",
        "  00000003  cancelled       demo     fox · seed 3",
        "  00000004  timed out       demo     fox · seed 4",
        "  00000005  on hold         demo     fox · seed 5",
    ]


def test_the_cost_is_what_is_known_of_all_tries() -> None:
    on_runpod = {"target": "abcd1234", "rate": 0.001, "execution_ms": 20_000}
    ended = replace(job(1, State.FAILED), **on_runpod)
    running = replace(job(2, State.RUNNING, started_at=70.0), target="abcd1234", rate=0.001)
    unpriced = replace(ended, id="x", rate=None)
    told = Batch((ended, running, unpriced)).to_json(now=100.0)
    assert (told["cost"], told["unpriced"]) == (pytest.approx(0.05), 1)
    shown = Batch((ended, running, unpriced)).described(100.0)
    assert "  cost       $0.050 so far, without 1 job at an unknown price\n" in shown
    assert "  cost       not known\n" in Batch((unpriced,)).described(100.0)
    assert "  cost       $0.020\n" in Batch((ended,)).described(100.0)
    assert "cost" not in Batch((job(1, State.DONE),)).described(100.0)


# -- in the store ----------------------------------------------------------------------------------------


async def test_a_batch_is_found_by_the_beginning_of_its_id(store: JobStore) -> None:
    ours = [(await store.add(spec(batch=FIRST))).id for _ in range(2)]
    await store.add(spec(batch=SECOND))
    plain = await store.add(spec(name=f'"batch": "{FIRST}"'))
    await store.change(plain.id, error={"batch": FIRST, "odd": float("nan")})
    for name in (FIRST, "abcdef", "abcdef12"):
        assert [each.id for each in await store.batch(name)] == ours
    longer = await store.add(spec(batch=f"{SECOND}5"))
    assert longer.id not in [each.id for each in await store.batch(SECOND)]
    with pytest.raises(BadInput, match="Several batches"):
        await store.batch("abcd")
    for name in ("abc", "", "*", "abce", "abcdef12*", 'ab"c', "\ud800abcd"):
        with pytest.raises(BadInput, match="There is no batch"):
            await store.batch(name)


# -- by the command --------------------------------------------------------------------------------------


@pytest.fixture
async def settings(tmp_path: Path) -> Settings:
    """With three jobs of one batch, and two others."""
    found = Settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out")
    store = JobStore(found.data_dir / "jobs.sqlite")
    await store.open()
    for number, batch in enumerate([FIRST, FIRST, "", FIRST, SECOND]):
        made = await store.add(spec(name=f"job {number}", batch=batch, target="abcd1234"))
        await store.change(made.id, state=State.CANCELLED if number else State.FAILED)
    await store.close()
    return found


async def said(settings: Settings, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert await jobs(_parser().parse_args(["jobs", *words]), settings) == 0
    return capsys.readouterr().out


async def test_list_and_show(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    listed = await said(settings, capsys, "list", "--batch", "abcdef", "--json")
    assert [json.loads(line)["name"] for line in listed.splitlines()] == ["job 3", "job 1", "job 0"]
    newest = await said(settings, capsys, "list", "--batch", "abcdef", "--limit", "1")
    assert newest.rstrip().endswith("cancelled       abcd1234 job 3")
    every = (await said(settings, capsys, "list")).splitlines()
    assert [line.partition("job ")[2] for line in every[:3]] == [
        "4  (batch abcdff34)",
        "3  (batch abcdef12)",
        "2",
    ]
    told = json.loads(await said(settings, capsys, "show", "--batch", "abcdef", "--json"))
    assert (told["batch"], told["states"]) == (FIRST, {"failed": 1, "cancelled": 2})
    assert [each["name"] for each in told["jobs"]] == ["job 0", "job 1", "job 3"]
    one = await said(settings, capsys, "show", told["jobs"][0]["id"])
    assert f"  batch      {FIRST}\n" in one


async def test_remove_and_what_has_ended(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert await said(settings, capsys, "cancel", "--batch", FIRST) == ""
    removed = await said(settings, capsys, "remove", "--batch", FIRST, "--json")
    assert len(removed.splitlines()) == 3
    assert len((await said(settings, capsys, "list")).splitlines()) == 2


@pytest.mark.parametrize("action", ["show", "cancel", "retry", "remove"])
async def test_jobs_or_a_batch_are_named(settings: Settings, action: str) -> None:
    for words, why in ([], "No job is named"), (["abcd1", "--batch", FIRST], "not both"):
        with pytest.raises(BadInput, match=why):
            await jobs(_parser().parse_args(["jobs", action, *words]), settings)
    with pytest.raises(BadInput, match="There is no batch 'fff0'"):
        await jobs(_parser().parse_args(["jobs", action, "--batch", "fff0"]), settings)
