"""The texts that ComfyUI writes into the pictures it saves."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from .refusal import NotAWorkflow

#: What Pillow raises for pictures that are none, or broken off, or bent at any place.
_DAMAGED = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    TypeError,
    KeyError,
    OverflowError,
    struct.error,
    zlib.error,
)


def is_picture(content: bytes) -> bool:
    """Whether a file that begins so is a picture of a kind that we read."""
    return content.startswith(b"\x89PNG") or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def embedded(path: Path) -> dict[str, str]:
    """The texts of a picture by their names, ``prompt`` and ``workflow`` among them. Blocks.

    Raises:
        NotAWorkflow: when the picture is damaged.
    """
    try:
        with Image.open(path, formats=("PNG", "WEBP")) as image:
            return _of_png(image) if image.format == "PNG" else _of_webp(image)
    except _DAMAGED as error:
        summary = f"{path.name} is a damaged picture."
        raise NotAWorkflow(f"{path.name} is damaged", "The picture cannot be read.", summary) from error


def _of_png(image: Image.Image) -> dict[str, str]:
    image.load()
    return dict(getattr(image, "text", {}))


def _of_webp(image: Image.Image) -> dict[str, str]:
    """ComfyUI writes ``prompt:{…}`` and ``workflow:{…}`` into texts of the Exif data."""
    values = [value for value in image.getexif().values() if isinstance(value, str)]
    named = [value.rstrip("\0").partition(":") for value in values]
    return {key: text for key, separator, text in named if separator and key in ("prompt", "workflow")}
