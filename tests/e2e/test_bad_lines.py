"""The job path to RunPod over a bad line: no job is lost, none is sent twice, each result is here once.

The endpoint is real, under a foreign id: the panel sees its job API and no folder, as of one on RunPod.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.e2e.conftest import Cli, color_workflow, until, written
from tests.e2e.lines import Line
from tests.e2e.places import Place, place

ENDPOINT = "faults"
COUNT = 3


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place("demo", tmp_path_factory.mktemp("lines"), workers=2) as running:
        running.ended(running.send({"command": "health"}), 60)
        yield running


@pytest.fixture
def line(at: Place, cli: Cli) -> Iterator[Line]:
    port = int(at.url.split(":")[2].split("/")[0])
    with Line(port) as line:
        cli.extra = {"RUNPOD_ENDPOINT_BASE_URL": line.url, "RUNPOD_API_KEY": at.key}
        yield line


def flows(folder: Path, count: int = COUNT) -> list[Path]:
    return [
        written(folder / "flows" / f"{n}.json", color_workflow(n * 5003 + 7, f"job{n}")) for n in range(count)
    ]


def results_are_whole(out: Path, count: int = COUNT) -> None:
    names = sorted(path.name for path in out.iterdir())
    assert [name[:4] for name in names] == [f"job{n}" for n in range(count)], names
    for number, name in enumerate(names):
        color = number * 5003 + 7
        with Image.open(out / name) as picture:
            assert picture.getpixel((0, 0)) == (color >> 16 & 255, color >> 8 & 255, color & 255)


def queued(at: Place) -> int:
    """How many jobs the endpoint has had."""
    jobs: dict[str, int] = at.ask("GET", "health")["jobs"]
    return sum(jobs[key] for key in ("completed", "failed", "inProgress", "inQueue"))


#: What befalls the line, and for how many requests of which kind.
PASSING = [
    pytest.param([("429", "/run", 3), ("429", "/status", 6)], id="429 storm"),
    pytest.param([("500", "/status", 6)], id="500s"),
    pytest.param([("refuse", "/status", 6)], id="looks refused"),
    pytest.param([("cut", "/status", 6)], id="looks cut"),
    pytest.param([("silence", "/status", 4)], id="silence"),
    pytest.param([("truncated", "/status", 6)], id="answers truncated"),
    pytest.param([("garbage", "/status", 6)], id="wrong JSON"),
    pytest.param([("drip", "", 1000)], id="slow drip"),
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


@pytest.mark.parametrize("kind", ["refuse", "cut", "truncated", "silence", "garbage", "500"])
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

    job = until(held, 60, 0.5)
    assert job["hold"] == "engine_down"
    assert "reached" in job["error"]["summary"], job["error"]
    running.kill()
    running.communicate()
