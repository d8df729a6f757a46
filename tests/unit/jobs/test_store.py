"""Jobs on disk: what is acknowledged stays, whatever ends the process."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import BadInput
from app.jobs.model import Job, JobEvent, JobSpec, OutputFile
from app.jobs.states import Hold, IllegalMove, State
from app.jobs.store import JobStore
from app.workflows.parameters import Expected
from tests.unit.endpoint.helpers import Clock
from tests.unit.jobs.helpers import spec
from worker.contract import Progress

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[JobStore]:
    opened = JobStore(tmp_path / "folder" / "jobs.sqlite", clock=Clock())
    await opened.open()
    yield opened
    await opened.close()


async def test_a_job_comes_back_as_it_was_written(store: JobStore) -> None:
    wanted = spec(files={"a.png": "/x/a.png"}, ui_workflow={"nodes": []}, timeout_s=5.5)
    job = await store.add(wanted)
    assert (job.state, job.seq, job.created_at) == (State.PREPARING, 1, 1_000_000.0)
    assert await store.spec(job.id) == wanted
    output = OutputFile("a.png", "/out/a.png", "3", "image/png", 5, "f" * 64)
    changed = await store.change(
        job.id, state=State.ON_HOLD, hold=Hold.LIMIT, outputs=(output,), texts=("\ud800",), error={"a": [1]}
    )
    assert await store.get(job.id) == await store.find(job.id) == changed
    assert changed.outputs == (output,)
    assert (await store.change(job.id, state=State.PREPARING)).hold is None


async def test_the_timeline_has_every_move_and_note(tmp_path: Path) -> None:
    clock = Clock()
    store = JobStore(tmp_path / "jobs.sqlite", clock=clock)
    await store.open()
    job = await store.add(spec(), note="by hand")
    for values in ({"state": State.SUBMITTING}, {"retries": 3}, {"note": "half \ud800 a letter"}):
        clock.now += 1
        await store.change(job.id, **values)
    moves = [(move.at - 1_000_000, move.state, move.note) for move in await store.timeline(job.id)]
    assert moves == [
        (0, State.PREPARING, "by hand"),
        (1, State.SUBMITTING, ""),
        (3, State.SUBMITTING, "half \\ud800 a letter"),
    ]
    assert (await store.get(job.id)).changed_at == clock.now
    await store.close()


async def test_an_illegal_move_writes_nothing(store: JobStore) -> None:
    job = await store.add(spec())
    ended = await store.change(job.id, state=State.CANCELLED)
    with pytest.raises(IllegalMove):
        await store.change(job.id, state=State.RUNNING, retries=9, note="never")
    assert await store.get(job.id) == ended
    assert len(await store.timeline(job.id)) == 2


async def test_lists_are_in_order(store: JobStore) -> None:
    jobs = [await store.add(spec(name=str(n))) for n in range(5)]
    await store.change(jobs[1].id, state=State.CANCELLED)
    await store.change(jobs[3].id, state=State.SUBMITTING)
    assert [job.name for job in await store.unfinished()] == ["0", "2", "3", "4"]
    assert [job.name for job in await store.newest(2)] == ["4", "3"]


async def test_pages_go_back_to_the_oldest(store: JobStore) -> None:
    jobs = [await store.add(spec(name=str(n))) for n in range(5)]
    await store.change(jobs[2].id, state=State.CANCELLED)
    await store.remove([jobs[2].id])
    first = await store.page(None, 3)
    assert [job.name for job in first] == ["4", "3", "1"]
    assert [job.name for job in await store.page(first[-1].seq, 3)] == ["0"]
    assert await store.page(jobs[0].seq, 3) == []


async def test_counts_name_every_state(store: JobStore) -> None:
    for states in ((), (State.CANCELLED,), (State.CANCELLED,), (State.SUBMITTING, State.WAITING)):
        job = await store.add(spec())
        for state in states:
            await store.change(job.id, state=state)
    counts = await store.counts()
    assert set(counts) == set(State)
    assert {state: count for state, count in counts.items() if count} == {
        State.PREPARING: 1,
        State.CANCELLED: 2,
        State.WAITING: 1,
    }


async def test_removed_jobs_are_gone_with_their_timelines(store: JobStore) -> None:
    one, two, kept = [await store.add(spec()) for _ in range(3)]
    for job in (one, two):
        await store.change(job.id, state=State.CANCELLED)
    removed = await store.remove([one.id, two.id, one.id, "nobody"])
    assert [job.id for job in removed] == [one.id, two.id]
    assert await store.newest() == [kept]
    assert await store.timeline(one.id) == []
    assert await store.ids() == {kept.id}
    assert (await store.add(spec())).seq > kept.seq


async def test_nothing_is_removed_when_one_has_not_ended(store: JobStore) -> None:
    ended, running = await store.add(spec()), await store.add(spec(name="the slow one"))
    await store.change(ended.id, state=State.CANCELLED)
    with pytest.raises(BadInput, match=f"{running.id[:8]}.*the slow one"):
        await store.remove([ended.id, running.id])
    assert len(await store.newest()) == 2
    assert await store.timeline(ended.id)


async def test_a_jobs_times_are_those_of_its_last_run(tmp_path: Path) -> None:
    clock = Clock()
    store = JobStore(tmp_path / "jobs.sqlite", clock=clock)
    await store.open()
    job = await store.add(spec())
    seen = []
    for state in (
        State.SUBMITTING,
        State.WAITING,
        State.RUNNING,
        State.RUNNING,
        State.WAITING,
        State.RUNNING,
        State.DOWNLOADING,
        State.DONE,
    ):
        clock.now += 1
        job = await store.change(job.id, state=state)
        seen.append((job.started_at, job.ended_at))
    start = 1_000_000.0
    assert [(a and a - start, b and b - start) for a, b in seen] == [
        *((None, None), (None, None), (3, None), (3, None)),
        *((None, None), (6, None), (6, None), (6, 8)),
    ]
    await store.close()


async def test_a_store_may_be_closed_twice(store: JobStore) -> None:
    await store.close()
    await store.close()


async def test_only_downloading_jobs_have_planned_paths(store: JobStore) -> None:
    for states in ((), (State.SUBMITTING, State.WAITING, State.DOWNLOADING)):
        job = await store.add(spec())
        for state in states:
            await store.change(job.id, state=state, outputs=(OutputFile("a", f"/out/{state}"),))
    assert await store.planned_paths() == {"/out/downloading"}
    await store.change(job.id, state=State.DONE)
    assert await store.planned_paths() == set()


async def test_the_questions_of_every_event_use_an_index(store: JobStore) -> None:
    """With ten thousand ended jobs on disk, nothing that is asked often may read them all."""
    seen: list[str] = []
    await store._run(lambda db: db.set_trace_callback(seen.append))
    await store.unfinished()
    await store.planned_paths()
    await store.find("x")
    await store.page(7, 200)
    await store.remove(["x"])
    await store._run(lambda db: db.set_trace_callback(None))
    await store.counts()

    def plans(db: sqlite3.Connection) -> list[str]:
        return [row[3] for query in seen for row in db.execute(f"EXPLAIN QUERY PLAN {query}")]

    plan = await store._run(plans)
    assert sum("SEARCH jobs USING" in step for step in plan) == 5
    assert not [step for step in plan if "SCAN" in step]


async def test_an_id_may_be_given_by_its_beginning(store: JobStore) -> None:
    one, two = [await store.add(spec(id=name)) for name in ("abcd1111", "abcd2222")]
    assert await store.get("abcd1") == one
    assert await store.get(two.id) == two
    for name, why in (("abcd", "Several"), ("abc", "no job"), ("*bcd1", "no job"), ("", "no job")):
        with pytest.raises(BadInput, match=why):
            await store.get(name)
    assert await store.find("abcd1") is None
    assert (await store.change("abcd1", retries=2)).id == one.id
    assert (await store.get(one.id)).retries == 2


async def test_a_change_is_on_the_disk_before_it_is_acknowledged(store: JobStore) -> None:
    """A kill of the process cannot tell; a power cut would."""
    assert await store._run(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)


async def test_all_its_files_are_the_users_alone(store: JobStore, tmp_path: Path) -> None:
    await store.add(spec())
    files = list((tmp_path / "folder").iterdir())
    assert len(files) == 3, "the database, its log, its index"
    if os.name == "posix":
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


@pytest.mark.parametrize(
    "content", [b"no database at all, but long enough to be one" * 50, b"SQLite format 3\0"]
)
async def test_a_damaged_file_is_said_plainly(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "jobs.sqlite"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="cannot be used") as caught:
        await JobStore(path).open()
    assert str(path) in str(caught.value)
    assert caught.value.hint
    assert path.read_bytes() == content


async def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    with pytest.raises(BadInput, match="newer version"):
        await JobStore(path).open()


async def test_a_folder_that_cannot_be_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be used"):
        await JobStore(tmp_path / "file" / "jobs.sqlite").open()


async def test_a_write_that_has_begun_is_finished_when_its_caller_is_cancelled(store: JobStore) -> None:
    blocked, go_on = threading.Event(), threading.Event()

    def hold(_db: sqlite3.Connection) -> None:
        blocked.set()
        go_on.wait(10)

    held = asyncio.create_task(store._run(hold))
    await asyncio.to_thread(blocked.wait, 10)
    adding = asyncio.create_task(store.add(spec(id="kept")))
    await asyncio.sleep(0)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    go_on.set()
    await held
    assert await store.find("kept") is not None


_WRITER = """
import asyncio, sys
from pathlib import Path
from app.jobs.model import JobSpec
from app.jobs.states import State
from app.jobs.store import JobStore

