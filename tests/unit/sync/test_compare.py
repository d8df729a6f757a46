"""How two sides stand to each other: by size and hash, never by time, and no name leads anywhere."""

from __future__ import annotations

import os
import threading
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.s3.bucket import Stat
from app.s3.records import FileMark, Hashes, Upload
from app.s3.survey import Survey
from app.sync.compare import Knowledge, checked, compare, place_here
from app.sync.manifest import Listed, Manifest
from app.sync.model import Entry, LocalFile, Picture, Standing, Wish
from app.sync.plan import make_plan
from app.sync.scan import Rules, Scan, scan
from tests.unit.sync.volume_made import safetensors
from worker.contract import safe_name

PREFIX = "comfyui/models/"
FOLDER = Path("models").absolute()
SHA, OTHER = "a" * 64, "b" * 64
MD5 = "c" * 32
NFC, NFD = unicodedata.normalize("NFC", "é.pt"), unicodedata.normalize("NFD", "é.pt")


@dataclass
class World:
    """Both sides and what is known of them, in a few words."""

    here: dict[str, int] = field(default_factory=dict)
    there: dict[str, tuple[int, str]] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    hashes: dict[str, Hashes] = field(default_factory=dict)
    listed: dict[str, Listed] = field(default_factory=dict)
    proofs: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)

    def file(self, name: str) -> LocalFile:
        path = PurePosixPath(name)
        mark = FileMark(self.here[name], int(self.times.get(name, 1.0) * 1e9), 7)
        return LocalFile(path, place_here(FOLDER, path), mark)

    def compared(self, rules: Rules | None = None) -> dict[str, Entry]:
        found = tuple(self.file(name) for name in self.here)
        stats = tuple(Stat(PREFIX + k, n, e, self.times.get(k, 2.0)) for k, (n, e) in self.there.items())
        known = Knowledge(
            Manifest({PurePosixPath(name): each for name, each in self.listed.items()}),
            {str(self.file(name).place): (self.file(name).mark, each) for name, each in self.hashes.items()},
            {PREFIX + name: each for name, each in self.proofs.items()},
            {PREFIX + name: each for name, each in self.uploads.items()},
        )
        survey = Survey(stats, frozenset(PREFIX + each + "/" for each in self.folders))
        entries = compare(Scan(found, ()), survey, PREFIX, rules or Rules(), known)
        assert len({each.path for each in entries}) == len(entries)
        return {str(each.path): each for each in entries}

    def standing(self, name: str = "x.pt") -> Standing:
        return self.compared()[name].standing


def test_a_file_of_one_side_only() -> None:
    found = World(here={"x.pt": 5}, there={"y.pt": (6, "e")}).compared()
    assert {name: (each.standing, each.size, each.why) for name, each in found.items()} == {
        "x.pt": (Standing.HERE, 5, ""),
        "y.pt": (Standing.THERE, 6, ""),
    }


def test_another_size_is_another_file() -> None:
    entry = World(here={"x.pt": 5000}, there={"x.pt": (6, "e")}).compared()["x.pt"]
    assert entry.standing is Standing.DIFFERS
    assert entry.why == "5,000 bytes here, 6 on the volume."


def test_files_of_one_size_are_unverified_until_somebody_knows() -> None:
    world = World(here={"x.pt": 5}, there={"x.pt": (5, "etag")})
    assert world.standing() is Standing.UNVERIFIED
    # What is known of one side only tells nothing.
    world.hashes["x.pt"] = Hashes(SHA, MD5)
    assert world.standing() is Standing.UNVERIFIED
    world.hashes.clear()
    world.proofs["x.pt"] = ("etag", 5, SHA)
    assert world.standing() is Standing.UNVERIFIED


@pytest.mark.parametrize("how", ["proof", "list"])
def test_hashes_of_both_sides_tell(how: str) -> None:
    world = World(here={"x.pt": 5}, there={"x.pt": (5, "etag")}, hashes={"x.pt": Hashes(SHA, MD5)})
    for sha256, standing in ((SHA, Standing.SAME), (OTHER, Standing.DIFFERS)):
        if how == "proof":
            world.proofs["x.pt"] = ("etag", 5, sha256)
        else:
            world.listed["x.pt"] = Listed(5, sha256, "etag")
        assert world.standing() is standing
    assert "another content" in world.compared()["x.pt"].why


