"""Workflows in the browser's form run as they do in the browser: the same pictures, point for point.

The measure is the API form that the official frontend makes of them, on the same engine: the demo engine, and
a real ComfyUI when COMFYUI_DIR is set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageSequence

from app.cli import main
from tests.e2e.conftest import Cli, written
from tests.engines import ENGINES, Engine, started
from tests.unit.workflows.cases import HERE, bare, load

#: What runs without a model and saves pictures that are the same each time. The SDK's worker takes one job a
#: second, and each case is two.
CASES = [
    "edge-bypass-chain",
    "edge-group-node-identical-inner",
    "edge-subgraph-inner-bypassed-boundary",
    "edge-x-png-bypass-reroute",
    "edge-x-png-subgraph",
]
#: Only on a real ComfyUI, for the time they take and for nodes that the demo engine has not.
MORE = [
    "edge-disconnected-and-many-outputs",
    "edge-group-node-inner-reroute",
    "edge-mute-widget-source",
    "edge-native-reroutes",
    "edge-primitive-unconnected-and-disabled",
    "edge-subgraph-passthrough",
    "edge-x-apng",
    "edge-x-webp-anim",
]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with started(request.param, tmp_path_factory.mktemp(f"ui-form-{request.param}")) as engine:
        yield engine


@pytest.fixture
def attached(cli: Cli, engine: Engine) -> Cli:
    cli.extra = {"COMFYUI_URL": engine.url}
    return cli


@pytest.fixture
def names(engine: Engine) -> list[str]:
    return [*CASES, *MORE] if engine.name == "real" else CASES


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with the input that the workflows name; no two points of it are alike."""
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = Image.new("RGBA", (96, 64))
    photo.putdata([(x * 2, y * 3, (x * y) % 256, 255 - x) for y in range(64) for x in range(96)])
    photo.save(folder / "a.png")
    return folder


def test_the_pictures_are_those_of_the_browser(
    attached: Cli, names: Sequence[str], photos: Path, tmp_path: Path
) -> None:
    each = [f"{name}.{form}" for name in names for form in ("ui", "api")]
    files = [HERE / f"{name}.json" for name in each]
    where = ("--target", "local", "--image", photos, "--output", tmp_path / "out")
    ran = attached.run("run", *files, *where, "--json")
    assert ran.returncode == 0, ran.stderr + attached.logs()
    jobs = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [job["name"] for job in jobs] == each
    made = {job["name"]: pictures(job) for job in jobs}
    for name in names:
        assert made[f"{name}.ui"], f"{name} made no picture"
        assert made[f"{name}.ui"] == made[f"{name}.api"], f"{name} looks otherwise"


def test_they_are_ready_and_become_what_the_browser_sends(
    attached: Cli,
    names: Sequence[str],
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The program in this process, which saves the time of starting it for each."""
    for name in os.environ.keys() - attached.env.keys():
        monkeypatch.delenv(name)
    for name, value in attached.env.items():
        monkeypatch.setenv(name, value)
    files = [str(HERE / f"{name}.ui.json") for name in names]
    code = main(["check", *files, "--target", "local", "--image", str(photos), "--json"])
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(report["ready"], report["lacks"]) for report in reports] == [(True, [])] * len(names)
    assert code == 0
    for name, file in zip(names, files, strict=True):
        assert main(["convert", file, "--target", "local"]) == 0
        sent = json.loads(capsys.readouterr().out)
        assert bare(sent) == bare(load(HERE / f"{name}.api.json")), name


def test_what_comfyui_has_in_a_subfolder_is_an_input_and_a_partly_valid_one_runs_in_part(
    attached: Cli, engine: Engine, tmp_path: Path
) -> None:
    """The folders are those that the running ComfyUI uses, wherever it lies."""
    (engine.input / "clipspace").mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(engine.input / "clipspace" / "mask.png")
    save = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "sub"}}
    load = {"class_type": "LoadImage", "inputs": {"image": "clipspace/mask.png [input]"}}
    flow = {"1": load, "2": save}
    ran = attached.run(
        "run", written(tmp_path / "sub.json", flow), "--target", "local", "--output", tmp_path / "out"
    )
    assert ran.returncode == 0, ran.stderr
    assert len(list((tmp_path / "out").iterdir())) == 1
    # The browser runs what can be run; so do we, when the user says so.
    partly = {
        **flow,
        "3": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "no"}},
    }
    partly["4"] = {
        "class_type": "EmptyImage",
        "inputs": {"width": 0, "height": 8, "batch_size": 1, "color": 0},
    }
    where = (written(tmp_path / "part.json", partly), "--target", "local", "--output", tmp_path / "part")
    held = attached.run("run", *where)
    assert held.returncode == 1
    assert "node 4 width" in held.stderr
    ran = attached.run("run", *where, "--anyway")
    assert ran.returncode == 0, ran.stderr
    assert [path.name[:4] for path in (tmp_path / "part").iterdir()] == ["sub_"]


def pictures(job: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    """All frames of a job's pictures with the nodes that saved them."""
    found = []
    for output in job["outputs"]:
        with Image.open(output["path"]) as image:
            frames = [(frame.size, frame.mode, frame.tobytes()) for frame in ImageSequence.Iterator(image)]
        found.append((output["node_id"], frames))
    return found
