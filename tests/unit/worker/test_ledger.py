"""One result per job: claims of living and dead workers, stored results, conflicts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.helpers import Bench, demo, until
from tests.unit.worker.test_contract import ANYTHING
from tests.unit.worker.test_handler import color, slow
from worker.errors import JobError
from worker.ledger import Ledger
from worker.life import Life
from worker.process import clean_environment
from worker.upkeep import jobs_folder

ROOT = Path(__file__).parents[3]
ELSEWHERE = {"machine": "another", "pid": 1, "born": 1.0}


class Runs:
    """What a job does here: counts itself, waits until it may end, answers or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.count = 0
        self.go = asyncio.Event()
        self.go.set()
        self.fails = fails

    async def __call__(self) -> dict[str, Any]:
        self.count += 1
        number = self.count
        await self.go.wait()
        if self.fails:
            raise JobError("execution_failed", f"Failure {number}.")
        return {"status": "success", "number": number}


def ledger(folder: Path, **times: float) -> Ledger:
    return Ledger(folder, "w1", **{"beat_s": 0.05, "stale_s": 0.3, "poll_s": 0.01, **times})


def claimed(room: Path, *, beat: float, life: Any = None, digest: str = "d", name: str = "claim") -> Path:
    """A claim as another worker left it."""
    room.mkdir(parents=True, exist_ok=True)
    told = {"worker": "w2", "input_sha256": digest, "life": life or ELSEWHERE, "beat": beat}
    (room / name).write_text(json.dumps(told))
    return room / name


async def test_a_success_is_given_again_and_a_failure_runs_again(tmp_path: Path) -> None:
    runs, books = Runs(fails=True), ledger(tmp_path)
    for number in (1, 2):
        with pytest.raises(JobError, match=f"Failure {number}"):
            await books.once("job", "d", runs, patience_s=1)
    runs.fails = False
    first = await books.once("job", "d", runs, patience_s=1)
    again = await ledger(tmp_path).once("job", "d", runs, patience_s=1)
    assert first == again == {"status": "success", "number": 3}
    assert not list(tmp_path.rglob("*.part"))


async def test_the_same_id_with_another_input_is_a_conflict(tmp_path: Path) -> None:
    runs, books = Runs(), ledger(tmp_path)
    runs.go.clear()
    task = asyncio.create_task(books.once("job", "d", runs, patience_s=5))
    while not runs.count:
        await asyncio.sleep(0.01)
    for finished in (False, True):
        with pytest.raises(JobError, match="'job' belongs to a job with another input") as caught:
            await ledger(tmp_path).once("job", "other", runs, patience_s=5)
        assert caught.value.code == "id_conflict"
        if not finished:
            runs.go.set()
            await task
    assert runs.count == 1


async def test_a_failed_job_may_be_sent_again_with_another_input(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="Failure 1"):
        await ledger(tmp_path).once("job", "wrong", Runs(fails=True), patience_s=1)
    assert await ledger(tmp_path).once("job", "right", Runs(), patience_s=1)


@pytest.mark.parametrize("count", [2, 12])
async def test_of_many_at_once_one_runs_and_all_get_its_answer(tmp_path: Path, count: int) -> None:
    runs = Runs()
    runs.go.clear()
    tasks = [
        asyncio.create_task(ledger(tmp_path).once("job", "d", runs, patience_s=20)) for _ in range(count)
    ]
    await asyncio.sleep(0.1)
    assert runs.count == 1
    runs.go.set()
    assert await asyncio.gather(*tasks) == [{"status": "success", "number": 1}] * count


async def test_a_live_claim_outlasts_the_stale_limit_and_the_waiting_one_s_patience(tmp_path: Path) -> None:
    runs = Runs()
    runs.go.clear()
    holder = asyncio.create_task(ledger(tmp_path).once("job", "d", runs, patience_s=5))
    while not runs.count:
        await asyncio.sleep(0.01)
    began = time.monotonic()
    with pytest.raises(JobError, match="Another worker has the job 'job'") as caught:
        await ledger(tmp_path).once("job", "d", Runs(), patience_s=0.8)
    assert caught.value.code == "still_running"
    assert time.monotonic() - began >= 0.8, "it waited, longer than a claim may be silent"
    runs.go.set()
    assert (await holder)["number"] == 1


async def test_when_the_holder_fails_the_waiting_one_runs(tmp_path: Path) -> None:
    broken, runs = Runs(fails=True), Runs()
    broken.go.clear()
    holder = asyncio.create_task(ledger(tmp_path).once("job", "d", broken, patience_s=5))
    while not broken.count:
        await asyncio.sleep(0.01)
    waiting = asyncio.create_task(ledger(tmp_path).once("job", "d", runs, patience_s=5))
    await asyncio.sleep(0.05)
    broken.go.set()
    with pytest.raises(JobError, match="Failure"):
        await holder
    assert (await waiting)["status"] == "success"


