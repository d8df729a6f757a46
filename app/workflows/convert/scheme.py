"""A workflow in the browser's form, read into plain values that every later step can rely on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

from .classes import NodeClass
from .widgets import Held, held_by

#: The ends of a subgraph as its inner links name them.
INPUT_END, OUTPUT_END = "-10", "-20"


class Mode(IntEnum):
    """What a node does when its turn comes. The values 1 and 3 act like ACTIVE."""

    ACTIVE = 0
    MUTED = 2
    BYPASSED = 4


class Kind(IntEnum):
    """What a node's type means to the conversion."""

    REAL = 0
    UNKNOWN = 1
    REROUTE = 2
    PRIMITIVE = 3
    NOTE = 4
    SUBGRAPH = 5


@dataclass(frozen=True, slots=True)
class Input:
    """An input socket; ``link`` is the id of the link that fills it, ``widget`` the widget it stands for."""

    name: str
    type: str
    link: str | None = None
    widget: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """From output ``slot`` of node ``origin`` to input ``target_slot`` of node ``target``."""

    origin: str
    slot: int
    target: str
    target_slot: int

    def moved(self, ids: Mapping[str, str]) -> Link:
        """The same link between nodes that have got new ids."""
        origin, target = ids.get(self.origin, self.origin), ids.get(self.target, self.target)
        return Link(origin, self.slot, target, self.target_slot)


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a whole subgraph."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class GroupWidget:
    """A widget of a group node: the inner node and widget, and how many entries of the values it takes."""

    node: str
    widget: str
    entries: int
    default: Any = None


@dataclass(frozen=True)
class Node:
    """A node as saved. ``values`` is ``widgets_values`` as it is, of any shape."""

    id: str
    type: str
    kind: Kind
    mode: Mode
    title: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    values: Any
    properties: Mapping[str, Any]
    node_class: NodeClass | None = None

    @property
    def is_active(self) -> bool:
        return self.mode is Mode.ACTIVE

    @cached_property
    def _indexes(self) -> dict[str, int]:
        return {each.name: at for at, each in reversed(list(enumerate(self.inputs)))}

    @cached_property
    def held(self) -> Mapping[str, Held]:
        """The first widget of each name; each of a thousand links may ask for one."""
        return {each.slot.name: each for each in reversed(list(held_by(self)))}

    def input_index(self, name: str) -> int | None:
        """The first input of this name."""
        return self._indexes.get(name)

    def replaced(self, **changes: Any) -> Node:
        return replace(self, **changes)


@dataclass(frozen=True)
class Graph:
    """The nodes and links of the workflow or of one subgraph.

    ``renamed`` tells which ids were changed on reading, old to new. ``promoted`` is set for what was a
    group node: its widgets in the order of the values of the node that stands for it.
    """

    nodes: Mapping[str, Node]
    links: Mapping[str, Link]
    inputs: tuple[Port, ...]
    renamed: Mapping[str, str]
    promoted: tuple[GroupWidget, ...] | None = None

    @cached_property
    def results(self) -> Mapping[int, Link]:
        """The link into each output of a subgraph; of several the last one counts."""
        return {link.target_slot: link for link in self.links.values() if link.target == OUTPUT_END}

    @cached_property
    def starts(self) -> Mapping[int, tuple[tuple[str, int], ...]]:
        """The inner inputs, as node and position, that each input of the subgraph feeds."""
        found: dict[int, list[tuple[str, int]]] = {}
        for link_id, places in self._places.items():
            link = self.links[link_id]
            if link.origin == INPUT_END and link.slot < len(self.inputs):
                found.setdefault(link.slot, []).extend(places)
        return {slot: tuple(places) for slot, places in found.items()}

    @cached_property
    def _places(self) -> dict[str, list[tuple[str, int]]]:
        """The inputs that name each link, in the order of the links."""
        found: dict[str, list[tuple[str, int]]] = {link_id: [] for link_id in self.links}
        for node in self.nodes.values():
            for at, each in enumerate(node.inputs):
                if each.link in found:
                    found[each.link].append((node.id, at))
        return found

    @cached_property
    def from_primitives(self) -> tuple[tuple[Node, int], ...]:
        """The inputs that a primitive is linked to."""
        sources = {node.id for node in self.nodes.values() if node.kind is Kind.PRIMITIVE}
        return tuple(
            (self.nodes[node_id], at)
            for link_id, places in (self._places.items() if sources else ())
            if self.links[link_id].origin in sources
            for node_id, at in places
        )

    @cached_property
    def instances(self) -> tuple[Node, ...]:
        """The nodes that stand for subgraphs."""
        return tuple(node for node in self.nodes.values() if node.kind is Kind.SUBGRAPH)

    @cached_property
    def count_inputs(self) -> int:
        return sum(len(node.inputs) for node in self.nodes.values())

    @cached_property
    def _indexes(self) -> dict[str, int]:
        return {port.name: at for at, port in reversed(list(enumerate(self.inputs)))}

    def input_index(self, name: str) -> int | None:
        """The subgraph's input of this name."""
        return self._indexes.get(name)


@dataclass(frozen=True, slots=True)
class Workflow:
    """The top graph and the subgraphs by the type of the nodes that stand for them."""

    top: Graph
    subgraphs: Mapping[str, Graph]
