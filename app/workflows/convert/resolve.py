"""Where a link really comes from: through reroutes, bypassed nodes and the ends of subgraphs."""

from __future__ import annotations

from dataclasses import dataclass

from .frames import Frame
from .refusal import CannotConvert
from .scheme import INPUT_END, Kind, Link, Mode, Node

#: Over all links of one workflow. Real ones need a few thousand.
_MAX_STEPS = 400_000
_MAX_CHAIN = 20_000


@dataclass(frozen=True, slots=True)
class Source:
    """The node (by its full id) and output that fill an input."""

    node: str
    slot: int


class Resolver:
    """Follows links back, as frontend 1.58.1 does. Counts its steps, so that no workflow can keep it busy."""

    def __init__(self) -> None:
        self._steps = 0

    def source(self, frame: Frame, node: Node, index: int) -> Source | None:
        """What fills an input, or None when nothing does; a loop of reroutes is nothing.

        Raises:
            CannotConvert: when the workflow's links take more steps than any real one.
        """
        if node.inputs[index].link is None:
            return None
        wanted = node.inputs[index].type
        seen: set[tuple[int, str, int]] = set()
        while len(seen) < _MAX_CHAIN:
            here = (id(frame), node.id, index)
            if here in seen:
                return None
            seen.add(here)
            link = frame.graph.links.get(node.inputs[index].link or "")
            if link is None:
                return None
            if link.origin == INPUT_END:
                up = _outer_input(frame, link.slot)
                if up is None or frame.parent is None:
                    return None
                self._spend(1)
                frame, (node, index) = frame.parent, up
                continue
            found = self._back(frame, link, wanted)
            if found is None or isinstance(found, Source):
                return found
            frame, node, index = found
        return None

    def _back(self, frame: Frame, link: Link, wanted: str) -> Source | tuple[Frame, Node, int] | None:
        """One step back: the end, or the input to go on from."""
        while True:
            self._spend(1)
            origin = frame.graph.nodes.get(link.origin)
            if origin is None or origin.mode is Mode.MUTED:
                return None
            if origin.mode is Mode.BYPASSED:
                self._spend(len(origin.inputs))
                index = bypass(origin, link.slot, wanted)
                return None if index is None else (frame, origin, index)
            if origin.kind is Kind.REROUTE:
                return (frame, origin, 0) if origin.inputs else None
            if origin.kind in (Kind.PRIMITIVE, Kind.NOTE):
                return None
            if origin.kind is not Kind.SUBGRAPH:
                return Source(frame.prefix + origin.id, link.slot)
            # Into the subgraph, from its output backwards; an input may be tied straight to it.
            child = frame.children[origin.id]
            inner = child.graph.results.get(link.slot)
            if inner is None:
                return None
            if inner.origin == INPUT_END:
                up = _outer_input(child, inner.slot)
                return None if up is None else (frame, *up)
            frame, link = child, inner

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > _MAX_STEPS:
            raise CannotConvert("Its links lead through too many nodes", reason="size")


def _outer_input(frame: Frame, slot: int) -> tuple[Node, int] | None:
    """The input of the subgraph's own node that an inner link to its input end means."""
    instance = frame.instance
    if instance is None or slot >= len(frame.graph.inputs):
        return None
    index = instance.input_index(frame.graph.inputs[slot].name)
    return None if index is None else (instance, index)


def bypass(node: Node, slot: int, wanted: str) -> int | None:
    """The input that a bypassed node hands through to an output, by types."""
    inputs = node.inputs
    if not inputs:
        return None
    if wanted in ("*", "", "0"):
        return slot if slot < len(inputs) else 0
    given = node.outputs[slot] if slot < len(node.outputs) else "*"
    if slot < len(inputs) and fits(inputs[slot].type, given) and fits(inputs[slot].type, wanted):
        return slot
    for index, each in enumerate(inputs):
        if each.type == wanted:
            return index
    for index, each in enumerate(inputs):
        if fits(each.type, given) and fits(each.type, wanted):
            return index
    return None


def fits(one: str, other: str) -> bool:
    """Whether two types may be joined: ``*`` goes with all, lists when they have one in common."""
    if one in ("*", "") or other in ("*", ""):
        return True
    return not set(one.lower().split(",")).isdisjoint(other.lower().split(","))
