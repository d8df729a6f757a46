"""The nodes that compute pictures. To add a node: one function here, its description in object_info.json.

A function gets the call (what it may use of the engine) and its inputs by name; images and masks are lists of
Picture. It returns one value per output slot, or a Shown when the node has something to show.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageFilter

from app.demo.pictures import Picture, float32, plain, same_size
from app.demo.registry import Batch, Call, Shown, node


def _each(call: Call, images: Batch, change: Callable[[Picture], Picture], *, preview: bool = False) -> Batch:
    """``change`` for each image; a batch reports progress and can be stopped between images."""
    changed: Batch = []
    for number, image in enumerate(images, 1):
        changed.append(change(image))
        if len(images) > 1 or preview:
            call.step(number, len(images), changed[-1] if preview else None)
    return changed


@node("EmptyImage")
def _empty(call: Call, *, width: int, height: int, batch_size: int, color: int) -> tuple[Batch]:
    picture = plain((width, height), (color >> 16 & 255, color >> 8 & 255, color & 255))
    return ([picture] * batch_size,)


@node("ImageInvert")
def _invert(call: Call, *, image: Batch) -> tuple[Batch]:
    return (_each(call, image, Picture.inverted),)


@node("InvertMask")
def _invert_mask(call: Call, *, mask: Batch) -> tuple[Batch]:
    return ([each.inverted() for each in mask],)


@node("SolidMask")
def _solid_mask(call: Call, *, value: float, width: int, height: int) -> tuple[Batch]:
    return ([Picture(Image.new("L", (width, height), 0), (float32(value),) * 256)],)


@node("MaskToImage")
def _mask_to_image(call: Call, *, mask: Batch) -> tuple[Batch]:
    return ([each.grey() for each in mask],)


@node("ImageToMask")
def _image_to_mask(call: Call, *, image: Batch, channel: str) -> tuple[Batch]:
    if channel == "alpha":
        raise IndexError("index 3 is out of bounds for dimension 3 with size 3")
    return ([each.band(channel[0].upper()) for each in image],)


@node("ImageCrop")
def _crop(call: Call, *, image: Batch, width: int, height: int, x: int, y: int) -> tuple[Batch]:
    def cut(picture: Picture) -> Picture:
        wide, high = picture.size
        left, top = min(x, wide - 1), min(y, high - 1)
        return picture.with_codes(
            picture.codes.crop((left, top, min(left + width, wide), min(top + height, high)))
        )

    return ([cut(each) for each in image],)


@node("ImageFlip")
def _flip(call: Call, *, image: Batch, flip_method: str) -> tuple[Batch]:
    way = Image.Transpose.FLIP_TOP_BOTTOM if flip_method.startswith("x") else Image.Transpose.FLIP_LEFT_RIGHT
    return ([each.with_codes(each.codes.transpose(way)) for each in image],)


@node("ImageRotate")
def _rotate(call: Call, *, image: Batch, rotation: str) -> tuple[Batch]:
    # ComfyUI turns clockwise, Pillow the other way.
    ways = {
        "90": Image.Transpose.ROTATE_270,
        "180": Image.Transpose.ROTATE_180,
        "270": Image.Transpose.ROTATE_90,
    }
    way = ways.get(rotation.split(" ", maxsplit=1)[0])
    return (image if way is None else [each.with_codes(each.codes.transpose(way)) for each in image],)


@node("ImageBatch")
def _batch(call: Call, *, image1: Batch, image2: Batch) -> tuple[Batch]:
    size = image1[0].size
    fitted = [each if each.size == size else _scaled(each, size, "bilinear", "center") for each in image2]
    joined = [*image1, *fitted]
    same_size(joined)
    return (joined,)


_RESAMPLING = {
    "nearest-exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def _scaled(picture: Picture, size: tuple[int, int], method: str, crop: str = "disabled") -> Picture:
    image = picture.bytes_image()
    if crop == "center":
        wide, high = image.size
        old, new = wide / high, size[0] / size[1]
        x = round(wide * (1 - new / old) / 2) if old > new else 0
        y = round(high * (1 - old / new) / 2) if old < new else 0
        image = image.crop((x, y, wide - x, high - y))
    return Picture(image.resize(size, _RESAMPLING[method]))


@node("ImageScale")
def _scale(
    call: Call, *, image: Batch, upscale_method: str, width: int, height: int, crop: str
) -> tuple[Batch]:
    if not width and not height:
        return (image,)
    old_width, old_height = image[0].size
    size = (
        width or max(1, round(old_width * height / old_height)),
        height or max(1, round(old_height * width / old_width)),
    )
    return (_each(call, image, lambda each: _scaled(each, size, upscale_method, crop), preview=True),)


@node("ImageScaleBy")
def _scale_by(call: Call, *, image: Batch, upscale_method: str, scale_by: float) -> tuple[Batch]:
    size = (round(image[0].size[0] * scale_by), round(image[0].size[1] * scale_by))
    return (_each(call, image, lambda each: _scaled(each, size, upscale_method), preview=True),)


@node("ImageBlur")
def _blur(call: Call, *, image: Batch, blur_radius: int, sigma: float) -> tuple[Batch]:
    # ComfyUI's kernel ends at blur_radius, Pillow's doesn't: for a wide sigma the radius is the limit.
    spread = min(sigma, blur_radius)
    gaussian = ImageFilter.GaussianBlur(spread)
    return (_each(call, image, lambda each: Picture(each.bytes_image().filter(gaussian)), preview=True),)


@node("ImagePadForOutpaint")
def _pad(
    call: Call, *, image: Batch, left: int, top: int, right: int, bottom: int, feathering: int
) -> tuple[Batch, Batch]:
    wide, high = image[0].size
    size = (wide + left + right, high + top + bottom)

    def padded(picture: Picture) -> Picture:
        canvas = Image.new("RGB", size, (127, 127, 127))
        canvas.paste(picture.bytes_image(), (left, top))
        return Picture(canvas)

    mask = Image.new("L", size, 255)
    mask.paste(_feather((wide, high), (left, top, right, bottom), feathering), (left, top))
    return (_each(call, image, padded), [Picture(mask)])


def _feather(size: tuple[int, int], sides: tuple[int, int, int, int], feathering: int) -> Image.Image:
    """The mask over the old picture: rises towards each side that was padded."""
    wide, high = size
    mask = Image.new("L", size, 0)
    if not (0 < feathering * 2 < min(size)):
        return mask
    left, top, right, bottom = sides
    for away in range(feathering - 1, -1, -1):
        value = int(255 * ((feathering - away) / feathering) ** 2)
        # The far sides are one pixel nearer: their distance counts from the edge, not from the last pixel.
        if top:
            mask.paste(value, (0, away, wide, away + 1))
        if bottom and away:
            mask.paste(value, (0, high - away, wide, high - away + 1))
        if left:
            mask.paste(value, (away, 0, away + 1, high))
        if right and away:
            mask.paste(value, (wide - away, 0, wide - away + 1, high))
    return mask


@node("PrimitiveInt")
@node("PrimitiveString")
def _primitive(call: Call, *, value: Any) -> tuple[Any]:
    return (value,)


@node("PreviewAny")
def _preview_any(call: Call, *, source: Any = None) -> Shown:
    if source is None:
        return Shown({"text": ["None"]})
    if isinstance(source, str | int | float):
        return Shown({"text": [str(source)]})
    try:
        return Shown({"text": [json.dumps(source)]})
    except TypeError:
        return Shown({"text": [str(source)]})
