"""Where models and files belong, and whether they are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .object_info import InputSpec

_KIND_OF_INPUT = {
    "ckpt_name": "checkpoints",
    "lora_name": "loras",
    "vae_name": "vae",
    "unet_name": "diffusion_models",
    "control_net_name": "controlnet",
    "style_model_name": "style_models",
    "gligen_name": "gligen",
    "hypernetwork_name": "hypernetworks",
    "photomaker_model_name": "photomaker",
    "audio_encoder_name": "audio_encoders",
    **dict.fromkeys(("clip_name", "clip_name1", "clip_name2", "clip_name3", "clip_name4"), "text_encoders"),
}
_KIND_OF_NODE = {
    ("CLIPVisionLoader", "clip_name"): "clip_vision",
    ("UpscaleModelLoader", "model_name"): "upscale_models",
    ("ModelPatchLoader", "name"): "model_patches",
}
MODEL_SUFFIXES = {".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".onnx"}
MEDIA_SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".svg", ".exr", ".hdr"),
    *(".mp4", ".webm", ".mkv", ".mov", ".avi", ".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".latent"),
    *(".glb", ".gltf", ".obj", ".fbx", ".stl", ".ply"),
}
_ANNOTATIONS = (("[output]", "output"), ("[input]", "input"), ("[temp]", "temp"))


@dataclass(frozen=True, slots=True)
class Folders:
    """Where ComfyUI looks for files. ``there`` are values of which it said itself that it has them."""

    input: Path
    output: Path | None = None
    temp: Path | None = None
    there: frozenset[str] = field(default=frozenset())

    def lacks(self, value: str) -> bool:
        """Whether the file is certainly not there. Blocks; what cannot be told is not lacking."""
        name, kind = annotated(value)
        folder = {"input": self.input, "output": self.output, "temp": self.temp}[kind]
        path = PurePosixPath(name.replace("\\", "/"))
        # A colon is a drive, or an asset known by its hash.
        if folder is None or value in self.there or ".." in path.parts or path.is_absolute() or ":" in name:
            return False
        try:
            return folder.is_dir() and not (folder / name).exists()
        except (OSError, ValueError):
            return False


def annotated(value: str) -> tuple[str, str]:
    """A file's name without its annotation, and which folder it is in."""
    for mark, kind in _ANNOTATIONS:
        if value.endswith(mark):
            return value[: -len(mark) - 1], kind
    return value, "input"


def kind_of(class_type: str, name: str, spec: InputSpec, models: Mapping[str, Sequence[str]]) -> str | None:
    """Which kind of models an input takes, from what it offers or from its name."""
    known = _KIND_OF_NODE.get((class_type, name)) or _KIND_OF_INPUT.get(name)
    if known is not None:
        return known
    offered = {each for each in spec.options or () if isinstance(each, str)}
    return next((kind for kind, names in models.items() if names and offered.issuperset(names)), None)


def elsewhere(value: str, kind: str | None, models: Mapping[str, Sequence[str]]) -> str:
    """The rest of a sentence about a missing model that is there as one of another kind."""
    name = PurePosixPath(value.replace("\\", "/")).name
    for other, names in models.items():
        if other != kind and any(PurePosixPath(each.replace("\\", "/")).name == name for each in names):
            return f", but it is in models/{other}"
    return ""
