"""Changing single inputs of a workflow: ``--set NODE.INPUT=VALUE``."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
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
        where, equals, value = change.partition("=")
        node, key = place_of(result, where if equals else "", given=change, form="NODE.INPUT=VALUE")
        inputs = result[node]["inputs"]
        inputs[key] = value if isinstance(inputs[key], str) else _parsed(value)
    return result


def place_of(
    prompt: Mapping[str, Mapping[str, Any]], where: str, *, given: str = "", form: str = "NODE.INPUT"
) -> tuple[str, str]:
    """The id of the node and the input that ``where`` names. The names of both may hold dots.

    Args:
        given: what the user wrote, for the sentence that says it is not of this ``form``.

    Raises:
        BadInput: naming the choices there are.
    """
    parts = where.split(".")
    splits = [(".".join(parts[:n]), ".".join(parts[n:])) for n in range(len(parts) - 1, 0, -1)]
    splits = [(node_name, key) for node_name, key in splits if node_name and key]
    if not splits:
        raise BadInput(f"{(given or where)!r} is not of the form {form}.")
    for node_name, key in splits:
        found = _named(prompt, node_name)
        if len(found) == 1 and key in prompt[found[0]]["inputs"]:
            return found[0], key
    # None fits as a whole: say what is wrong with the first one whose node is there.
    node_name, key = next((split for split in splits if _named(prompt, split[0])), splits[0])
    inputs = prompt[_find(prompt, node_name)]["inputs"]
    raise BadInput(f"Node {node_name!r} has no input {key!r}.", hint=f"It has: {', '.join(inputs)}.")


def _named(prompt: Mapping[str, Mapping[str, Any]], name: str) -> list[str]:
    """The ids of the nodes with that id, title or class; an id comes first."""
    if name in prompt:
        return [name]
    return [node_id for node_id, node in prompt.items() if name in (node["class_type"], _title(node))]


def _title(node: Mapping[str, Any]) -> Any:
    about = node.get("_meta")
    return about.get("title") if isinstance(about, dict) else None


def _find(prompt: Mapping[str, Mapping[str, Any]], name: str) -> str:
    found = _named(prompt, name)
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"{len(found)} nodes are called {name!r}.", hint=f"Use an id: {', '.join(found)}.")
    known = ", ".join(f"{node_id} ({node['class_type']})" for node_id, node in list(prompt.items())[:20])
    raise BadInput(f"The workflow has no node {name!r}.", hint=f"It has: {known}.")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
