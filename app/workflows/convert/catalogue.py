"""The node classes that a ComfyUI knows, from its ``/object_info``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from .classes import NodeClass, node_class


class NodeCatalogue:
    """The node classes of one ComfyUI. Classes are read when first asked for, and then kept.

    One catalogue serves any number of conversions; several threads may use it at once.
    """

    def __init__(self, object_info: Mapping[str, Any]) -> None:
        """``object_info`` is the parsed answer of ``/object_info``; it is kept, and never changed."""
        self._raw = object_info
        self._known: dict[str, NodeClass | None] = {}

    @classmethod
    def from_json(cls, text: str | bytes) -> NodeCatalogue:
        """Read the answer of ``/object_info`` and keep the compact form only; for a thread.

        Raises:
            ValueError: when it is no JSON object.
        """
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise ValueError("This is no answer of /object_info.")
        return cls.compact(raw)

    @classmethod
    def compact(cls, raw: Mapping[str, Any]) -> NodeCatalogue:
        """Keep the compact form only of a parsed answer; for a thread."""
        catalogue = cls(raw)
        catalogue._known = {name: node_class(name, raw[name]) for name in raw}
        catalogue._raw = {}
        return catalogue

    def get(self, name: str) -> NodeClass | None:
        """The class of this name, or None when this ComfyUI does not have it."""
        if name not in self._known:
            if name not in self._raw:
                return None
            self._known[name] = node_class(name, self._raw[name])
        return self._known[name]

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(self._raw) | frozenset(self._known)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __len__(self) -> int:
        return len(self._names)
