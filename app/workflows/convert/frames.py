"""The tree of subgraphs in use, each with the values that reach into it from outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from . import javascript
from .promoted import MAX_DEPTH, Promoted, count_proxies, of_group
from .refusal import CannotConvert
from .scheme import Graph, Node, Workflow
from .widgets import rounded, slot_named

_MAX_FRAMES, _MAX_NODES, _MAX_INPUTS = 5_000, 50_000, 300_000
#: The one widget of a primitive; it has no class that would tell its name.
VALUE = "value"


@dataclass(slots=True, eq=False)
class Frame:
    """One use of a graph. ``values`` are widgets set from outside, sent as they are. ``written`` are those
    that a primitive or the node of a group set, and treated like the widget's own. Both by node id and name.
    """

    graph: Graph
    prefix: str = ""
    parent: Frame | None = None
    instance: Node | None = None
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    written: dict[str, dict[str, Any]] = field(default_factory=dict)
    children: dict[str, Frame] = field(default_factory=dict)

    def walk(self) -> Iterator[Frame]:
        """This frame and all below, in the order of the nodes."""
        waiting = [self]
        while waiting:
            frame = waiting.pop()
            yield frame
            waiting.extend(reversed(frame.children.values()))


def build(workflow: Workflow) -> Frame:
    """All frames, from the top down.

    A muted or bypassed subgraph at the top gets none; one inside another does, and its inner nodes are
    written by their own mode, as in the browser.

    Raises:
        CannotConvert: for subgraphs that hold themselves, or so many that they could not be run.
    """
    promoted = Promoted(workflow)
    top = Frame(workflow.top)
    waiting: list[tuple[Frame, tuple[str, ...]]] = [(top, ())]
    frames, nodes, inputs = 1, len(top.graph.nodes), top.graph.count_inputs
    while waiting:
        frame, types = waiting.pop()
        _run_primitives(frame)
        for node in frame.graph.instances:
            if node.is_active or frame.parent is not None:
                inner = workflow.subgraphs[node.type]
                frames, nodes = frames + 1, nodes + len(inner.nodes)
                inputs += inner.count_inputs + len(inner.inputs) + count_proxies(node)
                if frames > _MAX_FRAMES or nodes > _MAX_NODES or inputs > _MAX_INPUTS:
                    raise CannotConvert("Its subgraphs make too many nodes", reason="size")
                child = _child(frame, node, types, workflow, promoted)
                frame.children[node.id] = child
                waiting.append((child, (*types, node.type)))
    return top


def _child(frame: Frame, node: Node, types: tuple[str, ...], workflow: Workflow, promoted: Promoted) -> Frame:
    if node.type in types:
        raise CannotConvert("A subgraph holds itself", reason="cycle", node_id=frame.prefix + node.id)
    if len(types) >= MAX_DEPTH:
        raise CannotConvert("Its subgraphs are nested too deeply", reason="size")
    child = Frame(workflow.subgraphs[node.type], f"{frame.prefix}{node.id}:", frame, node)
    if child.graph.promoted is None:
        for (inner, name), value in promoted.reaching_in(node):
            child.values.setdefault(inner, {})[name] = value
    else:
        for (inner, name), value in of_group(node, child.graph):
            child.written.setdefault(inner, {})[name] = value
    # What reached the subgraph's node from outside, and then what a primitive beside it wrote.
    for given in (frame.values, frame.written):
        for shown, value in given.get(node.id, {}).items():
            for inner, name in promoted.into(node, shown):
                child.values.setdefault(inner, {})[name] = value
    return child


def _run_primitives(frame: Frame) -> None:
    """A primitive writes its value into the widgets that it is linked to, whatever its own mode."""
    graph = frame.graph
    for node, index in graph.from_primitives:
        each = node.inputs[index]
        source = graph.nodes[graph.links[each.link or ""].origin]
        if VALUE in frame.written.get(source.id, {}):
            value = frame.written[source.id][VALUE]
        elif isinstance(source.values, list) and source.values:
            value = javascript.glance(source.values[0])
        else:
            continue
        name = each.widget or each.name
        slot = slot_named(node, name)
        frame.written.setdefault(node.id, {})[name] = value if slot is None else rounded(slot, value)
