"""What a ComfyUI can do, from its ``/object_info``: read once, for converting and for judging workflows."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

from worker.examine import ObjectInfo, parsed

from ..errors import BadInput
from ..files import resource
from ..workflows.convert import NodeCatalogue

#: In bytes: far more than any ComfyUI with all custom nodes there are.
MOST_READ = 64 << 20
_PACK = re.compile(r"custom_nodes\.([^.]+)")


class Source(StrEnum):
    """Where a catalogue comes from, the surest first."""

    RUNNING = "running"
    KEPT = "kept"
    SHIPPED = "shipped"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The node types of one ComfyUI.

    Attributes:
        nodes: for converting. info: for judging.
        source: where it comes from; only a running ComfyUI's lists of models and files are as they are now.
        about: whose it is, as a sentence says it: ``ComfyUI 0.3.64 on this computer``.
        packs: the folder of custom nodes that a type comes from, by type; ComfyUI's own are left out.
    """

    nodes: NodeCatalogue
    info: ObjectInfo
    source: Source
    about: str
    packs: Mapping[str, str] = field(default_factory=dict)


def catalogue_of(content: bytes, source: Source, about: str, *, version: str = "") -> Catalogue:
    """Read an answer of ``/object_info``, packed or not. Blocks: megabytes take some 100 ms.

    Raises:
        BadInput: when it is none.
    """
    try:
        if content[:2] == b"\x1f\x8b":
            content = _unpacked(content)
        text = content.decode("utf-8")
        info = parsed(text, version=_numbers(version))
        raw = json.loads(text)
        return Catalogue(NodeCatalogue.compact(raw), info, source, about, _packs(raw))
    except (ValueError, RecursionError, OSError, EOFError, zlib.error) as error:
        raise BadInput(f"The list of node types cannot be read ({about}).") from error


@cache
def shipped() -> Catalogue:
    """ComfyUI's own nodes as they were when this program was made. Blocks, the first time."""
    kept = json.loads(_unpacked(resource("nodes.json.gz").read_bytes()))
    text = json.dumps(kept["nodes"]).encode()
    return catalogue_of(text, Source.SHIPPED, f"ComfyUI {kept['comfyui']} without custom nodes")


def _packs(raw: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, node in raw.items():
        module = node.get("python_module") if isinstance(node, dict) else None
        pack = _PACK.match(module) if isinstance(module, str) else None
        if pack is not None:
            found[name] = pack[1]
    return found


def _unpacked(content: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        text = file.read(MOST_READ + 1)
    if len(text) > MOST_READ:
        raise ValueError("too large")
    return text


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?", version)
    return tuple(int(part) for part in found.groups() if part is not None) if found else ()
