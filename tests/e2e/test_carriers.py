"""Big inputs and big results, with the panel, the job API and the worker as real processes.

An endpoint under a foreign id is one on RunPod for the panel: it sees the job API of it, and no folder.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.endpoint.config import EndpointConfig
from app.endpoint.local import LocalEndpoint
from app.services import demo_worker_env
from tests.e2e.conftest import Cli, until, written
from tests.s3 import ACCESS, SECRET, s3_server

ENDPOINT, VOLUME = "your-endpoint", "vol0123"
Serve = Callable[..., Awaitable[Path]]

#: The side of a picture of noise, and what it takes as a file at least: PNG makes noise no smaller.
SIZES = [
    pytest.param(1500, 6_400_000, id="7 MB"),
    pytest.param(4500, 60_000_000, id="60 MB", marks=[pytest.mark.long, pytest.mark.timeout(600)]),
]
big = pytest.mark.parametrize(("side", "least"), SIZES)
#: How often a picture of 3.6 MB, which a request can hold, is doubled.
many = pytest.mark.parametrize(
    "doublings",
    [
        pytest.param(2, id="14 MB"),
        pytest.param(4, id="58 MB", marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)


@pytest.fixture
async def serve(cli: Cli, tmp_path: Path) -> AsyncIterator[Serve]:
    """Have an endpoint on RunPod, as far as the panel can tell; its folder."""
    served: list[LocalEndpoint] = []

    async def start(*, volume: Path | None, env: dict[str, str] | None = None) -> Path:
        folder = tmp_path / "runpod"
        argv: tuple[str, ...] = (sys.executable, "-m", "worker")
        if volume is None:
            argv = ("env", "-u", "VOLUME_PATH", *argv)
        config = EndpointConfig(
            endpoint_id=ENDPOINT,
            data_dir=folder,
            worker_argv=argv,
            worker_env={**demo_worker_env(folder), **(env or {})},
            volume_dir=volume or folder / "volume",
            idle_exit_s=300,
        )
        local = LocalEndpoint(config)
        served.append(local)
        access = await local.ensure()
        cli.extra = {"RUNPOD_API_KEY": access.api_key, "RUNPOD_ENDPOINT_BASE_URL": access.base_url}
        return folder

    yield start
    for local in served:
        await local.stop()


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An S3 server's address, and the folder that is the bucket ``VOLUME`` there."""
    folder = tmp_path / "s3" / VOLUME
    folder.mkdir(parents=True)
    with s3_server(folder.parent) as url:
        yield url, folder


def noise(path: Path, side: int) -> Path:
    Image.frombytes("RGB", (side, side), os.urandom(side * side * 3)).save(path, compress_level=1)
    return path


def through(folder: Path, invert: bool = False) -> Path:
    """A workflow whose result is its input, or the negative of it."""
    workflow: dict[str, Any] = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "noise.png"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {
            "class_type": "SaveImage",
            "inputs": {"images": [["1", "2"][invert], 0], "filename_prefix": "x"},
        },
    }
    if not invert:
        del workflow["2"]
    return written(folder / f"through-{invert}.json", workflow)


def doubled(folder: Path, times: int) -> Path:
    """A workflow whose results are many times its input."""
    workflow: dict[str, Any] = {"1": {"class_type": "LoadImage", "inputs": {"image": "noise.png"}}}
    for number in range(1, times + 1):
        both = {"image1": [str(number), 0], "image2": [str(number), 0]}
        workflow[str(number + 1)] = {"class_type": "ImageBatch", "inputs": both}
    save = {"images": [str(times + 1), 0], "filename_prefix": "many"}
    workflow["save"] = {"class_type": "SaveImage", "inputs": save}
    return written(folder / "doubled.json", workflow)


def run(cli: Cli, file: Path, picture: Path, target: str = ENDPOINT) -> dict[str, Any]:
    given = ("--image", f"noise.png={picture}", "--output", cli.data.parent / "out")
    ran = cli.run("run", file, "--target", target, "--json", *given, timeout=300)
    assert ran.stdout, ran.stderr + cli.logs()
    job: dict[str, Any] = json.loads(ran.stdout)
    return job


def notes(cli: Cli, job: dict[str, Any]) -> list[str]:
    with sqlite3.connect(cli.data / "jobs.sqlite") as db:
        return [note for (note,) in db.execute("SELECT note FROM moves WHERE id = ?", (job["id"],)) if note]


def states(cli: Cli, job: dict[str, Any]) -> dict[str, float]:
    """How long the job was in each of its states."""
    with sqlite3.connect(cli.data / "jobs.sqlite") as db:
        rows = list(db.execute("SELECT state, at FROM moves WHERE id = ? ORDER BY rowid", (job["id"],)))
    spent: dict[str, float] = {}
    for (state, at), (_, then) in zip(rows, [*rows[1:], rows[-1]], strict=True):
        spent[state] = spent.get(state, 0.0) + then - at
    print({state: round(seconds, 2) for state, seconds in spent.items()})
    return spent


def came_through(job: dict[str, Any], picture: Path, least: int) -> None:
    assert job["state"] == "done", job["error"]
    (output,) = job["outputs"]
    assert picture.stat().st_size > least
    assert Path(output["path"]).stat().st_size > least
    with Image.open(picture) as sent, Image.open(output["path"]) as got:
        assert sent.tobytes() == got.tobytes()


def on_volume(volume: Path, room: str) -> list[Path]:
    return [path for path in (volume / ".comfy-runpod" / room).rglob("*") if path.is_file()]


