"""What counts as a model, whatever a folder holds: odd names, links, loops, what cannot be read."""

from __future__ import annotations

import errno
import os
import sys
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadInput
from app.sync.scan import OWN_FILES, Rules, scan, twins
from app.threads import Stopped
from worker.contract import safe_name

NFC, NFD = unicodedata.normalize("NFC", "für é.pt"), unicodedata.normalize("NFD", "für é.pt")
#: Where the drive keeps names as they were given; a Mac's does not.
RAW_NAMES = pytest.mark.skipif(sys.platform != "linux", reason="This system's drives change such names.")
LINKS = pytest.mark.skipif(os.name == "nt", reason="Links need a right that users do not have.")


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def paths(folder: Path, rules: Rules | None = None) -> list[str]:
    return [str(each.path) for each in scan(folder, rules or Rules(), threading.Event()).files]


def left_out(folder: Path) -> dict[str, str]:
    return {str(path): why for path, why, _ in scan(folder, Rules(), threading.Event()).left_out}


def test_files_are_found_with_what_they_look_like(tmp_path: Path) -> None:
    tree(tmp_path, "loras/b.pt", "a.pt", "loras/deep/er/c.pt")
    found = scan(tmp_path, Rules(), threading.Event())
    assert [str(each.path) for each in found.files] == ["a.pt", "loras/b.pt", "loras/deep/er/c.pt"]
    assert [each.mark.size for each in found.files] == [4, 10, 18]
    assert all(each.place.read_bytes() == str(each.path).encode() for each in found.files)
    assert found.left_out == ()


@pytest.mark.parametrize(
    ("rules", "taken"),
    [
        (Rules(), ["loras/Style.safetensors", "loras/sdxl/x.pt", "vae/x.pt"]),
        (Rules(include=("*.pt",)), ["loras/sdxl/x.pt", "vae/x.pt"]),
        (Rules(include=("LORAS",)), ["loras/Style.safetensors", "loras/sdxl/x.pt"]),
        (Rules(include=("loras/",)), ["loras/Style.safetensors", "loras/sdxl/x.pt"]),
        (Rules(include=("style*",)), ["loras/Style.safetensors"]),
        (Rules(include=("loras/*/x.pt",)), ["loras/sdxl/x.pt"]),
        (Rules(include=("lora",)), []),
        (Rules(exclude=("x.PT",)), ["loras/Style.safetensors"]),
        (Rules(exclude=("loras/sdxl",)), ["loras/Style.safetensors", "vae/x.pt"]),
        (Rules(include=("loras",), exclude=("*.pt",)), ["loras/Style.safetensors"]),
        (Rules(include=("vae", "[s]tyle.*")), ["loras/Style.safetensors", "vae/x.pt"]),
        (Rules(exclude=("*",)), []),
    ],
)
def test_patterns_are_for_names_paths_and_folders_in_any_case(
    tmp_path: Path, rules: Rules, taken: list[str]
) -> None:
    tree(tmp_path, "loras/Style.safetensors", "loras/sdxl/x.pt", "vae/x.pt")
    assert paths(tmp_path, rules) == taken


def test_a_pattern_fits_however_its_accents_are_written(tmp_path: Path) -> None:
    tree(tmp_path, NFC)
    assert paths(tmp_path, Rules(include=(NFD,))) == [NFC]


def test_what_is_nobodys_model_is_passed_over(tmp_path: Path) -> None:
    tree(
        tmp_path,
        *("a.safetensors.part", "b.TMP", "c.crdownload", "d.aria2", ".DS_Store", "Thumbs.db", "desktop.ini"),
        *("checkpoints/put_checkpoints_here", "SHA256SUMS", ".sync-manifest.json"),
        *(".cache/x.pt", "loras/.git/x.pt", "loras/__pycache__/x.pt", ".huggingface/x", ".comfy-runpod/x"),
        *("kept/SHA256SUMS", "part", "kept/.hidden.pt", ".cache.pt"),
    )
    assert paths(tmp_path) == [".cache.pt", "kept/.hidden.pt", "kept/SHA256SUMS", "part"]
    assert left_out(tmp_path) == {}


@RAW_NAMES
def test_names_become_composed_ones(tmp_path: Path) -> None:
    tree(tmp_path, f"{NFD[:-3]}/{NFD}")
    (found,) = scan(tmp_path, Rules(), threading.Event()).files
    assert str(found.path) == f"{NFC[:-3]}/{NFC}"
    assert found.place.is_file()


@RAW_NAMES
def test_of_two_names_that_become_one_the_composed_is_taken_and_the_other_named(tmp_path: Path) -> None:
    tree(tmp_path, NFC, NFD)
    found = scan(tmp_path, Rules(), threading.Event())
    ((taken),) = found.files
    assert taken.place.name == NFC
    ((path, why, file),) = found.left_out
    assert str(path) == NFD
    assert "same name" in why
    assert file is not None


