from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from app.errors import BadInput, NeedsSetup
from app.files import resource
from app.image.context import lay_out
from app.image.guard import secrets_in
from app.image.lock import LOCK, TORCH_LOCK
from app.image.model import Manifest, NodePin
from tests.unit.comfyui.made import uv

PIN = NodePin("comfyui", "https://example.org/ComfyUI.git", "a" * 40, version="0.3.64")
NODE = NodePin("Pack", "https://example.org/pack.git", "b" * 40)
MANIFEST = Manifest(PIN, custom_nodes=(NODE,), system_packages=("ffmpeg", "libgl1"))
ROOT = Path(__file__).parents[3]


def lay(
    tmp_path: Path,
    manifest: Manifest = MANIFEST,
    files: dict[str, str] | None = None,
    *,
    locked: str = "",
) -> Path:
    """Lay out a context of a ComfyUI and a pack with these files beside the usual ones."""
    usual = {
        "comfyui/main.py": "",
        "comfyui/models/checkpoints/large.safetensors": "a model that is no part of an image",
        "comfyui/custom_nodes/websocket_image_save.py": "",
        "Pack/__init__.py": "",
        "Pack/.git/config": "",
        "Pack/__pycache__/a.pyc": "",
    }
    for name, text in {**usual, **(files or {})}.items():
        path = tmp_path / "sources" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in (LOCK, TORCH_LOCK):
        (tmp_path / name).write_text(f"# manifest: {manifest.digest}\n{locked}")
    sources = {pin.name: tmp_path / "sources" / pin.name for pin in manifest.pins}
    folder = tmp_path / "context"
    context = lay_out(folder, manifest, sources, tmp_path, tmp_path)
    (tmp_path / "secrets.json").write_text(json.dumps([str(each) for each in context.secrets]))
    (tmp_path / "args.json").write_text(json.dumps(dict(context.args)))
    return folder


def test_it_holds_what_the_dockerfile_copies_and_nothing_of_git(tmp_path: Path) -> None:
    folder = lay(tmp_path)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    own = {name for name in found if not name.startswith("worker/")}
    assert own == {
        "Dockerfile", "start", "model_paths.yaml", "worker.lock", "comfyui.lock", "torch.lock", "image.json",
        "comfyui/main.py", "custom_nodes/websocket_image_save.py", "custom_nodes/Pack/__init__.py",
    }  # fmt: skip
    assert "worker/__main__.py" in found
    assert not any(name.endswith(".pyc") for name in found)
    assert json.loads((folder / "image.json").read_text())["manifest"] == MANIFEST.digest
    args = json.loads((tmp_path / "args.json").read_text())
    assert (args["SYSTEM_PACKAGES"], args["BASE_IMAGE"]) == ("ffmpeg libgl1", "python:3.12-slim-bookworm")


def test_a_lock_in_it_changes_with_the_packages_only(tmp_path: Path) -> None:
    first = (lay(tmp_path) / TORCH_LOCK).read_text()
    again = lay(tmp_path, replace(MANIFEST, system_packages=()))
    assert (again / TORCH_LOCK).read_text() == first


@pytest.mark.parametrize("locked", ["GitPython==3.1\n", "a @ git+https://example.org/a@1\n"])
def test_git_is_in_the_image_where_it_is_needed(tmp_path: Path, locked: str) -> None:
    lay(tmp_path, locked=locked)
    assert json.loads((tmp_path / "args.json").read_text())["SYSTEM_PACKAGES"] == "ffmpeg libgl1 git"


def test_what_was_there_before_is_gone(tmp_path: Path) -> None:
    folder = lay(tmp_path)
    (folder / "custom_nodes" / "Former").mkdir()
    assert not (lay(tmp_path) / "custom_nodes" / "Former").exists()


