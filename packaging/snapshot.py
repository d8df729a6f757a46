"""Make ``resources/nodes.json.gz``: the interface of ComfyUI's own nodes, for when nobody can be asked.

``python packaging/snapshot.py URL|FILE VERSION`` reads an answer of ``/object_info`` of a ComfyUI without
custom nodes. What is kept are facts: names, types, defaults, ranges and fixed choices. What was written for
people (descriptions, tooltips) and what lies on one computer (models, input files) is left out.
"""

from __future__ import annotations

import gzip
import json
import sys
import urllib.request
from pathlib import Path, PurePosixPath
from typing import Any

TARGET = Path(__file__).parents[1] / "resources" / "nodes.json.gz"
_KEPT = ("input", "input_order", "output", "output_is_list", "name", "display_name", "output_node")
_WORDS = frozenset({"tooltip", "display_name", "description", "placeholder", "remote"})
#: What ends like this lies on one computer.
_FILES = frozenset({".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".png", ".jpg", ".webp"})


def facts(object_info: dict[str, Any]) -> dict[str, Any]:
    """The nodes without texts and without the files of one computer."""
    return {
        name: {key: _without_words(node[key]) for key in _KEPT if key in node}
        for name, node in sorted(object_info.items())
    }


def _without_words(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_words(each) for key, each in value.items() if key not in _WORDS}
    if isinstance(value, list):
        texts = [each for each in value if isinstance(each, str)]
        if texts and len(texts) == len(value) and any(PurePosixPath(t).suffix in _FILES for t in texts):
            return []
        return [_without_words(each) for each in value]
    return value


def main(source: str, version: str) -> None:
    if source.startswith("http"):
        with urllib.request.urlopen(f"{source}/object_info", timeout=60) as answer:
            content = answer.read()
    else:
        content = Path(source).read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    text = json.dumps({"comfyui": version, "nodes": facts(json.loads(content))}, separators=(",", ":"))
    # Without a time in its head: the same nodes are the same file.
    TARGET.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
