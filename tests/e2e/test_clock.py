"""The clock is set in the middle of a job, or the computer sleeps: the job still ends once, and as it was."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.jobs.figures import ran_s, waited_s
from app.jobs.model import Job, Move
from app.jobs.states import State
from app.jobs.store import JobStore
from app.jobs.timeline import timeline
from tests.e2e.conftest import Cli, blur_chain, until, written
from tests.e2e.lines import Line, behind, pictures_are_whole, queued
from tests.e2e.places import Place, place
from worker.process import clean_environment

ENDPOINT = "faults"
#: The whole process sees another time than the system's from its first line on. Read at each call.
CLOCK = """
import os, time
real = time.time
def moved():
    try:
        with open(os.environ["TEST_CLOCK"], encoding="ascii") as file:
            return real() + float(file.read() or 0)
    except (KeyError, OSError, ValueError):
        return real()
time.time = moved
"""
_DAY, _HOUR = (86_400.0, "a day forward"), (-3600.0, "an hour back")
JUMPS = [pytest.param(jump, id=name) for jump, name in (_DAY, _HOUR)]
#: One of them each time, the other one with the full figures.
FORWARD = [JUMPS[0], pytest.param(_HOUR[0], id=_HOUR[1], marks=pytest.mark.long)]
BACK = [JUMPS[1], pytest.param(_DAY[0], id=_DAY[1], marks=pytest.mark.long)]
COMPLETED = b'"COMPLETED"'


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place("demo", tmp_path_factory.mktemp("clock"), workers=2) as running:
        running.ended(running.send({"command": "health"}), 60)
        yield running


@pytest.fixture
def line(at: Place, cli: Cli) -> Iterator[Line]:
    with behind(at, cli) as line:
        yield line


@pytest.fixture
def clock(tmp_path: Path, cli: Cli, line: Line) -> Path:
    """The file with what the program's clock is ahead, in seconds."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK, "utf-8")
    file = tmp_path / "clock" / "ahead"
    cli.extra = {**cli.extra, "PYTHONPATH": str(tmp_path / "clock"), "TEST_CLOCK": str(file)}
    return file


def slow_flows(folder: Path, count: int, length: int = 8) -> list[Path]:
    """Workflows that take a second or so each."""
    return [
        written(folder / "flows" / f"{n}.json", blur_chain(length, 800, n * 5003 + 7, f"job{n}"))
        for n in range(count)
    ]


def stored(cli: Cli) -> list[tuple[Job, list[Move]]]:
    """All jobs with their moves, oldest first."""

    async def read() -> list[tuple[Job, list[Move]]]:
        store = JobStore(cli.data / "jobs.sqlite")
        await store.open()
        try:
            return [(job, await store.timeline(job.id)) for job in reversed(await store.newest())]
        finally:
            await store.close()

    return asyncio.run(read())


def figures_are_sane(job: Job, moves: list[Move], jump: float) -> None:
    """Whenever it is looked at, and if the endpoint's own times were not told, as RunPod does not always."""
    assert job.ended_at is not None
    untold = replace(job, delay_ms=None, execution_ms=None)
    before = [move for move in moves if move.state not in (State.DOWNLOADING, State.DONE)]
    under_way = replace(untold, state=before[-1].state, ended_at=None)
    for now in (time.time(), time.time() + jump, job.created_at - 10, job.ended_at + 10):
        for each, its in ((job, moves), (untold, moves), (under_way, before)):
            points = timeline(each, its, None, now)
            figures = [waited_s(each, now), ran_s(each, now), *(point.took_s for point in points)]
            assert all(figure is None or figure >= 0 for figure in figures), (figures, its)
            assert points[-1].text == "Done"


@pytest.mark.parametrize("jump", FORWARD)
def test_the_clock_is_set_while_jobs_run(
    at: Place, line: Line, cli: Cli, clock: Path, tmp_path: Path, jump: float
) -> None:
    before = queued(at)
    ends = line("hold", "/status", 1000, holding=COMPLETED)
    running = cli.start("run", *slow_flows(tmp_path, 3), "--target", ENDPOINT, "--output", tmp_path / "out")
    # The first one has run, others run or wait, and none is known to have ended.
    until(lambda: ends.seen, 90)
    clock.write_text(str(jump))
    line.let_go()
    _, err = running.communicate(timeout=90)
    assert running.returncode == 0, err + cli.logs()
    assert queued(at) - before == 3
    assert line.count("POST /v2/faults/run") == 3
    pictures_are_whole(cli, tmp_path / "out", 3)
    known = stored(cli)
    times = [move.at for _, moves in known for move in moves]
    # Else nothing was tested.
    assert max(times) - min(times) > abs(jump) / 2
    for job, moves in known:
        kept = [m.state for n, m in enumerate(moves) if not n or moves[n - 1].state != m.state]
        assert kept[:3] == ["preparing", "submitting", "waiting"], moves
        assert kept[3:] in (["downloading", "done"], ["running", "downloading", "done"]), moves
        figures_are_sane(job, moves, jump)
        shown = cli.run("jobs", "show", job.id)
        assert shown.returncode == 0, shown.stderr
        assert not re.search(r"[\s(+]-\d", shown.stdout), shown.stdout
    assert cli.run("jobs", "list").returncode == 0


@pytest.mark.long
@pytest.mark.parametrize("jump", JUMPS)
def test_the_clock_is_set_while_contact_is_lost(
    at: Place, line: Line, cli: Cli, clock: Path, tmp_path: Path, jump: float
) -> None:
    before = queued(at)
    lost = line("500", "/status", 10_000)
    running = cli.start("run", *slow_flows(tmp_path, 1), "--target", ENDPOINT, "--output", tmp_path / "out")
    until(lambda: (jobs := cli.jobs()) and jobs[0]["lost_contact_since"])
    clock.write_text(str(jump))
    lost.times = 0
    _, err = running.communicate(timeout=90)
    assert running.returncode == 0, err + cli.logs()
    assert queued(at) - before == 1
    pictures_are_whole(cli, tmp_path / "out", 1)
    ((job, moves),) = stored(cli)
    assert job.lost_contact_since is None
    figures_are_sane(job, moves, jump)


