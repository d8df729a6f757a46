"""The texts that ComfyUI and others write into pictures, videos, sounds and tensors.

Own small parsers: none of them decodes what the file shows, all are bounded in time and memory whatever the
file says. Files are untrusted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import matroska, mp4, pictures, png, sounds, tensors
from .source import MAX_TEXT, Damaged, Source

__all__ = ["MAX_TEXT", "Embedded", "Kind", "kind_of", "look_into"]

_Parser = Callable[[Source], Iterator[tuple[str, str]]]
_PREFIXED = re.compile(r"(prompt|workflow)\s*:\s*(?=[{\[])", re.IGNORECASE)
_SETTINGS = re.compile(r"\bSteps: \d+, ?\w")
_WANTED = ("prompt", "workflow")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: ``name`` for programs, ``noun`` for people. Without ``parser`` it has no texts."""

    name: str
    noun: str
    parser: _Parser | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """The texts ``prompt``, ``workflow`` and ``parameters`` (another program's settings) of a file.

    ``is_damaged``: the file broke off, or is bent; the texts are what was read before that.
    """

    texts: Mapping[str, str]
    is_damaged: bool = False


def kind_of(head: bytes, size: int) -> Kind | None:
    """The kind of a file of ``size`` bytes that begins with ``head``, 32 bytes or more; None: unknown."""
    for magic, kind in _BY_MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF":
        return {b"WEBP": _WEBP, b"WAVE": Kind("wav", "sound file")}.get(head[8:12])
    if head[4:8] == b"ftyp":
        still = head[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1")
        return Kind("heif", "picture") if still else _MP4
    if head[:1] == b"\0" and head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip"):
        return _MP4
    if head[:2] == b"BM" and int.from_bytes(head[2:6], "little") == size:
        return Kind("bmp", "picture")
    if tensors.is_safetensors(head, size):
        return Kind("safetensors", "tensor file", tensors.texts)
    return None


def look_into(path: Path, kind: Kind) -> Embedded:
    """Read the texts of a file of this kind. Blocks, for a second at most.

    Raises:
        OSError: when the file cannot be read.
    """
    if kind.parser is None:
        return Embedded({})
    found: dict[str, str] = {}
    with path.open("rb") as file:
        source = Source(file, file.seek(0, 2))
        try:
            for name, text in kind.parser(source):
                for key, value in _meant(name, text):
                    found.setdefault(key, value)
        except Damaged:
            return Embedded(found, is_damaged=True)
    return Embedded(found)


def _meant(name: str, text: str) -> Iterator[tuple[str, str]]:
    """What a text is by its name, by its beginning, or by what is in it."""
    key = name.lower()
    if key in (*_WANTED, "parameters"):
        yield key, text
        return
    start = _PREFIXED.match(text)
    if start is not None:
        yield start[1].lower(), text[start.end() :]
    elif key in ("", "comment", "description"):
        if text.lstrip()[:1] == "{":
            yield from _in_object(text)
        elif _SETTINGS.search(text):
            yield "parameters", text


def _in_object(text: str) -> Iterator[tuple[str, str]]:
    """Some tools write one comment that holds both."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return
    for key in _WANTED:
        value = raw.get(key) if isinstance(raw, dict) else None
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, dict):
            yield key, json.dumps(value)


_WEBP = Kind("webp", "picture", pictures.webp_texts)
_MP4 = Kind("mp4", "video", mp4.texts)
_BY_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG", Kind("png", "picture", png.texts)),
    (b"\xff\xd8\xff", Kind("jpeg", "picture", pictures.jpeg_texts)),
    (matroska.MAGIC, Kind("webm", "video", matroska.texts)),
    (b"fLaC", Kind("flac", "sound file", sounds.flac_texts)),
    (b"OggS", Kind("ogg", "sound file", sounds.ogg_texts)),
    (b"ID3", Kind("mp3", "sound file", sounds.mp3_texts)),
    (b"\xff\xfb", Kind("mp3", "sound file", sounds.mp3_texts)),
    (b"\xff\xf3", Kind("mp3", "sound file", sounds.mp3_texts)),
    (b"GIF8", Kind("gif", "picture")),
    (b"II*\0", Kind("tiff", "picture")),
    (b"MM\0*", Kind("tiff", "picture")),
)
