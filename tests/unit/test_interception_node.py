"""The interception node's own decisions, without any server: what it reads off prompts, and who may ask."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from app.files import resource

FOLDER = resource("custom_nodes", "comfy_runpod")
#: Of ComfyUI: they are there in its process only.
COMFYUI = {"execution", "folder_paths", "nodes", "server"}


def load(name: str) -> Any:
    """A module of the node, without its start, which needs ComfyUI."""
    package = "interception_node_under_test"
    if package not in sys.modules:
        module = ModuleType(package)
        module.__path__ = [str(FOLDER)]
        sys.modules[package] = module
    return importlib.import_module(f"{package}.{name}")


gate, graph, host = load("gate"), load("graph"), load("host")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_it_imports_only_what_comfyui_s_process_has(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    names = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    names |= {
        str(node.module).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and not node.level
    }
    own = COMFYUI if path.name == "comfyui.py" else set()
    assert names <= {*sys.stdlib_module_names, "aiohttp", *own}


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


PROMPT = {
    "1": node("EmptyImage", color=1),
    "2": node("ImageInvert", image=["1", 0]),
    "3": node("SaveImage", images=["2", 0]),
    "4": node("SaveImage", images=["1", 0]),
    "5": node("Loose", text="1"),
}


@pytest.mark.parametrize(
    ("outputs", "needed"),
    [(["3"], "123"), (["4"], "14"), (["4", "3"], "1234"), ([], ""), (["5"], "5"), (["absent"], "")],
)
def test_what_an_output_needs(outputs: list[str], needed: str) -> None:
    assert "".join(graph.needed(PROMPT, outputs)) == needed


def test_a_circle_is_read_once() -> None:
    prompt = {"1": node("A", x=["2", 0]), "2": node("B", x=["1", 0])}
    assert list(graph.needed(prompt, ["2"])) == ["1", "2"]


@given(st.text(max_size=60))
def test_any_name_is_judged_and_what_is_there_is_inside_unless_it_says_so(name: str) -> None:
    folders = dict.fromkeys(("input", "output", "temp"), FOLDER / "web")
    outside = graph.leads_outside(folders, name)
    try:
        real = (FOLDER / "web" / name).resolve(strict=True)
    except (OSError, ValueError):
        return
    assert outside or real.is_relative_to((FOLDER / "web").resolve())


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("a.png", False), ("sub/b.png", False), ("a.png [input]", False), ("c.png [output]", False),
        ("absent.png", False), ("", False), ("c.png", False), ("../outside.png", True),
        ("sub/../../outside.png", True), ("..\\outside.png", True), ("link.png", True), ("C:a.png", True),
        ("a.png [elsewhere]", False), ("/etc/hostname", True), ("/etc/hostname [output]", True),
        ("a.png\0", False), ("x" * 5000, False),
    ],
)  # fmt: skip
def test_which_names_lead_out_of_comfyui_s_folders(tmp_path: Path, name: str, outside: bool) -> None:
    folders = {kind: tmp_path / kind for kind in ("input", "output", "temp")}
    for path in ("input/a.png", "input/sub/b.png", "output/c.png", "outside.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"x")
    (tmp_path / "input" / "link.png").symlink_to(tmp_path / "outside.png")
    assert graph.leads_outside(folders, name) == outside
    assert graph.leads_outside(folders, str(tmp_path / "input" / "a.png"))


def wrong(kind: str, value: object, *outputs: str) -> dict[str, Any]:
    error = {"type": kind, "extra_info": {"input_name": "ckpt_name", "received_value": value}}
    return {"errors": [error], "dependent_outputs": list(outputs), "class_type": "X"}


FAILED = {"type": "prompt_outputs_failed_validation"}


@pytest.mark.parametrize(
    ("node_errors", "outputs", "refused"),
    [
        ({"1": wrong("value_not_in_list", "there.safetensors", "3", "4")}, ["3", "4"], False),
        ({"1": wrong("value_not_in_list", "absent.safetensors", "3", "4")}, [], True),
        ({"1": wrong("value_not_in_list", "euler", "3", "4")}, [], True),
        ({"1": wrong("value_smaller_than_min", "there.safetensors", "3", "4")}, [], True),
        (
            {
                "1": wrong("value_not_in_list", "there.safetensors", "3", "4"),
                "2": wrong("required_input_missing", None, "3"),
            },
            ["4"],
            False,
        ),
    ],
)
def test_only_models_that_the_endpoint_has_are_excused(
    node_errors: dict[str, Any], outputs: list[str], refused: bool
) -> None:
    verdict = graph.excused(host.Verdict(FAILED, (), node_errors), PROMPT, {"there.safetensors"})
    assert (list(verdict.outputs), verdict.error is not None) == (outputs, refused)


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"Host": "127.0.0.1:8188"}, True),
        ({"Host": "localhost:8188", "Origin": "http://localhost:8188"}, True),
        ({"Host": "[::1]:8188", "Origin": "http://[::1]:8188"}, True),
        ({"Host": "127.0.0.1", "Origin": "http://127.0.0.1"}, True),
        ({"Host": "127.0.0.1", "Origin": "https://127.0.0.1"}, False),
        ({"Host": "my-pc:8188"}, False),
        ({"Host": "known:8188", "Origin": "http://known:8188"}, True),
        ({"Host": "127.0.0.1:8188", "Origin": "http://localhost:8188"}, False),
        ({"Host": "127.0.0.1:8188", "Origin": "null"}, False),
        ({"Host": "127.0.0.1:8188", "Origin": "file://"}, False),
        ({"Host": "127.0.0.1:8188@evil"}, False),
        ({"Host": "127.0.0.1:x"}, False),
        ({"Host": ""}, False),
        ({"Host": "127.0.0.1:8188", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Host": "127.0.0.1:8188", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Host": "127.0.0.1.evil.example:8188"}, False),
    ],
)
def test_who_is_comfyui_s_own_page(headers: dict[str, str], own: bool) -> None:
    request = make_mocked_request("POST", "/prompt", headers=headers)
    assert gate.is_own_page(request, {"known"}) == own


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=40))
def test_any_host_and_origin_are_read(text: str) -> None:
    request = make_mocked_request("POST", "/prompt", headers={"Host": text, "Origin": f"http://{text}"})
    assert gate.is_own_page(request) in (True, False)
