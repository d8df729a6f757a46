"""Files in pieces: whole or not at all, from any number of senders, and nothing else is touched."""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.chunks import COMMANDS, drop, get, put
from worker.contract import MAX_CHUNK
from worker.errors import JobError

CONTENT = b"the bytes of a picture that is too large for a request"
SHA = hashlib.sha256(CONTENT).hexdigest()
RESULT = "results/key/0000-a.png"


def order(offset: int, data: bytes, content: bytes = CONTENT, **changes: Any) -> dict[str, Any]:
    return {
        "command": "put",
        "path": f"inputs/{hashlib.sha256(content).hexdigest()}",
        "offset": offset,
        "data": base64.b64encode(data).decode(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(content),
        **changes,
    }


def own(volume: Path, path: str) -> Path:
    return volume / ".comfy-runpod" / path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(JobError) as caught:
        call()
    assert caught.value.summary.endswith(".")
    return caught.value.code


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    own(path, RESULT).parent.mkdir(parents=True)
    own(path, RESULT).write_bytes(CONTENT)
    (path / "models").mkdir()
    (path / "models" / "m.safetensors").write_bytes(b"model")
    own(path, "jobs").mkdir()
    own(path, "jobs/result.json").write_text("{}")
    return path


# -- put ----------------------------------------------------------------------------------------------


def test_an_input_arrives_in_pieces_and_is_known_afterwards(volume: Path) -> None:
    first = put(volume, order(0, CONTENT[:20]))
    assert first == {"status": "success", "path": f"inputs/{SHA}", "received": 20, "complete": False}
    assert not own(volume, f"inputs/{SHA}").exists()
    assert put(volume, order(20, CONTENT[20:]))["complete"] is True
    assert own(volume, f"inputs/{SHA}").read_bytes() == CONTENT
    assert set(tree(own(volume, "inputs"))) == {SHA}
    again = put(volume, order(0, b""))
    assert (again["complete"], again["received"]) == (True, len(CONTENT))


def test_a_sender_that_begins_anew_or_too_far_is_told_where_to_go_on(volume: Path) -> None:
    assert put(volume, order(0, b""))["received"] == 0
    assert tree(own(volume, "inputs")) == {}
    assert put(volume, order(30, CONTENT[30:]))["received"] == 0
    assert put(volume, order(0, CONTENT[:20]))["received"] == 20
    assert put(volume, order(0, b""))["received"] == 20
    assert put(volume, order(0, CONTENT[:7]))["received"] == 20
    assert put(volume, order(7, CONTENT[7:25]))["received"] == 25
    assert put(volume, order(25, CONTENT[25:]))["complete"] is True


def test_a_file_without_bytes_can_be_stored(volume: Path) -> None:
    assert put(volume, order(0, b"", b""))["complete"] is True
    assert own(volume, f"inputs/{hashlib.sha256(b'').hexdigest()}").read_bytes() == b""


def test_a_whole_that_is_not_what_its_name_says_is_thrown_away(volume: Path) -> None:
    put(volume, order(0, CONTENT[:20]))
    assert code_of(lambda: put(volume, order(20, b"x" * (len(CONTENT) - 20)))) == "file_damaged"
    assert tree(own(volume, "inputs")) == {}
    assert put(volume, order(0, CONTENT))["complete"] is True


def test_a_damaged_chunk_is_not_written(volume: Path) -> None:
    assert code_of(lambda: put(volume, {**order(0, CONTENT), "data": "AAAA"})) == "chunk_damaged"
    assert code_of(lambda: put(volume, {**order(0, CONTENT), "data": "no base64!"})) == "chunk_damaged"
    assert not own(volume, "inputs").exists()


def test_a_stored_file_that_was_cut_is_replaced(volume: Path) -> None:
    own(volume, "inputs").mkdir()
    own(volume, f"inputs/{SHA}").write_bytes(CONTENT[:5])
    assert put(volume, order(0, CONTENT))["complete"] is True
    assert own(volume, f"inputs/{SHA}").read_bytes() == CONTENT


def test_a_full_disk_is_said(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", full)
        assert code_of(lambda: put(volume, order(0, CONTENT))) == "disk_full"
    assert put(volume, order(0, CONTENT))["complete"] is True


@settings(deadline=None, max_examples=30)
@given(content=st.binary(max_size=300), moves=st.data())
def test_in_any_sizes_orders_and_repetitions_the_file_is_the_same(
    content: bytes, moves: st.DataObject
) -> None:
    """Several senders, each losing its place and repeating itself; then each sends what it is told to."""
    with tempfile.TemporaryDirectory() as name:
        volume, name_of = Path(name), hashlib.sha256(content).hexdigest()
        uploaders = [None, "job-a", "job-b"]
        for _ in range(moves.draw(st.integers(0, 12))):
            start = moves.draw(st.integers(0, len(content)))
            data = content[start : moves.draw(st.integers(start, len(content)))]
            uploader = moves.draw(st.sampled_from(uploaders))
            told = put(volume, order(start, data, content, uploader=uploader))
            assert 0 <= told["received"] <= len(content)
            assert told["complete"] == own(volume, f"inputs/{name_of}").exists()
        for uploader in uploaders:
            told = put(volume, order(0, b"", content, uploader=uploader))
            while not told["complete"]:
                at = told["received"]
                data = content[at : at + moves.draw(st.integers(1, 100))]
                told = put(volume, order(at, data, content, uploader=uploader))
        assert tree(own(volume, "inputs")) == {name_of: content}


def test_many_workers_that_put_the_same_file_at_once_do_not_mix_it(volume: Path) -> None:
    content = os.urandom(200_000)

    def send(uploader: int) -> None:
        at = 0
        while True:
            told = put(volume, order(at, content[at : at + 9_000], content, uploader=f"u{uploader}"))
            if told["complete"]:
                return
            at = told["received"]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))
    assert tree(own(volume, "inputs")) == {hashlib.sha256(content).hexdigest(): content}


