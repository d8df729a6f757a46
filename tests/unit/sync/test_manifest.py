"""The volume's own list of models: read whatever is in it, and written so that others can use it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.s3.errors import Busy
from app.s3.flow import Flow
from app.sync import manifest
from app.sync.manifest import Listed, Manifest, dump, parse, sums
from tests.unit.sync.volume_made import MODELS, QUICK, VOLUME, Rig
from worker.contract import safe_name

SHA = "0123456789abcdef" * 4
GOOD: dict[str, Any] = {"size": 5, "sha256": SHA, "etag": "e"}


def written(**files: Any) -> bytes:
    return json.dumps({"version": 1, "files": files}).encode()


def test_what_is_written_is_read_again() -> None:
    files = {
        PurePosixPath("loras/ü #1.pt"): Listed(
            2**40, SHA, "e-3", 64, "etag", "m" * 32, 1_700_000_000_123_456_789, "2026-01-31T12:00:00Z", "host"
        ),
        PurePosixPath("a.pt"): Listed(0, "f" * 64, ""),
    }
    content = dump(Manifest(files), "vol")
    assert parse(content).files == files
    told = json.loads(content)
    assert (told["version"], told["volume"]) == (1, "vol")
    assert told["tool"].startswith("comfy-runpod/")
    assert list(told["files"]) == ["a.pt", "loras/ü #1.pt"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'{"files": []}',
        b'{"files": 3}',
        b"[" * 100_000,
        b'{"files":',
    ],
    ids=repr,
)
def test_a_list_that_is_none_says_nothing(content: bytes) -> None:
    assert parse(content).files == {}


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "",
        ".",
        "a//b",
        "a\\b",
        "a\0b",
        "C:x",
        "con",
        "x.",
        "\ud800",
        "n" * 300,
    ],
    ids=ascii,
)
def test_names_that_lead_elsewhere_are_not_said_and_the_others_are(name: str) -> None:
    assert set(parse(written(**{name: GOOD, "good.pt": GOOD})).files) == {PurePosixPath("good.pt")}


@pytest.mark.parametrize(
    "said",
    [
        *(None, 7, "x", [], {}),
        *(GOOD | {"size": value} for value in (-1, "5", 5.0, True, None, 2**63, 10**400)),
        *(
            GOOD | {"sha256": value}
            for value in ("", "x", SHA.upper(), SHA + "0", SHA + "\n", None, 7, [SHA])
        ),
    ],
    ids=lambda said: ascii(said)[:60],
)
def test_entries_that_are_none_are_not_said_and_the_others_are(said: Any) -> None:
    assert set(parse(written(**{"bad.pt": said, "good.pt": GOOD})).files) == {PurePosixPath("good.pt")}


def test_the_rest_of_an_entry_may_be_anything() -> None:
    odd: dict[str, Any] = {"etag": 7, "part_size": -1, "verified": [], "md5": {}, "mtime_ns": "x", "from": 1}
    ((_, listed),) = parse(written(**{"a.pt": GOOD | odd})).files.items()
    assert listed == Listed(5, SHA, "")
    ((_, listed),) = parse(written(**{"a.pt": GOOD | {"from": "x" * 10_000}})).files.items()
    assert len(listed.by) == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ENTRY = st.fixed_dictionaries(
    {"size": st.integers(-1, 2**64) | JSON, "sha256": st.sampled_from([SHA, "x"]) | JSON},
    optional={"etag": JSON, "part_size": JSON, "mtime_ns": st.integers() | JSON, "from": JSON, "md5": JSON},
)
NAME = st.text(st.characters() | st.sampled_from("./\\\0"), max_size=10)


@given(st.dictionaries(NAME, ENTRY, max_size=4).map(lambda files: written(**files)) | st.binary(max_size=80))
def test_whatever_is_said_of_files_stays_in_the_folder_and_can_be_written_again(content: bytes) -> None:
    found = parse(content)
    for path, listed in found.files.items():
        assert safe_name(str(path)) == path
        assert 0 <= listed.size < 2**63
    assert parse(dump(found, "vol")).files.keys() == found.files.keys()
    assert len(sums(found).splitlines()) == len(found.files)


TEXT = st.text(st.characters(codec="utf-8"), max_size=100)
NUMBER = st.none() | st.integers(0, 2**62)
LISTED = st.builds(
    Listed,
    size=st.integers(0, 2**62),
    sha256=st.just(SHA),
    etag=TEXT,
    part_size=st.none() | st.integers(1, 2**40),
    verified=st.sampled_from(["etag", "size", "spot"]),
    md5=st.none() | st.just("0" * 32),
    mtime_ns=NUMBER,
    uploaded=TEXT,
    by=TEXT,
)
GOOD_NAME = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=12).map(
    lambda name: PurePosixPath("x" + name, "y" + name)
)


@given(st.dictionaries(GOOD_NAME, LISTED, max_size=4))
def test_every_list_is_read_as_it_was_written(files: dict[PurePosixPath, Listed]) -> None:
    assert parse(dump(Manifest(files), "vol")).files == files


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="There is no sha256sum.")
def test_the_sums_are_as_sha256sum_reads_them(tmp_path: Path) -> None:
    files: dict[PurePosixPath, Listed] = {}
    for name in ("a b.pt", "loras/ü #+&.pt", "-x.pt", "loras/$(touch oops).pt", "*star"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
        files[PurePosixPath(name)] = Listed(1, hashlib.sha256(name.encode()).hexdigest(), "")
    (tmp_path / "SHA256SUMS").write_bytes(sums(Manifest(files)))
    check = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (tmp_path / "a b.pt").write_bytes(b"another")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 1
    assert not (tmp_path / "oops").exists()
    assert sums(Manifest()) == b""


def merge(rig: Rig, added: dict[PurePosixPath, Listed], removed: set[PurePosixPath] | None = None) -> None:
    manifest.merge(rig.sync.bucket, f"{MODELS}/", added, removed or set(), QUICK, Flow())


def there(rig: Rig) -> dict[PurePosixPath, Listed]:
    return dict(manifest.read(rig.sync.bucket, f"{MODELS}/", QUICK, Flow()).files)


def test_entries_of_others_stay_and_those_removed_go(rig: Rig) -> None:
    a, b, c = (PurePosixPath(name) for name in ("a.pt", "loras/b.pt", "c.pt"))
    mine, theirs = Listed(1, SHA, "mine"), Listed(2, SHA, "theirs")
    assert there(rig) == {}
    merge(rig, {a: mine, c: mine})
    rig.put(".sync-manifest.json", dump(Manifest({**there(rig), b: theirs}), VOLUME))
    newer = Listed(3, SHA, "newer")
    merge(rig, {a: newer}, {c})
    assert there(rig) == {a: newer, b: theirs}
    assert (rig.there / "SHA256SUMS").read_text() == f"{SHA}  a.pt\n{SHA}  loras/b.pt\n"


def test_a_list_of_others_that_is_damaged_is_written_anew(rig: Rig) -> None:
    rig.leave(".sync-manifest.json", b"\x00 no list")
    merge(rig, {PurePosixPath("a.pt"): Listed(1, SHA, "e")})
    assert set(there(rig)) == {PurePosixPath("a.pt")}


def test_a_list_that_cannot_be_read_is_not_replaced_by_an_empty_one(rig: Rig) -> None:
    merge(rig, {PurePosixPath("a.pt"): Listed(1, SHA, "e")})
    rig.proxy.befall("503", "GET", "sync-manifest", times=100)
    with pytest.raises(Busy):
        merge(rig, {PurePosixPath("b.pt"): Listed(1, SHA, "e")})
    rig.proxy.rules.clear()
    assert set(there(rig)) == {PurePosixPath("a.pt")}
