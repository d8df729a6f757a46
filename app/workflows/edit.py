"""Changing single inputs of a workflow: ``--set NODE.INPUT=VALUE``."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import Any

from ..errors import BadInput


def set_values(prompt: dict[str, dict[str, Any]], changes: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A copy of the workflow with ``NODE.INPUT=VALUE`` applied.

    NODE is a node's id, or its title or class when only one node has it. VALUE is JSON (``12``, ``true``,
    ``["4", 0]``); anything else is a text, and an input that holds a text stays a text.

    Raises:
        BadInput: naming the change that cannot be made, and the choices there are.
    """
    result = copy.deepcopy(prompt)
    for change in changes:
        where, separator, value = change.partition("=")
        node_name, dot, key = where.rpartition(".")
        if not (separator and dot and node_name and key):
            raise BadInput(f"{change!r} is not of the form NODE.INPUT=VALUE.")
        inputs = result[_find(result, node_name)]["inputs"]
        if key not in inputs:
            raise BadInput(f"Node {node_name!r} has no input {key!r}.", hint=f"It has: {', '.join(inputs)}.")
        inputs[key] = value if isinstance(inputs[key], str) else _parsed(value)
    return result


def _find(prompt: dict[str, dict[str, Any]], name: str) -> str:
    if name in prompt:
        return name
    found = [
        node_id
        for node_id, node in prompt.items()
        if name in (node.get("class_type"), (node.get("_meta") or {}).get("title"))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"{len(found)} nodes are called {name!r}.", hint=f"Use an id: {', '.join(found)}.")
    known = ", ".join(f"{node_id} ({node['class_type']})" for node_id, node in list(prompt.items())[:20])
    raise BadInput(f"The workflow has no node {name!r}.", hint=f"It has: {known}.")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
