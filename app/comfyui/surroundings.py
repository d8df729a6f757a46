"""What ComfyUI is started with beside its own: the interception node, the user's models, his environment.

ComfyUI finds the node and the models through a file of extra paths that it is given; nothing is copied into
the installation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ..files import resource, write_private
from .bridge import BRIDGE_ENV, bridge_file

#: Kinds of models as folders of a models directory, on the volume as here. ComfyUI's own names.
KINDS = (
    "audio_encoders",
    "checkpoints",
    "clip_vision",
    "configs",
    "controlnet",
    "diffusers",
    "diffusion_models",
    "embeddings",
    "gligen",
    "hypernetworks",
    "loras",
    "model_patches",
    "photomaker",
    "style_models",
    "text_encoders",
    "unet",
    "clip",
    "upscale_models",
    "vae",
    "vae_approx",
)
#: Folders with another name than the kind that they are for.
_FOR = {"unet": "diffusion_models", "clip": "text_encoders"}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Args:
    env: variables that ComfyUI gets beside a clean environment.
    port: where it shall answer; None: any free one.
    """

    data_dir: Path
    models_dir: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None

    def words(self) -> list[str]:
        """Write the file of extra paths; the arguments that name it. Blocks."""
        path = self.data_dir / "comfyui" / "extra_model_paths.yaml"
        write_private(path, extra_paths(nodes_folder(), self.models_dir))
        return ["--extra-model-paths-config", str(path)]

    def environment(self) -> dict[str, str]:
        return {**self.env, BRIDGE_ENV: str(bridge_file(self.data_dir))}


def nodes_folder() -> Path:
    """The folder of custom nodes that comes with the program."""
    return resource("custom_nodes")


def extra_paths(nodes: Path, models: Path | None) -> str:
    """The file of extra paths, as ComfyUI reads it: a section for the node, one for the models."""
    sections: dict[str, dict[str, str]] = {"comfy_runpod": {"custom_nodes": str(nodes)}}
    if models is not None:
        sections["comfy_runpod_models"] = {"base_path": str(models), **_kinds(models)}
    return "# Written by Comfy RunPod at each start of ComfyUI.\n" + yaml.safe_dump(sections, sort_keys=False)


def _kinds(models: Path) -> dict[str, str]:
    """Each kind with its folders: ComfyUI's own, and what else lies there for nodes that know more kinds."""
    folders: dict[str, list[str]] = {}
    for name in (*KINDS, *_further(models)):
        folders.setdefault(_FOR.get(name, name), []).append(f"{name}/")
    return {kind: "\n".join(names) for kind, names in folders.items()}


def _further(models: Path) -> Sequence[str]:
    try:
        names = sorted(path.name for path in models.iterdir() if path.is_dir())
    except OSError:
        return ()
    return [name for name in names if name not in KINDS and not name.startswith(".")]