def test_a_file_of_the_users_own_comes_first(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert (lay(tmp_path) / "Dockerfile").read_text() == "FROM scratch\n"


def test_a_lock_of_another_manifest_is_not_used(tmp_path: Path) -> None:
    lay(tmp_path)
    sources = {pin.name: tmp_path / "sources" / pin.name for pin in MANIFEST.pins}
    with pytest.raises(NeedsSetup, match="not of this manifest"):
        lay_out(tmp_path / "context", replace(MANIFEST, python="3.13"), sources, tmp_path, tmp_path)


def test_a_pack_does_not_take_the_place_of_comfyuis_own(tmp_path: Path) -> None:
    pin = replace(NODE, name="websocket_image_save.py")
    with pytest.raises(BadInput, match="itself"):
        lay(tmp_path, replace(MANIFEST, custom_nodes=(pin,)), {"websocket_image_save.py/a.py": ""})


KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("Pack/id_ed25519", "x", "a file of keys"),
        ("Pack/.env", "A=1", "a file of keys"),
        ("Pack/deep/notes.txt", f"\n\n{KEY}", "line 3: a private key"),
        ("Pack/a.py", f'key = "rpa_{"A1" * 20}"', "line 1: a RunPod key"),
        ("comfyui/a.py", f"# hf_{'aB' * 18}", "a Hugging Face token"),
        ("Pack/a.json", f'{{"t": "ghp_{"a1" * 18}"}}', "a GitHub token"),
    ],
)
def test_a_secret_is_found_and_not_repeated(tmp_path: Path, name: str, text: str, says: str) -> None:
    lay(tmp_path, files={name: text})
    (found,) = json.loads((tmp_path / "secrets.json").read_text())
    assert says in found
    assert text not in found
    assert "A1A1" not in found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Pack/.env.example", "KEY="),
        ("Pack/.env", ""),
        ("Pack/a.py", 'BEGIN = "-----BEGIN PRIVATE KEY-----"'),
        ("Pack/readme.md", "Put your hf_token here, as in hf_xxxxxxxx, or AKIAIOSFODNN7EXAMPLE."),
        ("Pack/model.bin", "\0" + KEY),
    ],
)
def test_what_only_looks_like_one_is_let_through(tmp_path: Path, name: str, text: str) -> None:
    lay(tmp_path, files={name: text})
    assert json.loads((tmp_path / "secrets.json").read_text()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_that_leads_out_is_found(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to("/etc/passwd")
    (tmp_path / "top" / "fine").symlink_to("link-elsewhere-inside")
    assert [each.path for each in secrets_in(tmp_path / "top")] == ["link"]


def test_the_workers_lock_is_that_of_the_project() -> None:
    words = ["--frozen", "--only-group", "worker", "--no-emit-project", "--no-header", "--no-annotate"]
    argv = [str(uv()), "export", "--offline", *words]
    told = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    first, _, shipped = resource("docker", "worker.lock").read_text().partition("\n")
    assert first.startswith("#")
    assert shipped == told


def test_the_shipped_lock_is_of_the_shipped_manifest() -> None:
    from app.image.lock import is_fresh, read_lock
    from app.image.manifest import read_manifest

    folder = resource("docker")
    assert is_fresh(read_lock(folder), read_manifest(folder / "manifest.yaml"))


def test_every_folder_of_models_is_named() -> None:
    """Those that the panel knows, from ComfyUI's own list of folders."""
    paths = yaml.safe_load(resource("docker", "model_paths.yaml").read_text())["comfy_runpod"]
    told = [value for value in paths.values() if isinstance(value, str)]
    named = {line.strip() for value in told for line in value.splitlines()}
    assert paths["base_path"] == "/runpod-volume/comfyui/models"
    assert named >= {
        "checkpoints", "configs", "loras", "vae", "text_encoders", "clip", "diffusion_models", "unet",
        "clip_vision", "style_models", "embeddings", "diffusers", "vae_approx", "controlnet", "t2i_adapter",
        "gligen", "upscale_models", "hypernetworks", "photomaker", "classifiers", "model_patches",
        "audio_encoders",
    }  # fmt: skip
