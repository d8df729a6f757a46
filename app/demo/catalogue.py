"""What the engine says it can do: node descriptions as recorded from ComfyUI, with today's file lists."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from app.demo.files import IMAGE_SUFFIXES, Folders

MODEL_KINDS = (
    "checkpoints", "configs", "loras", "vae", "text_encoders", "diffusion_models", "clip_vision",
    "style_models", "embeddings", "diffusers", "vae_approx", "controlnet", "gligen", "upscale_models",
    "custom_nodes", "hypernetworks", "photomaker", "classifiers", "model_patches", "audio_encoders",
)  # fmt: skip


@dataclass(frozen=True)
class InputSpec:
    """One input of a node: ``type`` is a name, or the list of a combo's options."""

    name: str
    type: Any
    options: dict[str, Any]
    required: bool

    @property
    def config(self) -> list[Any]:
        """As error answers show it."""
        return [self.type, self.options]


@cache
def descriptions() -> dict[str, Any]:
    """The recorded descriptions by class; file lists are empty here. Not to be changed."""
    text = files("app.demo").joinpath("object_info.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def object_info(folders: Folders, class_type: str | None = None) -> dict[str, Any]:
    """The answer of ``/object_info`` for all classes or one; ``{}`` for an unknown one."""
    known = descriptions()
    wanted = known if class_type is None else {class_type: known[class_type]} if class_type in known else {}
    result = copy.deepcopy(wanted)
    names = folders.top_files("input")
    pictures = [
        name for name in names if "." in name and "." + name.rsplit(".", 1)[1].lower() in IMAGE_SUFFIXES
    ]
    for name, listed in (("LoadImage", pictures), ("LoadImageMask", names)):
        if name in result:
            result[name]["input"]["required"]["image"][0] = listed
    return result


def inputs_of(class_type: str) -> Iterator[InputSpec]:
    """The inputs a client gives (not the hidden ones), in their order."""
    given = descriptions()[class_type]["input"]
    for group in ("required", "optional"):
        for name, spec in given.get(group, {}).items():
            yield InputSpec(name, spec[0], spec[1] if len(spec) > 1 else {}, group == "required")


def is_output(class_type: str) -> bool:
    return bool(descriptions()[class_type]["output_node"])


def outputs_of(class_type: str) -> list[str]:
    """The types of a node's output slots."""
    types: list[str] = descriptions()[class_type]["output"]
    return types


def hidden_of(class_type: str) -> dict[str, str]:
    hidden: dict[str, str] = descriptions()[class_type]["input"].get("hidden", {})
    return hidden
