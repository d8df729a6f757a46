"""All graphs of a saved workflow: the top one, its subgraphs, and its group nodes as subgraphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from . import javascript
from .catalogue import NodeCatalogue
from .groups import group_name, read_group
from .identity import Ids
from .load import Types, read_graph
from .refusal import CannotConvert
from .scheme import Graph, Node, Workflow

#: More than any workflow has. Reading and writing JSON have a limit not far above.
_MAX_DEPTH = 100
_MAX_IN_GROUPS = 20_000
#: JSON values in the definitions of groups, counted for each node that stands for one.
_MAX_READ_IN_GROUPS = 300_000


def read_workflow(ui: Mapping[str, Any], catalogue: NodeCatalogue) -> Workflow:
    """Read a workflow in the browser's form.

    Raises:
        CannotConvert: when it is none.
    """
    if not isinstance(ui, Mapping):
        raise CannotConvert("It is no workflow", reason="shape")
    _check_depth(ui)
    raws: dict[str, Mapping[str, Any]] = {}
    definitions = _mapping(ui.get("definitions")).get("subgraphs")
    for each in definitions if isinstance(definitions, list) else []:
        name = each.get("id") if isinstance(each, Mapping) else None
        if isinstance(name, str):
            raws[name] = each
    groups = _used_groups(ui)
    types = Types(catalogue, frozenset(raws))
    ids = Ids(_last_id(ui))
    # Inside a subgraph or group a group is a class that nobody has, like one without a definition.
    top = read_graph(ui, Types(catalogue, types.subgraphs | frozenset(groups)), ids)
    subgraphs = {
        name: read_graph(raw, types, ids, where=f"the subgraph {str(raw.get('name') or name)[:100]!r}")
        for name, raw in raws.items()
    }
    if groups:
        top = _with_groups(top, groups, types, ids, subgraphs)
    return Workflow(top, subgraphs)


def _check_depth(raw: Any) -> None:
    level = [raw]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise CannotConvert("It is nested too deeply", reason="shape")


def _last_id(ui: Mapping[str, Any]) -> int:
    nodes = ui.get("nodes")
    ids = [each.get("id") for each in nodes if isinstance(each, Mapping)] if isinstance(nodes, list) else []
    given = [ui.get("last_node_id"), _mapping(ui.get("state")).get("lastNodeId"), *ids]
    return max((number for each in given if (number := javascript.index(each)) is not None), default=0)


def _used_groups(ui: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The definitions of groups by the types of the nodes that stand for them."""
    groups = _mapping(_mapping(ui.get("extra")).get("groupNodes"))
    nodes = ui.get("nodes")
    found: dict[str, Mapping[str, Any]] = {}
    for each in nodes if isinstance(nodes, list) else []:
        node_type = each.get("type") if isinstance(each, Mapping) else None
        name = group_name(node_type)
        if name is not None and isinstance(groups.get(name), Mapping):
            found[str(node_type)] = groups[name]
    return found


def _with_groups(
    top: Graph, groups: Mapping[str, Mapping[str, Any]], types: Types, ids: Ids, subgraphs: dict[str, Graph]
) -> Graph:
    """Each group node becomes a subgraph of its own, with a new id behind those of its inner nodes."""
    moved: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    sizes = {name: javascript.members(raw) for name, raw in groups.items()}
    inner = read = 0
    for node in top.nodes.values():
        if node.type not in groups:
            nodes[node.id] = node
            continue
        name = f"{node.type} {node.id}"
        read += sizes[node.type]
        if read > _MAX_READ_IN_GROUPS:
            raise CannotConvert("Its groups are too large", reason="size", node_id=node.id)
        subgraphs[name] = read_group(groups[node.type], types, ids, node.type)
        inner += len(subgraphs[name].nodes)
        if inner > _MAX_IN_GROUPS:
            raise CannotConvert("Its groups make too many nodes", reason="size", node_id=node.id)
        moved[node.id] = ids.new()
        nodes[moved[node.id]] = node.replaced(id=moved[node.id], type=name)
    links = {name: link.moved(moved) for name, link in top.links.items()}
    return replace(top, nodes=nodes, links=links)


def _mapping(raw: Any) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}
