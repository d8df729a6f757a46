"""Whatever looks like a workflow in the browser's form is converted or refused, and soon."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.workflows.convert import CannotConvert, Converted, NodeCatalogue, convert

Raw = dict[str, Any]
CATALOGUE = NodeCatalogue(
    {
        "Make": {
            "input": {
                "required": {
                    "seed": ["INT", {"default": 1}],
                    "text": ["STRING", {"multiline": True, "dynamicPrompts": True}],
                    "filename_prefix": ["STRING", {}],
                    "size": ["FLOAT", {"step": 0.1, "forceInput": True}],
                    "mode": [
                        "COMFY_DYNAMICCOMBO_V3",
                        {"options": [{"key": "a", "inputs": {"required": {"n": ["INT", {}]}}}]},
                    ],
                    "image": ["IMAGE"],
                }
            },
            "output": ["IMAGE", "LATENT"],
        },
        "Broken": {"input": {"required": {"a": 5, "b": [], "c": [None, None]}}, "output": 3},
        "None": None,
    }
)
TYPES = [
    "Make",
    "Broken",
    "None",
    "Other",
    "Reroute",
    "PrimitiveNode",
    "Note",
    "s0",
    "s1",
    "s2",
    "workflow>g",
]
IDS = st.integers(-21, 6) | st.sampled_from(["1", "2", "-10", 1.5, None, True, 2**70])
SLOTS = st.integers(-1, 4) | st.sampled_from([None, "0", 1e300])
NAMES = st.sampled_from(["seed", "text", "image", "", "n", "mode", "value", "filename_prefix"])
KINDS = st.sampled_from(["INT", "IMAGE", "*", "", "image,LATENT", ["a"], None])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
TEXTS = st.text(alphabet="{}|\\/*%.:dM\nab", max_size=12) | st.sampled_from(
    ["%Make.seed%", "%date:yyyy%", "a"]
)
INPUT = st.fixed_dictionaries(
    {"name": NAMES, "type": KINDS}, optional={"link": IDS, "widget": st.fixed_dictionaries({"name": NAMES})}
)
NODE = st.fixed_dictionaries(
    {"id": IDS, "type": st.sampled_from(TYPES)},
    optional={
        "mode": st.sampled_from([0, 1, 2, 3, 4, None, "2"]),
        "inputs": st.lists(INPUT, max_size=4) | JSON,
        "outputs": st.lists(st.fixed_dictionaries({"type": KINDS}), max_size=3) | JSON,
        "widgets_values": st.lists(JSON | TEXTS, max_size=6) | JSON,
        "properties": st.fixed_dictionaries(
            {"proxyWidgets": st.lists(st.tuples(IDS, NAMES).map(list), max_size=3)}
        )
        | JSON,
        "title": JSON,
    },
)
LINK = st.tuples(IDS, IDS, SLOTS, IDS, SLOTS).map(list) | st.fixed_dictionaries(
    {"id": IDS, "origin_id": IDS, "origin_slot": SLOTS, "target_id": IDS, "target_slot": SLOTS}
)
NODES, LINKS = st.lists(NODE, max_size=6), st.lists(LINK, max_size=8)
GRAPH = {"nodes": NODES | JSON, "links": LINKS | JSON}
SUBGRAPH = st.fixed_dictionaries(
    {**GRAPH, "id": st.sampled_from(["s0", "s1", "s2"])},
    optional={"inputs": st.lists(st.fixed_dictionaries({"name": NAMES, "type": KINDS}), max_size=3) | JSON},
)
GROUP = st.fixed_dictionaries(
    {"nodes": NODES | JSON},
    optional={
        "links": LINKS | JSON,
        "external": st.lists(st.tuples(SLOTS, SLOTS).map(list)) | JSON,
        "config": JSON,
    },
)
UI = st.fixed_dictionaries(
    GRAPH,
    optional={
        "definitions": st.fixed_dictionaries({"subgraphs": st.lists(SUBGRAPH, max_size=3)}) | JSON,
        "extra": st.fixed_dictionaries({"groupNodes": st.fixed_dictionaries({"g": GROUP})}) | JSON,
        "last_node_id": IDS,
        "state": JSON,
    },
)


def tried(ui: Any) -> Converted | CannotConvert:
    try:
        return convert(ui, CATALOGUE)
    except CannotConvert as error:
        refusal = error
    assert refusal.reason in ("shape", "cycle", "size")
    assert refusal.why
    return refusal


@settings(deadline=None, max_examples=100)
@given(ui=UI)
def test_any_graph_is_converted_or_refused(ui: Raw) -> None:
    before = repr(ui)
    result = tried(ui)
    assert repr(ui) == before
    if isinstance(result, Converted):
        written = json.loads(json.dumps(result.prompt, allow_nan=False))
        assert written == result.prompt
        for node in result.prompt.values():
            assert isinstance(node["inputs"], dict)
            for value in node["inputs"].values():
                if isinstance(value, list):
                    source, slot = value
                    assert source in result.prompt
                    assert isinstance(slot, int)


@settings(deadline=None, max_examples=60)
@given(raw=JSON | st.dictionaries(st.sampled_from(["nodes", "links", "definitions", "extra"]), JSON))
def test_any_json_is_converted_or_refused(raw: Any) -> None:
    tried(raw)


ODD: list[Any] = [
    *(None, True, 0, -1, -10, -20, 2, 4, 1.5, "", "1", "Reroute", "PrimitiveNode", "KSampler", "workflow>x"),
    *([], {}, [1, 0], {"name": "seed"}, 10**30, float("nan"), "%a.b%", "{a|b"),
]


def places(raw: Any) -> list[tuple[Any, Any]]:
    """Every member of every object and list, as its holder and key."""
    found, waiting = [], [raw]
    while waiting:
        holder = waiting.pop()
        for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
            found.append((holder, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    return found


def nested(depth: int, times: int, *, inner: list[Raw] | None = None, tail: str = "end") -> Raw:
    """Subgraphs in subgraphs, each used several times by the one above; ``tail`` is the type at the end."""
    definitions = [
        {
            "id": f"d{level}",
            "nodes": [
                {"id": n, "type": f"d{level + 1}" if level + 1 < depth else tail, "inputs": inner or []}
                for n in range(times)
            ],
            "links": [],
        }
        for level in range(depth)
    ]
    return {"nodes": [{"id": 1, "type": "d0"}], "links": [], "definitions": {"subgraphs": definitions}}


def promoting(depth: int, slots: int) -> Raw:
    """Subgraphs in subgraphs that all promote their widgets: each asks for all below."""
    ports = [{"name": f"p{n}", "type": "INT"} for n in range(slots)]
    links = [
        {"id": n, "origin_id": -10, "origin_slot": n, "target_id": 1, "target_slot": n} for n in range(slots)
    ]
    inputs = [{"name": f"p{n}", "type": "INT", "link": n, "widget": {"name": f"p{n}"}} for n in range(slots)]
    made = nested(depth, 1, inner=inputs, tail="Make")
    for each in made["definitions"]["subgraphs"]:
        each |= {"inputs": ports, "links": links}
        each["nodes"][0]["id"] = 1
    return made


def chain(kind: str, length: int, mode: int = 0) -> Raw:
    """A long row of nodes, each filled by the one before."""
    nodes = [
        {
            "id": n,
            "type": kind if n < length else "Make",
            "mode": mode if n < length else 0,
            "inputs": [{"name": "image", "type": "*", "link": n}],
            "outputs": [{"type": "*"}],
        }
        for n in range(1, length + 1)
    ]
    return {"nodes": nodes, "links": [[n, n - 1, 0, n, 0, "*"] for n in range(1, length + 1)]}


def wide(count: int, hops: int) -> Raw:
    """Many inputs that all go back through the same long row of reroutes."""
    made = chain("Reroute", hops)
    made["nodes"][-1]["inputs"] = [{"name": f"i{n}", "type": "*", "link": hops} for n in range(count)]
    return made


HOSTILE = {
    "a subgraph in itself": nested(1, 1, tail="d0"),
    "a circle of subgraphs": nested(7, 2, tail="d0"),
    "two to the power of forty": nested(40, 2),
    "a tower of two hundred": nested(200, 1),
    "promotions in promotions": promoting(45, 40),
    "ten thousand reroutes": chain("Reroute", 10_000),
    "ten thousand bypassed": chain("Other", 10_000, mode=4),
    "reroutes from many inputs": wide(2_000, 10_000),
    "thirty thousand nodes": {"nodes": [{"id": n, "type": "Make"} for n in range(30_000)], "links": []},
    "a text in five thousand copies": {
        "nodes": [{"id": n, "type": "s", "mode": 0} for n in range(4_000)],
        "links": [],
        "definitions": {
            "subgraphs": [
                {
                    "id": "s",
                    "nodes": [{"id": 1, "type": "Other", "widgets_values": ["x" * 100_000]}],
                    "links": [],
                }
            ]
        },
    },
    "comments never closed": {
        "nodes": [{"id": 1, "type": "Make", "widgets_values": [1, "fixed", "/*" * 500_000]}],
        "links": [],
    },
    "braces in braces": {
        "nodes": [{"id": 1, "type": "Make", "widgets_values": [1, "fixed", "{a" * 400_000]}],
        "links": [],
    },
    "braces never closed": {
        "nodes": [{"id": 1, "type": "Make", "widgets_values": [1, "fixed", "{a|" * 300_000]}],
        "links": [],
    },
}


@pytest.mark.parametrize("ui", HOSTILE.values(), ids=HOSTILE)
def test_what_is_made_to_hang_does_not(ui: Raw) -> None:
    start = time.perf_counter()
    tried(ui)
    assert time.perf_counter() - start < 20  # about a second each on a quiet machine


def test_deep_nesting_is_refused_and_no_recursion_error() -> None:
    deep: Any = "x"
    for _ in range(5_000):
        deep = [deep]
    result = tried({"nodes": [{"id": 1, "type": "Make", "widgets_values": deep}], "links": []})
    assert isinstance(result, CannotConvert)
    assert result.reason == "shape"


@pytest.mark.parametrize("name", ["a subgraph in itself", "a circle of subgraphs"])
def test_a_subgraph_in_itself_is_refused_by_name(name: str) -> None:
    result = tried(HOSTILE[name])
    assert isinstance(result, CannotConvert)
    assert result.reason == "cycle"
    assert result.node_id.startswith("1:")


def test_a_refusal_reads_like_one() -> None:
    result = tried({"nodes": [{"id": 3, "type": None}], "links": []})
    assert isinstance(result, CannotConvert)
    assert (result.node_id, result.reason) == ("3", "shape")
    assert "node 3" in str(result)
    assert "ComfyUI" in result.hint
