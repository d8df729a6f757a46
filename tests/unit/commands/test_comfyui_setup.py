"""`comfy-runpod comfyui install` and `comfyui nodes` in this process, with the real git and the real uv."""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from app.commands.comfyui_setup import install, nodes
from app.errors import BadInput, NeedsSetup
from app.settings import Settings
from tests.unit.comfyui.made import TORCH, commit, only_these, uv, wheel

COMFYUI = {"main.py": "", "comfyui_version.py": '__version__ = "0.3.9"', "requirements.txt": "num<2\n"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def wheels(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    wheel(folder, "torch", "2.8.0", files=TORCH)
    for name in ("torchvision", "torchaudio", "pip", "requests", "extra"):
        wheel(folder, name)
    for version in ("1.5", "2.1"):
        wheel(folder, "num", version)
    only_these(monkeypatch, folder, tmp_path_factory.getbasetemp() / "uv-cache")
    monkeypatch.setenv("UV", str(uv()))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    for name in ("COMFYUI_DIR", "COMFYUI_PYTHON", "COMFYUI_URL", "COMFYUI_ARGS"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    folder = tmp_path / "origins" / "my-pack"
    commit(folder, {"requirements.txt": "extra\n"})
    return folder


def load(tmp_path: Path) -> Settings:
    return Settings.load(
        env={"COMFY_RUNPOD_DATA": str(tmp_path / "data")}, config_file=tmp_path / "settings.yaml"
    )


async def installed(tmp_path: Path, **changes: Any) -> int:
    if not (tmp_path / "origin").exists():
        commit(tmp_path / "origin", COMFYUI, "v0.3.9")
    given = {
        "folder": str(tmp_path / "ComfyUI"),
        "source": str(tmp_path / "origin"),
        "python": sys.executable,
    }
    rest = {"version": None, "torch_index": None, "discard": False, "json": True}
    return await install(argparse.Namespace(**given | rest | changes), load(tmp_path))


async def called(tmp_path: Path, what: str, **changes: Any) -> int:
    rest = {"commit": None, "yes": False, "json": True}
    return await nodes(argparse.Namespace(what=what, **rest | changes), load(tmp_path))


def said(capsys: pytest.CaptureFixture[str]) -> list[Any]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_from_nothing_to_a_pack_of_nodes(
    tmp_path: Path,
    pack: Path,
    wheels: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(NeedsSetup, match="No ComfyUI") as caught:
        await called(tmp_path, "list")
    assert "comfyui install" in caught.value.hint
    (tmp_path / "settings.yaml").write_text("comfyui_python: /of/another\ntarget: demo\n")
    assert await installed(tmp_path) == 0
    shown = capsys.readouterr()
    (told,) = map(json.loads, shown.out.splitlines())
    assert (told["folder"], told["version"], told["torch"]) == (str(tmp_path / "ComfyUI"), "0.3.9", "2.8.0")
    assert "1/5 download" in shown.err
    assert "5/5 check  done · PyTorch 2.8.0 on cpu" in shown.err
    settings = load(tmp_path)
    assert (settings.comfyui_dir, settings.comfyui_python) == (tmp_path / "ComfyUI", None)
    assert settings.target == "demo"

    # A pack that only adds something asks nobody.
    assert await called(tmp_path, "install", address=str(pack)) == 0
    assert await called(tmp_path, "list") == 0
    done, listed = said(capsys)
    assert done["changes"] == [{"name": "extra", "before": None, "after": "1.0"}]
    assert (listed["name"], listed["commit"], listed["state"]) == ("my-pack", done["commit"], "enabled")

    # What would break ComfyUI is not done unless somebody says so.
    newest = commit(pack, {"requirements.txt": "num>=2\n", "install.py": ""})
    with pytest.raises(BadInput, match=r"ComfyUI needs num<2, but 1\.5 would become 2\.1") as refused:
        await called(tmp_path, "update", names=["My-Pack"])
    assert "--yes" in refused.value.hint
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    with pytest.raises(BadInput, match="Nothing was changed"):
        await called(tmp_path, "update", names=["my-pack"])
    assert [path.name for path in (tmp_path / "ComfyUI" / "custom_nodes").iterdir()] == ["my-pack"]
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert await called(tmp_path, "update", names=["my-pack"]) == 0
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert (told["before"], told["commit"]) == (done["commit"], newest)
    assert told["has_install_script"]
    assert "! ComfyUI needs num<2" in shown.err
    assert "was not run" in shown.err

    # People read sentences.
    assert await called(tmp_path, "update", names=["my-pack"], json=False) == 0
    assert await called(tmp_path, "disable", names=["my-pack"], json=False) == 0
    assert await called(tmp_path, "list", json=False) == 0
    assert await called(tmp_path, "enable", names=["my-pack"], json=False) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"my-pack is up to date ({newest[:8]}).",
        "my-pack is disabled from ComfyUI's next start on.",
        f"  my-pack  disabled · {newest[:8]} · {pack.as_uri()}",
        "my-pack is enabled from ComfyUI's next start on.",
    ]
    with pytest.raises(BadInput, match="There is no pack other"):
        await called(tmp_path, "remove", names=["other"])


async def test_how_imports_went_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "ComfyUI"
    (folder / "custom_nodes" / "broken").mkdir(parents=True)
    (folder / "main.py").write_text("")
    (tmp_path / "settings.yaml").write_text(f"comfyui_dir: {folder}\ncomfyui_python: {sys.executable}\n")
    assert await called(tmp_path, "list", json=False) == 0
    log = tmp_path / "data" / "comfyui" / "logs" / "comfyui.log"
    log.parent.mkdir(parents=True)
    path = folder / "custom_nodes" / "broken"
    log.write_text(
        f"Cannot import {path} module for custom nodes: no x\n"
        f"Import times for custom nodes:\n   1.5 seconds (IMPORT FAILED): {path}\n"
    )
    assert await called(tmp_path, "list", json=False) == 0
    assert capsys.readouterr().out.splitlines() == ["  broken  enabled", "  broken  failed · 1.5 s · no x"]
    assert await called(tmp_path, "list") == 0
    (told,) = said(capsys)
    assert (told["state"], told["import_s"], told["error"]) == ("failed", 1.5, "no x")
    path.rmdir()
    assert await called(tmp_path, "list", json=False) == 0
    assert "No pack of nodes" in capsys.readouterr().out


async def test_a_half_installation_is_discarded(
    tmp_path: Path, wheels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (wheels / "torch-2.8.0-py3-none-any.whl").unlink()
    with pytest.raises(Exception, match="Installing PyTorch failed"):
        await installed(tmp_path)
    assert load(tmp_path).comfyui_dir is None
    assert await installed(tmp_path, discard=True, json=False) == 0
    assert "is left in" in capsys.readouterr().out
    assert not (tmp_path / "ComfyUI").exists()


async def test_a_wrong_call_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is no tag, branch or commit"):
        await installed(tmp_path, version="--upload-pack=x")
