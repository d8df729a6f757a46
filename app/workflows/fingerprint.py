"""What makes two prompts the same workflow: their nodes and how they are joined, not the values in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def fingerprint(prompt: Mapping[str, Any]) -> str:
    """The same 16 letters for prompts that differ in seeds, texts and other values only."""
    shape = sorted(
        (str(node_id), str(node.get("class_type")), _links(node.get("inputs")))
        for node_id, node in prompt.items()
        if isinstance(node, Mapping)
    )
    return hashlib.sha256(json.dumps(shape).encode("utf-8", "replace")).hexdigest()[:16]


def _links(inputs: Any) -> list[tuple[str, str, str]]:
    if not isinstance(inputs, Mapping):
        return []
    return sorted(
        (str(name), str(value[0]), str(value[1]))
        for name, value in inputs.items()
        if isinstance(value, list) and len(value) == 2
    )
