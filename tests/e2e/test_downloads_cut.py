"""Results whose download is cut at every tenth of it: each is here whole in the end, and ran once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from app.errors import Unreachable
from app.jobs import outputs
from app.jobs.carriers.s3 import VolumeS3
from app.jobs.model import OutputFile
from app.s3.access import VolumeAccess
from app.settings import Secret
from tests.e2e.conftest import Cli, written
from tests.e2e.lines import Line, behind, hashes_are_right, queued
from tests.e2e.places import Place, place
from tests.s3 import ACCESS, SECRET, s3_server
from worker.contract import FileEntry

TENTHS = range(10, 100, 10)
#: How the connection ends, one after the other.
ENDS = ("reset", "closed", "bare")
SIDE = 200
#: How a picture begins, in base64 and as JSON.
PNG = b'"iVBORw0KGgo'
#: Up to which size results are in the answer.
INLINE = [
    pytest.param("7000000", id="in the answer"),
    pytest.param("1", id="in pieces over the volume", marks=pytest.mark.long),
]


@pytest.fixture(scope="module", params=INLINE)
def at(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An endpoint whose results are in the answers, or on the volume from their first byte on."""
    folder = tmp_path_factory.mktemp("cut")
    # One worker: two would share a folder of inputs here, as on RunPod none do; each takes its own away.
    with place("demo", folder, workers=1, env={"MAX_INLINE_BYTES": request.param}) as running:
        running.ended(running.send({"command": "health"}), 60)
        yield running


@pytest.fixture
def line(at: Place, cli: Cli) -> Iterator[Line]:
    with behind(at, cli) as line:
        yield line


def noise(path: Path) -> Path:
    Image.frombytes("RGB", (SIDE, SIDE), os.urandom(SIDE * SIDE * 3)).save(path, compress_level=1)
    return path


def test_an_answer_cut_at_every_tenth_is_asked_for_again(
    at: Place, line: Line, cli: Cli, tmp_path: Path
) -> None:
    """One job for each tenth, so that each is told whole at once after its cut."""
    picture = noise(tmp_path / "noise.png")
    flows = [
        written(
            tmp_path / "flows" / f"{n}.json",
            {
                "1": {"class_type": "LoadImage", "inputs": {"image": "noise.png"}},
                "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": f"n{n}"}},
            },
        )
        for n in TENTHS
    ]
    before = queued(at)
    # The picture itself, wherever it is told: in the job's own answer, or in that to `get`.
    cuts = [line(f"{n}% {ENDS[n // 10 % 3]}", "/status", holding=PNG, apart=True) for n in TENTHS]
    given = ("--image", f"noise.png={picture}", "--output", tmp_path / "out")
    ran = cli.run("run", *flows, "--target", "faults", *given)
    assert ran.returncode == 0, ran.stderr + cli.logs()
    assert [cut.seen for cut in cuts] == [1] * len(cuts)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"n{n}_00001_.png" for n in TENTHS]
    hashes_are_right(cli)
    with Image.open(picture) as sent:
        for name in names:
            with Image.open(tmp_path / "out" / name) as got:
                assert sent.tobytes() == got.tobytes()
    sources = [output["source"] for job in cli.jobs() for output in job["outputs"]]
    at_endpoint = queued(at) - before
    print(f"{at_endpoint} jobs at the endpoint, {line.count('/status')} looks")
    if all(sources):
        # With each job one `get`, done again where its answer was no JSON, and one `drop`.
        assert 3 * len(cuts) <= at_endpoint <= 4 * len(cuts)
    else:
        assert not any(sources)
        assert at_endpoint == len(cuts)
    assert line.count("POST /v2/faults/run") == at_endpoint


async def test_a_file_from_the_bucket_cut_at_every_tenth_is_gone_on_with(tmp_path: Path) -> None:
    """What arrived is kept beside the file's place, as far as it came in whole pieces."""
    (folder := tmp_path / "s3" / "volume" / ".comfy-runpod" / "results" / "job").mkdir(parents=True)
    content = os.urandom(3_000_000)
    (folder / "file.bin").write_bytes(content)
    digest = sha256(content).hexdigest()
    entry = FileEntry(
        "file.bin", "volume", ".comfy-runpod/results/job/file.bin", "", "2", "x/y", len(content), digest
    )
    planned = OutputFile("file.bin", str(tmp_path / "out" / "file.bin"), "2", "x/y", len(content), digest)
    with s3_server(tmp_path / "s3") as url, Line(int(url.rsplit(":", 1)[1])) as line:
        access = VolumeAccess(
            "volume", line.url.removesuffix("/v2"), "us-east-1", Secret(ACCESS), Secret(SECRET)
        )
        carrier = VolumeS3(access)
        sizes = [0]
        try:
            for percent in TENTHS:
                # Of what is still to come.
                cut = line(f"{percent}% {ENDS[percent // 10 % 2]}", "GET /volume")
                with pytest.raises(Unreachable):
                    await outputs.fetch(entry, planned, carrier)
                assert cut.seen == 1
                (part,) = (tmp_path / "out").iterdir()
                assert part.suffix == ".part"
                sizes.append(part.stat().st_size)
            await outputs.fetch(entry, planned, carrier)
        finally:
            await carrier.close()
    print(f"there after each cut: {sizes}")
    assert sizes == sorted(sizes)
    assert 0 < sizes[-1] < len(content)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file.bin"]
    assert sha256(Path(planned.path).read_bytes()).hexdigest() == digest
