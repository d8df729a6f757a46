"""The real Dockerfile with a real engine: built, run as RunPod runs it, pushed, pulled back, run again."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.docker.engine import Engine
from app.docker.model import BuildRequest, Built, Mount
from app.errors import NeedsSetup, ProcessFailed
from app.image.manifest import write_manifest
from app.image.model import Manifest, NodePin, Parity
from app.image.trial import LABEL
from app.imaging import Imaging
from app.settings import Settings
from tests.docker.demo_comfyui import make_comfyui
from tests.e2e.conftest import ROOT
from tests.engines import started
from tests.unit.comfyui.made import commit
from tests.unit.endpoint.management import KEY, Management, managing

pytestmark = pytest.mark.timeout(400)
HELLO = ROOT / "resources" / "workflows" / "hello.json"
#: Of the base image.
PYTHON = os.environ.get("TEST_BASE_PYTHON", "3.11")


@dataclass
class Project:
    """A manifest of a ComfyUI and a custom node, locked and built once."""

    folder: Path
    env: dict[str, str]
    name: str
    lines: list[dict[str, Any]]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "app.cli", "image", *words, "--folder", str(self.folder / "project")]
        return subprocess.run(argv, cwd=ROOT, env=self.env, capture_output=True, text=True, check=False)

    def told(self, *words: str) -> list[dict[str, Any]]:
        """The JSON lines of a command that went well."""
        ended = self.run(*words, "--json")
        assert ended.returncode == 0, ended.stderr
        return [json.loads(line) for line in ended.stdout.splitlines()]

    @property
    def imaging(self) -> Imaging:
        env = {name: value for name, value in self.env.items() if name.startswith(("COMFY", "DOCKER"))}
        settings = Settings.load(env=env)
        return Imaging(lambda: settings, self.folder / "project")


def _network() -> list[str]:
    network = os.environ.get("TEST_BUILD_NETWORK")
    return ["--network", network] if network else []


@pytest.fixture(scope="module")
def project(
    engine: Engine,
    base: str,
    registry: str,
    trusting: Callable[[Mapping[str, str]], dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("image")
    comfyui = make_comfyui(folder / "ComfyUI")
    node = commit(
        folder / "Some-Node", {"__init__.py": "NODE_CLASS_MAPPINGS = {}\n", "requirements.txt": "six\n"}
    )
    manifest = Manifest(
        NodePin("comfyui", (folder / "ComfyUI").as_uri(), comfyui, version="0.3.64"),
        python=PYTHON,
        custom_nodes=(NodePin("Some-Node", (folder / "Some-Node").as_uri(), node),),
        base=base,
    )
    write_manifest(folder / "project" / "manifest.yaml", manifest)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RUNPOD", "COMFY"))}
    env = {
        **trusting(kept),
        "COMFY_RUNPOD_DATA": str(folder / "data"),
        "COMFY_RUNPOD_CONFIG": str(folder / "settings.yaml"),
        "COMFY_RUNPOD_DOCKER": str(engine.program),
        "DOCKER_REGISTRY": f"{registry}/ci",
        "DOCKER_IMAGE": "comfy",
        "RUNPOD_API_KEY": KEY,
    }
    made = Project(folder, env, f"{env['DOCKER_REGISTRY']}/comfy:one", [])
    refused = made.run("build", "--tag", "one", *_network())
    assert refused.returncode == 1
    assert "comfy-runpod image lock" in refused.stderr
    (locked,) = made.told("lock")
    assert {"aiohttp", "pillow", "six"} <= locked["packages"].keys()
    made.lines = made.told("build", "--tag", "one", *_network())
    yield made
    asyncio.run(engine.remove(made.name))


def test_the_build_tells_its_steps_and_what_it_made(project: Project) -> None:
    *steps, done = project.lines
    assert done["image"] == project.name
    assert done["size"] > 50_000_000
    ended = [each for each in steps if each["state"] == "done"]
    assert any("torch.lock" in each["title"] for each in ended)
    assert all(each["seconds"] is not None or each["cached"] for each in ended)
    parts = [each["part"] for each in steps if each["part"] is not None]
    assert parts == sorted(parts)


async def test_it_runs_under_the_local_endpoint_and_is_as_this_computer(
    project: Project, engine: Engine, tmp_path: Path
) -> None:
    with started("demo", tmp_path / "comfyui") as here:
        tested = await project.imaging.test(engine, project.name, local_url=here.url)
    (made,) = tested.trial.made
    picture = Image.open(io.BytesIO(made.content))
    # EmptyImage of 14903808, which is e36a00, inverted; the red is cut off and not rounded.
    assert picture.convert("RGB").getpixel((0, 0)) == (0x1B, 0x95, 0xFF)
    assert tested.report is not None
    assert (tested.report.differing, tested.report.same_types) == (0, tested.report.node_types)
    six = next(line for line in tested.packages if line.name == "six")
    assert (six.parity, six.note) == (Parity.IMAGE_ONLY, "")
    assert tested.trial.provenance["image"] == project.name
    assert not tested.trial.gpu
    assert await engine.stop_containers(LABEL) == 0


@pytest.fixture(scope="module")
def by_digest(project: Project) -> str:
    """The image's name once it is pushed."""
    *steps, done = project.told("push", "--tag", "one")
    parts = [each["part"] for each in steps if each["part"] is not None]
    assert parts == sorted(parts)
    # A registry that has most of the layers already is sent the others only.
    assert max(each["total"] for each in steps) > 100_000
    return f"{project.name.rpartition(':')[0]}@{done['digest']}"


