"""``comfy-runpod sync`` as a user runs it, with a real S3 server as the volume."""

from __future__ import annotations

import json
import os
import re
import struct
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Cli, until
from tests.e2e.volumes import MIB, Volume, hashes, server, volume
from tests.s3 import SERVERS

OTHER_SECRET = "not-the-secret-0123456789-of-the-test"
RESULTS = ".comfy-runpod/results"


#: On servers of two makers, the second one with the full figures; other tests take the first.
BOTH = pytest.mark.parametrize(
    "at", [SERVERS[0], pytest.param(SERVERS[1], marks=pytest.mark.long)], indirect=True
)


@pytest.fixture(scope="module")
def at(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, str]]:
    with server(tmp_path_factory.mktemp("s3"), getattr(request, "param", SERVERS[0])) as running:
        yield running


@pytest.fixture
def vol(at: tuple[str, Path, str], cli: Cli, tmp_path: Path) -> Iterator[Volume]:
    with volume(at, cli, tmp_path) as made:
        yield made


def safetensors(missing: int = 0) -> bytes:
    header = b'{"x":{"dtype":"F32","shape":[100],"data_offsets":[0,400]}}'
    return (struct.pack("<Q", len(header)) + header + bytes(400))[: -missing or None]


def odd_names(vol: Volume) -> set[str]:
    """A models folder with all that names and sizes can be; the paths as the volume has them."""
    names = {
        "checkpoints/with space.bin",
        # Nanio decodes what looks like a coded sign twice.
        "checkpoints/a#b+c&d=e'f.bin" if vol.kind == "nanio" else "checkpoints/a#b+c&d=e%20f'g.bin",
        "loras/ü of one sign.bin",
        "loras/" + unicodedata.normalize("NFD", "ö of two.bin"),
        "loras/" + "n" * 196 + ".bin",
        ".hidden/.dot.bin",
        "deep/er/and/deeper/x.bin",
    }
    for name in names:
        vol.make(name)
    vol.make("vae/empty.bin", b"")
    names.add("vae/empty.bin")
    for name, size in (("vae/one part.bin", 64 * MIB), ("vae/one part and a byte.bin", 64 * MIB + 1)):
        with vol.make(name, b"x").open("r+b") as file:
            file.truncate(size)
        names.add(name)
    if not (vol.here / "VAE").exists():
        names |= {"case.bin", "CASE.bin"}
        for name in ("case.bin", "CASE.bin"):
            vol.make(name)
    if os.name == "posix":
        outside = vol.here.parent / "other drive"
        outside.mkdir()
        (outside / "linked.bin").write_bytes(b"linked")
        (vol.here / "linked").symlink_to(outside)
        (outside / "loop").symlink_to(vol.here)
        names.add("linked/linked.bin")
    return {unicodedata.normalize("NFC", name) for name in names}


@BOTH
def test_every_name_and_size_arrives(vol: Volume) -> None:
    names = odd_names(vol)
    plan = vol.plan()
    assert {each["path"] for each in plan["steps"]} == names
    assert {each["path"] for each in plan["entries"]} == names
    assert all(each["why"] for each in plan["steps"])
    assert vol.line.changes() == []
    assert list(vol.there.rglob("*")) == []
    vol.run("--verify")
    there = hashes(vol.models)
    assert set(there) == names == set(vol.manifest())
    here = {unicodedata.normalize("NFC", name): its for name, its in hashes(vol.here).items()}
    assert here.items() <= there.items()
    assert len(here) >= len(names) - 1
    assert vol.open_uploads() == set()


def test_a_dry_run_says_why_and_changes_nothing(vol: Volume) -> None:
    vol.make("loras/new.bin")
    vol.make("loras/sub/new.bin")
    vol.make("vae/new.bin")
    vol.make("vae/one.tmp")
    vol.make("vae/short.safetensors", safetensors(missing=3))
    vol.make("vae/there.bin", there=True)
    for there, content in ((False, b"a" * 50), (True, b"b" * 50)):
        vol.make("vae/other.bin", content, there=there)
        vol.make("vae/longer.bin", content * (2 if there else 1), there=there)
    before = hashes(vol.there), hashes(vol.here)
    plan = vol.plan("--download")
    said = {each["path"]: (each["standing"], each["why"]) for each in plan["entries"]}
    assert set(said) == {
        *("loras/new.bin", "loras/sub/new.bin", "vae/new.bin", "vae/short.safetensors"),
        *("vae/there.bin", "vae/other.bin", "vae/longer.bin"),
    }
    assert said["vae/other.bin"] == ("differs", "They have the same size and another content.")
    assert said["vae/longer.bin"] == ("differs", "50 bytes here, 100 on the volume.")
    assert said["vae/short.safetensors"][0] == "truncated"
    assert "the end is missing" in said["vae/short.safetensors"][1]
    acts = {each["path"]: each["act"] for each in plan["steps"]}
    news = dict.fromkeys(("loras/new.bin", "loras/sub/new.bin", "vae/new.bin"), "upload")
    assert acts == {**news, "vae/there.bin": "download"}
    some = vol.plan(
        "--include", "loras/*", "--include", "*.BIN", "--exclude", "sub", "--exclude", "loras/sub"
    )
    assert {each["path"] for each in some["steps"]} == {"loras/new.bin", "vae/new.bin"}
    assert vol.line.changes() == []
    assert (hashes(vol.there), hashes(vol.here)) == before


