"""The job path to RunPod over a bad line: no job is lost, none is sent twice, each result is here once.

The endpoint is real, under a foreign id: the panel sees its job API and no folder, as of one on RunPod.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Cli, blur_chain, until, written
from tests.e2e.lines import Line, behind, flows, hashes_are_right, queued, results_are_whole
from tests.e2e.places import Place, place
from tests.s3 import ACCESS, SECRET, s3_server

ENDPOINT = "faults"
COUNT = 3


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place("demo", tmp_path_factory.mktemp("lines"), workers=2) as running:
        running.ended(running.send({"command": "health"}), 60)
        yield running


@pytest.fixture
def line(at: Place, cli: Cli) -> Iterator[Line]:
    with behind(at, cli) as line:
        yield line


#: What befalls the line, and for how many requests of which kind.
LONG = pytest.mark.long
PASSING = [
    pytest.param([("429", "/run", 3), ("429", "/status", 6)], id="429 storm"),
    pytest.param([("500", "/status", 6)], id="500s", marks=LONG),
    pytest.param([("refuse", "/status", 6)], id="looks refused", marks=LONG),
    pytest.param([("cut", "/status", 6)], id="looks cut"),
    pytest.param([("silence", "/status", 4)], id="silence"),
    pytest.param([("truncated", "/status", 6)], id="answers truncated", marks=LONG),
    pytest.param([("garbage", "/status", 6)], id="wrong JSON", marks=LONG),
    pytest.param([("drip", "", 1000)], id="slow drip", marks=LONG),
]


@pytest.mark.parametrize("faults", PASSING)
def test_what_passes_costs_time_only(
    at: Place, line: Line, cli: Cli, tmp_path: Path, faults: list[tuple[str, str, int]]
) -> None:
    before = queued(at)
    befallen = [line(*fault) for fault in faults]
    ran = cli.run("run", *flows(tmp_path), "--target", ENDPOINT, "--output", tmp_path / "out")
    assert ran.returncode == 0, ran.stderr + cli.logs()
    assert all(fault.seen for fault in befallen)
    assert queued(at) - before == COUNT
    results_are_whole(tmp_path / "out")
    hashes_are_right(cli)


@pytest.mark.parametrize(
    "kind",
    [
        "refuse",
        "cut",
        *(pytest.param(kind, marks=LONG) for kind in ("silence", "truncated", "garbage", "500")),
    ],
)
def test_a_submit_without_an_answer_is_never_sent_again(
    at: Place, line: Line, cli: Cli, tmp_path: Path, kind: str
) -> None:
    """The endpoint may have it: whether to send it again is for the user to say."""
    before = queued(at)
    line(kind, "/run")
    ran = cli.run("run", *flows(tmp_path, 1), "--target", ENDPOINT, "--output", tmp_path / "out")
    assert ran.returncode == 1
    (job,) = cli.jobs()
    assert (job["state"], job["hold"]) == ("on_hold", "maybe_sent")
    assert queued(at) - before == (1 if kind in ("cut", "truncated", "garbage") else 0)
    assert line.count("POST /v2/faults/run") == 1
    # Cancelled and run again by hand, it is here.
    assert cli.run("jobs", "cancel", job["id"]).returncode == 0
    again = cli.run("jobs", "retry", job["id"])
    assert again.returncode == 0, again.stderr
    results_are_whole(tmp_path / "out", 1)


def test_a_key_that_is_refused_in_the_middle_loses_no_job(
    at: Place, line: Line, cli: Cli, tmp_path: Path
) -> None:
    before = queued(at)
    refused = line("401", "/status", 4)
    running = cli.start("run", *flows(tmp_path), "--target", ENDPOINT, "--output", tmp_path / "out")
    _, err = running.communicate(timeout=90)
    assert refused.seen == 4
    assert queued(at) - before == COUNT
    states = [job["state"] for job in cli.jobs()]
    if running.returncode != 0:
        # They are held until the key is right, and then they are fetched.
        assert set(states) <= {"done", "waiting", "running", "downloading"}, (states, err)
        waited = cli.run("jobs", "wait")
        assert waited.returncode == 0, waited.stderr
    results_are_whole(tmp_path / "out")


def test_a_job_that_the_endpoint_no_longer_knows_ends_truthfully(
    at: Place, line: Line, cli: Cli, tmp_path: Path
) -> None:
    line("404", "/status", 1000)
    ran = cli.run("run", *flows(tmp_path, 1), "--target", ENDPOINT, "--output", tmp_path / "out")
    assert ran.returncode == 1
    (job,) = cli.jobs()
    assert job["state"] == "failed", job
    assert job["error"]["code"] in ("job_unknown", "result_lost"), job["error"]


def test_a_live_job_that_is_not_found_for_a_moment_is_looked_for_again(
    at: Place, line: Line, cli: Cli, tmp_path: Path
) -> None:
    line("404", "/status", 3)
    ran = cli.run("run", *flows(tmp_path, 1), "--target", ENDPOINT, "--output", tmp_path / "out")
    assert ran.returncode == 0, json.dumps(cli.jobs())
    results_are_whole(tmp_path / "out", 1)


def test_a_host_that_has_no_name_is_told_and_waited_for(cli: Cli, tmp_path: Path, at: Place) -> None:
    cli.extra = {"RUNPOD_ENDPOINT_BASE_URL": "http://no-such-host.invalid/v2", "RUNPOD_API_KEY": "k"}
    running = cli.start("run", *flows(tmp_path, 1), "--target", ENDPOINT, "--output", tmp_path / "out")

    def held() -> Any:
        jobs = cli.jobs()
        return jobs and jobs[0]["state"] == "on_hold" and jobs[0]

    def stopped_while_held(process: subprocess.Popen[str]) -> bool:
        process.send_signal(signal.SIGSTOP)
        if held():
            return True
        process.send_signal(signal.SIGCONT)
        return False

    job = until(held, 60, 0.1)
    assert job["hold"] == "engine_down"
    assert "reached" in job["error"]["summary"], job["error"]
    # Killed while it waits: of a request in the middle nobody could say what became of it.
    until(lambda: stopped_while_held(running), 60, 0.1)
    running.kill()
    running.communicate()
    # The name is there again: the job was not lost, and is sent for the first time.
    before = queued(at)
    with behind(at, cli) as line:
        waited = cli.run("jobs", "wait")
        assert waited.returncode == 0, waited.stderr
        assert queued(at) - before == line.count("POST /v2/faults/run") == 1
    results_are_whole(tmp_path / "out", 1)


def test_nobody_listens_for_a_while(at: Place, line: Line, cli: Cli, tmp_path: Path) -> None:
    """Refused before it could be sent, a job waits; it goes out when somebody listens again."""
    before = queued(at)
    line.shut()
    running = cli.start("run", *flows(tmp_path), "--target", ENDPOINT, "--output", tmp_path / "out")
    first = until(lambda: (jobs := cli.jobs()) and jobs[0]["hold"] == "engine_down" and jobs[0], 60, 0.3)
    assert "cannot be reached" in first["error"]["summary"], first["error"]
    line.reopen()
    # Not while one is being sent: of that nobody could say what became of it.
    until(lambda: all(job["remote_id"] for job in cli.jobs()) and line.count("/status"), 60)
    line.shut()
    time.sleep(1)
    line.reopen()
    _, err = running.communicate(timeout=90)
    assert running.returncode == 0, err + cli.logs()
    assert queued(at) - before == line.count("POST /v2/faults/run") == COUNT
    results_are_whole(tmp_path / "out")
    hashes_are_right(cli)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_minute_of_silence(at: Place, cli: Cli, tmp_path: Path) -> None:
    before = queued(at)
    with behind(at, cli, silence_s=60) as line:
        looks = line("silence", "/status", 2)
        to = ("--target", ENDPOINT, "--output", tmp_path / "out")
        ran = cli.run("run", *flows(tmp_path), *to, timeout=300)
        assert ran.returncode == 0, ran.stderr + cli.logs()
        assert looks.seen == 2
        results_are_whole(tmp_path / "out")
        hashes_are_right(cli)
        line("silence", "/run")
        ran = cli.run("run", *flows(tmp_path, 1), *to, timeout=300)
        assert ran.returncode == 1
        assert cli.jobs()[-1]["hold"] == "maybe_sent"
        assert line.count("POST /v2/faults/run") == COUNT + 1
    assert queued(at) - before == COUNT


def on_the_volume(url: str) -> dict[str, str]:
    """What the program is told of the endpoint's volume."""
    return {
        "RUNPOD_VOLUME_ID": "volume",
        "RUNPOD_S3_URL": url,
        "RUNPOD_S3_ACCESS_KEY": ACCESS,
        "RUNPOD_S3_SECRET_KEY": SECRET,
    }


