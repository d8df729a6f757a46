"""From a history entry, which is data, to the answer's files."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.driver import node
from tests.unit.worker.helpers import entry, make_config, tree
from tests.unit.worker.test_contract import ANYTHING, HOSTILE
from worker.contract import files_of
from worker.errors import JobError
from worker.outputs import OutputFile, collect, pack, prune_volume

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
    assert found.texts == ({"node_id": "5", "text": "said"},)
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
    answer = pack(found.files, make_config(tmp_path), "auto", "key")
    (told,) = files_of(answer)
    assert (told.filename, base64.b64decode(told.data)) == (shown, b"content")


def test_small_results_come_in_base64_with_size_and_hash(tmp_path: Path) -> None:
    names = ("a.png", "b.mp4", "c.flac", "d.glb")
    files = [written(tmp_path, name, name.encode() * 9) for name in names]
    answer = pack(files, make_config(tmp_path), "auto", "key")
    assert {key: [item["filename"] for item in listed] for key, listed in answer.items()} == {
        "images": ["a.png"],
        "videos": ["b.mp4"],
        "audio": ["c.flac"],
        "files": ["d.glb"],
    }
    for told in files_of(answer):
        content = told.filename.encode() * 9
        assert (told.type, base64.b64decode(told.data)) == ("base64", content)
        assert (told.size, told.sha256) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(("mode", "limit"), [("volume", 10**9), ("auto", 210_000)])
def test_results_on_the_volume(tmp_path: Path, mode: Any, limit: int) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    big = os.urandom(1_500_000)
    longest = "y" * 251 + ".png"
    files = [
        written(tmp_path / "output", "x.png", big),
        written(tmp_path / "output" / "2", "x.png", b"other"),
    ]
    files.append(written(tmp_path / "output", longest, b"long"))
    config = make_config(tmp_path, volume=volume, max_inline_bytes=limit)
    told = files_of(pack(files, config, mode, "key"))
    assert [entry.filename for entry in told] == ["x.png", "x.png", longest]
    for each, content in zip(told, (big, b"other", b"long"), strict=True):
        assert each.type == "volume"
        assert (volume / each.data).read_bytes() == content
        assert (each.size, each.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert len([path for path in tree(volume) if (volume / path).is_file()]) == 3


@pytest.mark.parametrize(
    ("mode", "size", "code"),
    [
        ("base64", 900_000, "result_too_large"),
        ("auto", 900_000, "result_too_large"),
        ("volume", 900_000, "result_too_large"),
        ("volume", 5, "no_volume"),
    ],
)
def test_results_that_cannot_be_handed_over_are_kept(tmp_path: Path, mode: Any, size: int, code: str) -> None:
    file = written(tmp_path, "x.png", bytes(size))
    with pytest.raises(JobError) as caught:
        pack([file], make_config(tmp_path, max_inline_bytes=500_000), mode, "key")
    assert (caught.value.code, caught.value.details) == (code, ["x.png"])
    assert file.path.is_file()


def test_a_volume_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / ".comfy-runpod").write_text("a file where the folder must be")
    config = make_config(tmp_path, volume=tmp_path / "volume")
    with pytest.raises(JobError, match="could not be handed over") as caught:
        pack([written(tmp_path, "x.png")], config, "volume", "key")
    assert caught.value.code == "result_not_written"


def test_old_results_and_notes_go_from_the_volume(tmp_path: Path) -> None:
    ours = tmp_path / ".comfy-runpod"
    for name in ("results/old/x", "results/new/x", "jobs/old/job.json", "inputs/old/x"):
        written(ours, name)
        if "old" in name:
            os.utime((ours / name).parent, (1000, 1000))
    prune_volume(tmp_path, 3600, now=time.time())
    assert {path for path in tree(ours) if (ours / path).is_file()} == {"results/new/x", "inputs/old/x"}
    prune_volume(tmp_path / "absent", 0)
