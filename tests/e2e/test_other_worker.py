"""An endpoint whose worker is worker-comfyui 5.x, as those have it who come from elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from app.endpoint.client import JobClient
from app.endpoint.config import EndpointConfig
from app.endpoint.local import LocalEndpoint
from tests.e2e.conftest import ROOT, Cli, written
from tests.e2e.lines import Line, flows

ENDPOINT = "somebodys-endpoint"


@pytest.fixture
async def theirs(tmp_path: Path, cli: Cli) -> AsyncIterator[tuple[Cli, JobClient]]:
    """The program with that endpoint as one on RunPod, and a client to look at it."""
    folder = tmp_path / "theirs"
    local = LocalEndpoint(
        EndpointConfig(
            endpoint_id=ENDPOINT,
            data_dir=folder,
            worker_argv=(sys.executable, str(ROOT / "tests" / "other_worker.py")),
            volume_dir=folder / "volume",
            idle_exit_s=120,
        )
    )
    access = await local.ensure()
    client = JobClient(access.base_url, ENDPOINT, access.api_key)
    env = {"RUNPOD_ENDPOINT_BASE_URL": access.base_url, "RUNPOD_API_KEY": access.api_key}
    yield Cli(cli.data, {**env, "RUNPOD_ENDPOINT_ID": ENDPOINT}), client
    await client.close()
    stopping = asyncio.create_task(local.stop())
    await asyncio.sleep(0.3)
    # It does not listen when it is told to end, and the endpoint is patient with it.
    for process in cli.processes():
        if any("other_worker.py" in word for word in process.cmdline()):
            process.kill()
    await stopping


async def test_pictures_inputs_and_failures_come_as_from_our_own_worker(
    theirs: tuple[Cli, JobClient], tmp_path: Path
) -> None:
    program, client = theirs
    out, photo = tmp_path / "out", ROOT / "resources" / "workflows"
    run = (
        "run",
        str(photo / "photo.json"),
        "--image",
        f"photo.png={photo / 'photo.png'}",
        "--output",
        str(out),
    )
    done = await asyncio.to_thread(program.run, *run)
    assert done.returncode == 0, done.stderr
    (picture,) = [Path(line) for line in done.stdout.splitlines()]
    with Image.open(picture) as image:
        assert image.size == (9, 8)
    bad = written(tmp_path / "bad.json", {"1": {"class_type": "Nonsense", "inputs": {}}})
    failed = await asyncio.to_thread(program.run, "run", str(bad), "--output", str(out), "--json")
    assert failed.returncode == 1
    assert json.loads(failed.stdout)["error"]["summary"].startswith("Workflow validation failed")
    assert (await client.health()).jobs["failed"] == 1


async def test_an_input_too_large_for_a_request_is_refused_in_one_sentence_and_not_run(
    theirs: tuple[Cli, JobClient], tmp_path: Path
) -> None:
    program, client = theirs
    big = tmp_path / "photo.png"
    side = 1800
    Image.frombytes("RGB", (side, side), os.urandom(side * side * 3)).save(big)
    run = (
        "run",
        "resources/workflows/photo.json",
        "--image",
        f"photo.png={big}",
        "--output",
        tmp_path / "out",
    )
    done = await asyncio.to_thread(program.run, *run)
    assert done.returncode == 1
    assert "photo.png" in done.stderr
    assert "too large for a request" in done.stderr
    assert (await client.health()).jobs["completed"] == 0


async def test_purging_the_queue_is_done_only_with_the_users_word(theirs: tuple[Cli, JobClient]) -> None:
    program, client = theirs
    asked = await asyncio.to_thread(program.run, "endpoint", "purge")
    assert asked.returncode == 2
    assert "waiting jobs of somebodys-endpoint would be removed, also those that others sent." in asked.stderr
    done = await asyncio.to_thread(program.run, "endpoint", "purge", "--yes", "--json")
    assert (done.returncode, set(json.loads(done.stdout))) == (0, {"removed"})
    assert (await client.health()).jobs["inQueue"] == 0


@pytest.mark.parametrize("kind", ["refuse", "cut", pytest.param("garbage", marks=pytest.mark.long)])
async def test_a_submit_without_an_answer_is_never_sent_again_there_either(
    theirs: tuple[Cli, JobClient], tmp_path: Path, kind: str
) -> None:
    """Nothing that this worker does could tell whether it has the job: the user decides."""
    program, client = theirs
    with Line(int(program.extra["RUNPOD_ENDPOINT_BASE_URL"].split(":")[2].split("/")[0])) as line:
        program.extra["RUNPOD_ENDPOINT_BASE_URL"] = line.url
        line(kind, "/run")
        to = ("--target", ENDPOINT, "--output", tmp_path / "out")
        ran = await asyncio.to_thread(program.run, "run", *flows(tmp_path, 2), *to)
        assert ran.returncode == 1
        first, second = sorted(program.jobs(), key=lambda job: job["seq"])
        assert (first["state"], first["hold"], second["state"]) == ("on_hold", "maybe_sent", "done")
        assert line.count("POST") == 2
        # The user's word sends it, once.
        again = await asyncio.to_thread(program.run, "jobs", "retry", first["id"])
        assert again.returncode == 0, again.stderr
        assert line.count("POST") == 3
        assert (await client.health()).jobs["completed"] == (2 if kind == "refuse" else 3)
