"""Any file at all becomes a workflow or one sentence."""

from __future__ import annotations

import copy
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from app.errors import BadInput
from app.workflows import set_values
from app.workflows.inputs import referenced
from app.workflows.read import Workflow
from tests.unit.workflows.reading import read_workflow

PROMPT: dict[str, dict[str, Any]] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "ä.png"}, "_meta": {"title": "Load"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
}


def png(texts: dict[str, str], *, compressed: bool = False, late: bool = False) -> bytes:
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        info.add_itxt(key, value, zip=compressed)
    saved = io.BytesIO()
    Image.new("RGB", (4, 4), (1, 2, 3)).save(saved, "PNG", pnginfo=info)
    content = saved.getvalue()
    if late:
        start, end = content.index(b"iTXt") - 4, content.index(b"IDAT") - 4
        tail = content.index(b"IEND") - 4
        content = content[:start] + content[end:tail] + content[start:end] + content[tail:]
    return content


def read(tmp_path: Path, content: bytes, name: str = "my flow.json") -> Workflow:
    path = tmp_path / name
    path.write_bytes(content)
    return read_workflow(path)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(PROMPT).encode(),
        json.dumps(PROMPT, ensure_ascii=False).encode(),
        b"\xef\xbb\xbf" + json.dumps(PROMPT, indent=2).encode(),
        json.dumps({"prompt": PROMPT, "client_id": "x", "extra_data": {}}).encode(),
        png({"prompt": json.dumps(PROMPT)}),
    ],
    ids=["ascii", "utf-8", "with a BOM", "as it is posted", "a picture"],
)
def test_what_is_accepted(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) == Workflow("my flow", PROMPT)


@pytest.mark.parametrize("form", [{}, {"compressed": True}, {"late": True}])
def test_a_picture_brings_both_forms(tmp_path: Path, form: dict[str, bool]) -> None:
    ui = {"nodes": [], "links": []}
    texts = {"prompt": json.dumps(PROMPT), "workflow": json.dumps(ui)}
    assert read(tmp_path, png(texts, **form), "a.b.png") == Workflow("a.b", PROMPT, ui)
    assert read(tmp_path, png({**texts, "workflow": "[1]"})).ui is None


def test_a_node_without_inputs_has_none(tmp_path: Path) -> None:
    assert read(tmp_path, b'{"1": {"class_type": "X"}}').prompt == {"1": {"class_type": "X", "inputs": {}}}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"\x00\xff\xfe", "not JSON"),
        (json.dumps(PROMPT).encode("utf-16"), "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b"[" * 100_000, "too deeply"),
        (b'{"1": {"class_type": "X", "inputs": {"a": ' + b"[" * 120 + b"]" * 120 + b"}}}", "too deeply"),
        (b"{}", "no workflow"),
        (b"[1]", "no workflow"),
        (b"null", "no workflow"),
        (b'{"prompt": {}}', "no workflow"),
        (b'{"1": {"inputs": {}}}', "'1' is no node"),
        (b'{"1": {"class_type": 5}}', "'1' is no node"),
        (b'{"1": {"class_type": "X", "inputs": []}}', "inputs of node '1'"),
        (json.dumps({"nodes": [{"id": 1, "type": "X"}], "links": []}).encode(), "needs|does not have X"),
        (png({}), "without an embedded workflow"),
        (png({"workflow": "{}"}), "without an embedded workflow"),
        (png({"prompt": "no json"}), "not JSON"),
        (png({"prompt": json.dumps(PROMPT)})[:60], "damaged picture"),
        (b"\x89PNG\r\n\x1a\n", "damaged picture"),
        (b"\x89PNG and then text", "damaged picture"),
    ],
)
def test_what_is_refused_says_what_it_is_and_what_to_do(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(BadInput, match=why) as caught:
        read(tmp_path, content)
    assert "my flow.json" in str(caught.value)
    assert caught.value.hint.endswith(".")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a folder"):
        read_workflow(tmp_path)
    with pytest.raises(BadInput, match="not there"):
        read_workflow(tmp_path / "none.json")
    with pytest.raises(BadInput, match="a web address"):
        read_workflow(Path("https://example.com/flow.json"))
    with pytest.raises(BadInput, match=r"cannot be read|not there"):
        read_workflow(tmp_path / ("n" * 300))
    big = tmp_path / "big.json"
    with big.open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    with pytest.raises(BadInput, match="64 MB"):
        read_workflow(big)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["prompt", "nodes", "class_type", "inputs", "_meta", "title", "1", "2"])
            | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
NODE = st.fixed_dictionaries({"class_type": JSON | st.text()}, optional={"inputs": JSON, "_meta": JSON})


@settings(deadline=None)
@given(raw=JSON | st.dictionaries(st.text(), NODE | NODE, max_size=3))
def test_any_json_is_a_workflow_or_bad_input(raw: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "any.json")
        path.write_text(json.dumps(raw), encoding="utf-8")
        try:
            prompt = read_workflow(path).prompt
        except BadInput:
            return
    before = copy.deepcopy(prompt)
    referenced(prompt)
    with pytest.raises(BadInput):
        set_values(prompt, ["no such node.no such input=1"])
    assert repr(prompt) == repr(before)
