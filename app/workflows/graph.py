"""A prompt as a graph. Whatever has the wrong shape is read as absent, so that walking it never fails."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

#: Far more than any workflow has; what is beyond is not looked at.
_MAX_NODES, _MAX_INPUTS = 5_000, 200
#: A primitive that hands on another one's value, and so on: how far we follow.
_MAX_HOPS = 20
_LARGEST = 2**64


@dataclass(frozen=True, slots=True)
class Link:
    """An input that another node fills: that node's id, and which of its results."""

    node: str
    slot: int


class Graph:
    """Nodes by id, with their class and inputs."""

    def __init__(self, prompt: Mapping[str, Any]) -> None:
        nodes = islice(prompt.items(), _MAX_NODES) if isinstance(prompt, Mapping) else ()
        self._nodes: dict[str, tuple[str, Mapping[str, Any]]] = {
            node_id: (node["class_type"], node["inputs"])
            for node_id, node in nodes
            if isinstance(node_id, str)
            and isinstance(node, Mapping)
            and isinstance(node.get("class_type"), str)
            and isinstance(node.get("inputs"), Mapping)
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def kind(self, node: str) -> str:
        """The node's class."""
        return self._nodes[node][0]

    def inputs(self, node: str) -> Mapping[str, Any]:
        return self._nodes[node][1]

    def link(self, node: str, key: str) -> Link | None:
        """What fills this input; None when it holds a value, or its node is not there."""
        return self._as_link(self.inputs(node).get(key))

    def links(self, node: str) -> Iterator[tuple[str, Link]]:
        for key, value in islice(self.inputs(node).items(), _MAX_INPUTS):
            link = self._as_link(value)
            if isinstance(key, str) and link is not None:
                yield key, link

    def upstream(self, starts: Iterable[str], stop: Callable[[str], bool]) -> Iterator[str]:
        """Each start with all nodes before it, near ones first, each node once.

        Nothing behind a node that ``stop`` holds for.
        """
        seen: set[str] = set()
        for start in starts:
            waiting = deque([start] if start not in seen else ())
            seen.add(start)
            while waiting:
                node = waiting.popleft()
                yield node
                behind = () if stop(node) else self.links(node)
                new = {link.node: None for _, link in behind if link.node not in seen}
                seen.update(new)
                waiting.extend(new)

    def value(self, node: str, key: str) -> Any:
        """An input's value; of a link to a primitive, the primitive's. None: not to be told."""
        for _ in range(_MAX_HOPS):
            link = self.link(node, key)
            if link is None:
                value = self.inputs(node).get(key)
                return None if isinstance(value, list | Mapping) else value
            node = link.node
            key = "value" if "value" in self.inputs(node) else _only_key(self.inputs(node))
        return None

    def whole(self, node: str, key: str) -> int | None:
        """An input that is a whole number from 0 on."""
        value = self.value(node, key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST
        return value if good else None

    def number(self, node: str, key: str) -> float | None:
        value = self.value(node, key)
        good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
        return float(value) if good else None

    def text(self, node: str, key: str) -> str | None:
        """An input that is a text with something in it."""
        value = self.value(node, key)
        return value if isinstance(value, str) and value.strip() else None

    def _as_link(self, value: Any) -> Link | None:
        if not isinstance(value, list | tuple) or len(value) != 2:
            return None
        node, slot = str(value[0]) if isinstance(value[0], int) else value[0], value[1]
        if not isinstance(node, str) or node not in self._nodes or not isinstance(slot, int):
            return None
        return Link(node, slot)


def _only_key(inputs: Mapping[str, Any]) -> str:
    """The key of a node that has one input, as primitives of custom nodes do."""
    return str(next(iter(inputs))) if len(inputs) == 1 else ""
