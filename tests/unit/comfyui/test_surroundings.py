"""What ComfyUI is started with beside its own: the file of extra paths, environment, port."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest
import yaml

from app.comfyui.bridge import BRIDGE_ENV, bridge_file, local_key
from app.comfyui.house import House
from app.comfyui.installation import Installation
from app.comfyui.ports import PortTaken
from app.comfyui.status import ComfyState
from app.comfyui.surroundings import KINDS, Surroundings, extra_paths, nodes_folder
from app.errors import ProcessFailed
from tests.unit.comfyui.test_supervisor import _MAIN
from worker.process import free_port


def test_the_file_names_the_node_and_every_folder_of_models(tmp_path: Path) -> None:
    models = tmp_path / "my models: all"
    for name in ("checkpoints", "unet", "ipadapter", ".hidden"):
        (models / name).mkdir(parents=True)
    (models / "a file.txt").write_text("")
    told = yaml.safe_load(extra_paths(tmp_path / "nodes", models))
    assert told["comfy_runpod"] == {"custom_nodes": str(tmp_path / "nodes")}
    section = told["comfy_runpod_models"]
    assert section["base_path"] == str(models)
    assert section["diffusion_models"].splitlines() == ["diffusion_models/", "unet/"]
    assert section["text_encoders"].splitlines() == ["text_encoders/", "clip/"]
    assert section["ipadapter"] == "ipadapter/", "kinds of custom nodes"
    assert set(section) == {"base_path", *KINDS, "ipadapter"} - {"unet", "clip"}
    assert "comfy_runpod_models" not in yaml.safe_load(extra_paths(tmp_path / "nodes", None))
    assert (nodes_folder() / "comfy_runpod" / "__init__.py").is_file()


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").write_text(_MAIN)
    return Installation.at(folder, Path(sys.executable), ["--lowvram"])


async def test_it_is_started_with_all_of_it(installation: Installation, tmp_path: Path) -> None:
    import urllib.request

    port = free_port()
    around = Surroundings(tmp_path / "data", tmp_path / "models", {"MY_SWITCH": "on"}, port)
    house = House(None, lambda: installation, tmp_path / "data" / "comfyui", around=around)
    try:
        assert await house.ensure() == f"http://127.0.0.1:{port}"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/system_stats", timeout=10) as answer:
            known = json.loads(answer.read())
    finally:
        await house.stop()
    words = known["argv"]
    named = Path(words[words.index("--extra-model-paths-config") + 1])
    assert str(tmp_path / "models") in named.read_text("utf-8")
    assert words[-1] == "--lowvram", "the user's own come last and win"
    assert known["env"]["MY_SWITCH"] == "on"
    assert known["env"][BRIDGE_ENV] == str(bridge_file(tmp_path / "data"))


async def test_a_port_that_is_taken_is_named_with_who_has_it(
    installation: Installation, tmp_path: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        around = Surroundings(tmp_path / "data", port=port)
        house = House(None, lambda: installation, tmp_path / "data" / "comfyui", around=around)
        with pytest.raises(PortTaken, match=f"Port {port} is in use by another program"):
            await house.ensure()
    status = house.status
    assert status.state is ComfyState.CRASHED
    assert status.crash is not None
    assert (status.crash.cause, status.crash.title) == ("port_in_use", f"Port {port} is in use")


@pytest.mark.parametrize(("fixed", "starts"), [(False, 2), (True, 1)])
async def test_a_port_of_our_own_choice_that_was_taken_meanwhile_is_another_one(
    installation: Installation, tmp_path: Path, fixed: bool, starts: int
) -> None:
    first = installation.folder / "ports"
    main = installation.folder / "main.py"
    late = f"""
import pathlib, sys
ports = pathlib.Path({str(first)!r})
with ports.open("a") as file:
    file.write(sys.argv[sys.argv.index("--port") + 1] + "\\n")
if len(ports.read_text().split()) == 1:
    sys.exit("OSError: [Errno 98] error while attempting to bind: address already in use")
"""
    main.write_text(late + main.read_text("utf-8"), "utf-8")
    around = Surroundings(tmp_path / "data", port=free_port() if fixed else None)
    house = House(None, lambda: installation, tmp_path / "data" / "comfyui", around=around)
    if fixed:
        with pytest.raises(ProcessFailed, match="address already in use"):
            await house.ensure()
    else:
        await house.ensure()
    await house.end()
    assert len(first.read_text().split()) == starts


def test_the_key_of_the_worker_outlives_the_panel(tmp_path: Path) -> None:
    key = local_key(tmp_path)
    assert local_key(tmp_path) == key
    assert len(key) > 30
    bridge_file(tmp_path).write_text("spoilt")
    assert local_key(tmp_path) != key
    if sys.platform != "win32":
        assert bridge_file(tmp_path).stat().st_mode & 0o077 == 0
