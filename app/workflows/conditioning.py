"""The texts behind a sampler's conditioning."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Literal

from .graph import Graph, Link

Side = Literal["positive", "negative"]

_MAX_HOPS, _MAX_LENGTH, _MAX_PLACES = 20, 20_000, 20
#: Inputs of text encoders, in the order in which they are shown.
_TEXTS = (
    "text", "prompt", "user_prompt", "text_g", "text_l", "clip_g", "clip_l", "t5xxl", "llama", "bert",
    "mt5xl", "tags", "lyrics",
)  # fmt: skip
_CONDITIONING = re.compile(r"cond|positive|negative", re.IGNORECASE)
#: What these make is not what their text says.
_SILENT = frozenset({"ConditioningZeroOut"})
#: Nodes that only hold or join texts. What a language model writes cannot be told.
_HOLDS_TEXT = re.compile(r"string|text|primitive|prompt|multiline|show|reroute", re.IGNORECASE)
_HELD = ("value", "string", "text", "prompt", "string_a", "string_b", "text_a", "text_b", "text1", "text2")


def texts(graph: Graph, sampler: str, side: Side) -> str:
    """All texts of one side, each once, a line each; empty when there are none.

    Args:
        sampler: the node that takes the conditioning: a sampler or its guider.
    """
    return "\n".join(_Conditioning(graph).texts(sampler, side))[:_MAX_LENGTH]


def text_places(graph: Graph, sampler: str, side: Side) -> tuple[tuple[str, str], ...]:
    """Where the texts of one side are written, each place once: (node, input). Empty texts count."""
    return tuple(islice(_Conditioning(graph).places(sampler, side), _MAX_PLACES))


class _Conditioning:
    """One walk; each node is looked at once for each side."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._two_sided: dict[str, bool] = {}
        self._held: dict[str, str] = {}
        self._looked_into: set[str] = set()

    def texts(self, sampler: str, side: Side) -> list[str]:
        found: dict[str, None] = {}
        for node in self._nodes(sampler, side):
            found |= dict.fromkeys(self._own_texts(node))
            if sum(map(len, found)) >= _MAX_LENGTH:
                break
        return list(found)

    def places(self, sampler: str, side: Side) -> Iterator[tuple[str, str]]:
        for node in self._nodes(sampler, side):
            for key in _TEXTS if self._encodes(node) else ():
                yield from self._places(node, key, _MAX_HOPS)

    def _nodes(self, sampler: str, side: Side) -> Iterator[str]:
        """The nodes that make what comes in on one side, near ones first."""
        keys = ("positive", "conditioning", "cond1", "cond2") if side == "positive" else ("negative",)
        sources = [link for key in keys if (link := self._graph.link(sampler, key)) is not None]
        waiting = deque((link.node, self._side_of(link, side)) for link in sources)
        seen: set[tuple[str, Side]] = set()
        while waiting:
            place = waiting.popleft()
            if place in seen or self._graph.kind(place[0]) in _SILENT:
                continue
            seen.add(place)
            yield place[0]
            waiting.extend(self._behind(*place))

    def _behind(self, node: str, side: Side) -> Iterator[tuple[str, Side]]:
        other = "negative" if side == "positive" else "positive"
        for key, link in self._graph.links(node):
            if _CONDITIONING.search(key) and not key.startswith(other):
                yield link.node, self._side_of(link, side)

    def _side_of(self, link: Link, side: Side) -> Side:
        """Nodes that hand on both sides have the positive one first."""
        node = link.node
        if node not in self._two_sided:
            keys = [key for key, _ in self._graph.links(node)]
            starts = ("positive", "negative")
            self._two_sided[node] = all(any(key.startswith(start) for key in keys) for start in starts)
        if not self._two_sided[node] or link.slot > 1:
            return side
        return "positive" if link.slot == 0 else "negative"

    def _encodes(self, node: str) -> bool:
        graph = self._graph
        return graph.link(node, "clip") is not None or "textencode" in graph.kind(node).casefold()

    def _own_texts(self, node: str) -> Iterator[str]:
        for key in _TEXTS if self._encodes(node) else ():
            text = self._text(node, key, _MAX_HOPS).strip()
            if text:
                yield text

    def _text(self, node: str, key: str, hops: int) -> str:
        """A text input, written out or joined from nodes that hold texts."""
        graph, link = self._graph, self._graph.link(node, key)
        if link is None:
            return (graph.text(node, key) or "")[:_MAX_LENGTH]
        if link.node not in self._held:
            self._held[link.node] = ""  # what a cycle finds
            if hops and _HOLDS_TEXT.search(graph.kind(link.node)):
                self._held[link.node] = self._joined(link.node, hops - 1)
        return self._held[link.node]

    def _joined(self, node: str, hops: int) -> str:
        inputs = self._graph.inputs(node)
        parts = [self._text(node, key, hops) for key in _HELD if key in inputs]
        between = inputs.get("delimiter")
        return (between if isinstance(between, str) else " ").join(part for part in parts if part)[
            :_MAX_LENGTH
        ]

    def _places(self, node: str, key: str, hops: int) -> Iterator[tuple[str, str]]:
        """Where a text input is written: in the node itself, or in those that hold its parts."""
        graph, link = self._graph, self._graph.link(node, key)
        if link is None:
            if isinstance(graph.inputs(node).get(key), str):
                yield node, key
        elif hops and link.node not in self._looked_into and _HOLDS_TEXT.search(graph.kind(link.node)):
            self._looked_into.add(link.node)
            for held in _HELD:
                yield from self._places(link.node, held, hops - 1)