@RAW_NAMES
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a:b.pt", "not every system allows"),
        ("what?.pt", "not every system allows"),
        ("back\\slash.pt", "not every system allows"),
        ("two\nlines.pt", "not every system allows"),
        ("con.safetensors", "Windows does not allow"),
        ("loras./x.pt", "Windows does not allow"),
        ("blank /x.pt", "Windows does not allow"),
        ("x" * 120 + "/" + "/".join(["y" * 200] * 5), "too long"),
        (os.fsdecode(b"\xff\xfe.pt"), "no valid Unicode"),
    ],
)
def test_names_that_other_systems_refuse_are_left_out_with_the_reason(
    tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    tree(tmp_path, "good.pt")
    assert paths(tmp_path) == ["good.pt"]
    ((path, why),) = left_out(tmp_path).items()
    assert path == name
    assert says in why
    # It can be shown.
    why.encode()


@LINKS
def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    outside = tree(tmp_path / "outside", "big.pt", "more/x.pt")
    here = tree(tmp_path / "models", "a.pt")
    (here / "linked.pt").symlink_to(outside / "big.pt")
    (here / "folder").symlink_to(outside / "more", target_is_directory=True)
    (here / "broken.pt").symlink_to(outside / "none")
    assert paths(here) == ["a.pt", "folder/x.pt", "linked.pt"]


@LINKS
def test_loops_end(tmp_path: Path) -> None:
    here = tree(tmp_path / "models", "a/x.pt")
    (here / "a" / "up").symlink_to(here, target_is_directory=True)
    (here / "self").symlink_to(here / "self")
    assert paths(here) == ["a/x.pt"]
    # A loop in disguise: each level is a new folder.
    deep = here
    for _ in range(40):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "x.pt").write_bytes(b"x")
    assert paths(here) == ["a/x.pt"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "secret/x.pt", "a.pt")
    real, closed = os.scandir, {tmp_path / "secret"}

    def scandir(folder: Path) -> Iterator[os.DirEntry[str]]:
        if folder in closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    assert paths(tmp_path) == ["a.pt"]
    assert left_out(tmp_path) == {"secret": "This folder cannot be read: Permission denied."}
    closed.add(tmp_path)
    with pytest.raises(BadInput, match="cannot be read"):
        paths(tmp_path)


def test_a_file_that_cannot_be_looked_at_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "gone.pt", "a.pt")
    real = Path.stat

    def stat(path: Path, **more: bool) -> os.stat_result:
        if path.name == "gone.pt":
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return real(path, **more)

    monkeypatch.setattr(Path, "stat", stat)
    assert paths(tmp_path) == ["a.pt"]
    assert left_out(tmp_path) == {"gone.pt": "It cannot be read: No such file or directory."}


def test_no_folder_and_a_stop_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no folder"):
        paths(tmp_path / "none")
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        scan(tmp_path, Rules(), stop)


def test_twins_are_paths_that_some_systems_cannot_tell_apart() -> None:
    found = twins(iter(map(PurePosixPath, ["a/X.pt", "a/x.pt", "b/x.pt", NFC, NFD, "c"])))
    assert {str(path): str(other) for path, other in found.items()} == {
        "a/X.pt": "a/x.pt",
        "a/x.pt": "a/X.pt",
        NFC: NFD,
        NFD: NFC,
    }


NAMES = st.text(st.characters(codec="utf-8") | st.sampled_from("./\\*?[]!-"), max_size=12)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda parts: PurePosixPath(*parts))


@given(PATHS, st.lists(NAMES, max_size=3), st.lists(NAMES, max_size=3))
def test_rules_judge_any_name_by_any_pattern(
    path: PurePosixPath, include: list[str], exclude: list[str]
) -> None:
    every, some = Rules(), Rules(tuple(include), tuple(exclude))
    if some.take(path):
        # A pattern takes nothing that would not be taken without any.
        assert every.take(path)
        assert Rules(exclude=tuple(exclude)).take(path)
        assert str(path) not in OWN_FILES
        assert not Rules(tuple(include), (*exclude, "*")).take(path)
    if every.take(path) and not exclude:
        assert some.take(path) or include
    # In any case: the name's letters, where upper and lower case are pairs.
    if str(path).isascii():
        assert some.take(path) == some.take(PurePosixPath(str(path).upper())) or str(path) in OWN_FILES


@RAW_NAMES
@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4))
def test_no_entry_ever_leaves_the_folder(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    names = [os.fsdecode(part.replace(b"/", b"_").replace(b"\0", b"_")) for part in parts]
    base = tmp_path_factory.mktemp("models")
    target = base.joinpath(*(name if name not in (".", "..") else "x" for name in names))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"x")
    found = scan(base, Rules(), threading.Event())
    for each in found.files:
        assert safe_name(str(each.path)) == each.path
        assert each.place.resolve().is_relative_to(base.resolve())
        assert unicodedata.is_normalized("NFC", str(each.path))
    for path, why, _ in found.left_out:
        assert not path.is_absolute()
        assert ".." not in path.parts
        why.encode()