@big
@pytest.mark.timeout(300)
def test_on_this_computer(cli: Cli, tmp_path: Path, side: int, least: int) -> None:
    picture = noise(tmp_path / "noise.png", side)
    job = run(cli, through(tmp_path), picture, "demo")
    came_through(job, picture, least)
    assert "uploading" in states(cli, job)
    volume = cli.data / "endpoints" / "demo" / "volume"
    assert (len(on_volume(volume, "inputs")), on_volume(volume, "results")) == (1, [])


@big
@pytest.mark.timeout(300)
async def test_an_endpoint_with_a_volume_and_no_key(
    cli: Cli, tmp_path: Path, serve: Serve, side: int, least: int
) -> None:
    volume = tmp_path / "volume"
    folder = await serve(volume=volume)
    picture = noise(tmp_path / "noise.png", side)
    job = run(cli, through(tmp_path), picture)
    came_through(job, picture, least)
    spent = states(cli, job)
    assert spent["uploading"] > 0
    assert len([note for note in notes(cli, job) if "slower and billed" in note]) == 2
    until(lambda: not on_volume(volume, "results"))
    assert len(on_volume(volume, "inputs")) == 1

    before = jobs_of(folder)
    again = run(cli, through(tmp_path, invert=True), picture)
    assert again["state"] == "done"
    pieces = -(-Path(again["outputs"][0]["path"]).stat().st_size // (6 << 20))
    # Asked whether the input is there, the job, its result in pieces, and that deleted: nothing sent twice.
    assert jobs_of(folder) - before == 1 + 1 + pieces + 1


def jobs_of(folder: Path) -> int:
    """How many jobs the endpoint has had."""
    (found,) = folder.glob("*.sqlite3")
    with sqlite3.connect(found) as db:
        return int(db.execute("SELECT COUNT(*) FROM jobs").fetchone()[0])


@big
@pytest.mark.timeout(300)
async def test_an_endpoint_with_a_volume_and_its_s3_key(
    cli: Cli, tmp_path: Path, serve: Serve, bucket: tuple[str, Path], side: int, least: int
) -> None:
    """The bucket's folder is the worker's volume, as on RunPod."""
    url, volume = bucket
    folder = await serve(volume=volume)
    cli.extra = {
        **cli.extra,
        "RUNPOD_VOLUME_ID": VOLUME,
        "RUNPOD_S3_URL": url,
        "RUNPOD_S3_ACCESS_KEY": ACCESS,
        "RUNPOD_S3_SECRET_KEY": SECRET,
    }
    picture = noise(tmp_path / "noise.png", side)
    job = run(cli, through(tmp_path), picture)
    came_through(job, picture, least)
    states(cli, job)
    assert not [note for note in notes(cli, job) if "billed" in note]
    assert (len(on_volume(volume, "inputs")), on_volume(volume, "results")) == (1, [])
    assert jobs_of(folder) == 1
    assert SECRET not in cli.logs()
    assert SECRET not in json.dumps(job)


@many
@pytest.mark.timeout(300)
async def test_an_endpoint_whose_worker_has_a_bucket(
    cli: Cli, tmp_path: Path, serve: Serve, bucket: tuple[str, Path], doublings: int
) -> None:
    """Without a volume the worker lays big results into its bucket, and tells their addresses."""
    url, folder = bucket
    env = {"BUCKET_ENDPOINT_URL": url, "BUCKET_ACCESS_KEY_ID": ACCESS, "BUCKET_SECRET_ACCESS_KEY": SECRET}
    await serve(volume=None, env={**env, "BUCKET_NAME": VOLUME})
    picture = noise(tmp_path / "noise.png", 1100)
    job = run(cli, doubled(tmp_path, doublings), picture)
    assert job["state"] == "done", job["error"]
    states(cli, job)
    with Image.open(picture) as sent:
        for output in job["outputs"]:
            with Image.open(output["path"]) as got:
                assert sent.tobytes() == got.tobytes()
    assert len(job["outputs"]) == 2**doublings
    assert len([path for path in folder.rglob("*.png") if ".nanio" not in str(path)]) == 2**doublings
    assert "X-Amz" not in cli.logs() + json.dumps(job)


@big
@pytest.mark.timeout(300)
async def test_an_endpoint_with_nothing(
    cli: Cli, tmp_path: Path, serve: Serve, side: int, least: int
) -> None:
    folder = await serve(volume=None)
    picture = noise(tmp_path / "noise.png", side)
    job = run(cli, through(tmp_path), picture)
    assert job["state"] == "failed"
    assert job["error"]["summary"] == (
        f"noise.png ({picture.stat().st_size / 1e6:.1f} MB) is too large for a request, "
        f"and the endpoint {ENDPOINT} has no network volume."
    )
    assert job["error"]["hint"] == "Attach a network volume to the endpoint, or use a smaller input."
    assert jobs_of(folder) == 1


@many
@pytest.mark.timeout(300)
async def test_big_results_of_an_endpoint_with_nothing(
    cli: Cli, tmp_path: Path, serve: Serve, doublings: int
) -> None:
    await serve(volume=None)
    job = run(cli, doubled(tmp_path, doublings), noise(tmp_path / "noise.png", 1100))
    assert job["state"] == "failed"
    assert re.fullmatch(
        r"The results are [0-9.]+ MB as an answer, more than RunPod lets through, "
        "and there is neither a network volume nor a bucket for them.",
        job["error"]["summary"],
    )
    assert job["error"]["hint"].startswith("Attach a network volume to the endpoint.")