# -- get ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 7, len(CONTENT), MAX_CHUNK])
def test_a_result_is_read_in_pieces(volume: Path, length: int) -> None:
    read, end = b"", False
    while not end:
        told = get(volume, {"path": RESULT, "offset": len(read), "length": length})
        data = base64.b64decode(told["data"])
        assert (told["size"], told["offset"]) == (len(CONTENT), len(read))
        assert told["sha256"] == hashlib.sha256(data).hexdigest()
        read, end = read + data, told["end"]
    assert read == CONTENT


def test_reading_a_result_keeps_it_from_being_pruned(volume: Path) -> None:
    os.utime(own(volume, RESULT), (1, 1))
    get(volume, {"path": RESULT, "offset": 0, "length": 1})
    assert own(volume, RESULT).stat().st_mtime > 1_000_000


def test_what_is_not_there_is_missing(volume: Path) -> None:
    for path in ("results/key", "results/none", f"inputs/{SHA}", "results/" + "x" * 250):
        asked = {"path": path, "offset": 0, "length": 1}
        assert code_of(lambda asked=asked: get(volume, asked)) == "file_missing"


# -- drop ---------------------------------------------------------------------------------------------


def test_dropping_deletes_what_is_named_and_the_empty_folders_around_it(volume: Path) -> None:
    put(volume, order(0, CONTENT))
    own(volume, "results/other").mkdir()
    own(volume, "results/other/b").write_bytes(b"")
    told = drop(volume, {"paths": [RESULT, f"inputs/{SHA}", RESULT, "results/none/x", "results/other"]})
    assert told == {"status": "success", "dropped": [RESULT, f"inputs/{SHA}"]}
    assert set(tree(own(volume, "."))) == {"jobs/result.json", "results/other/b"}
    assert own(volume, "results").is_dir()
    assert own(volume, "inputs").is_dir()


def test_one_path_that_is_none_keeps_all(volume: Path) -> None:
    before = tree(volume)
    assert code_of(lambda: drop(volume, {"paths": [RESULT, "../jobs/result.json"]})) == "bad_input"
    assert tree(volume) == before


# -- what must not be -----------------------------------------------------------------------------------

OUTSIDE = [
    *(
        "models/m.safetensors",
        "../models/m.safetensors",
        "/etc/passwd",
        "jobs/result.json",
        "results",
        "inputs",
    ),
    *(
        "results/../jobs/result.json",
        "results/../../models/m.safetensors",
        "results//x",
        "results/./x",
        "",
        ".",
    ),
    *(
        "results/link/m.safetensors",
        "results/key/link",
        "results\\..\\jobs",
        "results/a\0b",
        "RESULTS/x",
        None,
        5,
    ),
]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_no_path_leads_out_of_the_two_rooms(volume: Path, path: object, command: str) -> None:
    own(volume, "results/link").symlink_to(volume / "models")
    own(volume, "results/key/link").symlink_to(own(volume, "jobs/result.json"))
    before = tree(volume)
    asked = {**order(0, CONTENT), "path": path, "paths": [path], "length": 5}
    assert code_of(lambda: COMMANDS[command](volume, asked)) == "bad_input"
    assert tree(volume) == before


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_rooms_that_are_links_out_of_the_volume_are_not_used(tmp_path: Path, command: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"x")
    (tmp_path / "volume" / ".comfy-runpod").mkdir(parents=True)
    for room in ("inputs", "results"):
        own(tmp_path / "volume", room).symlink_to(outside)
    asked = {**order(0, CONTENT), "paths": ["results/x"], "length": 5}
    asked["path"] = "results/x" if command == "get" else asked["path"]
    assert code_of(lambda: COMMANDS[command](tmp_path / "volume", asked)) == "bad_input"
    assert tree(outside) == {"x": b"x"}


@pytest.mark.parametrize("path", ["inputs/x", f"inputs/{SHA.upper()}", f"inputs/a/{SHA}", f"results/{SHA}"])
def test_only_inputs_under_their_hash_can_be_put(volume: Path, path: str) -> None:
    assert code_of(lambda: put(volume, order(0, CONTENT, path=path))) == "bad_input"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_without_a_volume_nothing_can_be_carried(command: str) -> None:
    assert code_of(lambda: COMMANDS[command](None, {})) == "no_volume"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([RESULT, SHA, "AAAA"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("path", "paths", "offset", "length", "size", "data", "sha256", "uploader")


@settings(deadline=None, max_examples=80)
@given(
    command=st.sampled_from(sorted(COMMANDS)),
    asked=st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON)),
    valid=st.booleans(),
)
def test_whatever_is_asked_the_answer_is_one_or_a_failure_of_ours(
    command: str, asked: dict[str, Any], valid: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "beside").write_bytes(b"beside")
        volume = Path(name) / "volume"
        (volume / "models").mkdir(parents=True)
        (volume / "models" / "m").write_bytes(b"m")
        whole = {**order(0, CONTENT), "length": 5, "paths": []} if valid else {}
        with contextlib.suppress(JobError):
            assert COMMANDS[command](volume, {**whole, **asked})["status"] == "success"
        found = {path for path in tree(Path(name)) if not path.startswith("volume/.comfy-runpod/inputs/")}
        assert found == {"beside", "volume/models/m"}