async def test_a_cancelled_holder_lets_go(tmp_path: Path) -> None:
    runs = Runs()
    runs.go.clear()
    holder = asyncio.create_task(ledger(tmp_path).once("job", "d", runs, patience_s=5))
    while not runs.count:
        await asyncio.sleep(0.01)
    holder.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holder
    runs.go.set()
    began = time.monotonic()
    assert await ledger(tmp_path, stale_s=60).once("job", "d", runs, patience_s=5)
    assert time.monotonic() - began < 1


async def test_a_job_that_is_cancelled_at_any_instant_keeps_no_claim(tmp_path: Path) -> None:
    for number in range(40):
        books, room = ledger(tmp_path, stale_s=60), f"job-{number}"
        task = asyncio.create_task(books.once(room, "d", Runs(), patience_s=5))
        await asyncio.sleep(number * 0.0001)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        async with asyncio.timeout(2):
            assert await ledger(tmp_path, stale_s=60).once(room, "d", Runs(), patience_s=5)


def dead() -> dict[str, Any]:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return {**Life.own().to_json(), "pid": child.pid}


@pytest.mark.parametrize(
    ("life", "age", "waits"),
    [
        (dead, 0, 0.0),
        (lambda: {**Life.own().to_json(), "born": 5.0}, 0, 0.0),  # its number is another's by now
        (lambda: ELSEWHERE, 0, 0.3),
        (lambda: ELSEWHERE, 3600, 0.07),  # looks old, but clocks differ: a beat would have come
        (lambda: "nonsense", 0, 0.3),
    ],
)
async def test_the_claim_of_a_dead_worker_is_taken_over(
    tmp_path: Path, life: Callable[[], Any], age: float, waits: float
) -> None:
    claimed(tmp_path / "job", beat=time.time() - age, life=life())
    began = time.monotonic()
    assert await ledger(tmp_path).once("job", "d", Runs(), patience_s=10)
    assert waits <= time.monotonic() - began < waits + 0.6
    assert (tmp_path / "job" / "claim.2").is_file()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"beat": "x"}'])
async def test_a_claim_that_a_crash_left_half_written_is_taken_over(tmp_path: Path, content: str) -> None:
    path = claimed(tmp_path / "job", beat=1)
    path.write_text(content)
    assert await ledger(tmp_path).once("job", "d", Runs(), patience_s=10)


async def test_of_many_that_find_a_dead_claim_one_takes_over(tmp_path: Path) -> None:
    claimed(tmp_path / "job", beat=time.time(), life=dead())
    claimed(tmp_path / "job", beat=time.time(), life=dead(), name="claim.10")
    runs = Runs()
    answers = await asyncio.gather(
        *(ledger(tmp_path).once("job", "d", runs, patience_s=20) for _ in range(12))
    )
    assert (runs.count, len({json.dumps(answer) for answer in answers})) == (1, 1)
    assert (tmp_path / "job" / "claim.11").is_file()


async def test_a_worker_that_was_taken_over_gives_the_other_s_result(tmp_path: Path) -> None:
    """It was asleep for too long and did the work for nothing: there is one answer all the same."""
    sleeper, runs = Runs(), Runs()
    sleeper.go.clear()
    holder = asyncio.create_task(ledger(tmp_path, beat_s=60).once("job", "d", sleeper, patience_s=5))
    while not sleeper.count:
        await asyncio.sleep(0.01)
    runs.count = 10
    taken = await ledger(tmp_path, beat_s=0.01, stale_s=0.2).once("job", "d", runs, patience_s=5)
    sleeper.go.set()
    assert await holder == taken == {"status": "success", "number": 11}


async def test_a_result_that_is_worth_nothing_any_more_is_made_anew(tmp_path: Path) -> None:
    runs, books = Runs(), ledger(tmp_path)
    await books.once("job", "d", runs, patience_s=1)
    answer = await books.once("job", "d", runs, patience_s=1, usable=lambda stored: stored["number"] > 1)
    assert answer["number"] == 2
    (tmp_path / "job" / "result.json").write_text("damaged")
    assert (await books.once("job", "d", runs, patience_s=1))["number"] == 3


