"""What a ComfyUI can do, as its ``/object_info`` tells it: kept small, and read piece by piece.

Both styles of lists are read: ``[["a", "b"], {...}]`` and ``["COMBO", {"options": ["a", "b"]}]``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

COMBO = "COMBO"
_UPLOADS = ("image_upload", "video_upload", "audio_upload", "file_upload")
#: Whose options are not in the description, or whose value is no single one of them.
_OPEN = ("remote", "remote_combo", "multiselect", "multi_select")
_INK = re.compile(r"\S")


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input. ``options`` is None when it is no list, or one that cannot be known.

    ``old_style`` lists are checked by every ComfyUI, others by newer ones only. ``upload`` is a choice among
    files; ``low`` and ``high`` limit numbers.
    """

    type: str
    required: bool
    options: tuple[Any, ...] | None = None
    old_style: bool = False
    upload: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node type. An output that is no plain type is ``""``; ``outputs`` None is unknown.

    ``core`` nodes are ComfyUI's own, of which it is known which inputs they check themselves.
    """

    inputs: Mapping[str, InputSpec]
    outputs: tuple[str, ...] | None
    is_output: bool
    core: bool
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """All node types of one ComfyUI.

    ``elusive`` are types that ComfyUI may know though it does not describe them: it replaces them before
    it looks at a workflow, or fails to describe them. ``version`` is empty when unknown.
    """

    nodes: Mapping[str, NodeSpec]
    version: tuple[int, ...] = ()
    elusive: frozenset[str] = field(default=frozenset())
    sha256: str = ""

    def with_nodes(self, nodes: Mapping[str, NodeSpec | None], elusive: Iterable[str] = ()) -> ObjectInfo:
        """The same with these types as they are now; None is one that is gone."""
        merged = {name: spec for name, spec in {**self.nodes, **nodes}.items() if spec is not None}
        return replace(self, nodes=merged, elusive=self.elusive | frozenset(elusive))


def parsed(text: str, *, version: tuple[int, ...] = (), elusive: Iterable[str] = ()) -> ObjectInfo:
    """Read the answer of ``/object_info``; for a thread, since it takes a while.

    Raises:
        ValueError: when it is no JSON object.
    """
    nodes: dict[str, NodeSpec] = {}
    lines: dict[str, str] = {}
    shared: dict[Any, Any] = {}
    for name, raw in entries(text):
        if isinstance(raw, dict):
            nodes[name] = node_spec(raw, shared)
            lines[name] = json.dumps(_lasting(raw), sort_keys=True)
    digest = hashlib.sha256()
    for name in sorted(lines):
        digest.update(f"{json.dumps(name)}:{lines[name]}\n".encode())
    return ObjectInfo(nodes, version, frozenset(elusive), digest.hexdigest())


def entries(text: str) -> Iterator[tuple[str, Any]]:
    """The members of a JSON object one by one: megabytes in one go would stop all other threads.

    Raises:
        ValueError: when the text is no JSON object.
    """
    decoder = json.JSONDecoder()

    def skip(at: int, wanted: str) -> int:
        found = _INK.search(text, at)
        if found is None or (wanted and found[0] not in wanted):
            raise ValueError("This is no JSON object.")
        return found.start()

    at = skip(skip(0, "{") + 1, '"}')
    while text[at] != "}":
        name, at = decoder.raw_decode(text, at)
        value, at = decoder.raw_decode(text, skip(skip(at, ":") + 1, ""))
        yield name, value
        at = skip(at, ",}")
        if text[at] == ",":
            at = skip(at + 1, '"')


def node_spec(raw: Mapping[str, Any], shared: dict[Any, Any] | None = None) -> NodeSpec:
    """One node's description. ``shared`` lets equal lists of options be one."""
    shared = {} if shared is None else shared
    given = _object(raw.get("input"))
    # In this order: where a name is in both, ComfyUI takes it for required.
    inputs = {
        name: _input_spec(spec, group == "required", shared)
        for group in ("optional", "required")
        for name, spec in _object(given.get(group)).items()
    }
    outputs = raw.get("output")
    module = str(raw.get("python_module") or "")
    return NodeSpec(
        inputs,
        tuple(each if isinstance(each, str) else "" for each in outputs)
        if isinstance(outputs, list)
        else None,
        raw.get("output_node") is True,
        module == "nodes" or module.startswith("comfy_extras."),
        str(raw.get("display_name") or ""),
    )


def _input_spec(raw: Any, required: bool, shared: dict[Any, Any]) -> InputSpec:
    parts = raw if isinstance(raw, list) and raw else [""]
    more = _object(parts[1]) if len(parts) > 1 else {}
    upload = any(more.get(key) for key in _UPLOADS)
    if isinstance(parts[0], list):
        return InputSpec(COMBO, required, _options(parts[0], shared), old_style=True, upload=upload)
    kind = parts[0] if isinstance(parts[0], str) else ""
    if kind != COMBO:
        return InputSpec(kind, required, low=_limit(more.get("min")), high=_limit(more.get("max")))
    options = None if any(more.get(key) for key in _OPEN) else more.get("options")
    listed = _options(options, shared) if isinstance(options, list) else None
    return InputSpec(COMBO, required, listed, upload=upload)


def _options(listed: list[Any], shared: dict[Any, Any]) -> tuple[Any, ...]:
    options = tuple(listed)
    try:
        # By type too: 1, 1.0 and true are equal, and so would the lists be.
        key = (options, tuple(map(type, options)))
        found: tuple[Any, ...] = shared.setdefault(key, options)
        return found
    except TypeError:  # lists within the list
        return options


def _limit(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _lasting(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What stays the same as models and inputs come and go: names and types, without any choices."""
    given = _object(raw.get("input"))

    def kind(spec: Any) -> Any:
        first = spec[0] if isinstance(spec, list) and spec else ""
        return first if isinstance(first, str) else COMBO

    inputs = {
        group: {name: kind(spec) for name, spec in _object(given.get(group)).items()}
        for group in ("required", "optional")
    }
    outputs = raw.get("output")
    types = [kind([each]) for each in outputs] if isinstance(outputs, list) else []
    return {"input": inputs, "output": types, "output_node": raw.get("output_node") is True}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
