"""How many pictures of which size come out of a node, told from the workflow alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .graph import Graph, Link

#: Deeper than real chains; below Python's own limit with a wide margin.
_MAX_DEPTH = 100
_MAX_SIDE, _MAX_COUNT = 1 << 16, 100_000

#: Nodes whose result has the number and size of what comes in by this key.
_SAME_AS: Mapping[str, str] = {
    **dict.fromkeys(
        ["KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced"], "latent_image"
    ),
    **dict.fromkeys(
        ["VAEDecode", "VAEDecodeTiled", "VAEDecodeAudio", "VAEDecodeHunyuan3D", "SetLatentNoiseMask"],
        "samples",
    ),
    **dict.fromkeys(["LatentFlip", "LatentMultiply", "LatentBlend", "LatentApplyOperation"], "samples"),
    **dict.fromkeys(
        [
            "VAEEncode",
            "VAEEncodeTiled",
            "VAEEncodeForInpaint",
            "InpaintModelConditioning",
            "InstructPixToPixConditioning",
        ],
        "pixels",
    ),
    **dict.fromkeys(
        ["ImageInvert", "ImageBlur", "ImageSharpen", "ImageQuantize", "ImageFlip", "Canny"], "image"
    ),
    **dict.fromkeys(["ImageAddNoise", "ImageRGBToYUV", "PorterDuffImageComposite"], "image"),
    **dict.fromkeys(["ImageCompositeMasked", "LatentCompositeMasked"], "destination"),
    **dict.fromkeys(["VoxelToMesh", "VoxelToMeshBasic"], "voxel"),
    "LatentComposite": "samples_to",
    "ImageBlend": "image1",
    "CreateVideo": "images",
    "AudioAdjustVolume": "audio",
    "MaskToImage": "mask",
    "InvertMask": "mask",
    "ImageToMask": "image",
}
#: As above, but the size changes to one we cannot tell.
_AS_MANY_AS: Mapping[str, str] = {
    "ImageUpscaleWithModel": "image",
    "ImageScaleToMaxDimension": "image",
    "ImageRotate": "image",
}
#: As above, but frames come or go.
_AS_LARGE_AS: Mapping[str, str] = {
    "TrimVideoLatent": "samples",
    "LTXVAddGuide": "latent",
    "LTXVCropGuides": "latent",
}
_RESIZED: Mapping[str, str] = {
    "ImageScale": "image",
    "ImageCrop": "image",
    "LatentUpscale": "samples",
    "LatentCrop": "samples",
}
_SCALED: Mapping[str, str] = {"ImageScaleBy": "image", "LatentUpscaleBy": "samples"}
_REPEATED: Mapping[str, str] = {"RepeatImageBatch": "image", "RepeatLatentBatch": "samples"}
_PART_OF: Mapping[str, str] = {"ImageFromBatch": "image", "LatentFromBatch": "samples"}
_JOINED: Mapping[str, tuple[str, str]] = {
    "ImageBatch": ("image1", "image2"),
    "LatentBatch": ("samples1", "samples2"),
}
_ONE_FILE = frozenset({"LoadImage", "LoadImageMask", "LoadImageOutput", "LoadAudio"})


@dataclass(frozen=True, slots=True)
class Shape:
    """``count`` pictures (or frames) of one size; None where it cannot be told."""

    count: int | None = None
    width: int | None = None
    height: int | None = None


class Shapes:
    """Answers for one prompt; each node is worked out once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[str, Shape] = {}
        self._depth = 0

    def of(self, link: Link | None) -> Shape:
        """What comes in by a link."""
        if link is None or self._depth >= _MAX_DEPTH:
            return Shape()
        if link.node not in self._known:
            self._known[link.node] = Shape()  # what a cycle finds
            self._depth += 1
            self._known[link.node] = _sane(self._worked_out(link.node))
            self._depth -= 1
        return self._known[link.node]

    def _worked_out(self, node: str) -> Shape:
        graph, kind = self._graph, self._graph.kind(node)
        if kind in _SAME_AS:
            return self._came_in(node, _SAME_AS[kind])
        if kind in _AS_MANY_AS:
            return Shape(self._came_in(node, _AS_MANY_AS[kind]).count)
        if kind in _AS_LARGE_AS:
            return replace(self._came_in(node, _AS_LARGE_AS[kind]), count=None)
        if kind in _RESIZED:
            return _resized(graph, node, self._came_in(node, _RESIZED[kind]))
        if kind in _SCALED:
            return _times(self._came_in(node, _SCALED[kind]), graph.number(node, "scale_by"))
        if kind == "ImageScaleToTotalPixels":
            return _to_pixels(self._came_in(node, "image"), graph.number(node, "megapixels"))
        if kind == "ImagePadForOutpaint":
            return _padded(graph, node, self._came_in(node, "image"))
        if kind in _ONE_FILE:
            return Shape(1)
        return self._batch(node, kind)

    def _batch(self, node: str, kind: str) -> Shape:
        graph = self._graph
        if kind in _REPEATED:
            before, amount = self._came_in(node, _REPEATED[kind]), graph.whole(node, "amount")
            return Shape(_product(before.count, amount), before.width, before.height)
        if kind in _PART_OF:
            before, length = self._came_in(node, _PART_OF[kind]), graph.whole(node, "length")
            known = before.count is not None and length is not None
            return Shape(min(before.count or 0, length or 0) if known else None, before.width, before.height)
        if kind in _JOINED:
            first, second = (self._came_in(node, key) for key in _JOINED[kind])
            both = first.count is not None and second.count is not None
            total = (first.count or 0) + (second.count or 0)
            return Shape(total if both else None, first.width, first.height)
        return _source(graph, node, kind)

    def _came_in(self, node: str, key: str) -> Shape:
        return self.of(self._graph.link(node, key))