async def test_a_folder_that_refuses_costs_no_job(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    assert await ledger(tmp_path / "file").once("job", "d", Runs(), patience_s=1)
    assert "runs without a claim" in caplog.text


@given(ANYTHING, st.dictionaries(st.sampled_from(["machine", "pid", "born"]), ANYTHING))
def test_any_life_can_be_read_and_only_ended_ones_are_over(raw: Any, close: dict[str, Any]) -> None:
    for told in (raw if isinstance(raw, dict) else {}, close, {**Life.own().to_json(), **close}):
        Life.parse(told).is_over()
    assert not Life.own().is_over()
    assert not Life(Life.own().machine, os.getppid(), psutil.Process(os.getppid()).create_time()).is_over()


# -- at the worker ----------------------------------------------------------------------------------------

_WORKER = """
import asyncio, dataclasses, json, sys, time
from pathlib import Path
from worker.config import Config
from worker.handler import Worker

async def main(job_id, go, raw):
    worker = Worker(Config.from_env(), None)
    Path(go + "." + job_id).touch()
    while not Path(go).exists():
        await asyncio.sleep(0.001)
    print(json.dumps(await worker.handle({"id": job_id, "input": json.loads(raw)})))
    await worker.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def started(
    bench: Bench, volume: Path, job_id: str, go: Path, given: Any
) -> asyncio.subprocess.Process:
    """A worker in a process of its own, which takes the job when ``go`` is there."""
    environment = clean_environment(
        {
            "COMFYUI_URL": bench.url,
            "COMFYUI_OUTPUT_DIR": str(bench.config.output_dir),
            "COMFYUI_INPUT_DIR": str(bench.config.input_dir),
            "VOLUME_PATH": str(volume),
        }
    )
    words = (sys.executable, "-c", _WORKER, job_id, str(go), json.dumps(given))
    return await asyncio.create_subprocess_exec(*words, env=environment, cwd=ROOT, stdout=subprocess.PIPE)


async def test_two_processes_given_one_job_at_once_make_one_result(tmp_path: Path) -> None:
    volume, go = tmp_path / "volume", tmp_path / "go"
    volume.mkdir()
    async with demo(tmp_path / "base") as bench:
        given = {"workflow": color(5), "client_job_id": "mine"}
        workers = [await started(bench, volume, job_id, go, given) for job_id in ("one", "two")]
        while len(list(tmp_path.glob("go.*"))) < len(workers):
            await asyncio.sleep(0.01)
        go.touch()
        one, two = [json.loads((await worker.communicate())[0]) for worker in workers]
        assert one == two
        assert one["status"] == "success"
        assert len(await bench.history()) == len(list(bench.config.output_dir.iterdir())) == 1


async def test_a_worker_that_is_killed_keeps_nobody_waiting(tmp_path: Path) -> None:
    volume, go = tmp_path / "volume", tmp_path / "go"
    volume.mkdir()
    go.touch()
    async with demo(tmp_path / "base", volume=volume) as bench:
        given = {"workflow": slow(), "client_job_id": "mine"}
        worker = await started(bench, volume, "one", go, given)

        async def runs() -> bool:
            return bool((await bench.queue())[0])

        await until(runs)
        worker.kill()
        await worker.wait()
        await bench.ask("POST", "/interrupt", {})
        began = time.monotonic()
        assert (await bench.run(slow(blurs=2), "two", client_job_id="mine"))["status"] == "success"
        assert time.monotonic() - began < 10
        assert (jobs_folder(volume) / "mine" / "claim.2").is_file()


async def test_a_job_is_remembered_on_the_volume_and_without_one(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    for place in (volume, None):
        async with demo(tmp_path / f"base-{place is None}", volume=place) as bench:
            first = await bench.run(color(5), "one", client_job_id="mine", comfy_org_api_key="a" * 20)
            again = await bench.run(color(5), "two", client_job_id="mine", comfy_org_api_key="b" * 20)
            assert first == again
            assert len(await bench.history()) == 1
            other = await bench.run(color(6), "three", client_job_id="mine")
            assert (other["code"], len(await bench.history())) == ("id_conflict", 1)
    kept = (jobs_folder(volume) / "mine" / "result.json").read_text()
    assert "aaaaaaaa" not in kept + json.dumps(first)


async def test_a_result_whose_files_were_fetched_and_dropped_is_made_anew(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    async with demo(tmp_path / "base", volume=volume) as bench:
        wish = {"client_job_id": "mine", "output": {"mode": "volume"}}
        first = await bench.run(color(5), "one", **wish)
        assert await bench.run(color(5), "two", **wish) == first
        (volume / first["images"][0]["data"]).unlink()
        again = await bench.run(color(5), "three", **wish)
        assert (volume / again["images"][0]["data"]).is_file()
