"""The ComfyUI of this computer, as a manifest: what an image that matches it holds."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

from worker.process import clean_environment

from ..comfyui.causes import failed
from ..comfyui.installation import Installation
from ..comfyui.pack_list import Pack, PackState, list_packs, node_folder, repository_of
from ..comfyui.programs import HOME, run
from ..errors import BadInput
from .manifest import checked_pin
from .model import Manifest, NodePin, Torch

#: Where PyTorch's own builds are, by variant such as ``cu126``.
TORCH_INDEX = "https://download.pytorch.org/whl/{variant}"
#: What lies among the custom nodes and is ComfyUI's own.
_OWN = ("websocket_image_save.py",)
_FAMILY = ("torch", "torchvision", "torchaudio")
_ASK = """
import json, sys
from importlib.metadata import distributions
print(json.dumps({
    "python": "%d.%d" % sys.version_info[:2],
    "packages": {each.metadata["Name"]: each.version for each in distributions() if each.metadata["Name"]},
}))
"""
_VERSION = re.compile(r"""__version__\s*=\s*["']([\w.+-]{1,60})["']""")


@dataclass(frozen=True, slots=True)
class LocalSetup:
    """What is installed here.

    Attributes:
        comfyui: None when its commit is not known.
        packages: version by normalised name.
        left_out: packs that cannot be pinned, with the reason as half a sentence.
    """

    comfyui: NodePin | None
    python: str
    packages: Mapping[str, str]
    packs: tuple[NodePin, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


async def look_at(installation: Installation, *, further: Sequence[Path] = ()) -> LocalSetup:
    """What the ComfyUI of this computer consists of; nothing of it is run but its Python.

    Args:
        further: folders of custom nodes beside the one below ComfyUI's own folder or base.

    Raises:
        ProcessFailed: when its Python does not answer.
    """
    python, packages = await _environment(installation)
    folders = [node_folder(installation), *further]
    packs = await asyncio.to_thread(list_packs, folders)
    comfyui = await asyncio.to_thread(_comfyui, installation.folder)
    pinned: list[NodePin] = []
    left_out: dict[str, str] = {}
    for pack in packs:
        if pack.state is PackState.DISABLED or pack.name in _OWN:
            continue
        try:
            pinned.append(await asyncio.to_thread(_pin_of, pack))
        except BadInput as error:
            left_out[pack.name] = error.summary
    return LocalSetup(comfyui, python, packages, tuple(pinned), left_out)


def matching(setup: LocalSetup, before: Manifest | None) -> Manifest:
    """The manifest of an image that holds what is here; what is no matter of this computer stays.

    Raises:
        BadInput: when it is not known which ComfyUI this is, and no manifest names one.
    """
    comfyui = setup.comfyui or (before.comfyui if before is not None else None)
    if comfyui is None:
        raise BadInput(
            "It is not known which commit of ComfyUI is on this computer: its folder is no git clone.",
            hint="Write its repository and commit into the manifest.",
        )
    base = before or Manifest(comfyui)
    return replace(
        base,
        comfyui=comfyui,
        # The worker, which is beside it in the image, runs from 3.11 on.
        python=max(setup.python, "3.11", key=Version),
        torch=_torch(setup.packages, base.torch),
        custom_nodes=setup.packs,
    )


def _torch(packages: Mapping[str, str], before: Torch) -> Torch:
    """PyTorch's versions as here; of a build that is for no GPU, or another kind, the one for CUDA."""
    if "torch" not in packages:
        return before
    versions = {name: packages.get(name, "").partition("+")[0] for name in _FAMILY}
    if versions["torch"] == before.version:
        return before
    variant = packages["torch"].partition("+")[2]
    cuda = re.fullmatch(r"cu(\d+)(\d)", variant)
    index = TORCH_INDEX.format(variant=variant) if cuda else ""
    told = f"{cuda[1]}.{cuda[2]}" if cuda else ""
    return Torch(versions["torch"], versions["torchvision"], versions["torchaudio"], index, told)


async def _environment(installation: Installation) -> tuple[str, dict[str, str]]:
    argv = [str(installation.python), "-I", "-c", _ASK]
    ended = await run(argv, env=clean_environment({}, keep=HOME), cwd=installation.folder)
    try:
        data = json.loads(ended.lines[-1])
        packages = {
            str(canonicalize_name(str(name))): str(version) for name, version in data["packages"].items()
        }
        return str(data["python"]), packages
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise failed("Asking ComfyUI's Python for its packages", ended.lines) from None


def _comfyui(folder: Path) -> NodePin | None:
    repository, commit = repository_of(folder)
    try:
        text = (folder / "comfyui_version.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    version = match[1] if (match := _VERSION.search(text)) else ""
    if not repository or not commit:
        return None
    try:
        return checked_pin(NodePin("comfyui", repository, commit, version=version))
    except BadInput:
        return None


def _pin_of(pack: Pack) -> NodePin:
    """Raises BadInput, with the reason as half a sentence, when an image cannot be given this pack."""
    if pack.folder.suffix == ".py" and not pack.folder.is_dir():
        raise BadInput("it is a single file, which no repository gives")
    if pack.repository and pack.commit:
        pin = NodePin(pack.name, pack.repository, pack.commit, version=pack.version or "")
    elif (pack.folder / ".tracking").is_file() and pack.version and pack.registry_id:
        # ComfyUI-Manager's mark of a pack that came from the Comfy Registry.
        pin = NodePin(pack.name, registry_id=pack.registry_id, version=pack.version)
    else:
        raise BadInput("it is neither a git clone nor from the Comfy Registry")
    try:
        return checked_pin(pin)
    except BadInput:
        raise BadInput(
            f"it comes from {pin.repository or pin.registry_id}, which an image cannot use"
        ) from None