@pytest.mark.parametrize("kind", ["cut", pytest.param("garbage", marks=LONG)])
def test_a_submit_without_an_answer_is_seen_on_the_volume_and_followed(
    at: Place, line: Line, cli: Cli, tmp_path: Path, kind: str
) -> None:
    before = queued(at)
    with s3_server(at.folder) as url:
        cli.extra = {**cli.extra, **on_the_volume(url)}
        line(kind, "/run")
        ran = cli.run("run", *flows(tmp_path), "--target", ENDPOINT, "--output", tmp_path / "out")
    assert ran.returncode == 0, ran.stderr + cli.logs()
    assert line.count("POST /v2/faults/run") == queued(at) - before == COUNT
    results_are_whole(tmp_path / "out")
    hashes_are_right(cli)


def gone(at: Place, remote_id: str) -> bool:
    return bool(at.status(remote_id)["status"] == "HTTP 404")


@pytest.mark.parametrize("readable", [pytest.param(False, marks=LONG), True])
def test_a_result_that_expired_while_the_program_was_away(cli: Cli, tmp_path: Path, readable: bool) -> None:
    """Nothing was noted of its answer: it is lost, unless the volume can be read, where workers keep it."""
    folder = tmp_path / "place"
    with (
        place("demo", folder, run_retention_s=1) as at,
        behind(at, cli) as line,
        s3_server(folder) as url,
    ):
        if readable:
            cli.extra = {**cli.extra, **on_the_volume(url)}
        flow = written(tmp_path / "slow.json", blur_chain(8, 800, 7, "job0"))
        # The program does not learn of its end, however slow this computer is.
        line("hold", "/status", 1000)
        running = cli.start("run", flow, "--target", ENDPOINT, "--output", tmp_path / "out")
        job = until(lambda: (jobs := cli.jobs()) and jobs[0]["remote_id"] and jobs[0], 60)
        running.kill()
        running.communicate()
        line.let_go()
        until(lambda: gone(at, job["remote_id"]), 60)
        assert queued(at) == 1
        waited = cli.run("jobs", "wait")
        assert line.count("POST /v2/faults/run") == queued(at) == 1
        if readable:
            assert waited.returncode == 0, waited.stderr + cli.logs()
            hashes_are_right(cli)
            return
        assert waited.returncode == 1, waited.stderr
        (job,) = cli.jobs()
        assert (job["state"], job["error"]["code"]) == ("failed", "job_unknown")
        assert job["error"]["summary"] == "The endpoint no longer knows this job."
        assert not (tmp_path / "out").exists()


