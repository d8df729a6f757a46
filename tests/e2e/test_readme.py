"""The README's commands are run, in order, as a newcomer would type them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from app.endpoint.config import EndpointConfig
from app.endpoint.local import LocalEndpoint
from app.services import demo_worker_env
from tests.e2e.conftest import ROOT, Cli, until
from tests.e2e.test_local import stand_in
from tests.s3 import ACCESS, SECRET, s3_server

RESULTS = ROOT / "results"
Trusting = Callable[[Mapping[str, str]], dict[str, str]]
_OPENS = re.compile(r"\./run\.sh( \S+\.(json|png))*")


def windows() -> list[list[str]]:
    """The files of each command that opens the window."""
    return [line.split()[1:] for line in _lines() if _OPENS.fullmatch(line)]


def commands() -> list[str]:
    """All others."""
    return [line for line in _lines() if not _OPENS.fullmatch(line)]


def _lines() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder with a ComfyUI in it, with a Python of its own."""
    comfyui = stand_in(tmp_path / "ComfyUI")
    python = comfyui / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return tmp_path


@pytest.fixture
async def runpod_stand_in(tmp_path: Path) -> AsyncIterator[tuple[str, str]]:
    """RunPod's job API for the endpoint `your-endpoint`: base URL and key."""
    folder = tmp_path / "runpod"
    config = EndpointConfig(
        endpoint_id="your-endpoint",
        data_dir=folder,
        worker_argv=(sys.executable, "-m", "worker"),
        worker_env=demo_worker_env(folder),
        volume_dir=folder / "volume",
        idle_exit_s=120,
    )
    local = LocalEndpoint(config)
    access = await local.ensure()
    yield access.base_url, access.api_key
    await local.stop()


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[str]:
    """A network volume's S3 API, as variables of a shell."""
    (tmp_path / "s3" / "vol0123").mkdir(parents=True)
    with s3_server(tmp_path / "s3") as url:
        yield (
            f"RUNPOD_S3_URL={url} RUNPOD_VOLUME_ID=vol0123 RUNPOD_DATACENTER=EU-RO-1"
            f" RUNPOD_S3_ACCESS_KEY={ACCESS} RUNPOD_S3_SECRET_KEY={SECRET}"
        )


@pytest.fixture
def results() -> Iterator[Path]:
    if RESULTS.exists():
        pytest.fail(f"{RESULTS} is in the way")
    yield RESULTS
    shutil.rmtree(RESULTS, ignore_errors=True)


@pytest.mark.timeout(300)
def test_every_command_works(
    cli: Cli, home: Path, results: Path, runpod_stand_in: tuple[str, str], volume: str, trusting: Trusting
) -> None:
    base, key = runpod_stand_in
    lora = home / "ComfyUI" / "models" / "loras" / "film.pt"
    lora.parent.mkdir(parents=True, exist_ok=True)
    lora.write_bytes(b"a model")
    # The key in the README is a placeholder; everything else is typed as it stands there.
    script = "set -eu\n" + "\n".join(f"echo '>>>' {n}\n{line}" for n, line in enumerate(commands()))
    script = script.replace("RUNPOD_API_KEY=your-key", f"RUNPOD_API_KEY={key}")
    script = script.replace("./run.sh sync", f"{volume} ./run.sh sync")
    env = {**trusting(cli.env), "HOME": str(home), "RUNPOD_ENDPOINT_BASE_URL": base}
    env["XDG_CACHE_HOME"] = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    ran = subprocess.run(
        ["bash"], input=script, cwd=ROOT, env=env, capture_output=True, text=True, timeout=280
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr + cli.logs()
    parts = dict(re.findall(r"^>>> (\d+)\n(.*?)(?=^>>> |\Z)", ran.stdout, re.DOTALL | re.MULTILINE))
    said = {line: parts.get(str(n), "") for n, line in enumerate(commands())}
    runs = [line for line in commands() if " run " in line]
    assert len(runs) == 7
    for line in runs:
        paths = [Path(path) for path in said[line].splitlines()]
        assert paths, line
        assert all(path.parent == results and path.is_file() for path in paths), line
    (health,) = (said[line] for line in commands() if "health" in line)
    assert "idle" in health
    (served,) = (said[line] for line in commands() if "serve" in line)
    assert re.search(r"http://127\.0\.0\.1:\d+/v2/demo", served)
    there = home / "s3" / "vol0123" / "comfyui" / "models" / "loras" / "film.pt"
    assert there.read_bytes() == b"a model"
    shown = {path for line in runs for path in said[line].splitlines()}
    assert {str(path) for path in results.iterdir()} == shown


@pytest.mark.parametrize("files", windows(), ids=" ".join)
def test_every_window_opens_runs_its_files_and_closes(
    cli: Cli, tmp_path: Path, files: list[str], trusting: Trusting
) -> None:
    flows = sum(file.endswith(".json") for file in files)
    env = {**trusting(cli.env), "HOME": str(tmp_path), "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", "")}
    env["XDG_CACHE_HOME"] = env["XDG_CACHE_HOME"] or str(Path.home() / ".cache")
    env["QT_QPA_PLATFORM"] = os.environ.get("QT_QPA_PLATFORM", "offscreen")
    opened = subprocess.Popen(
        ["./run.sh", *files], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        until(lambda: (cli.data / "control.json").exists() or opened.poll() is not None, 60)
        assert opened.poll() is None, opened.communicate()[0]
        until(lambda: [job["state"] for job in cli.jobs()] == ["done"] * flows, 60, every=0.5)
        opened.terminate()
        said, _ = opened.communicate(timeout=15)
    finally:
        opened.kill()
    assert opened.returncode == 0, said
    assert "Traceback" not in said


def test_the_pictures_of_the_readme_are_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    assert len(shown) >= 4
    for path in shown:
        assert (ROOT / path).read_bytes().startswith(b"\x89PNG"), path


def test_ci_runs_what_the_readme_says() -> None:
    assert "exec ./test.sh" in (ROOT / ".ci" / "run").read_text()
    for name in ("run.sh", "test.sh", ".ci/run"):
        assert os.access(ROOT / name, os.X_OK), name