def _source(graph: Graph, node: str, kind: str) -> Shape:
    """Empty pictures and latents, and the ``…ToVideo`` nodes that make their own."""
    inputs = graph.inputs(node)
    frames = next((key for key in ("length", "video_frames") if key in inputs), None)
    if not kind.startswith(("Empty", "StableCascade_Empty")) and (frames is None or "width" not in inputs):
        return Shape()
    batch = graph.whole(node, "batch_size") if "batch_size" in inputs else 1
    length = graph.whole(node, frames) if frames is not None else 1
    return Shape(_product(batch, length), graph.whole(node, "width"), graph.whole(node, "height"))


def _resized(graph: Graph, node: str, before: Shape) -> Shape:
    """A side of 0 follows the other one."""
    width, height = graph.whole(node, "width"), graph.whole(node, "height")
    known = before.width is not None and before.height is not None
    if width == 0 and height:
        width = round(height * (before.width or 0) / (before.height or 1)) if known else None
    elif height == 0 and width:
        height = round(width * (before.height or 0) / (before.width or 1)) if known else None
    elif width == 0 == height:
        width, height = before.width, before.height
    return Shape(before.count, width, height)


def _times(before: Shape, factor: float | None) -> Shape:
    if factor is None or before.width is None or before.height is None:
        return Shape(before.count)
    return Shape(before.count, round(before.width * factor), round(before.height * factor))


def _to_pixels(before: Shape, megapixels: float | None) -> Shape:
    if megapixels is None or megapixels <= 0 or not before.width or not before.height:
        return Shape(before.count)
    return _times(before, math.sqrt(megapixels * 1024 * 1024 / (before.width * before.height)))


def _padded(graph: Graph, node: str, before: Shape) -> Shape:
    left, top, right, bottom = (graph.whole(node, key) for key in ("left", "top", "right", "bottom"))
    wide = None not in (left, right, before.width)
    high = None not in (top, bottom, before.height)
    return Shape(
        before.count,
        (before.width or 0) + (left or 0) + (right or 0) if wide else None,
        (before.height or 0) + (top or 0) + (bottom or 0) if high else None,
    )


def _product(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one * other


def _sane(shape: Shape) -> Shape:
    """Numbers that no picture has are numbers we do not know."""
    return Shape(
        shape.count if shape.count is not None and 1 <= shape.count <= _MAX_COUNT else None,
        shape.width if shape.width is not None and 1 <= shape.width <= _MAX_SIDE else None,
        shape.height if shape.height is not None and 1 <= shape.height <= _MAX_SIDE else None,
    )
