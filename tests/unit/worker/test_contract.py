"""Names and values from the other side are data: they never become paths that leave a folder."""

from __future__ import annotations

import json
import ntpath
import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contract import FileEntry, Progress, checked_job_id, files_of, inside, job_note, safe_name

_PIECES = st.sampled_from(
    ["..", ".", "/", "\\", "a", "B.png", "C:", "con", "AUX.txt", "COM¹", " ", "\0", "~", "ü"]
)
HOSTILE = st.one_of(st.text(), st.lists(_PIECES, max_size=8).map("".join), st.lists(_PIECES).map("/".join))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def reserved_on_windows(path: PureWindowsPath) -> bool:
    check = getattr(ntpath, "isreserved", None)
    return bool(check(str(path)) if check is not None else path.is_reserved())


@given(HOSTILE)
def test_a_safe_name_stays_in_its_folder_on_every_system(name: str) -> None:
    try:
        safe = safe_name(name)
    except ValueError:
        return
    windows = PureWindowsPath(str(safe))
    assert not safe.is_absolute()
    assert (windows.drive, windows.root) == ("", "")
    assert windows.parts == safe.parts
    assert not {"..", ".", ""} & set(safe.parts)
    assert not any(reserved_on_windows(PureWindowsPath(part)) or part[-1] in ". " for part in safe.parts)
    assert str(safe) == name
    folder = Path("folder").resolve()
    assert folder in folder.joinpath(*safe.parts).resolve().parents


@pytest.mark.parametrize(
    "name", ["a.png", "masks/m.png", "a b.png", ".hidden", "ü/日本.png", "x" * 255, "comb.png"]
)
def test_ordinary_names_are_taken_as_they_are(name: str) -> None:
    assert str(safe_name(name)) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/", "x.png\0", "a\\b", "C:x", "C:/x"),
        *("a.", "a ", "sub./x", "nul", "NUL.png", "com1.txt", "Aux", "lpt9/x.png", "conin$", "COM².png"),
        *("x" * 256, "ü" * 128, "/".join(["ab"] * 500), "\ud800.png", "a\nb", None, 5, ["a"], b"a"),
    ],
)
def test_other_names_are_refused_in_a_sentence(name: object) -> None:
    with pytest.raises(ValueError, match=r"^The file name .{1,200}\.$"):
        safe_name(name)


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_inside_follows_no_link_out(tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (folder / "out").symlink_to(other)
    (folder / "dangling").symlink_to(tmp_path / "nowhere")
    (folder / "in").symlink_to(folder)
    for name in ("out/x", "dangling", "../other/x", str(other / "x")):
        with pytest.raises(ValueError, match="would leave its folder"):
            inside(folder, PurePosixPath(name))
    assert inside(folder, PurePosixPath("in/x")).resolve() == (folder / "x").resolve()


@given(st.one_of(HOSTILE, st.text("ab-_9", max_size=70)))
def test_a_job_id_is_one_plain_word(value: str) -> None:
    try:
        marker = Path("volume") / job_note(value)
    except ValueError:
        assert not (value.isascii() and value.isalnum() and len(value) <= 64)
        return
    assert marker.parts[-2] == checked_job_id(value) == value
    assert marker.parent.parent == Path("volume/.comfy-runpod/jobs")


def test_a_file_entry_survives_the_way() -> None:
    full = FileEntry("a.png", "volume", "x/a.png", "sub", "9", "image/png", 3, "0" * 64)
    assert FileEntry.parse(json.loads(json.dumps(full.to_json()))) == full
    plain = {"filename": "a.png", "type": "base64", "data": "AAAA"}
    assert FileEntry.parse(plain) == FileEntry("a.png", "base64", "AAAA")


@pytest.mark.parametrize(
    "change",
    [
        *({"filename": bad} for bad in ("../a", "/a", None, 1, [], "C:a", "")),
        *({"subfolder": bad} for bad in ("..", "/x", 7, ["a"], {"a": 1})),
        *({"type": bad} for bad in ("file", None, [], 1)),
        *({"data": bad} for bad in (None, 1, [], b"x")),
    ],
)
def test_a_hostile_file_entry_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        FileEntry.parse({"filename": "a.png", "type": "base64", "data": "AAAA", **change})


@given(
    ANYTHING,
    st.fixed_dictionaries(
        {"filename": st.just("a.png"), "type": st.just("base64"), "data": st.text()},
        optional=dict.fromkeys(("subfolder", "node_id", "media_type", "size", "sha256"), ANYTHING),
    ),
)
def test_nothing_but_value_errors_comes_from_an_answer(raw: Any, close: dict[str, Any]) -> None:
    for attempt in (raw, close):
        try:
            parsed = FileEntry.parse(attempt)
        except ValueError:
            continue
        assert parsed.size is None or parsed.size >= 0
        assert FileEntry.parse(parsed.to_json()) == parsed
    for listed in (raw, [close]):
        try:
            assert isinstance(files_of({"images": listed}), list)
        except ValueError:
            continue


COUNT = st.integers(0, 10**6)


@given(
    st.builds(Progress, st.text(), st.text(), COUNT, COUNT, COUNT, COUNT, st.none() | st.text(), st.text())
)
def test_progress_survives_the_way_and_stays_between_0_and_1(progress: Progress) -> None:
    assert Progress.parse(json.loads(json.dumps(progress.to_json()))) == progress
    assert 0.0 <= progress.fraction <= 1.0


NUMBERS = ("step", "steps", "nodes_done", "nodes_total")


@given(st.dictionaries(st.sampled_from((*NUMBERS, "preview", "node_id")), ANYTHING), ANYTHING)
def test_any_progress_can_be_read(values: dict[str, Any], other: Any) -> None:
    parsed = Progress.parse({"progress": values})
    assert parsed is not None
    assert 0.0 <= parsed.fraction <= 1.0
    assert Progress.parse(parsed.to_json()) == parsed
    if not isinstance(other, dict):
        assert Progress.parse(other) is None
        assert Progress.parse({"output": other}) is None


def test_numbers_beyond_all_measure_count_for_nothing() -> None:
    raw = {"progress": dict.fromkeys(NUMBERS, 10**400) | {"nodes_total": 2, "nodes_done": 1}}
    parsed = Progress.parse(raw)
    assert parsed == Progress(nodes_done=1, nodes_total=2)
    assert Progress(nodes_done=1, nodes_total=4, step=5, steps=10).fraction == 0.375
