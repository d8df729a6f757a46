"""Single rules of the conversion, on graphs made for them; the cases show most of the others."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from app.workflows.convert import CannotConvert, Converted, NodeCatalogue, convert, javascript
from app.workflows.convert.resolve import bypass, fits
from app.workflows.convert.scheme import Input, Kind, Mode, Node
from app.workflows.convert.texts import chosen, with_tokens, without_comments

Raw = dict[str, Any]
_OPTIONS = [
    {"key": "by size", "inputs": {"required": {"width": ["INT", {"default": 8}], "mask": ["MASK"]}}},
    {"key": "by factor", "inputs": {"optional": {"factor": ["FLOAT", {"default": 1.5}]}}},
    {"key": "none", "inputs": {}},
]
CATALOGUE = NodeCatalogue(
    {
        "Picture": {"input": {"required": {"color": ["INT", {}]}}, "output": ["IMAGE", "MASK"]},
        "Resize": {
            "input": {
                "required": {
                    "how": ["COMFY_DYNAMICCOMBO_V3", {"options": _OPTIONS}],
                    "method": ["COMBO", {"options": ["area", "nearest"]}],
                    "images": ["COMFY_AUTOGROW_V3", {"template": {"input": {}, "prefix": "image", "min": 1}}],
                }
            },
            "output": ["IMAGE"],
        },
        "Words": {
            "input": {"required": {"text": ["STRING", {"multiline": True, "dynamicPrompts": True}]}},
            "output": [],
        },
        "Sample": {
            "input": {
                "required": {
                    "seed": ["INT", {"default": 0, "min": 0}],
                    "steps": ["INT", {"default": 20, "min": 1, "step": 3}],
                    "cfg": ["FLOAT", {"default": 8.0, "min": 0.0, "max": 10.0, "step": 0.1, "round": 0.01}],
                    "name": ["COMBO", {"options": ["a", "b"], "control_after_generate": True}],
                    "text": ["STRING", {"multiline": True}],
                    "either": ["FLOAT,INT", {"widgetType": "FLOAT", "default": 0.5}],
                },
                "optional": {"forced": ["INT", {"forceInput": True}], "empty": [[]]},
            },
            "output": ["LATENT"],
        },
    }
)


def made(nodes: list[Raw], links: list[Any] = (), **more: Any) -> Converted:  # type: ignore[assignment]
    return convert({"nodes": nodes, "links": list(links), **more}, CATALOGUE, choose=lambda _: 0)


def inputs(nodes: list[Raw], links: list[Any] = (), *, of: str = "1", **more: Any) -> Raw:  # type: ignore[assignment]
    return dict(made(nodes, links, **more).prompt[of]["inputs"])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["by size", 64, "nearest"], {"how": "by size", "how.width": 64, "method": "nearest"}),
        (["by factor", 2.5, "nearest"], {"how": "by factor", "how.factor": 2.5, "method": "nearest"}),
        (["none", "nearest"], {"how": "none", "method": "nearest"}),
        (["unheard of", "nearest"], {"how": "unheard of", "method": "nearest"}),
        ([], {"how": "by size", "how.width": 8, "method": "area"}),
    ],
)
def test_a_dynamic_combo_brings_the_widgets_of_its_choice(values: list[Any], expected: Raw) -> None:
    assert inputs([{"id": 1, "type": "Resize", "widgets_values": values}]) == expected


def test_growing_and_dynamic_sockets_keep_their_saved_names() -> None:
    sockets = [
        {"name": "images.image0", "type": "IMAGE", "link": 1},
        {"name": "images.image1", "type": "IMAGE", "link": None},
        {"name": "how.mask", "type": "MASK", "link": 2},
        {"name": "how.width", "type": "INT", "link": 3, "widget": {"name": "how.width"}},
    ]
    nodes = [
        {"id": 1, "type": "Resize", "widgets_values": ["by size", 4, "area"], "inputs": sockets},
        {"id": 2, "type": "Picture"},
    ]
    found = inputs(nodes, [[1, 2, 0, 1, 0], [2, 2, 1, 1, 2], [3, 2, 0, 1, 3]])
    assert found["images.image0"] == ["2", 0]
    assert found["how.mask"] == ["2", 1]
    assert found["how.width"] == ["2", 0]
    assert "images.image1" not in found


def test_slots_that_are_not_sent() -> None:
    values = [7, "randomize", 12, 3.5, "b", "fixed", "filter", "text", 0.25]
    expected = {"seed": 7, "steps": 12, "cfg": 3.5, "name": "b", "text": "text", "either": 0.25}
    assert inputs([{"id": 1, "type": "Sample", "widgets_values": values}]) == expected


def test_defaults_and_a_combo_without_any() -> None:
    expected = {"seed": 0, "steps": 20, "cfg": 8, "name": "a", "text": "", "either": 0.5}
    assert inputs([{"id": 1, "type": "Sample"}]) == expected


def test_values_by_name_or_number() -> None:
    values = {"steps": 5, "0": 9, "text": None, "videopreview": {}}
    found = inputs([{"id": 1, "type": "Sample", "widgets_values": values}])
    assert (found["steps"], found["seed"], found["text"], found["cfg"]) == (5, 9, "", 8)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("steps", 5, 4),
        ("steps", 6, 7),
        ("cfg", 3.14159, 3.14),
        ("cfg", 99, 10),
        ("cfg", -1, 0),
        ("cfg", "x", "x"),
    ],
)
def test_a_primitive_writes_rounded_values(name: str, value: Any, expected: Any) -> None:
    socket = {"name": name, "type": "*", "link": 1, "widget": {"name": name}}
    nodes = [
        {"id": 1, "type": "Sample", "inputs": [socket]},
        {"id": 2, "type": "PrimitiveNode", "widgets_values": [value, "fixed"], "mode": 2},
    ]
    assert inputs(nodes, [[1, 2, 0, 1, 0]])[name] == expected


def instance(**changes: Any) -> tuple[list[Raw], Raw]:
    """A subgraph with a Sample inside, of which ``seed`` and ``text`` are inputs."""
    nodes = [{"id": 8, "type": "sub", "inputs": [], "widgets_values": [5, "outer"]} | changes]
    sockets = [
        {"name": "seed", "type": "INT", "link": 1, "widget": {"name": "seed"}},
        {"name": "text", "type": "STRING", "link": 2, "widget": {"name": "text"}},
    ]
    inner = {
        "id": "sub",
        "inputs": [{"name": "seed", "type": "INT"}, {"name": "words", "type": "STRING"}],
        "nodes": [{"id": 4, "type": "Sample", "inputs": sockets, "widgets_values": [1, "fixed", 2, 3.5]}],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 4, "target_slot": 0},
            {"id": 2, "origin_id": -10, "origin_slot": 1, "target_id": 4, "target_slot": 9},
        ],
    }
    return nodes, {"subgraphs": [inner]}


def test_values_of_a_subgraph_are_in_the_order_of_its_inputs() -> None:
    nodes, definitions = instance()
    found = inputs(nodes, definitions=definitions, of="8:4")
    assert (found["seed"], found["text"], found["steps"]) == (5, "outer", 2)


@pytest.mark.parametrize(
    ("proxies", "values", "expected"),
    [
        ([["-1", "words"], ["4", "steps"]], ["a", 30], {"seed": 1, "text": "a", "steps": 30}),
        ([["4", "text"], ["4", "seed"]], ["b", 31], {"seed": 31, "text": "b", "steps": 2}),
        ([["4", "text"], ["4", "seed"]], [], {"seed": 1, "text": "", "steps": 2}),
    ],
)
def test_or_in_the_order_of_its_own_list(proxies: list[Any], values: list[Any], expected: Raw) -> None:
    nodes, definitions = instance(widgets_values=values, properties={"proxyWidgets": proxies})
    found = inputs(nodes, definitions=definitions, of="8:4")
    assert {name: found[name] for name in expected} == expected


def test_a_primitive_reaches_into_a_subgraph() -> None:
    socket = {"name": "words", "type": "STRING", "link": 1, "widget": {"name": "words"}}
    nodes, definitions = instance(inputs=[socket])
    nodes.append({"id": 9, "type": "PrimitiveNode", "widgets_values": ["from outside"]})
    assert inputs(nodes, [[1, 9, 0, 8, 0]], definitions=definitions, of="8:4")["text"] == "from outside"


def group(values: list[Any]) -> Raw:
    """A group of a text, a primitive and a Sample whose seed the primitive sets."""
    socket = {"name": "seed", "type": "INT", "link": None, "widget": {"name": "seed"}}
    nodes = [
        {"type": "Words", "index": 0},
        {"type": "PrimitiveNode", "widgets_values": [3, "fixed"], "index": 1, "outputs": [{"type": "INT"}]},
        {"type": "Sample", "inputs": [socket], "index": 2},
    ]
    definition = {"nodes": nodes, "links": [[1, 0, 2, 0, 3, "INT"]]}
    return {
        "nodes": [{"id": 5, "type": "workflow>g", "widgets_values": values}],
        "links": [],
        "last_node_id": 5,
        "extra": {"groupNodes": {"g": definition}},
    }


def test_values_of_a_group_are_its_inner_nodes_own() -> None:
    result = convert(group(["{a|b} // c", 42, "fixed"]), CATALOGUE, choose=lambda _: 1).prompt
    assert list(result) == ["9:6", "9:8"]
    assert result["9:6"]["inputs"] == {"text": "b "}
    assert result["9:8"]["inputs"]["seed"] == 42


def test_a_group_without_values_has_the_defaults() -> None:
    result = convert(group([]), CATALOGUE).prompt
    assert (result["9:6"]["inputs"]["text"], result["9:8"]["inputs"]["seed"]) == ("", 3)


def test_refusals_keep_the_names_of_the_file() -> None:
    definitions = {"subgraphs": [{"id": "x", "name": "My Graph"}]}
    with pytest.raises(CannotConvert, match="the subgraph 'My Graph' has no list of nodes"):
        made([], definitions=definitions)


def test_a_link_from_nowhere_is_left_out_and_told() -> None:
    nodes = [{"id": 1, "type": "Resize", "inputs": [{"name": "a", "type": "IMAGE", "link": 99}]}]
    result = made(nodes)
    assert "a" not in result.prompt["1"]["inputs"]
    assert [(note.node_id, note.text) for note in result.warnings] == [
        ("1", "Its input 'a' is linked to nothing.")
    ]


def test_unknown_nodes_are_told() -> None:
    result = made([{"id": 1, "type": "Other", "title": "Mine", "widgets_values": [1, None, "a"]}])
    assert result.prompt == {
        "1": {"inputs": {"UNKNOWN": 1, "UNKNOWN_1": "null", "UNKNOWN_2": "a"}, "_meta": {"title": "Mine"}}
    }
    assert [(note.node_id, note.node_type, note.title) for note in result.missing] == [("1", "Other", "Mine")]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (18446744073709551615, "18446744073709552000"),
        (9007199254740993, "9007199254740992"),
        (512.0, "512"),
        (0.1, "0.1"),
        (1e21, "1e+21"),
        (float("nan"), "null"),
        (10**400, "null"),
        (-0.0, "0"),
        (True, "true"),
        ({"a": [1.0, None]}, '{"a": [1, null]}'),
    ],
)
def test_numbers_pass_through_doubles(raw: Any, expected: str) -> None:
    assert json.dumps(javascript.value(raw)) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, "null"),
        (False, "false"),
        (1.0, "1"),
        (1e21, "1e+21"),
        (1.5e-7, "1.5e-7"),
        (0.00001, "0.00001"),
        ([1, None, "a"], "1,,a"),
        ({}, "[object Object]"),
    ],
)
def test_values_as_texts(raw: Any, expected: str) -> None:
    assert javascript.text(raw) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a // b\nc", "a \nc"),
        ("a /* b\n */ c", "a  c"),
        ("a /* b", "a /* b"),
        ("/*/ a */b", "b"),
        ("/* //\n x", "/* \n x"),
        ("http://x", "http:"),
    ],
)
def test_comments(text: str, expected: str) -> None:
    assert without_comments(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a|b}", "b"),
        ("{a|{b|c}}", "c"),
        (r"\{a\|b\}", "{a|b}"),
        ("{a|b", "b"),
        ("a}b|c", "a}b|c"),
        ("{}", ""),
        ("\\", "\\"),
    ],
)
def test_choices(text: str, expected: str) -> None:
    assert chosen(text, lambda count: count - 1) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%date:yyyy-MM-dd hhmmss%", "2025-01-02 030405"),
        ("%date:yy M d%", "25 1 2"),
        ("%A.b%_%A.c%", "x_y_%A.c%"),
        ("%width%x%a.b.c%", "%width%x%a.b.c%"),
        ("100%", "100%"),
    ],
)
def test_tokens_of_file_names(text: str, expected: str) -> None:
    known = {("A", "b"): "x/y"}
    clock = datetime(2025, 1, 2, 3, 4, 5)
    assert with_tokens(text, lambda node, name: known.get((node, name)), clock) == expected


def test_tokens_cannot_grow_without_end() -> None:
    grown = with_tokens("%A.b%" * 10_000, lambda *_: "x" * 10_000, datetime(2025, 1, 2))
    assert len(grown) < 200_000


@pytest.mark.parametrize(
    ("types", "outputs", "slot", "wanted", "expected"),
    [
        (["MODEL", "CLIP"], ["MODEL", "CLIP"], 1, "CLIP", 1),
        (["CLIP", "MODEL"], ["MODEL"], 0, "MODEL", 1),
        (["a", "b"], ["c"], 0, "c", None),
        (["a", "*"], ["c"], 0, "c", 1),
        (["a", "b"], ["c"], 1, "*", 1),
        (["a"], ["c", "c"], 1, "*", 0),
        ([], ["c"], 0, "c", None),
    ],
)
def test_what_a_bypassed_node_hands_through(
    types: list[str], outputs: list[str], slot: int, wanted: str, expected: int | None
) -> None:
    sockets = tuple(Input(str(at), kind) for at, kind in enumerate(types))
    node = Node("1", "x", Kind.UNKNOWN, Mode.BYPASSED, "", sockets, tuple(outputs), None, {})
    assert bypass(node, slot, wanted) == expected


def test_types_that_fit() -> None:
    assert fits("IMAGE,MASK", "mask")
    assert fits("*", "X")
    assert not fits("IMAGE", "MASK")


def test_the_catalogue_reads_both_styles_and_what_is_broken() -> None:
    catalogue = NodeCatalogue.from_json(json.dumps({"A": {"input": {"required": {"a": [["x"]]}}}, "B": 5}))
    assert len(catalogue) == 2
    assert "A" in catalogue
    node = catalogue.get("A")
    assert node is not None
    assert node.inputs.slots[0].default == "x"
    assert catalogue.get("B") is None
    assert catalogue.get("C") is None
    with pytest.raises(ValueError, match="no answer"):
        NodeCatalogue.from_json("[]")
