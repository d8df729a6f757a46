from __future__ import annotations

import sys
from pathlib import Path

import pytest

from app.comfyui.installation import Installation
from app.errors import BadInput
from app.image.differences import compare
from app.image.local import TORCH_INDEX, LocalSetup, look_at, matching
from app.image.model import Kind, Manifest, NodePin, Parity, Torch
from tests.unit.comfyui.made import commit, git


@pytest.fixture
def comfyui(tmp_path: Path) -> Path:
    folder = tmp_path / "ComfyUI"
    commit(folder, {"main.py": "", "comfyui_version.py": '__version__ = "0.3.64"\n'})
    git(folder, "remote", "add", "origin", "https://me:secret@example.org/ComfyUI.git")
    return folder


async def test_what_is_here_becomes_a_manifest(comfyui: Path) -> None:
    nodes = comfyui / "custom_nodes"
    pinned = commit(nodes / "Pack", {"pyproject.toml": '[project]\nname = "pack"\nversion = "1.2"\n'})
    git(nodes / "Pack", "remote", "add", "origin", "https://example.org/pack.git")
    commit(nodes / "Off.disabled", {"a.py": ""})
    told = nodes / "from-registry" / "pyproject.toml"
    told.parent.mkdir()
    told.write_text('[project]\nname = "registered"\nversion = "2.0"\n')
    told.with_name(".tracking").write_text("a.py\n")
    (nodes / "loose").mkdir()
    (nodes / "single.py").write_text("")
    (nodes / "websocket_image_save.py").write_text("")
    setup = await look_at(Installation(comfyui, Path(sys.executable)))
    assert setup.comfyui is not None
    # A password in an address goes into no file.
    assert "secret" not in setup.comfyui.repository
    assert setup.comfyui.version == "0.3.64"
    assert setup.python == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert setup.packages["pytest"] == pytest.__version__
    assert setup.packs == (
        NodePin("from-registry", registry_id="registered", version="2.0"),
        NodePin("Pack", "https://example.org/pack.git", pinned, version="1.2"),
    )
    assert set(setup.left_out) == {"loose", "single.py"}
    assert matching(setup, None).custom_nodes == setup.packs


def _setup(packages: dict[str, str], comfyui: NodePin | None = None) -> LocalSetup:
    return LocalSetup(comfyui, "3.12", packages, ())


PIN = NodePin("comfyui", "https://example.org/ComfyUI.git", "a" * 40)


@pytest.mark.parametrize(
    ("packages", "torch"),
    [
        ({"torch": "2.8.0"}, Torch("2.8.0")),
        ({"torch": "2.8.0+cpu", "torchvision": "0.23.0+cpu"}, Torch("2.8.0", "0.23.0")),
        ({"torch": "2.8.0+cu126"}, Torch("2.8.0", index=TORCH_INDEX.format(variant="cu126"), cuda="12.6")),
        ({"torch": "2.8.0+rocm6.4"}, Torch("2.8.0")),
        ({}, Torch("2.7.0", cuda="12.6")),
        ({"torch": "2.7.0"}, Torch("2.7.0", cuda="12.6")),
    ],
)
def test_the_image_gets_a_build_of_torch_for_cuda(packages: dict[str, str], torch: Torch) -> None:
    before = Manifest(PIN, torch=Torch("2.7.0", cuda="12.6"))
    assert matching(_setup(packages, PIN), before).torch == torch


def test_what_is_no_matter_of_this_computer_stays() -> None:
    before = Manifest(PIN, system_packages=("ffmpeg",), overrides=("numpy<2",), base="debian:12")
    after = matching(_setup({}, PIN), before)
    assert (after.system_packages, after.overrides, after.base) == (("ffmpeg",), ("numpy<2",), "debian:12")


def test_without_a_commit_the_manifest_must_name_one() -> None:
    with pytest.raises(BadInput, match="not known which commit"):
        matching(_setup({}), None)
    assert matching(_setup({}), Manifest(PIN)).comfyui == PIN


def test_manifest_and_computer_are_held_together_line_by_line() -> None:
    def pin(name: str, commit: str, version: str = "") -> NodePin:
        return NodePin(name, f"https://example.org/{name}", commit * 40, version=version)

    manifest = Manifest(
        PIN,
        torch=Torch("2.8.0", cuda="12.8"),
        custom_nodes=(pin("Same", "a"), pin("Differs", "b"), pin("Image", "c"), pin("Loose", "d")),
    )
    setup = LocalSetup(
        PIN,
        "3.12",
        {"torch": "2.8.0+cu128"},
        (pin("Same", "a"), pin("Differs", "e", "2.0"), pin("Local", "f")),
        {"Loose": "it is neither a git clone nor from the Comfy Registry", "Other": "it is a single file"},
    )
    lines = {line.name: line for line in compare(manifest, setup)}
    assert {name: line.parity for name, line in lines.items()} == {
        "ComfyUI": Parity.SAME,
        "Python · CUDA · torch": Parity.SAME,
        "Same": Parity.SAME,
        "Differs": Parity.DIFFERS,
        "Image": Parity.IMAGE_ONLY,
        "Loose": Parity.UNKNOWN,
        "Local": Parity.LOCAL_ONLY,
        "Other": Parity.LOCAL_ONLY,
    }
    assert (lines["Differs"].image, lines["Differs"].local) == ("bbbbbbb", "2.0 · eeeeeee")
    assert lines["Other"].note == "it is a single file"
    assert {line.kind for line in lines.values()} == {Kind.COMFYUI, Kind.TORCH, Kind.CUSTOM_NODE}