def test_nothing_is_replaced_or_deleted_unless_it_is_named(vol: Volume) -> None:
    vol.make("new.bin")
    vol.make("short.safetensors", safetensors(missing=1))
    vol.make("whole.safetensors", safetensors())
    for name in ("named.bin", "unnamed.bin"):
        vol.make(name, b"here")
        vol.make(name, b"there", there=True)
    vol.make("old.bin", b"old", there=True)
    done = vol.run()
    assert "Truncated, and not sent: short.safetensors." in done.stderr
    there = hashes(vol.models)
    assert set(there) == {"new.bin", "whole.safetensors", "named.bin", "unnamed.bin", "old.bin"}
    assert (vol.models / "named.bin").read_bytes() == (vol.models / "unnamed.bin").read_bytes() == b"there"
    # What is on both sides would only come back.
    refused = vol.run("--delete", "new.bin", code=2)
    assert "new.bin is on this computer too" in refused.stderr
    refused = vol.run("--overwrite", "none.bin", code=2)
    assert "The volume has no none.bin" in refused.stderr
    assert hashes(vol.models) == there
    new = (vol.here / "new.bin").read_bytes()
    (vol.here / "new.bin").unlink()
    vol.run("--overwrite", "named.bin", "--delete", "old.bin", "--download")
    assert (vol.here / "new.bin").read_bytes() == new
    assert (vol.models / "named.bin").read_bytes() == b"here"
    assert (vol.models / "unnamed.bin").read_bytes() == b"there"
    assert set(hashes(vol.models)) == set(there) - {"old.bin"}
    assert set(vol.manifest()) == {"new.bin", "whole.safetensors", "named.bin"}


@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.long)])
def test_what_is_in_step_makes_no_request_that_changes_anything(vol: Volume, count: int) -> None:
    for number in range(count):
        vol.make(f"{number % 10}/{number}.bin", 500)
    vol.run()
    assert hashes(vol.models) == hashes(vol.here)
    vol.line.seen.clear()
    done = vol.run()
    assert f"{count} in sync" in done.stderr
    assert vol.line.changes() == []


@BOTH
def test_results_that_workers_left_are_fetched_and_dropped_there(vol: Volume, tmp_path: Path) -> None:
    left = {}
    for number, age_h in enumerate((2.0, 30.0, 0.5)):
        path = vol.there / RESULTS / f"job{number}" / "picture ü.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(os.urandom(5000))
        os.utime(path, (time.time() - age_h * 3600,) * 2)
        left[f"job{number}/picture ü.png"] = path.read_bytes()
    vol.make("x.bin", there=True)
    to = tmp_path / "fetched"
    vol.run("--results", to, "--dry-run")
    assert vol.line.changes() == []
    vol.run("--results", to)
    here = {path.relative_to(to).as_posix(): path.read_bytes() for path in to.rglob("*") if path.is_file()}
    young = "job2/picture ü.png"
    assert here == {name: content for name, content in left.items() if name != young}
    assert list((vol.there / RESULTS).rglob("*.png")) == [vol.there / RESULTS / young]
    assert (vol.models / "x.bin").exists()


def test_a_full_volume_is_said_in_a_sentence(vol: Volume) -> None:
    vol.make("x.bin")
    vol.line.befall("507", "PUT", times=1000)
    done = vol.run(code=1)
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("comfy-runpod: ")]
    assert said == f"comfy-runpod: The volume {vol.there.name} is full. Make room on it, or enlarge it."
    vol.line.rules.clear()
    vol.run()
    assert hashes(vol.models) == hashes(vol.here)


@pytest.mark.long
def test_parts_that_are_too_large_become_smaller_or_are_told(vol: Volume) -> None:
    with vol.make("large.bin", b"x").open("r+b") as file:
        file.truncate(65 * MIB)
    vol.make("small.bin")
    vol.line.befall("413", "PUT", "partNumber=1", times=1000)
    done = vol.run(code=1)
    assert re.search(r"large.bin: The volume does not take parts of 8", done.stderr)
    assert set(hashes(vol.models)) == {"small.bin"}
    vol.line.rules.clear()
    vol.run()
    assert hashes(vol.models) == hashes(vol.here)
    assert vol.open_uploads() == set()


def test_a_wrong_secret_is_one_sentence_and_no_secret_is_anywhere(vol: Volume) -> None:
    vol.make("x.bin")
    vol.cli.extra = {**vol.cli.extra, "RUNPOD_S3_SECRET_KEY": OTHER_SECRET}
    vol.secrets.append(OTHER_SECRET)
    held = vol.line.befall("hold", times=1000)
    process = vol.cli.start("-v", "sync", vol.here)
    until(lambda: held.seen)
    words = [word for each in vol.cli.processes() for word in psutil.Process(each.pid).cmdline()]
    assert str(vol.here) in words
    assert not any(key in word for key in vol.secrets for word in words)
    vol.line.let_go()
    done = vol.ended(process, 1)
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("comfy-runpod: ")]
    assert "Key, secret or volume id is wrong, or the clock is off." in said
    assert "Traceback" not in done.stderr
    # In JSON too, and where there is no such volume.
    vol.cli.extra = {**vol.cli.extra, "RUNPOD_VOLUME_ID": "none", "RUNPOD_S3_SECRET_KEY": vol.secrets[1]}
    done = vol.run("--json", code=1)
    assert json.loads(done.stdout)["error"] == "There is no volume none in this data centre."
