"""Node descriptions told from saved workflows and their results: names, order and types of the inputs.

What these cannot show (steps, kinds of texts, slots that only the browser has) is written down in ``KNOWN``.
A test with these descriptions shows less than one with ComfyUI's own: the names come from the results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from app.workflows.convert import NodeCatalogue
from tests.unit.workflows.cases import copied, load

Raw = dict[str, Any]
_WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
_TEXT = {"multiline": True, "dynamicPrompts": True}
KNOWN: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("CLIPTextEncode", "text"): _TEXT,
    ("EmptyLatentImage", "width"): {"min": 16, "step": 8},
    ("EmptyLatentImage", "height"): {"min": 16, "step": 8},
    ("KSampler", "denoise"): {"step": 0.01, "min": 0.0, "max": 1.0},
    ("PrimitiveInt", "value"): {"control_after_generate": True},
    ("DualCFGGuider", "cfg_cond2_negative"): {"default": 8.0},
    ("LoadImageOutput", "image"): {"remote": {"refresh_button": True}},
}
#: Nodes that the cases hold inside groups only.
_NUMBERS = {"sharpen_radius": ["INT"], "sigma": ["FLOAT"], "alpha": ["FLOAT"]}
ALSO = {"ImageSharpen": {"input": {"required": {"image": ["IMAGE"], **_NUMBERS}}, "output": ["IMAGE"]}}


@cache
def deduced() -> NodeCatalogue:
    seen: dict[str, list[tuple[Raw, Raw]]] = {}
    for case in copied():
        if case.accepted:
            for node, result in _pairs(load(case.ui), load(case.accepted[0])):
                seen.setdefault(node["type"], []).append((node, result["inputs"]))
    return NodeCatalogue({**ALSO, **{name: _description(name, pairs) for name, pairs in seen.items()}})


def _pairs(ui: Raw, prompt: Raw) -> Iterator[tuple[Raw, Raw]]:
    """Saved nodes of known classes with their results. One in a subgraph is found by the end of its id."""
    for node in _nodes(ui):
        ends = str(node["id"])
        for node_id, result in prompt.items():
            if node_id.rpartition(":")[2] == ends and result.get("class_type") == node["type"]:
                yield node, result
                break


def _nodes(ui: Raw) -> Iterator[Raw]:
    yield from ui["nodes"]
    for graph in ui.get("definitions", {}).get("subgraphs", ()):
        yield from graph["nodes"]


def _description(name: str, pairs: list[tuple[Raw, Raw]]) -> Raw:
    widgets = _widgets(pairs)
    kinds: dict[str, Any] = {}
    sockets: dict[str, str] = {}
    outputs: list[Any] = []
    for node, inputs in pairs:
        outputs = max(outputs, [each["type"] for each in node.get("outputs") or ()], key=len)
        for each in node.get("inputs") or ():
            kind = each["type"]
            if each["name"] not in widgets and not each.get("widget"):
                sockets.setdefault(each["name"], kind)
            elif kind in _WIDGETS:
                kinds.setdefault(each["name"], kind)
        for key, value in inputs.items():
            if key in widgets and not _is_link(value):
                kinds.setdefault(key, _kind(value))
    described: Raw = {key: [kind] for key, kind in sockets.items()}
    for key in widgets:
        described[key] = [kinds.get(key, "STRING"), dict(KNOWN.get((name, key), {}))]
    for node, inputs in pairs:
        _add_defaults(described, widgets, node, inputs)
    return {"input": {"required": described}, "output": outputs}


def _widgets(pairs: list[tuple[Raw, Raw]]) -> list[str]:
    """A result has the widgets first, in their order, whether something is linked to them or not."""
    names = {key for _, inputs in pairs for key, value in inputs.items() if not _is_link(value)} - {"refresh"}
    for node, _ in pairs:
        names |= {each["name"] for each in node.get("inputs") or () if _is_sent(each)}
    lists = [[key for key in inputs if key in names] for _, inputs in pairs]
    longest = max(lists, key=len)
    return list(dict.fromkeys([*longest, *(key for keys in lists for key in keys)]))


def _add_defaults(described: Raw, widgets: list[str], node: Raw, inputs: Raw) -> None:
    """What a result holds beyond the saved values is the default."""
    saved, at = node.get("widgets_values") or [], 0
    for key in widgets:
        if at >= len(saved) and key in inputs and not _is_link(inputs[key]):
            described[key][1].setdefault("default", inputs[key])
        at += 1 + (key in ("seed", "noise_seed"))


def _is_sent(each: Raw) -> bool:
    return bool(each.get("widget")) and each["type"] not in ("IMAGEUPLOAD", "AUDIOUPLOAD")


def _is_link(value: Any) -> bool:
    return isinstance(value, list)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "BOOLEAN"
    return (
        "STRING" if isinstance(value, str) or value is None else "INT" if isinstance(value, int) else "FLOAT"
    )
