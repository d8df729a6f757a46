"""From the saved JSON to graphs, as frontend 1.58.1 loads it: ids made unique, inputs put in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import javascript
from .catalogue import NodeCatalogue
from .identity import Ids
from .refusal import CannotConvert
from .scheme import Graph, Input, Kind, Link, Mode, Node, Port

_VIRTUAL: Mapping[str, Kind] = {
    "Reroute": Kind.REROUTE,
    "PrimitiveNode": Kind.PRIMITIVE,
    "Note": Kind.NOTE,
    "MarkdownNote": Kind.NOTE,
}
_MAX_NODES, _MAX_LINKS, _MAX_SLOTS = 20_000, 100_000, 2_000


@dataclass(frozen=True, slots=True)
class Types:
    """What a node's type can be: a class of the catalogue, or the id of a subgraph."""

    catalogue: NodeCatalogue
    subgraphs: frozenset[str]

    def kind(self, name: str) -> Kind:
        if name in self.subgraphs:
            return Kind.SUBGRAPH
        if name in _VIRTUAL:
            return _VIRTUAL[name]
        return Kind.UNKNOWN if self.catalogue.get(name) is None else Kind.REAL


def read_graph(raw: Mapping[str, Any], types: Types, ids: Ids, *, where: str = "the workflow") -> Graph:
    """One graph; ``ids`` gives new ids to nodes whose own is taken.

    Raises:
        CannotConvert: when it is no list of nodes, or one too long.
    """
    given = raw.get("nodes")
    if not isinstance(given, list):
        raise CannotConvert(f"{where[0].upper()}{where[1:]} has no list of nodes", reason="shape")
    links = dict(_links(raw.get("links"), where))
    renamed: dict[str, str] = {}
    taken: list[tuple[str, Mapping[str, Any]]] = []
    for at, each in enumerate(given[: _MAX_NODES + 1]):
        if at == _MAX_NODES:
            raise CannotConvert(
                f"{where[0].upper()}{where[1:]} has more than {_MAX_NODES} nodes", reason="size"
            )
        old, node = _identified(each, at, where)
        new = ids.take(old)
        if new != old and old not in renamed:
            renamed[old] = new
        taken.append((new, node))
    # Of two nodes with one id in one graph the first keeps it, and the links with it.
    kept = {new for new, _ in taken}
    moved = {old: new for old, new in renamed.items() if old not in kept}
    if moved:
        links = {name: link.moved(moved) for name, link in links.items()}
    nodes = {new: read_node(new, node, types, where) for new, node in taken}
    return Graph(nodes, links, tuple(_ports(raw.get("inputs"))), renamed)


def read_node(node_id: str, raw: Mapping[str, Any], types: Types, where: str) -> Node:
    """One node; inputs that its class has come first, in the order of the class."""
    name = raw.get("type")
    if not isinstance(name, str):
        raise CannotConvert(f"A node of {where} has no type", reason="shape", node_id=node_id)
    kind = types.kind(name)
    node_class = types.catalogue.get(name) if kind is Kind.REAL else None
    saved = _saved_inputs(raw.get("inputs"))
    outputs = [_type(each) for each in _objects(raw.get("outputs"))]
    if node_class is not None:
        saved = _in_order(saved, node_class.inputs)
        outputs += node_class.outputs[len(outputs) :]
    title = raw.get("title")
    shown = node_class.title if node_class is not None else name
    return Node(
        node_id,
        name,
        kind,
        _mode(raw.get("mode")),
        title if isinstance(title, str) and title else shown,
        tuple(saved),
        tuple(outputs),
        raw.get("widgets_values"),
        _mapping(raw.get("properties")),
        node_class,
    )


def _identified(raw: Any, at: int, where: str) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(raw, Mapping):
        raise CannotConvert(f"Entry {at} in the nodes of {where} is no node", reason="shape")
    node_id = javascript.key(raw.get("id"))
    if node_id is None:
        raise CannotConvert(f"Entry {at} in the nodes of {where} has no id", reason="shape")
    return node_id, raw


def _links(raw: Any, where: str) -> Iterator[tuple[str, Link]]:
    """Links as lists or objects; each is looked at by itself, whatever the version says."""
    if isinstance(raw, Mapping):
        raw = list(raw.values())
    if not isinstance(raw, list):
        return
    if len(raw) > _MAX_LINKS:
        raise CannotConvert(f"{where[0].upper()}{where[1:]} has more than {_MAX_LINKS} links", reason="size")
    for each in raw:
        if isinstance(each, Mapping):
            keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot")
            parts = [each.get(key) for key in keys]
        elif isinstance(each, list) and len(each) >= 5:
            parts = each[:5]
        else:
            continue
        name, origin, target = (javascript.key(parts[at]) for at in (0, 1, 3))
        slot, target_slot = javascript.index(parts[2]), javascript.index(parts[4])
        if name is not None and origin is not None and target is not None and slot is not None:
            yield name, Link(origin, slot, target, -1 if target_slot is None else target_slot)


def _saved_inputs(raw: Any) -> list[Input]:
    found: list[Input] = []
    for each in _objects(raw)[:_MAX_SLOTS]:
        name, widget = each.get("name"), _mapping(each.get("widget")).get("name")
        found.append(
            Input(
                name if isinstance(name, str) else "",
                _type(each),
                javascript.key(each.get("link")),
                widget if isinstance(widget, str) else None,
            )
        )
    return found


def _in_order(saved: list[Input], known: Any) -> list[Input]:
    """Sockets, then widgets, each as the class orders them; then what the class does not have."""
    rest: dict[str, list[Input]] = {}
    for each in saved:
        rest.setdefault(each.name, []).append(each)
    ordered: list[Input] = []
    for name, kind in known.sockets:
        ordered.append(rest[name].pop(0) if rest.get(name) else Input(name, kind))
    for slot in known.slots:
        if not slot.is_sent:
            continue
        mine = rest[slot.name].pop(0) if rest.get(slot.name) else Input(slot.name, slot.type)
        ordered.append(mine if mine.widget else Input(mine.name, mine.type, mine.link, slot.name))
    left = {id(each) for some in rest.values() for each in some}
    return ordered + [each for each in saved if id(each) in left]


def _ports(raw: Any) -> Iterator[Port]:
    for each in _objects(raw)[:_MAX_SLOTS]:
        name = each.get("name")
        yield Port(name if isinstance(name, str) else "", _type(each))


def _type(raw: Mapping[str, Any]) -> str:
    kind = raw.get("type")
    if isinstance(kind, list):
        return "COMBO"
    return kind if isinstance(kind, str) else "*"


def _mode(raw: Any) -> Mode:
    return Mode(int(raw)) if not isinstance(raw, bool) and raw in (2, 4) else Mode.ACTIVE


def _objects(raw: Any) -> list[Mapping[str, Any]]:
    return [each for each in raw if isinstance(each, Mapping)] if isinstance(raw, list) else []


def _mapping(raw: Any) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}
