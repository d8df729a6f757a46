"""Group nodes, the older kind of subgraph: made into subgraphs, as frontend 1.58.1 does on loading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import javascript
from .frames import VALUE
from .identity import Ids
from .load import Types, read_node
from .refusal import CannotConvert
from .scheme import INPUT_END, OUTPUT_END, Graph, GroupWidget, Input, Kind, Link, Node, Port
from .widgets import held_by

_MAX_INNER = 1_000


def group_name(node_type: Any) -> str | None:
    """The name of the group that a node of this type stands for."""
    if not isinstance(node_type, str):
        return None
    for start in ("workflow>", "workflow/"):
        if node_type.startswith(start):
            return node_type.removeprefix(start)
    return None


def read_group(raw: Mapping[str, Any], types: Types, ids: Ids, name: str) -> Graph:
    """A group's definition as a subgraph of its own, with new ids for its nodes.

    Outer links to a Reroute inside are lost, as they are in the browser.

    Raises:
        CannotConvert: when the definition is not one.
    """
    where = f"the group {name!r}"
    given = raw.get("nodes")
    if not isinstance(given, list) or len(given) > _MAX_INNER:
        raise CannotConvert(
            f"{where[0].upper()}{where[1:]} has no list of nodes, or one too long", reason="shape"
        )
    order: list[Node] = []
    for at, each in enumerate(given):
        if not isinstance(each, Mapping):
            raise CannotConvert(f"Entry {at} in the nodes of {where} is no node", reason="shape")
        order.append(read_node(ids.new(), each, types, where))
    saved_slots = [_saved_names(each) for each in given]
    links, filled = _inner_links(raw.get("links"), order, saved_slots)
    ports, order = _with_inputs(order, given, filled, links, _mapping(raw.get("config")))
    _add_outputs(raw.get("external"), order, links)
    nodes = {node.id: node for node in order}
    return Graph(nodes, links, tuple(ports), {}, tuple(_promoted(order, given)))


def _saved_names(raw: Mapping[str, Any]) -> list[str]:
    inputs = raw.get("inputs")
    return (
        [str(each.get("name", "")) for each in inputs if isinstance(each, Mapping)]
        if isinstance(inputs, list)
        else []
    )


def _inner_links(
    raw: Any, order: list[Node], saved: list[list[str]]
) -> tuple[dict[str, Link], dict[tuple[int, str], str]]:
    """Links between inner nodes by new ids, and which input (node index, name) each of them fills."""
    links: dict[str, Link] = {}
    filled: dict[tuple[int, str], str] = {}
    for at, each in enumerate(raw if isinstance(raw, list) else []):
        if not isinstance(each, list) or len(each) < 4:
            continue
        source, slot, target, target_slot = (javascript.index(part) for part in each[:4])
        if source is None or slot is None or target is None or target_slot is None:
            continue
        if source >= len(order) or target >= len(order):
            continue
        names = saved[target] if target_slot < len(saved[target]) else [i.name for i in order[target].inputs]
        if target_slot >= len(names):
            continue
        link_id = f"g{at}"
        links[link_id] = Link(order[source].id, slot, order[target].id, target_slot)
        filled[target, names[target_slot]] = link_id
    return links, filled


def _with_inputs(
    order: list[Node],
    given: list[Any],
    filled: Mapping[tuple[int, str], str],
    links: dict[str, Link],
    config: Mapping[str, Any],
) -> tuple[list[Port], list[Node]]:
    """The inputs of the whole, named as the browser names them, and the nodes with their inputs linked."""
    ports: list[Port] = []
    seen: dict[str, int] = {}
    changed: list[Node] = []
    for at, node in enumerate(order):
        settings = _mapping(_mapping(config.get(str(at))).get("input"))
        inputs: list[Input] = []
        # The browser names widgets first, then sockets; a name that is taken gets the node's title before it.
        names = {
            each.name: _port_name(each, node, given[at], settings, seen)
            for each in sorted(node.inputs, key=lambda each: each.widget is None)
            if (at, each.name) not in filled
        }
        for each in node.inputs:
            link_id = filled.get((at, each.name))
            if link_id is None and node.kind is not Kind.REROUTE:
                link_id = f"i{len(ports)}"
                links[link_id] = Link(INPUT_END, len(ports), node.id, len(inputs))
                ports.append(Port(names[each.name], each.type))
            inputs.append(Input(each.name, each.type, link_id, each.widget))
        changed.append(node.replaced(inputs=tuple(inputs)))
    return ports, changed


def _port_name(
    each: Input, node: Node, raw: Mapping[str, Any], settings: Mapping[str, Any], seen: dict[str, int]
) -> str:
    given = _mapping(settings.get(each.name)).get("name")
    name = given if isinstance(given, str) and given else each.name
    if name in seen:
        title = raw.get("title")
        start = title if isinstance(title, str) and title else node.type
        name = f"{start} {each.name}"
        if name in seen:
            name = f"{start} {seen[name]} {each.name}"
    seen[name] = seen.get(name, 1) + 1
    return name


def _add_outputs(raw: Any, order: list[Node], links: dict[str, Link]) -> None:
    """Link the outputs of the whole: all inner ones that no inner link uses, or that are named as outer."""
    outer: set[tuple[int | None, int | None]] = set()
    for each in raw if isinstance(raw, list) else []:
        if isinstance(each, list) and len(each) >= 2:
            # Older files name the inner node by a copy of it.
            at = each[0].get("index") if isinstance(each[0], Mapping) else each[0]
            outer.add((javascript.index(at), javascript.index(each[1])))
    used = {(link.origin, link.slot) for link in links.values()}
    count = 0
    for index, node in enumerate(order):
        for slot in range(len(node.outputs)):
            if (node.id, slot) not in used or (index, slot) in outer:
                links[f"o{count}"] = Link(node.id, slot, OUTPUT_END, count)
                count += 1


def _promoted(order: list[Node], given: list[Any]) -> Iterator[GroupWidget]:
    """The widgets in the order of the instance's values: those saved without a socket come first."""
    plain: list[GroupWidget] = []
    with_socket: list[GroupWidget] = []
    for node, raw in zip(order, given, strict=True):
        sockets = set(_saved_names(raw))
        for entry in _entries(node):
            (with_socket if entry.widget in sockets else plain).append(entry)
    yield from plain
    yield from with_socket


def _entries(node: Node) -> Iterator[GroupWidget]:
    if node.kind is Kind.PRIMITIVE:
        count = len(node.values) if isinstance(node.values, list) else 0
        if count:
            yield GroupWidget(node.id, VALUE, min(count, 2), node.values[0])
        return
    held = list(held_by(node))
    for at, each in enumerate(held):
        if each.slot.is_sent:
            behind = 1
            while at + behind < len(held) and held[at + behind].slot.type == "CONTROL":
                behind += 1
            yield GroupWidget(node.id, each.slot.name, behind, each.slot.default)


def _mapping(raw: Any) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}