async def test_pushed_and_pulled_by_digest_it_runs_again(
    project: Project, by_digest: str, engine: Engine
) -> None:
    await engine.remove(project.name)
    assert await engine.inspect(project.name) is None
    await engine.pull(by_digest)
    tested = await project.imaging.test(engine, by_digest)
    assert len(tested.trial.made) == 1
    await engine.pull(project.name)


async def test_it_is_deployed_by_its_digest_and_taken_back(project: Project, by_digest: str) -> None:
    async with managing() as api:
        api.rolling = [(1, 2, True), (2, 2, False)]
        told = await _deployed(project, api, "--image", by_digest)
        assert [each["on_latest"] for each in told[:-1]] == [1, 2]
        assert (told[-1]["image"], told[-1]["before"]) == (by_digest, "someone/comfy:1")
        # What its worker knows is known here now, without asking one.
        assert (project.folder / "data" / "catalogues" / "ep-one.json.gz").is_file()
        await _deployed(project, api, "--back")
        assert api.endpoints["ep-one"]["image"] == "someone/comfy:1"
        project.env |= {"RUNPOD_API_BASE_URL": api.url, "RUNPOD_API_KEY": KEY}
        refused = await asyncio.to_thread(project.run, "deploy", "--endpoint", "ep-one", "--tag", "latest")
    assert refused.returncode == 2
    assert "not given `latest`" in refused.stderr
    (history,) = project.told("history")
    assert [each["what"] for each in history][:2] == ["deployed", "deployed"]  # type: ignore[index]


async def _deployed(project: Project, api: Management, *words: str) -> list[dict[str, Any]]:
    project.env |= {"RUNPOD_API_BASE_URL": api.url, "RUNPOD_API_KEY": KEY}
    return await asyncio.to_thread(project.told, "deploy", "--endpoint", "ep-one", *words)


def test_no_key_of_ours_gets_near_the_image(project: Project, engine: Engine) -> None:
    docker = str(engine.program)
    for words in (["history", "--no-trunc"], ["image", "inspect"]):
        told = subprocess.run(
            [docker, *words, project.name], capture_output=True, text=True, check=True
        ).stdout
        assert "COMFY_RUNPOD_IMAGE" in told
        assert KEY not in told
    context = project.folder / "data" / "image" / "context"
    texts = [path.read_bytes() for path in context.rglob("*") if path.is_file()]
    assert len(texts) > 50
    assert not any(KEY.encode() in text for text in texts)


