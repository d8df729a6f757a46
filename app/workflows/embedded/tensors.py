"""Texts in safetensors files, which ComfyUI's ``.latent`` files are too: the head's ``__metadata__``."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .source import MAX_TEXT, Damaged, Source


def is_safetensors(head: bytes, size: int) -> bool:
    """Whether a file that begins so is one: eight bytes of length, then an object."""
    length = int.from_bytes(head[:8], "little")
    return head[8:9] == b"{" and 2 <= length <= min(MAX_TEXT, size - 8)


def texts(source: Source) -> Iterator[tuple[str, str]]:
    length = source.number(0, 8, little=True)
    try:
        head = json.loads(source.read(8, length))
    except (ValueError, RecursionError) as error:
        raise Damaged("The head is no JSON.") from error
    about = head.get("__metadata__") if isinstance(head, dict) else None
    for name, text in about.items() if isinstance(about, dict) else ():
        if isinstance(text, str):
            yield name, text
