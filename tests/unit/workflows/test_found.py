"""Files with the browser's form: what they hold, how they become a prompt, and what other files are told."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.workflows.convert import CannotConvert, NodeCatalogue
from app.workflows.read import Found, MissingNodes, Workflow, look_into
from app.workflows.refusal import NotAWorkflow
from tests.unit.workflows import containers
from tests.unit.workflows.reading import read_workflow

CATALOGUE = NodeCatalogue(
    {
        "LoadImage": {
            "display_name": "Load Image",
            "input": {"required": {"image": [["a.png"], {"image_upload": True}]}},
            "output": ["IMAGE", "MASK"],
        },
        "SaveImage": {
            "input": {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING", {"default": "x"}]}},
            "output": [],
        },
    }
)
UI: dict[str, Any] = {
    "version": 0.4,
    "nodes": [
        {"id": 1, "type": "LoadImage", "widgets_values": ["b.png", "image"], "outputs": [{"type": "IMAGE"}]},
        {"id": 2, "type": "SaveImage", "inputs": [{"name": "images", "type": "IMAGE", "link": 5}]},
        {"id": 3, "type": "Note"},
    ],
    "links": [[5, 1, 0, 2, 0, "IMAGE"]],
}
PROMPT = {
    "1": {"inputs": {"image": "b.png"}, "class_type": "LoadImage", "_meta": {"title": "Load Image"}},
    "2": {
        "inputs": {"filename_prefix": "x", "images": ["1", 0]},
        "class_type": "SaveImage",
        "_meta": {"title": "SaveImage"},
    },
}


def file(tmp_path: Path, content: Any, name: str = "my flow.json") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def changed(**changes: Any) -> dict[str, Any]:
    nodes = [*UI["nodes"], {"id": 4, "type": "LoadImage"} | changes]
    return {**UI, "nodes": nodes}


def test_the_browsers_form_is_found_and_converted(tmp_path: Path) -> None:
    path = file(tmp_path, UI)
    found = look_into(path)
    assert found == Found("my flow", None, UI, "json", "my flow.json")
    assert found.is_ui_only
    assert found.converted(CATALOGUE) == Workflow("my flow", PROMPT, UI)
    assert read_workflow(path, CATALOGUE) == Workflow("my flow", PROMPT, UI)


@pytest.mark.parametrize("make", containers.ALL.values(), ids=containers.ALL)
def test_every_kind_of_file_brings_both_forms(tmp_path: Path, make: Any) -> None:
    both = file(tmp_path, make({"prompt": json.dumps(PROMPT), "workflow": json.dumps(UI)}), "a.b")
    assert read_workflow(both) == Workflow("a", PROMPT, UI)
    assert not look_into(both).is_ui_only
    alone = file(tmp_path, make({"workflow": json.dumps(UI)}), "a.b")
    assert read_workflow(alone, CATALOGUE).prompt == PROMPT
    none = file(tmp_path, make({"title": "x"}), "a.b")
    with pytest.raises(NotAWorkflow, match="without an embedded workflow"):
        read_workflow(none, CATALOGUE)


def test_a_files_own_prompt_is_run_as_it_was(tmp_path: Path) -> None:
    other = {"1": {"class_type": "LoadImage", "inputs": {"image": "as it was"}}}
    path = file(tmp_path, containers.png({"prompt": json.dumps(other), "workflow": json.dumps(UI)}))
    assert read_workflow(path, CATALOGUE).prompt == other


def test_the_browsers_form_stands_in_for_a_broken_prompt(tmp_path: Path) -> None:
    path = file(tmp_path, containers.png({"prompt": "{", "workflow": json.dumps(UI)}))
    assert look_into(path).is_ui_only
    assert read_workflow(path, CATALOGUE).prompt == PROMPT


def test_what_is_posted_to_comfyui_has_both(tmp_path: Path) -> None:
    posted = {"prompt": PROMPT, "extra_data": {"extra_pnginfo": {"workflow": UI}}}
    assert look_into(file(tmp_path, posted)) == Found("my flow", PROMPT, UI, "json", "my flow.json")


def test_nan_is_null(tmp_path: Path) -> None:
    path = file(tmp_path, b'{"1": {"class_type": "X", "inputs": {}, "is_changed": [NaN, -Infinity]}}')
    assert read_workflow(path).prompt["1"]["is_changed"] == [None, None]


def test_missing_nodes_are_named(tmp_path: Path) -> None:
    ui = {"nodes": [{"id": n, "type": f"Type{n % 7}", "title": "t"} for n in range(9)], "links": []}
    with pytest.raises(MissingNodes, match="Type0, Type1, Type2, Type3, Type4 and 2 more") as caught:
        read_workflow(file(tmp_path, ui), CATALOGUE)
    assert caught.value.types == tuple(f"Type{n}" for n in range(7))
    assert len(caught.value.notes) == 9
    assert "my flow.json" in caught.value.title


def test_a_muted_unknown_node_is_harmless(tmp_path: Path) -> None:
    assert read_workflow(file(tmp_path, changed(type="Other", mode=2)), CATALOGUE).prompt == PROMPT


@pytest.mark.parametrize(
    "nodes", [[], [{"id": 1, "type": "Note"}], [{"id": 1, "type": "SaveImage", "mode": 4}]]
)
def test_where_nothing_runs_it_says_so(tmp_path: Path, nodes: list[Any]) -> None:
    with pytest.raises(NotAWorkflow, match="nothing runs") as caught:
        read_workflow(file(tmp_path, {"nodes": nodes, "links": []}), CATALOGUE)
    assert "muted" in caught.value.text


def test_what_cannot_be_converted_names_file_and_node(tmp_path: Path) -> None:
    with pytest.raises(
        CannotConvert, match=r"my flow\.json cannot be converted: a node .* \(node 4\)"
    ) as caught:
        read_workflow(file(tmp_path, changed(type=None)), CATALOGUE)
    assert caught.value.node_id == "4"
    assert caught.value.title == "my flow.json cannot be converted"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.url", b"[InternetShortcut]\r\nURL=https://example.com/x.json\r\n", "shortcut to a web page"),
        ("a.desktop", b"[Desktop Entry]\nType=Link\nURL=https://example.com\n", "shortcut to a web page"),
        (
            "a.webloc",
            b'<?xml version="1.0"?>\n<!DOCTYPE plist>\n<plist version="1.0">\n<dict>\n<key>URL</key>',
            "shortcut to a web page",
        ),
        (
            "a.txt",
            b"a cat\nNegative prompt: x\nSteps: 20, Sampler: Euler a, Seed: 1",
            "settings of another program",
        ),
        ("a.txt", b"a cat", r"not JSON \(line 1, column 1"),
        ("a.json", b'{"a":\n  1,\n  }', r"not JSON \(line 3, column 3"),
        ("a.json", b'{"a": "Steps: 20, Sampler: x"', r"not JSON \(line 1"),
        ("a.gif", b"GIF89a" + bytes(40), "picture without an embedded workflow"),
        ("a.png", containers.png({}), "picture without an embedded workflow"),
        ("a.png", containers.png({"parameters": "x"}), "picture of another program"),
        ("a.jpg", containers.picture("JPEG"), "picture without an embedded workflow"),
        ("a.wav", b"RIFF\0\0\0\0WAVE" + bytes(40), "sound file without an embedded workflow"),
        ("a.mp3", b"\xff\xfb" + bytes(400), "sound file without an embedded workflow"),
        ("a.mp4", containers.mp4({}), "video without an embedded workflow"),
        ("a.mp4", containers.mp4({"prompt": "{}"})[:-60], "damaged video"),
        ("a.safetensors", containers.safetensors({}), "tensor file without an embedded workflow"),
        ("a.json", b"\0" * 300, "not JSON"),
    ],
)
def test_what_is_none_is_told_exactly(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    path = file(tmp_path, content, name)
    for catalogue in (None, CATALOGUE):
        with pytest.raises(NotAWorkflow, match=why) as caught:
            read_workflow(path, catalogue)
        assert name in caught.value.title
        assert caught.value.text


def test_only_what_is_no_container_has_a_limit(tmp_path: Path) -> None:
    """A long video is looked into, and not read as a whole."""
    path = tmp_path / "long.mp4"
    content = containers.mp4({"prompt": json.dumps(PROMPT)})
    at = content.index(b"mdat") - 4
    length = 3 * 1024**3
    with path.open("wb") as out:
        out.write(content[:at] + struct.pack(">I", length) + b"mdat")
        out.seek(at + length)
        out.write(content[at + 58 :])
    assert read_workflow(path).prompt == PROMPT


JSON = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["nodes", "prompt", "1"]), inner)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(prompt=JSON, workflow=JSON, kind=st.sampled_from(["png tEXt", "webm", "safetensors", "flac"]))
def test_any_json_in_a_file_is_a_workflow_or_refused(
    tmp_path_factory: pytest.TempPathFactory, prompt: Any, workflow: Any, kind: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.file"
    path.write_bytes(containers.ALL[kind]({"prompt": json.dumps(prompt), "workflow": json.dumps(workflow)}))
    try:
        assert read_workflow(path, CATALOGUE).prompt
    except NotAWorkflow as error:
        title = error.title
    else:
        return
    assert "any.file" in title