@pytest.mark.parametrize("etag", ["changed", ""])
def test_what_was_known_of_another_etag_is_not_believed(etag: str) -> None:
    world = World(here={"x.pt": 5}, there={"x.pt": (5, etag)}, hashes={"x.pt": Hashes(SHA, MD5)})
    world.listed["x.pt"] = Listed(5, SHA, "etag")
    world.proofs["x.pt"] = ("etag", 5, SHA)
    assert world.standing() is Standing.UNVERIFIED


def test_an_etag_that_is_none_proves_nothing() -> None:
    # A server gives none for files that a pod wrote; of a file that went in parts no MD5 is known.
    world = World(here={"x.pt": 5}, there={"x.pt": (5, "")}, hashes={"x.pt": Hashes(SHA, "")})
    world.listed["x.pt"] = Listed(5, SHA, "")
    assert world.standing() is Standing.UNVERIFIED


def test_an_etag_that_is_the_md5_tells() -> None:
    world = World(here={"x.pt": 5}, there={"x.pt": (5, MD5)}, hashes={"x.pt": Hashes(SHA, MD5)})
    assert world.standing() is Standing.SAME
    # What was proved is believed before it: the server may not have looked since.
    world.proofs["x.pt"] = (MD5, 5, "")
    assert world.standing() is Standing.DIFFERS


def test_a_hash_of_the_file_as_it_was_tells_nothing() -> None:
    world = World(here={"x.pt": 5}, there={"x.pt": (5, MD5)})
    known = Knowledge(Manifest(), {str(FOLDER / "x.pt"): (FileMark(5, 1, 7), Hashes(SHA, MD5))}, {}, {})
    assert known.of_local(world.file("x.pt")) is None
    assert known.of_local(LocalFile(PurePosixPath("x.pt"), FOLDER / "x.pt", FileMark(5, 1, 7))) is not None
    assert known.of_local(LocalFile(PurePosixPath("x.pt"), FOLDER / "x.pt", FileMark(5, 1, 8))) is None


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_times_never_tell(here: float, there: float) -> None:
    for size in (5, 6):
        world = World(here={"x.pt": 5}, there={"x.pt": (size, "e")}, times={"x.pt": here})
        before = world.standing()
        world.times = {"x.pt": there}
        assert world.standing() is before


def test_a_begun_upload_tells_how_much_is_there() -> None:
    upload = Upload(1, PREFIX + "x.pt", "id", "", FileMark(25, 1), ((1, 10), (0, 5)), "", {1: "a", 4: "b"})
    world = World(here={"x.pt": 25, "y.pt": 5}, uploads={"x.pt": upload})
    assert {name: each.begun for name, each in world.compared().items()} == {"x.pt": 15, "y.pt": 0}


def test_folders_and_files_of_one_name_clash_on_either_side() -> None:
    world = World(
        here={"a": 1, "b/x.pt": 1, "c/d/x.pt": 1, "ok.pt": 1, "e/f.pt": 1, "g": 1},
        there={"b": (1, ""), "c/d": (1, ""), "a/x.pt": (1, ""), "e": (1, ""), "g/h/x": (1, "")},
        folders={"a", "g", "g/h"},
    )
    found = world.compared()
    assert {name: each.why for name, each in found.items() if each.standing is Standing.LEFT_OUT} == {
        "a": "The volume has a folder of this name.",
        "a/x.pt": "This computer has a file for its folder.",
        "b": "This computer has a folder of this name.",
        "b/x.pt": "The volume has a file for its folder.",
        "c/d": "This computer has a folder of this name.",
        "c/d/x.pt": "The volume has a file for its folder.",
        "e": "This computer has a folder of this name.",
        "e/f.pt": "The volume has a file for its folder.",
        "g": "The volume has a folder of this name.",
        "g/h/x": "This computer has a file for its folder.",
    }
    assert found["ok.pt"].standing is Standing.HERE


def test_twins_go_up_with_a_note_and_are_not_brought_here() -> None:
    found = World(here={"a/X.pt": 1, "a/x.pt": 1, "b/Y.pt": 1}, there={"b/y.pt": (1, "")}).compared()
    assert found["a/X.pt"].standing is found["a/x.pt"].standing is Standing.HERE
    assert found["a/X.pt"].why == "x.pt differs from it in letter case only."
    assert found["a/x.pt"].why == "X.pt differs from it in letter case only."
    assert found["b/Y.pt"].standing is Standing.HERE
    assert found["b/y.pt"].standing is Standing.LEFT_OUT
    assert found["b/y.pt"].why == "Y.pt differs from it in letter case only."
    both = World(there={"x.pt": (1, ""), "X.pt": (1, "")}).compared()
    assert {each.standing for each in both.values()} == {Standing.LEFT_OUT}