def asleep(process: subprocess.Popen[str], *more: psutil.Process) -> None:
    for each in more:
        each.suspend()
    process.send_signal(signal.SIGSTOP)
    until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)


def awake(process: subprocess.Popen[str], *more: psutil.Process) -> None:
    for each in more:
        each.resume()
    process.send_signal(signal.SIGCONT)


def sent(cli: Cli) -> int:
    """Jobs whose request was answered, and the program knows it. Cut before, they would be on hold."""
    return sum(bool(job["remote_id"]) for job in cli.jobs())


def idle(at: Place) -> bool:
    jobs: dict[str, Any] = at.ask("GET", "health")["jobs"]
    return jobs["inQueue"] == jobs["inProgress"] == 0


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(False, id="answers come", marks=pytest.mark.long),
        pytest.param(True, id="connections cut"),
    ],
)
def test_the_computer_sleeps_while_jobs_go_on(
    at: Place, line: Line, cli: Cli, tmp_path: Path, cut: bool
) -> None:
    before = queued(at)
    held = line("hold", "/status", 2)
    running = cli.start(
        "run", *slow_flows(tmp_path, 3, 5), "--target", ENDPOINT, "--output", tmp_path / "out"
    )
    until(lambda: held.seen and sent(cli) == queued(at) - before == 3, 60)
    asleep(running)
    until(lambda: idle(at), 60)
    time.sleep(2)
    assert (line.cut_all() > 0) or not cut
    line.let_go()
    awake(running)
    _, err = running.communicate(timeout=90)
    assert running.returncode == 0, err + cli.logs()
    assert queued(at) - before == 3
    assert line.count("POST /v2/faults/run") == 3
    pictures_are_whole(cli, tmp_path / "out", 3)


@pytest.mark.parametrize("cut", [False, True], ids=["the answer comes", "connection cut"])
def test_the_computer_sleeps_while_a_job_is_sent(
    at: Place, line: Line, cli: Cli, tmp_path: Path, cut: bool
) -> None:
    before = queued(at)
    held = line("hold", "/run")
    running = cli.start(
        "run", *slow_flows(tmp_path, 1, 1), "--target", ENDPOINT, "--output", tmp_path / "out"
    )
    until(lambda: held.seen and queued(at) - before == 1, 90)
    asleep(running)
    until(lambda: idle(at), 60)
    if cut:
        assert line.cut_all() == 1
    line.let_go()
    time.sleep(1)
    awake(running)
    _, err = running.communicate(timeout=90)
    (job,) = cli.jobs()
    if cut:
        # It ran, and nobody here can know: that is what the job says, and it is not sent again.
        assert (running.returncode, job["state"], job["hold"]) == (1, "on_hold", "maybe_sent"), err
        assert "may be running already" in job["error"]["summary"]
    else:
        assert running.returncode == 0, err
        pictures_are_whole(cli, tmp_path / "out", 1)
    assert line.count("POST /v2/faults/run") == 1
    assert queued(at) - before == 1


def test_everything_here_sleeps(at: Place, line: Line, cli: Cli, tmp_path: Path) -> None:
    """Endpoint, workers and ComfyUI are on the computer that sleeps: longer than a worker may be silent."""
    before, retried = queued(at), at.ask("GET", "health")["jobs"]["retried"]
    running = cli.start("run", *slow_flows(tmp_path, 3), "--target", ENDPOINT, "--output", tmp_path / "out")
    until(lambda: sent(cli) == 3 and at.ask("GET", "health")["jobs"]["inProgress"], 90)
    root = psutil.Process(at.process.pid)
    family = [root, *root.children(recursive=True)]
    asleep(running, *family)
    line.cut_all()
    time.sleep(7)
    awake(running, *family)
    _, err = running.communicate(timeout=90)
    assert running.returncode == 0, err + cli.logs()
    assert queued(at) - before == 3
    assert at.ask("GET", "health")["jobs"]["retried"] == retried
    assert line.count("POST /v2/faults/run") == 3
    pictures_are_whole(cli, tmp_path / "out", 3)


@pytest.mark.parametrize("jump", BACK)
def test_the_clock_of_the_local_endpoint_is_set(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """It is on the same computer: what it counts in days and minutes is not over because of that."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK, "utf-8")
    file = tmp_path / "clock" / "ahead"
    moved = {"PYTHONPATH": str(tmp_path / "clock"), "TEST_CLOCK": str(file)}
    monkeypatch.setattr("tests.e2e.places.clean_environment", lambda: {**clean_environment(), **moved})
    with place("demo", tmp_path / "place") as at, behind(at, cli) as line:
        cli.extra = {**cli.extra, **moved}
        ends = line("hold", "/status", 1000, holding=COMPLETED)
        running = cli.start(
            "run", *slow_flows(tmp_path, 2), "--target", ENDPOINT, "--output", tmp_path / "out"
        )
        until(lambda: ends.seen, 90)
        file.write_text(str(jump))
        line.let_go()
        _, err = running.communicate(timeout=90)
        states = [(job["state"], (job["error"] or {}).get("code")) for job in cli.jobs()]
        assert line.count("POST /v2/faults/run") == 2
        assert (running.returncode, states) == (0, [("done", None)] * 2), err + at.logs()
        pictures_are_whole(cli, tmp_path / "out", 2)
