"""Which node is next, and what each node's result depends on."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Collection, Iterable
from typing import Any

from app.demo.catalogue import inputs_of, is_output
from app.demo.files import Folders
from app.demo.nodes import NODES
from app.demo.validation import is_link

Prompt = dict[str, Any]


def sources(prompt: Prompt, node_id: str) -> list[str]:
    """The nodes a node's declared inputs are linked to, in their order and without repetition."""
    known = {spec.name for spec in inputs_of(prompt[node_id]["class_type"])}
    linked = [v[0] for name, v in prompt[node_id]["inputs"].items() if name in known and is_link(v)]
    return list(dict.fromkeys(linked))


class ExecutionOrder:
    """The nodes still to run for some outputs. Picks what shows something soonest, as ComfyUI does."""

    def __init__(self, prompt: Prompt, outputs: Iterable[str], cached: Collection[str]) -> None:
        self._prompt = prompt
        self._waits_for: dict[str, set[str]] = {}
        for output in outputs:
            self._add(output, cached)

    def _add(self, output: str, cached: Collection[str]) -> None:
        stack = [output]
        while stack:
            node_id = stack.pop()
            if node_id in self._waits_for:
                continue
            missing = [source for source in sources(self._prompt, node_id) if source not in cached]
            self._waits_for[node_id] = set(missing)
            stack += missing

    def next(self) -> str | None:
        """The next node, or None when all have run."""
        ready = [node_id for node_id, missing in self._waits_for.items() if not missing]
        if not ready:
            return None
        wanted = {n for n in self._waits_for if is_output(self._prompt[n]["class_type"])}
        for _ in range(3):
            for node_id in ready:
                if node_id in wanted:
                    return node_id
            # One step back: what feeds those.
            wanted = {source for node_id in wanted for source in self._waits_for.get(node_id, ())}
        return ready[0]

    def done(self, node_id: str) -> None:
        del self._waits_for[node_id]
        for missing in self._waits_for.values():
            missing.discard(node_id)


def signatures(prompt: Prompt, folders: Folders) -> dict[str, str]:
    """For each node a text that is equal exactly when its result would be: class, inputs, files, sources."""
    found: dict[str, str] = {}
    for start in prompt:
        stack = [start]
        while stack:
            node_id = stack[-1]
            if node_id in found or node_id not in prompt:
                stack.pop()
                continue
            links = {v[0] for v in prompt[node_id].get("inputs", {}).values() if is_link(v)}
            missing = [link for link in links if link in prompt and link not in found and link not in stack]
            if missing:
                stack += missing
                continue
            found[node_id] = _signature(prompt[node_id], found, folders)
            stack.pop()
    return found


def _signature(entry: dict[str, Any], found: dict[str, str], folders: Folders) -> str:
    inputs = entry.get("inputs", {})
    parts: dict[str, Any] = {
        name: ["link", found.get(value[0]) or uuid.uuid4().hex, value[1]]
        if is_link(value)
        else ["value", value]
        for name, value in inputs.items()
    }
    fingerprint = NODES[entry["class_type"]].fingerprint
    content = ""
    if fingerprint is not None:
        try:
            content = fingerprint(folders, inputs)
        except Exception:  # noqa: BLE001 - unreadable: never equal; running the node will say why
            content = uuid.uuid4().hex
    text = json.dumps([entry["class_type"], parts, content], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
