"""The nodes that read and write files."""

from __future__ import annotations

import hashlib
import json
import random
import string
from typing import Any

from PIL import Image, ImageOps, ImageSequence
from PIL.PngImagePlugin import PngInfo

from app.demo.files import Folders, OutsideFolder
from app.demo.pictures import Picture
from app.demo.registry import NODES, Batch, Call, Node, Shown, node

_NO_MASK = (64, 64)


def _image_problem(folders: Folders, name: Any) -> str | None:
    """LoadImage's own check: the file need only exist, wherever in the folder it is."""
    try:
        exists = folders.annotated(name).exists()
    except OutsideFolder:
        exists = False
    return None if exists else f"Invalid image file: {name}"


def _content_hash(folders: Folders, inputs: dict[str, Any]) -> str:
    return hashlib.sha256(folders.annotated(inputs["image"]).read_bytes()).hexdigest()


def _load_image(call: Call, *, image: str) -> tuple[Batch, Batch]:
    pictures: Batch = []
    masks: Batch = []
    with Image.open(call.folders.annotated(image)) as opened:
        for raw in ImageSequence.Iterator(opened):
            frame = _upright(raw)
            picture = Picture(frame.convert("RGB"))
            if pictures and picture.size != pictures[0].size:
                continue
            pictures.append(picture)
            masks.append(_alpha_mask(frame))
            if opened.format == "MPO":
                break
    return (pictures, masks)


def _upright(frame: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(frame)
    return upright.point(lambda value: value * (1 / 255)) if upright.mode == "I" else upright


def _alpha_mask(frame: Image.Image) -> Picture:
    """What is transparent is masked; without alpha an empty mask, of ComfyUI's fixed size."""
    if "A" in frame.getbands():
        return Picture(frame.getchannel("A")).inverted()
    if frame.mode == "P" and "transparency" in frame.info:
        return Picture(frame.convert("RGBA").getchannel("A")).inverted()
    return Picture(Image.new("L", _NO_MASK, 0))


def _load_image_mask(call: Call, *, image: str, channel: str) -> tuple[Batch]:
    with Image.open(call.folders.annotated(image)) as opened:
        frame = _upright(opened).convert("RGBA")
    band = channel[0].upper()
    mask = Picture(frame.getchannel(band))
    return ([mask.inverted() if band == "A" else mask],)


for _name, _run in (("LoadImage", _load_image), ("LoadImageMask", _load_image_mask)):
    NODES[_name] = Node(_run, {"image": _image_problem}, _content_hash)


@node("SaveImage")
def _save_image(
    call: Call,
    *,
    images: Batch,
    filename_prefix: str,
    prompt: Any = None,
    extra_pnginfo: dict[str, Any] | None = None,
) -> Shown:
    return _save(call, images, filename_prefix, "output", 4, _metadata(prompt, extra_pnginfo))


@node("PreviewImage")
def _preview_image(
    call: Call, *, images: Batch, prompt: Any = None, extra_pnginfo: dict[str, Any] | None = None
) -> Shown:
    # The letters only keep file names of different runs apart.
    letters = "".join(random.choices(string.ascii_lowercase, k=5))
    return _save(call, images, f"ComfyUI_temp_{letters}", "temp", 1, _metadata(prompt, extra_pnginfo))


def _metadata(prompt: Any, extra: dict[str, Any] | None) -> PngInfo:
    info = PngInfo()
    if prompt is not None:
        info.add_text("prompt", json.dumps(prompt))
    for key, value in (extra or {}).items():
        info.add_text(key, json.dumps(value))
    return info


def _save(call: Call, images: Batch, prefix: str, kind: str, compress_level: int, info: PngInfo) -> Shown:
    try:
        place = call.folders.save_place(prefix, kind, images[0].size)
    except OutsideFolder as error:
        message = f"**** ERROR: Saving image outside the output folder is not allowed. ({error})"
        raise Exception(message) from error  # noqa: TRY002 - the type's name is shown to clients, as ComfyUI's
    saved: list[dict[str, str]] = []
    for number, image in enumerate(images):
        name = place.name(number)
        image.bytes_image().save(place.folder / name, pnginfo=info, compress_level=compress_level)
        saved.append({"filename": name, "subfolder": place.subfolder, "type": kind})
        if len(images) > 1:
            call.step(number + 1, len(images))
    return Shown({"images": saved})