def test_a_name_with_its_accents_written_otherwise_is_a_twin_too() -> None:
    found = World(here={NFC: 1}, there={NFD: (1, "")}).compared()
    assert found[NFC].standing is Standing.HERE
    assert found[NFD].standing is Standing.LEFT_OUT
    assert found[NFD].why == f"{NFC} differs from it in how accents are written only."


def test_rules_are_for_the_volume_too() -> None:
    there = dict.fromkeys(("c.pt", "d.ckpt", "e.tmp", "SHA256SUMS", ".sync-manifest.json"), (1, ""))
    assert set(World(there=there).compared(Rules(exclude=("*.ckpt",)))) == {"c.pt"}


def test_what_the_scan_left_out_is_not_brought_here_either() -> None:
    why = "It cannot be read: Permission denied."
    left = ((PurePosixPath("x.pt"), why, None),)
    survey = Survey((Stat(PREFIX + "x.pt", 5, "e", 1.0),), frozenset())
    (entry,) = compare(Scan((), left), survey, PREFIX, Rules(), Knowledge(Manifest(), {}, {}, {}))
    assert (entry.standing, entry.why) == (Standing.LEFT_OUT, why)


HOSTILE = (
    "../x.pt",
    "a/../../x.pt",
    "/etc/passwd",
    "a//x.pt",
    "./x.pt",
    "a\0b",
    "..\\x.pt",
    "C:\\x",
    "C:x",
    "..",
)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_is_left_out_and_hides_nobody(name: str) -> None:
    world = World(here={"x.pt": 5, "a/x.pt": 5}, there={name: (5, "e"), "x.pt": (5, "e")})
    found = world.compared()
    assert found["x.pt"].standing is Standing.UNVERIFIED
    assert found["a/x.pt"].standing is Standing.HERE
    (strange,) = (each for each in found.values() if each.standing is Standing.LEFT_OUT)
    assert strange.why
    assert strange.here is None
    leads_nowhere(strange.path)


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("./\\\0:~"), min_size=1, max_size=12))
def test_no_name_of_the_server_becomes_a_path_elsewhere(name: str) -> None:
    entries = tuple(World(there={name: (5, "e")}).compared().values())
    for each in entries:
        leads_nowhere(each.path)
        if each.standing is not Standing.LEFT_OUT:
            assert safe_name(str(each.path)) == each.path
            assert each.there is not None
            assert each.there.key == f"{PREFIX}{each.path}"
    names = frozenset(str(each.path) for each in entries)
    for wish in (Wish(download=True), Wish(delete=names, overwrite_here=names, overwrite=names)):
        for step in make_plan(Picture(entries), wish, FOLDER).steps:
            assert step.place.is_relative_to(FOLDER)
            assert step.place == Path(os.path.normpath(step.place))


def leads_nowhere(path: PurePosixPath) -> None:
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert not set(str(path)) & set("\\\0")


# Files that are to be sent are looked at.


def entry_of(file: Path, standing: Standing = Standing.HERE) -> Entry:
    (found,) = (
        each for each in scan(file.parent, Rules(), threading.Event()).files if each.place.name == file.name
    )
    return Entry(found.path, found, None, standing)


def test_a_truncated_file_is_found_before_it_is_sent(tmp_path: Path) -> None:
    content = safetensors({}, {"a": ("F16", 100)})
    (tmp_path / "whole.safetensors").write_bytes(content)
    (tmp_path / "cut.safetensors").write_bytes(content[:-1])
    (tmp_path / "other.ckpt").write_bytes(content[:-1])
    cut = tmp_path / "cut.safetensors"
    assert checked(entry_of(tmp_path / "whole.safetensors")).standing is Standing.HERE
    assert checked(entry_of(tmp_path / "other.ckpt")).standing is Standing.HERE
    for standing in (Standing.HERE, Standing.DIFFERS):
        found = checked(entry_of(cut, standing))
        assert found.standing is Standing.BROKEN
        assert "the end is missing" in found.why
    # It is there too: whoever has it so on both sides has it so.
    assert checked(entry_of(cut, Standing.SAME)).standing is Standing.SAME
    gone = entry_of(cut)
    cut.unlink()
    assert checked(gone).standing is Standing.LEFT_OUT
    assert "No such file" in checked(gone).why
