"""What a model file says of itself: the header of safetensors, read without loading the model.

The format is from its specification: eight bytes with the header's length (little endian), the header as
JSON, then the tensors. So a file proves its own length.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Bytes; the format's own limit for its header.
_MOST_HEADER = 100_000_000
_MOST_TRIGGERS, _MOST_TEXT = 20, 300
#: No file is longer; a number in a header may have thousands of digits.
_MOST_SIZE = 1 << 62
#: What trainers write into the header, most telling first.
_BASES = (
    *("modelspec.architecture", "ss_base_model_version", "ss_sd_model_name", "base_model"),
    "modelspec.base_model",
)
_TITLES = ("modelspec.title", "ss_output_name", "name")
_TRIGGERS = (
    *("modelspec.trigger_phrase", "trained_words", "trigger_words", "activation_text"),
    "instance_prompt",
)
_MAKERS = (
    ("modelspec.author", "Author"),
    ("modelspec.license", "Licence"),
    ("modelspec.resolution", "Resolution"),
)
_KINDS = (
    (("lora_up", "lora_down", "lora_A", "lora_B", "lora.up", "hada_w1", "lokr_w1"), "LoRA"),
    (("control_model.", "controlnet_", "input_hint_block"), "ControlNet"),
    (("model.diffusion_model.", "first_stage_model."), "Checkpoint"),
    (("double_blocks.", "joint_blocks.", "transformer_blocks.", "blocks.0.self_attn"), "Diffusion model"),
    (("text_model.encoder.", "encoder.block.", "model.layers."), "Text encoder"),
    (("decoder.conv_in", "decoder.up", "encoder.down"), "VAE"),
    (("string_to_param", "emb_params", "clip_l", "clip_g"), "Embedding"),
)


@dataclass(frozen=True, slots=True)
class Header:
    """What the header tells.

    Attributes:
        kind: ``LoRA``, ``Checkpoint``, …; empty when the tensors' names do not tell.
        tensors: how many there are.
        dtype: the data type of most tensors, as the format writes it.
        details: more, as pairs of a caption and a text.
    """

    kind: str = ""
    base_model: str = ""
    title: str = ""
    triggers: tuple[str, ...] = ()
    tensors: int = 0
    dtype: str = ""
    details: tuple[tuple[str, str], ...] = ()


class Truncated(ValueError):
    """The file ends before its own header says it does, or goes on after."""


def read_header(path: Path) -> Header | None:
    """What a safetensors file says of itself; None for other files. Blocks, and reads the header only.

    Raises:
        Truncated: with a sentence: the file is not as long as its header says, or has no whole header.
        OSError: when it cannot be read.
    """
    if path.suffix.lower() != ".safetensors":
        return None
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8:
            raise Truncated(f"It has {size} bytes: too few for a safetensors file.")
        (length,) = struct.unpack("<Q", start)
        if length > _MOST_HEADER:
            raise Truncated("It is no safetensors file: its first bytes tell of an impossible header.")
        raw = file.read(length)
    if len(raw) < length:
        raise Truncated("It ends in the middle of its header.")
    return _parsed(raw, size, 8 + length)


def _parsed(raw: bytes, size: int, start: int) -> Header:
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Truncated("Its header cannot be read.") from error
    if not isinstance(header, dict):
        raise Truncated("Its header cannot be read.")
    said = header.pop("__metadata__", {})
    ends = [_end_of(tensor) for tensor in header.values()]
    expected = start + max(ends, default=0)
    if size < expected:
        raise Truncated(f"It has {size:,} bytes, and its header tells of {expected:,}: the end is missing.")
    if size > expected:
        raise Truncated(f"It has {size:,} bytes, and its header tells of {expected:,} only.")
    return _told(said if isinstance(said, dict) else {}, header)


def _end_of(tensor: Any) -> int:
    offsets = tensor.get("data_offsets") if isinstance(tensor, dict) else None
    if isinstance(offsets, list) and len(offsets) == 2:
        end = offsets[1]
        if isinstance(end, int) and 0 <= end < _MOST_SIZE:
            return end
    raise Truncated("Its header cannot be read.")


def _told(said: Mapping[str, Any], tensors: Mapping[str, Any]) -> Header:
    types: dict[str, int] = {}
    for each in tensors.values():
        name, (start, end) = _text(each.get("dtype")), each["data_offsets"]
        # By their bytes: what it says of shapes nobody has checked.
        types[name] = types.get(name, 0) + (end - start if isinstance(start, int) else 0)
    details = [(caption, _text(said.get(key))) for key, caption in _MAKERS]
    return Header(
        kind=_kind(said, tensors),
        base_model=next(filter(None, (_text(said.get(key)) for key in _BASES)), ""),
        title=next(filter(None, (_text(said.get(key)) for key in _TITLES)), ""),
        triggers=_triggers(said),
        tensors=len(tensors),
        dtype=max(types, key=lambda each: types[each], default=""),
        details=tuple((caption, text) for caption, text in details if text),
    )


def _kind(said: Mapping[str, Any], tensors: Mapping[str, Any]) -> str:
    architecture = _text(said.get("modelspec.architecture"))
    _, _, told = architecture.partition("/")
    if told:
        return {"lora": "LoRA", "textual-inversion": "Embedding", "controlnet": "ControlNet"}.get(told, told)
    for signs, kind in _KINDS:
        if any(sign in name for name in tensors for sign in signs):
            return kind
    return ""


def _triggers(said: Mapping[str, Any]) -> tuple[str, ...]:
    """Words that call a LoRA: as its maker wrote them, else the captions that it was trained with most."""
    for key in _TRIGGERS:
        if text := _text(said.get(key)):
            words = [word.strip() for word in text.split(",")]
            return tuple(dict.fromkeys(word for word in words if word))[:_MOST_TRIGGERS]
    try:
        by_folder = json.loads(said.get("ss_tag_frequency") or "{}")
    except (ValueError, TypeError, RecursionError):
        return ()
    counts: dict[str, int] = {}
    for tags in by_folder.values() if isinstance(by_folder, dict) else ():
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if isinstance(count, int):
                word = _text(tag)
                counts[word] = counts.get(word, 0) + count
    best = max(counts.values(), default=0)
    # A trigger word is in every caption; what is in some only describes the pictures.
    always = [tag for tag, count in counts.items() if tag and count == best]
    return tuple(always[:_MOST_TRIGGERS]) if len(always) <= 3 else ()


def _text(value: Any) -> str:
    """In one line, and nothing that cannot be shown: JSON allows for halves of signs."""
    if not isinstance(value, str):
        return ""
    return " ".join(value.encode("utf-8", "replace").decode().split())[:_MOST_TEXT]
