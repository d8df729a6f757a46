"""Staged inputs: where they lie, what the workflow calls them, and that nothing of them stays."""

from __future__ import annotations

import os
import time
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.contract.driver import node
from tests.unit.worker.helpers import tree
from worker.errors import BadRequest, JobError
from worker.given import InputFile
from worker.inputs import remove_leftovers, rewritten, stage


def given(*names: str) -> list[InputFile]:
    return [InputFile(PurePosixPath(name), f"content of {name}".encode()) for name in names]


def load(name: Any) -> dict[str, Any]:
    return {"1": node("LoadImage", image=name), "2": {"class_type": "NoInputs"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An input folder with files of the user's in it."""
    (tmp_path / "input" / "masks").mkdir(parents=True)
    (tmp_path / "input" / "photo.png").write_bytes(b"the user's photo")
    (tmp_path / "input" / "masks" / "old.png").write_bytes(b"the user's mask")
    return tmp_path / "input"


@pytest.mark.parametrize("own", [True, False])
def test_what_was_staged_is_taken_away_without_a_trace(folder: Path, own: bool) -> None:
    before = tree(folder)
    staged = stage(
        given("photo.png", "masks/new.png", "a/b/c.bin"), load("photo.png"), folder, "job", own=own
    )
    now = tree(folder)
    name = staged.workflow["1"]["inputs"]["image"]
    assert now[name] == b"content of photo.png"
    assert now["photo.png"] == (b"content of photo.png" if own else b"the user's photo")
    if not own:
        assert {path: now[path] for path in before} == before
        assert {path.split("/")[0] for path in now.keys() - before} == {".comfy-runpod"}
    assert not [path for path in now if path.endswith(".part")]
    staged.remove()
    assert tree(folder) == before


def test_an_own_comfyui_gets_the_files_under_their_names(folder: Path) -> None:
    workflow = load("new.png")
    staged = stage(given("new.png", "sub/x.png"), workflow, folder, "job", own=True)
    assert staged.workflow is workflow
    assert (folder / "new.png").read_bytes() == b"content of new.png"
    assert (folder / "sub" / "x.png").read_bytes() == b"content of sub/x.png"


@pytest.mark.parametrize(
    ("value", "moved"),
    [
        ("a.png", "F/a.png"),
        ("a.png [input]", "F/a.png [input]"),
        ("masks/m.png", "F/masks/m.png"),
        *((same, same) for same in ("a.png [output]", "a.pngx", "x/a.png", "b.png", 5, None, ["1", 0])),
    ],
)
def test_references_to_staged_files_are_rewritten_and_no_others(value: Any, moved: Any) -> None:
    workflow = load(value)
    result = rewritten(workflow, given("a.png", "masks/m.png"), PurePosixPath("F"))
    assert result["1"]["inputs"]["image"] == moved
    assert workflow == load(value), "the original is not changed"
    assert result["2"] == workflow["2"]


def test_two_jobs_lie_apart_and_without_files_nothing_is_made(folder: Path) -> None:
    before = tree(folder)
    workflow = load("x.png")
    assert stage([], workflow, folder, "job", own=False).workflow is workflow
    assert tree(folder) == before
    one, two = (stage(given("x.png"), workflow, folder, job, own=False) for job in ("../../1", "2"))
    assert one.workflow != two.workflow
    one.remove()
    assert (folder / two.workflow["1"]["inputs"]["image"]).is_file()
    two.remove()
    assert tree(folder) == before


def test_a_second_attempt_at_a_job_finds_no_rest_of_the_first(folder: Path) -> None:
    before = tree(folder)
    stage(given("x.png", "old.png"), load("x.png"), folder, "job", own=False)
    again = stage(given("x.png"), load("x.png"), folder, "job", own=False)
    assert sum(path.endswith(".png") for path in tree(folder).keys() - before) == 1
    (folder / again.workflow["1"]["inputs"]["image"]).with_name("made by a node.json").write_text("{}")
    again.remove()
    assert tree(folder) == before


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("names", [("a", "a/b.png"), ("a/b.png", "a")])
def test_a_file_that_is_a_folder_too_is_refused_and_leaves_nothing(
    folder: Path, own: bool, names: tuple[str, str]
) -> None:
    before = tree(folder)
    with pytest.raises(BadRequest, match=r"cannot be written: a (file|folder)"):
        stage(given("first.png", *names), load("a"), folder, "job", own=own)
    assert tree(folder) == before


def test_a_folder_of_the_user_s_is_not_replaced_by_a_file(folder: Path) -> None:
    before = tree(folder)
    for name in ("masks", "photo.png/x.png"):
        with pytest.raises(BadRequest, match="cannot be written"):
            stage(given("photo.png", name), load(name), folder, "job", own=True)
        assert tree(folder) == before


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("own", [True, False])
def test_links_that_lead_out_are_not_followed(folder: Path, tmp_path: Path, own: bool) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "secret").write_bytes(b"secret")
    (folder / ("out" if own else ".comfy-runpod")).symlink_to(other)
    (folder / "link.png").symlink_to(other / "secret")
    names = ("out/x.png", "link.png", "out/secret") if own else ("x.png",)
    for name in names:
        with pytest.raises(BadRequest, match="would leave its folder"):
            stage(given("first.png", name), load(name), folder, "job", own=own)
    assert tree(other) == {"secret": b"secret"}
    assert not (folder / "first.png").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_of_the_user_s_is_not_written_through(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder / "photo.png")
    staged = stage(given("link.png"), load("link.png"), folder, "job", own=True)
    assert (folder / "photo.png").read_bytes() == b"the user's photo"
    assert not (folder / "link.png").is_symlink()
    staged.remove()
    assert (folder / "link.png").is_symlink()


def test_the_longest_allowed_name_can_be_written(folder: Path) -> None:
    before = tree(folder)
    staged = stage(given("x" * 251 + ".png"), load("x"), folder, "job", own=True)
    assert len(tree(folder)) == len(before) + 1
    staged.remove()
    assert tree(folder) == before


def test_a_disk_that_refuses_is_no_fault_of_the_request(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(folder)

    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(JobError, match="could not be written: No space left on device") as caught:
        stage(given("photo.png"), load("photo.png"), folder, "job", own=True)
    assert caught.value.code == "input_not_written"
    monkeypatch.undo()
    assert tree(folder) == before


def test_leftovers_of_killed_workers_go_when_they_are_old(folder: Path) -> None:
    before = tree(folder)
    old, young = (stage(given("x.png"), load("x.png"), folder, job, own=False).room for job in ("old", "new"))
    assert old is not None
    assert young is not None
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    remove_leftovers(folder, 3600)
    assert (old.exists(), young.exists()) == (False, True)
    remove_leftovers(folder, -1)
    assert tree(folder) == before
    remove_leftovers(folder / "absent", 0)
