"""From a history entry, which is data, to the answer's files."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.driver import node
from tests.unit.worker.helpers import delivery, entry, make_config
from tests.unit.worker.test_contract import ANYTHING, HOSTILE
from worker.contract import files_of
from worker.errors import JobError
from worker.outputs import OutputFile, collect

WORKFLOW = {"9": node("SaveImage"), "2": node("SaveImage"), "5": node("PreviewAny")}


def image(filename: Any, subfolder: Any = "", kind: str = "output") -> dict[str, Any]:
    return {"filename": filename, "subfolder": subfolder, "type": kind}


def written(folder: Path, name: str, content: bytes = b"x") -> OutputFile:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return OutputFile(path, name, "", "9")


def test_files_come_in_the_workflow_s_order_without_previews(tmp_path: Path) -> None:
    outputs = {
        "2": {"images": [image("b.png"), image("p.png", kind="temp")], "animated": [True]},
        "5": {"text": ["said", 5]},
        "77": {"images": [image("unknown.png")]},
        "9:1": {"gifs": [{**image("a.mp4", "clips/x"), "fullpath": "/elsewhere/a.mp4"}]},
    }
    found = collect(entry(outputs), WORKFLOW, tmp_path)
    named = [(file.node_id, file.subfolder, file.filename, file.media_type) for file in found.files]
    assert named == [
        ("9:1", "clips/x", "a.mp4", "video/mp4"),
        ("2", "", "b.png", "image/png"),
        ("77", "", "unknown.png", "image/png"),
    ]
    assert found.files[0].path == tmp_path / "clips" / "x" / "a.mp4"
    assert found.texts == ({"node_id": "5", "text": "said"}, {"node_id": "5", "text": "5", "value": 5})
    assert [file.filename for file in found.missing()] == ["a.mp4", "b.png", "unknown.png"]


@pytest.mark.parametrize(
    ("filename", "subfolder"),
    [
        *(("../x.png", ""), ("/etc/passwd", ""), ("x.png", ".."), ("x.png", "/tmp"), ("x.png", "a/../..")),
        *(("x\0.png", ""), ("", ""), (None, ""), ("x.png", "..\\.."), ("..", ""), ("x.png", "a\0b")),
    ],
)
def test_a_name_that_leaves_the_output_folder_fails_the_job(
    tmp_path: Path, filename: Any, subfolder: Any
) -> None:
    with pytest.raises(JobError, match="Node 9 named an output that cannot be used") as caught:
        collect(entry({"9": {"images": [image(filename, subfolder)]}}), WORKFLOW, tmp_path)
    assert caught.value.code == "bad_output_name"


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_that_leads_out_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "output" / "x.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(JobError, match="would leave its folder"):
        collect(entry({"9": {"images": [image("x.png")]}}), WORKFLOW, tmp_path / "output")


VALUES = HOSTILE | st.none() | st.integers() | st.just(["x.png"])
ITEMS = st.fixed_dictionaries({"filename": VALUES}, optional={"subfolder": VALUES, "type": st.just("output")})
OUTPUTS = st.dictionaries(
    st.text(), st.dictionaries(st.text(), st.lists(ITEMS, max_size=2), max_size=2), max_size=2
)


@given(ANYTHING | OUTPUTS)
def test_no_history_leads_out_of_the_output_folder(outputs: Any) -> None:
    folder = Path("an/output").resolve()
    try:
        found = collect({"outputs": outputs}, WORKFLOW, folder)
    except JobError as error:
        assert error.code == "bad_output_name"  # noqa: PT017 - one of two allowed outcomes
        return
    assert all(folder in file.path.parents for file in found.files)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize(
    ("name", "subfolder", "shown"),
    [("10:30 a?_1_.png", "", "10_30 a__1_.png"), ("con.png", "", "_con.png"), ("x.png", "day 5.", "x.png")],
)
def test_a_name_that_only_linux_allows_is_no_reason_to_lose_the_file(
    tmp_path: Path, name: str, subfolder: str, shown: str
) -> None:
    written(tmp_path / subfolder, name, b"content")
    found = collect(entry({"9": {"images": [image(name, subfolder)]}}), WORKFLOW, tmp_path)
    (told,) = files_of(delivery(make_config(tmp_path)).pack(found.files, 0).lists)
    assert (told.filename, base64.b64decode(told.data)) == (shown, b"content")


#: What ComfyUI 0.3.64 left in its history, kind by kind.
RECORDED = {
    "image": {"images": [image("m_00001_.png", "sample")]},
    "animated": {"images": [image("a_00001_.webp")], "animated": [True]},
    "webm": {"images": [image("v_00001_.webm")], "animated": [True]},
    "video": {"images": [image("v_00001_.mp4")], "animated": [True]},
    "preview": {"images": [image("ComfyUI_temp_dsshv_00001_.png", kind="temp")]},
    "audio": {"audio": [image("a_00001_.flac", "audio")]},
    "3d": {"3d": [image("mesh_00001_.glb", "3d")]},
    "preview3d": {"result": ["3d/mesh_00001_.glb", {"position": [1, 2]}, ""]},
    "solid": {"result": ["3d/other.obj [output]", None]},
    "latent": {"latents": [image("lat_00001_.latent")]},
    "text": {"text": ["hello"]},
    "scalars": {"value": [5, 2.5, True, "five", float("nan")], "note": "no list"},
    "input": {"images": [{"filename": "theirs.png", "subfolder": "", "type": "input"}]},
    "strange": {
        "x": None,
        "y": [[{"filename": "z"}]],
        "z": {"a": 1},
        "result": ["/etc/x.glb", "../x.glb", "\0.glb"],
    },
    "websocket": {},
}


def test_every_kind_of_output_comes_out(tmp_path: Path) -> None:
    for name in ("3d/mesh_00001_.glb", "3d/other.obj"):
        written(tmp_path / "output", name)
    workflow = {name: node("X") for name in RECORDED}
    found = collect(entry(RECORDED), workflow, tmp_path / "output", tmp_path / "temp")
    assert [(file.node_id, file.filename, file.subfolder, file.media_type) for file in found.files] == [
        ("image", "m_00001_.png", "sample", "image/png"),
        ("animated", "a_00001_.webp", "", "image/webp"),
        ("webm", "v_00001_.webm", "", "video/webm"),
        ("video", "v_00001_.mp4", "", "video/mp4"),
        ("preview", "ComfyUI_temp_dsshv_00001_.png", "", "image/png"),
        ("audio", "a_00001_.flac", "audio", "audio/flac"),
        ("3d", "mesh_00001_.glb", "3d", "model/gltf-binary"),
        ("solid", "other.obj", "3d", "model/obj"),
        ("latent", "lat_00001_.latent", "", "application/octet-stream"),
    ]
    assert found.files[4].path.parent == tmp_path / "temp"
    said = [(text["node_id"], text.get("key"), text["text"], text.get("value")) for text in found.texts]
    assert said[:7] == [
        ("preview3d", "result", "", None),
        ("text", None, "hello", None),
        ("scalars", "value", "5", 5),
        ("scalars", "value", "2.5", 2.5),
        ("scalars", "value", "true", True),
        ("scalars", "value", "five", None),
        ("scalars", "value", "NaN", "NaN"),
    ]
    assert said[7] == ("scalars", "note", "no list", None)
    json.dumps(found.texts, allow_nan=False)


def test_a_text_that_is_too_long_for_an_answer_comes_as_a_file(tmp_path: Path) -> None:
    long = "ü" * 200_000
    found = collect(entry({"5": {"text": ["short", long, long + "2"]}}), WORKFLOW, tmp_path)
    assert [text["text"] for text in found.texts] == ["short"]
    assert (found.missing(), found.on_disk()) == ([], [])
    told = files_of(delivery(make_config(tmp_path)).pack(found.files, 0).lists)
    assert [base64.b64decode(each.data).decode() for each in told] == [long, long + "2"]
    assert {(each.filename, each.media_type) for each in told} == {("text_5_text.txt", "text/plain")}