async def test_a_build_does_not_begin_on_a_full_disk(
    project: Project, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.root is None:
        pytest.skip("the engine's disk is not of this computer")
    usage = shutil.disk_usage(engine.root)
    monkeypatch.setattr("app.docker.engine.shutil.disk_usage", lambda _: usage._replace(free=1_500_000_000))
    with pytest.raises(NeedsSetup, match=r"1\.5 GB left, and a build may take 3 GB"):
        await project.imaging.build(engine, project.name)


async def test_a_container_is_no_root_where_the_volume_lets_it(
    project: Project, engine: Engine, tmp_path: Path
) -> None:
    # Its entry point with another command than the worker.
    async def who(volume: Path | None) -> str:
        mounts = [] if volume is None else [Mount(volume, "/runpod-volume", readonly=False)]
        lines = await engine.run_once(project.name, ["/opt/comfy-runpod/start", "id", "-u"], mounts=mounts)
        return lines[-1]

    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs").chmod(0o755)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert await who(None) == "1000"
    assert await who(tmp_path / "open") == "1000"
    assert await who(tmp_path / "theirs") == "0"


async def test_models_are_looked_for_where_the_container_runs(
    project: Project, engine: Engine, tmp_path: Path
) -> None:
    async def paths(inside: str | None) -> str:
        mounts = [] if inside is None else [Mount(tmp_path, inside)]
        script = 'echo "$MODELS_DIR"; grep base_path /tmp/*/model_paths.yaml'
        words = ["/opt/comfy-runpod/start", "sh", "-c", script]
        return "\n".join(await engine.run_once(project.name, words, mounts=mounts))

    for inside, base in (
        (None, "/runpod-volume"), ("/workspace", "/workspace"), ("/runpod-volume", "/runpod-volume")
    ):  # fmt: skip
        assert await paths(inside) == f'{base}/comfyui/models\n    base_path: "{base}/comfyui/models"'


async def test_nothing_is_fetched_when_it_starts(project: Project, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_bytes(HELLO.read_bytes())
    tmp_path.chmod(0o755)
    words = ["/opt/comfy-runpod/start", "python", "-m", "worker", "/job/job.json"]
    lines = await engine.run_once(project.name, words, mounts=[Mount(tmp_path, "/job")], network="none")
    assert any('"status": "success"' in line for line in lines)


def test_the_first_process_takes_a_signal(project: Project, engine: Engine) -> None:
    docker = [str(engine.program)]
    name = f"signal-{os.getpid()}"
    words = ["run", "--rm", "--name", name, project.name, "sh", "-c", "echo up; sleep 99"]
    run = subprocess.Popen([*docker, *words], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "up\n"
    first = subprocess.run(
        [*docker, "exec", name, "cat", "/proc/1/comm"], capture_output=True, text=True, check=True
    )
    assert first.stdout == "tini\n"
    subprocess.run([*docker, "stop", "--time", "60", name], check=True, capture_output=True)
    # Else it would have been killed after a minute, which is 137.
    assert run.wait() == 143
    run.stdout.close()


async def _rebuilt(project: Project, engine: Engine, folder: Path) -> Built:
    manifest = await project.imaging.manifest()
    context = project.folder / "data" / "image" / "context"
    args = {"BASE_IMAGE": manifest.base_image, "PYTHON_VERSION": PYTHON, "IMAGE_NAME": project.name}
    about = json.loads((context / "image.json").read_text())
    args |= {"SYSTEM_PACKAGES": "", "TORCH_INDEX": "", "WORKER_VERSION": about["comfy_runpod"]}
    network = os.environ.get("TEST_BUILD_NETWORK") or None
    return await engine.build(
        BuildRequest(folder, tags=("comfy-runpod-test/again:1",), args=args, network=network)
    )


@pytest.mark.parametrize(
    ("changed", "anew"),
    [
        ("worker/README.md", ["COPY worker", "compileall -q -j 0 /opt/comfy-runpod/worker"]),
        (
            "custom_nodes/Some-Node/__init__.py",
            ["COPY --chown=1000:1000 custom_nodes", "compileall -q -j 0 .", "COPY start", "COPY worker",
             "compileall -q -j 0 /opt/comfy-runpod/worker"],
        ),
    ],
)  # fmt: skip
async def test_a_change_costs_its_own_layers_only(
    project: Project, engine: Engine, tmp_path: Path, changed: str, anew: list[str]
) -> None:
    context = shutil.copytree(project.folder / "data" / "image" / "context", tmp_path / "context")
    # Something new each time: the engine may remember an earlier run.
    (context / changed).write_text(f"# changed {uuid.uuid4()}\n")
    built = await _rebuilt(project, engine, context)
    steps = [step for step in built.steps if step.title.startswith(("RUN", "COPY"))]
    assert len(steps) >= 10
    made = [step.title for step in steps if not step.cached]
    assert len(made) == len(anew)
    assert all(any(words in title for title in made) for words in anew)


async def test_an_image_whose_worker_does_not_start_says_why(project: Project, engine: Engine) -> None:
    (folder := project.folder / "broken").mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(
        f'FROM {project.name}\nCMD ["python", "-c", "raise SystemExit(\'no luck\')"]\n'
    )
    await engine.build(BuildRequest(folder, tags=("comfy-runpod-test/broken:1",)))
    with pytest.raises(ProcessFailed, match=r"ended by itself.*no luck"):
        await project.imaging.test(engine, "comfy-runpod-test/broken:1")