def test_a_result_on_the_volume_outlives_its_answer(cli: Cli, tmp_path: Path) -> None:
    """What the answer said was noted when it came: the files are fetched though nobody repeats it."""
    retention = {"run_retention_s": 5, "env": {"MAX_INLINE_BYTES": "1"}}
    folder = tmp_path / "place"
    with (
        place("demo", folder, **retention) as at,
        s3_server(folder) as url,
        behind(at, cli) as line,
        Line(int(url.rsplit(":", 1)[1])) as s3,
    ):
        cli.extra = {**cli.extra, **on_the_volume(s3.url.removesuffix("/v2"))}
        # Neither way to the volume is open while the answer is known.
        s3.shut()
        running = cli.start("run", *flows(tmp_path, 1), "--target", ENDPOINT, "--output", tmp_path / "out")
        planned = ("downloading", True)
        job = until(
            lambda: next((j for j in cli.jobs() if (j["state"], bool(j["outputs"])) == planned), None), 60
        )
        running.kill()
        running.communicate()
        assert job["outputs"][0]["source"]
        until(lambda: gone(at, job["remote_id"]), 60)
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("*.png"))
        s3.reopen()
        waited = cli.run("jobs", "wait")
        assert waited.returncode == 0, waited.stderr + cli.logs()
        assert line.count("POST /v2/faults/run") == queued(at) == 1
        results_are_whole(tmp_path / "out", 1)
        hashes_are_right(cli)
        # Fetched, they are no longer needed there.
        assert not list((folder / "volume" / ".comfy-runpod" / "results").rglob("*.png"))
