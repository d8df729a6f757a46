"""The build context: a folder with all that goes into an image, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import worker

from .. import __version__
from ..comfyui.repositories import remove_tree
from ..errors import BadInput, NeedsSetup
from ..files import resource
from .guard import Secret, secrets_in
from .lock import LOCK, MARK, TORCH_LOCK, is_fresh, read_lock
from .model import Manifest
from .sources import copied

DOCKERFILE, START, MODEL_PATHS, WORKER_LOCK, ABOUT = (
    "Dockerfile", "start", "model_paths.yaml", "worker.lock", "image.json",
)  # fmt: skip
#: Of an image: the digest of its manifest, and the version of what built it.
MANIFEST_LABEL, VERSION_LABEL = "comfy-runpod.manifest", "comfy-runpod.version"
#: Where they are in the image.
INSIDE_ABOUT = f"/opt/comfy-runpod/{ABOUT}"


@dataclass(frozen=True, slots=True)
class Context:
    """What a build is given.

    Attributes:
        args: the build's arguments, see the Dockerfile.
        secrets: what looks like a secret in it; with any of them nothing is built.
    """

    folder: Path
    args: Mapping[str, str]
    labels: Mapping[str, str]
    secrets: tuple[Secret, ...]


def lay_out(
    folder: Path, manifest: Manifest, sources: Mapping[str, Path], lock_folder: Path, own: Path
) -> Context:
    """Lay out a build context anew. Blocks.

    Args:
        sources: the folder of each pin's source, by the pin's name.
        own: a folder whose files are taken in place of those that come with the program, where it has them.

    Raises:
        NeedsSetup: when the lock is missing, or of another manifest.
    """
    if not is_fresh(read_lock(lock_folder), manifest):
        raise NeedsSetup("The lock is not of this manifest.", hint="Lock it with `comfy-runpod image lock`.")
    remove_tree(folder)
    nodes = folder / "custom_nodes"
    nodes.mkdir(parents=True)
    copied(sources["comfyui"], folder / "comfyui", without=("custom_nodes", "models", "input", "output"))
    # ComfyUI's own few, then the packs.
    for theirs in sorted((sources["comfyui"] / "custom_nodes").glob("*.py")):
        shutil.copyfile(theirs, nodes / theirs.name)
    for pin in manifest.custom_nodes:
        if (nodes / pin.name).exists():
            raise BadInput(f"ComfyUI brings a custom node of the name {pin.name} itself.")
        copied(sources[pin.name], nodes / pin.name)
    copied(Path(worker.__file__).parent, folder / "worker")
    for name in (DOCKERFILE, START, MODEL_PATHS, WORKER_LOCK):
        shutil.copyfile(_either(own, name), folder / name)
    (folder / START).chmod(0o755)
    for name in (LOCK, TORCH_LOCK):
        # Without the manifest's digest: a new node would else install PyTorch anew.
        text = (lock_folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(MARK.sub("", text), encoding="utf-8", newline="\n")
    about = {"manifest": manifest.digest, "comfy_runpod": __version__, **asdict(manifest)}
    (folder / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    args = {
        "BASE_IMAGE": manifest.base_image,
        "PYTHON_VERSION": manifest.python,
        "SYSTEM_PACKAGES": " ".join(_system_packages(manifest, folder)),
        "TORCH_INDEX": manifest.torch.index,
        "WORKER_VERSION": __version__,
    }
    labels = {MANIFEST_LABEL: manifest.digest, VERSION_LABEL: __version__}
    return Context(folder, args, labels, tuple(secrets_in(folder)))


def _system_packages(manifest: Manifest, folder: Path) -> list[str]:
    """The manifest's, and git where a requirement is a repository, or a node runs it when it is imported."""
    lock = (folder / LOCK).read_text(encoding="utf-8").lower()
    needs_git = re.search(r"git\+https://|^gitpython==", lock, re.MULTILINE) is not None
    return list(dict.fromkeys([*manifest.system_packages, *(["git"] if needs_git else [])]))


def _either(own: Path, name: str) -> Path:
    return own / name if (own / name).is_file() else resource("docker", name)