async def main():
    store = JobStore(Path(sys.argv[1]))
    await store.open()
    number = 0
    while True:
        job = await store.add(JobSpec(str(number), "demo", {}, "out"))
        print(job.id, "preparing", flush=True)
        await store.change(job.id, state=State.SUBMITTING)
        print(job.id, "submitting", flush=True)
        number += 1

asyncio.run(main())
"""


async def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    """One process writes and is killed amid it, while we read beside it."""
    path = tmp_path / "jobs.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    try:
        acknowledged = [writer.stdout.readline().split() for _ in range(40)]
        reader = JobStore(path)
        await reader.open()
        assert len(await reader.newest(100)) >= 20
        acknowledged += [writer.stdout.readline().split() for _ in range(21)]
    finally:
        writer.kill()
        rest = writer.communicate()[0]
    acknowledged += [line.split() for line in rest.splitlines() if line.endswith("ing")]
    await reader.close()

    store = JobStore(path)
    await store.open()
    states = {job.id: job.state for job in await store.unfinished()}
    assert len(dict(acknowledged)) > 20
    for job_id, state in dict(acknowledged).items():
        allowed = {state, "submitting"}
        assert states[job_id] in allowed
        assert (await store.timeline(job_id))[-1].state is states[job_id]
    assert [job.name for job in await store.unfinished()] == [str(n) for n in range(len(states))]
    await store.close()


def test_a_job_survives_json_and_unknown_keys() -> None:
    job = Job("i", 3, "n", "t", "o", state=State.ON_HOLD, hold=Hold.MISSING, texts=("a",), warnings=("b",))
    raw = json.loads(json.dumps(job.to_json()))
    assert Job.from_json({**raw, "of_a_newer_version": 1}) == job
    expecting = replace(
        job, expected=Expected("image", 4, 896, 1152), retry_of="x", started_at=1.5, ended_at=2.0
    )
    assert Job.from_json(json.loads(json.dumps(expecting.to_json()))) == expecting
    wanted = spec()
    assert JobSpec.from_json({**json.loads(json.dumps(wanted.to_json())), "new": 1}) == wanted


def test_a_job_written_by_the_first_version_still_loads() -> None:
    raw = Job("i", 3, "n", "t", "o", state=State.DONE, changed_at=7.0).to_json()
    for key in ("expected", "retry_of", "started_at", "ended_at"):
        del raw[key]
    job = Job.from_json(raw)
    assert (job.expected, job.retry_of, job.started_at, job.ended_at) == (None, None, None, None)


@pytest.mark.parametrize("removed", [False, True])
def test_an_event_survives_json(removed: bool) -> None:
    job = Job("i", 3, "n", "t", "o", state=State.RUNNING)
    event = JobEvent(job, None if removed else Progress("3", "KSampler", 1, 2, 3, 4, "x"), removed)
    assert JobEvent.from_json(json.loads(json.dumps(event.to_json()))) == event


@pytest.mark.parametrize(
    "changes",
    [{"prompt": []}, {"name": 5}, {"id": None}, {"files": ["a"]}, {"files": {"a": 1}}, {"retry_of": 5}],
)
def test_a_specification_of_the_wrong_shape_is_refused(changes: dict[str, object]) -> None:
    raw = {**spec().to_json(), **changes}
    with pytest.raises((ValueError, TypeError)):
        JobSpec.from_json(raw)


def test_only_a_hold_that_needs_the_user_is_stuck() -> None:
    job = Job("i", 1, "n", "t", "o", state=State.ON_HOLD)
    free = [hold for hold in Hold if not replace(job, hold=hold).is_stuck]
    assert free == [Hold.LIMIT, Hold.ENGINE_DOWN]
