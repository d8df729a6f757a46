"""Small files that would take minutes, gigabytes or a crash, as fuzzing and reading the code found them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from app.workflows.convert import CannotConvert, NodeCatalogue, convert
from app.workflows.read import MissingNodes, look_into
from tests.unit.workflows import containers
from tests.unit.workflows.reading import read_workflow

Raw = dict[str, Any]
CATALOGUE = NodeCatalogue(
    {
        "Make": {
            "input": {"required": {"a": ["INT"], "b": ["STRING", {"multiline": True}]}},
            "output": ["IMAGE"],
        },
        "Endless": {"input": {"required": {"a": ["INT", {"min": float("-inf"), "max": float("inf")}]}}},
        "Odd": {
            "input": {
                "required": {
                    "a": ["COMFY_DYNAMICCOMBO_V3", {"default": float("nan"), "options": [{"key": "k"}]}]
                }
            }
        },
    }
)


def copies(count: int, *subgraphs: Raw) -> Raw:
    """The first subgraph, so many times."""
    definitions = {"subgraphs": [{"links": [], "nodes": [], **each} for each in subgraphs]}
    nodes = [{"id": n, "type": subgraphs[0]["id"], "widgets_values": [1]} for n in range(count)]
    return {"nodes": nodes, "links": [], "definitions": definitions}


def groups(count: int, definition: Raw) -> Raw:
    nodes = [{"id": n, "type": "workflow>g"} for n in range(count)]
    return {"nodes": nodes, "links": [], "extra": {"groupNodes": {"g": definition}}}


def with_proxies() -> Raw:
    inner = {
        "id": 1,
        "type": "e",
        "widgets_values": [0] * 9_000,
        "properties": {"proxyWidgets": [["9", "x"]] * 9_000},
    }
    return copies(2_400, {"id": "s", "nodes": [inner]}, {"id": "e"})


def with_values(node_type: str, value: Any) -> Raw:
    node = {"id": 1, "type": node_type, "widgets_values": [1, [value] * 10_000]}
    return copies(4_900, {"id": "s", "nodes": [node]})


HOSTILE = {
    "inputs of a subgraph": copies(
        18_000, {"id": "s", "inputs": [{"name": f"p{n}", "type": "INT"} for n in range(2_000)]}
    ),
    "proxies of a subgraph": with_proxies(),
    "values of a known class": with_values("Make", 1),
    "values of an unknown class": with_values("Other", {"a": []}),
    "inputs of one name in a group": groups(
        300, {"nodes": [{"type": "Make", "inputs": [{"name": "a", "type": "INT"}] * 500}] * 100}
    ),
    "links in a group": groups(300, {"nodes": [{"type": "Make"}], "links": [[0, 0, 0, 0]] * 20_000}),
    "outputs in a group": groups(3_000, {"nodes": [{"type": "Make", "outputs": [{}] * 20_000}]}),
}


@pytest.mark.parametrize("ui", HOSTILE.values(), ids=HOSTILE)
def test_what_is_multiplied_is_refused_soon(ui: Raw) -> None:
    start = time.process_time()
    with pytest.raises(CannotConvert) as caught:
        convert(ui, CATALOGUE)
    assert caught.value.reason == "size"
    assert time.process_time() - start < 10  # a second or two each on a quiet machine


def test_inputs_of_one_name_take_no_longer_than_others() -> None:
    node = {"id": 1, "type": "Make", "inputs": [{"name": "x", "type": "INT"}] * 2_000}
    start = time.process_time()
    assert convert({"nodes": [node | {"id": n} for n in range(20)], "links": []}, CATALOGUE).prompt
    assert time.process_time() - start < 5


def test_many_links_to_one_widget_look_for_it_once() -> None:
    catalogue = NodeCatalogue({"Big": {"input": {"required": {f"w{n}": ["INT"] for n in range(100)}}}})
    inputs = [{"name": "w99", "link": 1, "widget": {"name": "w99"}}] * 1_500
    nodes: list[Raw] = [{"id": 0, "type": "PrimitiveNode", "widgets_values": [7]}]
    nodes += [{"id": n, "type": "Big", "inputs": inputs} for n in range(1, 51)]
    start = time.process_time()
    made = convert({"nodes": nodes, "links": [[1, 0, 0, 1, 0, "INT"]]}, catalogue)
    assert made.prompt["50"]["inputs"]["w99"] == 7
    assert time.process_time() - start < 5


@pytest.mark.parametrize("where", ["group", "subgraph"])
def test_a_group_inside_is_a_node_that_is_missing(tmp_path: Path, where: str) -> None:
    ui = groups(1, {"nodes": [{"type": "workflow>g" if where == "group" else "Make"}]})
    if where == "subgraph":
        inner = {"id": "s", "nodes": [{"id": 1, "type": "workflow>g"}], "links": []}
        ui["nodes"].append({"id": 7, "type": "s"})
        ui["definitions"] = {"subgraphs": [inner]}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(ui), "utf-8")
    with pytest.raises(MissingNodes) as caught:
        read_workflow(path, CATALOGUE)
    assert caught.value.types == ("workflow>g",)


def test_a_limit_without_an_end_is_none() -> None:
    """A primitive's number is rounded by the class."""
    nodes: list[Raw] = [
        {"id": 1, "type": "PrimitiveNode", "widgets_values": [2.6]},
        {"id": 2, "type": "Endless", "inputs": [{"name": "a", "link": 1, "widget": {"name": "a"}}]},
    ]
    made = convert({"nodes": nodes, "links": [[1, 1, 0, 2, 0, "INT"]]}, CATALOGUE)
    assert made.prompt["2"]["inputs"] == {"a": 3}


def test_a_default_that_is_no_number_is_null() -> None:
    made = convert({"nodes": [{"id": 1, "type": "Odd"}], "links": []}, CATALOGUE)
    assert made.prompt["1"]["inputs"] == {"a": None}


def test_a_number_too_large_for_json_is_null(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"1": {"class_type": "X", "inputs": {"a": [1e999, -1e999, 1.5]}}}')
    assert read_workflow(path).prompt["1"]["inputs"] == {"a": [None, None, 1.5]}


def test_an_object_that_is_no_workflow_is_no_browsers_form(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    prompt = {"1": {"class_type": "X", "inputs": {}}}
    path.write_bytes(containers.png({"prompt": json.dumps(prompt), "workflow": '{"a": 1}'}))
    found = look_into(path)
    assert (found.prompt, found.ui) == (prompt, None)
