"""What a workflow will make, told before it runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from .graph import Graph
from .shapes import Shape, Shapes

#: Class of the output node: what it saves, and the input that it saves.
_SAVES: Mapping[str, tuple[str, str]] = {
    "SaveImage": ("image", "images"),
    "SaveImageWebsocket": ("image", "images"),
    "SaveSVGNode": ("image", "svg"),
    "SaveAnimatedWEBP": ("animation", "images"),
    "SaveAnimatedPNG": ("animation", "images"),
    "SaveVideo": ("video", "video"),
    "SaveWEBM": ("video", "images"),
    "VHS_VideoCombine": ("video", "images"),
    "SaveAudio": ("audio", "audio"),
    "SaveAudioMP3": ("audio", "audio"),
    "SaveAudioOpus": ("audio", "audio"),
    "SaveGLB": ("model3d", "mesh"),
    "SaveLatent": ("file", "samples"),
    **dict.fromkeys(["CheckpointSave", "ImageOnlyCheckpointSave", "ModelSave"], ("file", "model")),
    "CLIPSave": ("file", "clip"),
    "VAESave": ("file", "vae"),
    "SaveLoRANode": ("file", "lora"),
    "LoraSave": ("file", "model_diff"),
    **dict.fromkeys(["PreviewAny", "ShowText|pysssss", "easy showAnything"], ("text", "")),
}
#: These count only when nothing is saved.
_SHOWS: Mapping[str, tuple[str, str]] = {
    "PreviewImage": ("image", "images"),
    "MaskPreview": ("image", "mask"),
    "PreviewAudio": ("audio", "audio"),
    "Preview3D": ("model3d", ""),
    "Preview3DAnimation": ("model3d", ""),
}
#: One file, however many pictures come in.
_ONE_EACH = frozenset({"animation", "video", "file", "text"})
#: Words in the class of a custom node that saves something.
_TELLING = (
    ("video", re.compile("video|webm|mp4", re.I)),
    ("animation", re.compile("gif|webp|animated", re.I)),
    ("audio", re.compile("audio|mp3|flac", re.I)),
    ("model3d", re.compile("glb|mesh|3d", re.I)),
    ("text", re.compile("text|string", re.I)),
)


@dataclass(frozen=True, slots=True)
class Expected:
    """The results of a job, as far as they can be told. Several sorts of files together are ``file``.

    Attributes:
        kind: image, animation, video, audio, model3d, text or file.
        count: files, not frames; None when it cannot be told. So with the sides, in pixels.
    """

    kind: str
    count: int | None = None
    width: int | None = None
    height: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, raw: Any) -> Self | None:
        """None for what is no such thing; a number that cannot be one is not known."""
        if not isinstance(raw, Mapping) or not isinstance(raw.get("kind"), str):
            return None
        numbers = (raw.get(key) for key in ("count", "width", "height"))
        return cls(
            raw["kind"],
            *(n if isinstance(n, int) and not isinstance(n, bool) and n > 0 else None for n in numbers),
        )


def expected(prompt: Mapping[str, Any]) -> Expected | None:
    """What the workflow will make; None when it has no output node that we know. Never raises."""
    graph = Graph(prompt)
    shapes = Shapes(graph)
    made = [_made(graph, shapes, node) for node in output_nodes(graph)]
    files = [one for one in made if one.kind != "text"]
    return _together(files or made)


def output_nodes(graph: Graph) -> list[str]:
    """The nodes that save something, else those that show something."""
    saves = [node for node in graph if _saved(graph, node) is not None]
    return saves or [node for node in graph if graph.kind(node) in _SHOWS]


def _saved(graph: Graph, node: str) -> tuple[str, str] | None:
    """The kind of what a node saves, and the input that it saves."""
    kind, inputs = graph.kind(node), graph.inputs(node)
    if kind == "VHS_VideoCombine":
        if graph.value(node, "save_output") is False:
            return None
        is_video = str(graph.value(node, "format")).startswith("video/")
        return ("video" if is_video else "animation"), "images"
    if kind in _SAVES:
        return _SAVES[kind]
    if "filename_prefix" not in inputs or "load" in kind.casefold():
        return None
    key = next((key for key in ("images", "image") if graph.link(node, key)), "")
    telling = (name for name, word in _TELLING if word.search(kind))
    return next(telling, "image" if key else "file"), key


def _made(graph: Graph, shapes: Shapes, node: str) -> Expected:
    kind, key = _saved(graph, node) or _SHOWS[graph.kind(node)]
    shape = shapes.of(graph.link(node, key)) if key else Shape()
    return Expected(kind, 1 if kind in _ONE_EACH else shape.count, shape.width, shape.height)


def _together(made: list[Expected]) -> Expected | None:
    if not made:
        return None
    kinds = {one.kind for one in made}
    counts = [one.count for one in made]
    return Expected(
        kinds.pop() if len(kinds) == 1 else "file",
        None if None in counts else sum(count or 0 for count in counts),
        *_common((one.width, one.height) for one in made),
    )


def _common(sizes: Iterable[tuple[int | None, int | None]]) -> tuple[int | None, int | None]:
    found = set(sizes)
    return found.pop() if len(found) == 1 else (None, None)
