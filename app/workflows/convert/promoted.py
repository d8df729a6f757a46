"""Widgets of inner nodes that the node of a subgraph shows as its own, and what they hold.

Their values are ``widgets_values`` of that node, in the order of ``properties.proxyWidgets`` if there is one,
else of the subgraph's inputs that feed a widget. With nothing saved, the inner widget's own value counts.
As frontend 1.58.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import javascript
from .scheme import Graph, Kind, Node, Workflow
from .widgets import is_widget

#: A widget by its node's id and its name.
Place = tuple[str, str]
#: As deep as subgraphs may be nested.
MAX_DEPTH = 50


class Promoted:
    """Answers for one workflow; each node is worked out once, so that nesting does not multiply the work."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self._known: dict[int, dict[int, Any]] = {}
        self._named: dict[int, dict[str, Place]] = {}
        self._depth = 0

    def reaching_in(self, node: Node) -> Iterator[tuple[Place, Any]]:
        """The inner widgets that a node of a subgraph sets, and to what; later ones win."""
        graph = self._workflow.subgraphs[node.type]
        for slot, value in self._shown(node).items():
            for place in _fed(graph, slot):
                yield place, value
        yield from _without_input(node, graph)

    def into(self, node: Node, name: str) -> Iterator[Place]:
        """The inner widgets behind the widget ``name`` of a node of a subgraph."""
        graph = self._workflow.subgraphs[node.type]
        slot = graph.input_index(name)
        if slot is not None:
            yield from _fed(graph, slot)
            return
        if id(node) not in self._named:
            self._named[id(node)] = {place[1]: place for place in reversed(list(_proxies(node, graph)))}
        if name in self._named[id(node)]:
            yield self._named[id(node)][name]

    def _shown(self, node: Node) -> dict[int, Any]:
        """What the node shows, by the position of the subgraph's input."""
        if id(node) in self._known:
            return self._known[id(node)]
        self._known[id(node)] = {}  # what a subgraph in itself finds; it is refused elsewhere
        if self._depth >= MAX_DEPTH:
            return {}
        graph = self._workflow.subgraphs[node.type]
        self._depth += 1
        shown: dict[int, Any] = {}
        for slot in range(len(graph.inputs)):
            first = self._first_widget(graph, slot)
            if first is not None:
                shown[slot] = first[0]
        self._depth -= 1
        saved = node.values if isinstance(node.values, list) else []
        proxies = list(_proxies(node, graph))
        if proxies:
            shown |= _by_proxy(graph, proxies, saved)
        else:
            shown |= {slot: javascript.value(raw) for slot, raw in zip(shown, saved, strict=False)}
        self._known[id(node)] = shown
        return shown

    def _first_widget(self, graph: Graph, slot: int) -> tuple[Any] | None:
        """The value of the first widget that an input feeds, through further subgraphs too; None for none."""
        for inner, at in graph.starts.get(slot, ()):
            node = graph.nodes[inner]
            each = node.inputs[at]
            if node.kind is Kind.SUBGRAPH:
                index = self._workflow.subgraphs[node.type].input_index(each.name)
                shown = self._shown(node)
                if index is not None and index in shown:
                    return (shown[index],)
            elif is_widget(node, each):
                name = each.widget or each.name
                return (node.held[name].value,) if name in node.held else None
        return None


def of_group(node: Node, graph: Graph) -> Iterator[tuple[Place, Any]]:
    """A group node holds all inner widgets one after another, those of the browser's own included.

    The browser puts these values into the inner nodes when it loads the file: they are their own then.
    """
    saved = node.values if isinstance(node.values, list) else []
    at = 0
    for widget in graph.promoted or ():
        value = javascript.value(saved[at]) if at < len(saved) else widget.default
        yield (widget.node, widget.widget), value
        at += widget.entries


def _by_proxy(graph: Graph, proxies: list[Place], saved: list[Any]) -> dict[int, Any]:
    slots = {place: slot for slot in range(len(graph.inputs)) for place in _fed(graph, slot)}
    slots |= {("-1", port.name): slot for slot, port in enumerate(graph.inputs)}
    pairs = zip(proxies, saved, strict=False)
    return {slots[place]: javascript.value(raw) for place, raw in pairs if place in slots}


def _without_input(node: Node, graph: Graph) -> Iterator[tuple[Place, Any]]:
    """Widgets that the node shows though the subgraph has no input for them."""
    saved = node.values if isinstance(node.values, list) else []
    fed = {place for slot in range(len(graph.inputs)) for place in _fed(graph, slot)} if saved else set()
    for place, raw in zip(_proxies(node, graph), saved, strict=False):
        if place[0] != "-1" and place not in fed:
            yield place, javascript.glance(raw)


def count_proxies(node: Node) -> int:
    raw = node.properties.get("proxyWidgets")
    return len(raw) if isinstance(raw, list) else 0


def _proxies(node: Node, graph: Graph) -> Iterator[Place]:
    raw = node.properties.get("proxyWidgets")
    for each in raw if isinstance(raw, list) else []:
        if isinstance(each, list) and len(each) >= 2 and isinstance(each[1], str):
            inner = javascript.key(each[0]) or ""
            yield graph.renamed.get(inner, inner), each[1]


def _fed(graph: Graph, slot: int) -> Iterator[Place]:
    for inner, at in graph.starts.get(slot, ()):
        each = graph.nodes[inner].inputs[at]
        yield inner, each.widget or each.name
