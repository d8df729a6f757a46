"""Money: what jobs cost and its parts, what was spent, what a batch may cost, and the daily limit."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.endpoint.prices import Charge, Rate
from app.jobs.billing import checked
from app.jobs.costs import cost_of, money
from app.jobs.model import Job
from app.jobs.money import Money, by_day, by_target, by_workflow, midnight, spent
from app.jobs.runs import Run
from app.jobs.states import Hold, State
from app.jobs.store import JobStore
from app.jobs.times import percentiles, times_of
from app.jobs.words import cost, cost_parts, second_line
from app.workflows.fingerprint import fingerprint
from tests.unit.jobs.helpers import World, spec, until

FAR = "far-away"
RATE = Rate(0.001, 30.0, "ADA_24")


class FixedRates:
    async def of(self, target: str) -> Rate | None:
        return RATE if target == FAR else None


class Clock:
    def __init__(self) -> None:
        self.now = midnight(time.time()) + 43_200

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[JobStore]:
    made = JobStore(tmp_path / "jobs.sqlite", clock=clock)
    await made.open()
    yield made
    await made.close()


async def ran(
    store: JobStore,
    clock: Clock,
    *,
    worker: str = "w1",
    waited_s: float = 2.0,
    run_s: float = 10.0,
    pause_s: float = 0.0,
    end: State = State.DONE,
    rate: Rate | None = RATE,
    **given: Any,
) -> Job:
    """A job through all of its states, the clock with it."""
    job = await store.add(spec(**{"target": FAR, **given}))
    clock.now += pause_s
    priced = {} if rate is None else {"rate": rate.usd_per_s, "idle_s": rate.idle_s, "gpu": rate.gpu}
    await store.change(job.id, state=State.SUBMITTING, **priced)
    await store.change(job.id, state=State.WAITING, remote_id="r")
    clock.now += waited_s
    await store.change(job.id, state=State.RUNNING, worker_id=worker)
    clock.now += run_s
    times = {"delay_ms": int(waited_s * 1000), "execution_ms": int(run_s * 1000)}
    if end is State.DONE:
        await store.change(job.id, state=State.DOWNLOADING, **times)
        return await store.change(job.id, state=State.DONE)
    return await store.change(job.id, state=end)


async def test_a_cold_start_the_run_and_the_idle_time_are_paid(store: JobStore, clock: Clock) -> None:
    job = await ran(store, clock, waited_s=20, run_s=10)
    paid = cost_of(job, clock.now)
    assert paid is not None
    assert (paid.start, paid.run, paid.idle) == pytest.approx((0.02, 0.01, 0.03))
    assert cost(job, clock.now) == "$0.060"
    assert cost_parts(job, clock.now) == (
        "start $0.020, run $0.010, idle $0.030 on ADA_24 at $0.00100 / s. An estimate: RunPod's bill decides"
    )
    (entered,) = await store.runs_between()
    assert (entered.cold, entered.usd) == (True, pytest.approx(0.06))


async def test_the_next_job_on_a_warm_worker_pays_no_start_and_shortens_the_idling(
    store: JobStore, clock: Clock
) -> None:
    first = await ran(store, clock)
    second = await ran(store, clock, pause_s=3, waited_s=1)
    assert (first.cold, second.cold) == (True, False)
    first = await store.get(first.id)
    # Three seconds until it was sent, and one that it waited.
    assert first.idle_s == pytest.approx(4.0)
    assert second.idle_s == 30.0
    runs = await store.runs_between()
    assert [run.idle_s for run in runs] == pytest.approx([4.0, 30.0])
    assert spent(runs).total == pytest.approx(0.001 * (2 + 10 + 4 + 10 + 30))


async def test_after_the_idle_timeout_a_worker_is_cold_again(store: JobStore, clock: Clock) -> None:
    first = await ran(store, clock)
    second = await ran(store, clock, pause_s=60)
    other = await ran(store, clock, worker="w2")
    assert (second.cold, other.cold) == (True, True)
    assert (await store.get(first.id)).idle_s == 30.0


async def test_what_was_cancelled_or_failed_in_mid_run_is_paid_too(store: JobStore, clock: Clock) -> None:
    for end in (State.FAILED, State.TIMED_OUT):
        job = await ran(store, clock, end=end, run_s=7)
        assert cost_of(job, clock.now + 99) is not None
    never = await store.add(spec(target=FAR))
    never = await store.change(never.id, state=State.CANCELLED)
    assert cost(never, clock.now) == ""
    assert [run.run_s for run in await store.runs_between()] == pytest.approx([7, 7])


async def test_removed_jobs_stay_in_the_book_and_each_is_in_it_once(store: JobStore, clock: Clock) -> None:
    job = await ran(store, clock)
    await store.change(job.id, warnings=("one more",))
    await store.remove([job.id])
    assert [run.id for run in await store.runs_between()] == [job.id]


async def test_what_runs_here_costs_nothing_and_is_timed(store: JobStore, clock: Clock) -> None:
    job = await ran(store, clock, target="local", rate=None)
    assert cost(job, clock.now) == "–"
    runs = await store.runs_between()
    assert (len(runs), spent(runs).jobs, by_target(runs)) == (1, 0, {})
    assert times_of(runs)[0].target == "local"


async def test_a_running_job_shows_an_estimate(store: JobStore, clock: Clock) -> None:
    job = await store.add(spec(target=FAR))
    await store.change(job.id, state=State.SUBMITTING, rate=0.001, idle_s=30.0, gpu="ADA_24")
    await store.change(job.id, state=State.WAITING)
    job = await store.change(job.id, state=State.RUNNING)
    assert cost_parts(job, clock.now + 18) == "Estimate from 18 s on ADA_24 at $0.00100 / s"


async def test_a_list_of_jobs_of_the_first_version_gets_its_book(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    first = JobStore(path)
    await first.open()
    job = await first.add(spec(target=FAR))
    await first.close()
    with sqlite3.connect(path) as db:
        db.executescript("DROP TABLE runs; PRAGMA user_version = 1;")
    db.close()
    second = JobStore(path)
    await second.open()
    assert (await second.get(job.id)).id == job.id
    assert await second.runs_between() == []
    await second.close()


async def test_an_estimate_is_the_median_of_earlier_runs_of_the_same_workflow(
    store: JobStore, clock: Clock
) -> None:
    purse = Money(store, FixedRates(), clock=clock)
    for run_s in (10, 20, 90):
        await ran(store, clock, worker=f"w{run_s}", waited_s=0, run_s=run_s)
    known = (fingerprint(spec().prompt), FAR)
    assert await purse.estimate([known] * 3) == pytest.approx(3 * 0.05)
    assert await purse.estimate([known, ("unknown", FAR)]) is None
    assert await purse.estimate([(known[0], "another")]) is None
    assert await purse.estimate([]) is None


def test_values_do_not_change_a_workflow_and_links_do() -> None:
    def prompt(seed: int, source: str) -> dict[str, Any]:
        return {
            "1": {"class_type": "A", "inputs": {"seed": seed}},
            "2": {"class_type": "B", "inputs": {"of": [source, 0]}},
        }

    assert fingerprint(prompt(1, "1")) == fingerprint(prompt(2, "1"))
    assert fingerprint(prompt(1, "1")) != fingerprint(prompt(1, "2"))
    assert fingerprint({"1": "no node", "2": {"inputs": 5}}) != ""


# -- the limit ---------------------------------------------------------------------------------------------


async def test_at_the_daily_limit_jobs_wait_and_go_on_when_it_is_raised(tmp_path: Path) -> None:
    purses: list[Money] = []

    def purse(store: JobStore) -> Money:
        purses.append(Money(store, FixedRates(), limit_usd=0.05))
        return purses[-1]

    world = World(tmp_path, volume=False)
    world.purse = purse
    await world.start()
    first = await world.submit(target=FAR)
    remote_id, _ = await world.take(note=False)
    job = world.platform.queue.get(remote_id)
    assert job is not None
    world.finish(remote_id)
    await world.reaches(first, State.DONE)
    # What it cost was next to nothing: as if it had been dear.
    await world.store._run(lambda db: db.execute("UPDATE runs SET run_s = 100").connection.commit())
    ids = [await world.submit(target=FAR) for _ in range(3)]
    held = [await world.reaches(job_id, State.ON_HOLD) for job_id in ids]
    assert {(job.hold, job.is_stuck) for job in held} == {(Hold.LIMIT, False)}
    assert second_line(held[0], None, None, time.time()).startswith("$0.1")
    assert " of $0.050 spent today." in second_line(held[0], None, None, time.time())
    here = await world.submit(target="local")
    await world.take(note=False)
    await world.reaches(here, State.RUNNING)
    assert world.calls["run"] == 2
    # A restart forgets nothing of it.
    await world.restart()
    await until(lambda: world.calls["run"] == 2)
    assert (await world.job(ids[0])).state is State.ON_HOLD
    purses[-1].use(FixedRates(), 5.0)
    for job_id in ids:
        remote_id, _ = await world.take(note=False)
        world.finish(remote_id)
        await world.reaches(job_id, State.DONE)
    assert world.calls["run"] == 5
    await world.stop()


async def test_what_is_under_way_counts_for_the_limit(store: JobStore, clock: Clock) -> None:
    await ran(store, clock, waited_s=0, run_s=10)  # $0.040
    purse = Money(store, FixedRates(), limit_usd=0.1, clock=clock)
    assert await purse.today() == pytest.approx(0.04)
    running = await store.add(spec(target=FAR))
    await store.change(running.id, state=State.SUBMITTING, rate=0.001, idle_s=30.0)
    await store.change(running.id, state=State.WAITING)
    assert await purse.under_way() == pytest.approx(0.04)
    new = await store.add(spec(target=FAR))
    with pytest.raises(Exception, match=r"\$0.080 of \$0.100 spent today. This job may cost \$0.040"):
        await purse.check(new)
    purse.use(FixedRates(), 0.13)
    await purse.check(new)
    purse.use(FixedRates(), None)
    await purse.check(new)
    clock.now += 86_400
    assert await purse.today() == 0.0


async def test_what_is_cancelled_while_it_waits_for_the_limit_is_never_sent(tmp_path: Path) -> None:
    world = World(tmp_path, volume=False)
    world.purse = lambda store: Money(store, FixedRates(), limit_usd=1e-9)
    await world.start()
    # Nothing was spent yet: the first job is within every limit.
    first = await world.submit(target=FAR)
    remote_id, _ = await world.take(note=False)
    world.finish(remote_id)
    await world.reaches(first, State.DONE)
    second = await world.submit(target=FAR)
    await world.reaches(second, State.ON_HOLD)
    assert (await world.runner.cancel(second)).state is State.CANCELLED
    assert world.calls["run"] == 1
    await world.stop()


# -- sums --------------------------------------------------------------------------------------------------


def run(at: float, *, workflow: str = "w", name: str = "n", target: str = FAR, run_s: float = 1.0) -> Run:
    return Run(f"{at}{workflow}{target}", at, target, name, workflow, "w1", False, 0.5, run_s, 0.0, 0.001)


def test_sums_by_day_workflow_and_endpoint() -> None:
    noon = midnight(time.time()) + 43_200
    runs = [
        run(noon - 86_400, name="old name"),
        run(noon, name="new name", run_s=5),
        run(noon, workflow="v", target="second", name="new name"),
        run(noon, workflow="v", target="local"),
    ]
    assert [round(day.total, 4) for day in by_day(runs).values()] == [0.001, 0.006]
    assert list(by_workflow(runs)) == ["new name", "n"]
    assert {name: some.jobs for name, some in by_target(runs).items()} == {FAR: 2, "second": 1}


def test_the_bill_is_set_against_the_book() -> None:
    at = 1_790_000_000.0  # 2026-09-21, UTC
    charges = [
        Charge(FAR, 0.01, begin="2026-09-21T00:00:00Z"),
        Charge(FAR, 0.02, begin="2026-09-20T00:00:00Z"),
        Charge(None, 5.0, begin="2026-09-21"),
        Charge(FAR, 5.0, begin=None),
    ]
    found = checked(charges, [run(at, run_s=8), run(at, target="demo")])
    assert [(each.day, each.ours, each.billed) for each in found] == [
        ("2026-09-21", pytest.approx(0.008), 0.01),
        ("2026-09-20", 0.0, 0.02),
    ]
    assert found[0].difference == pytest.approx(0.002)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_percentiles_are_values_that_were_there(values: list[float]) -> None:
    found = percentiles(values)
    assert found is not None
    assert {found.p50, found.p90} <= set(values)
    assert found.p50 <= found.p90
    assert sum(value <= found.p90 for value in values) >= 0.9 * len(values)
    assert sum(value <= found.p50 for value in values) >= 0.5 * len(values)


def test_money_as_people_write_it() -> None:
    shown = [money(usd) for usd in (0, 0.0104, 0.9994, 0.9996, 1.84, 1234.56)]
    assert shown == ["$0.000", "$0.010", "$0.999", "$1.00", "$1.84", "$1\u202f234.56"]
    assert percentiles([]) is None
