"""Links and no second copy, zips where links fail, the same bytes each time, nothing else touched."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadInput, NeedsSetup
from app.sync.runpodctl.model import Item, Phase, SendState, commands_for
from app.sync.runpodctl.names import checked_path, flat_names
from app.sync.runpodctl.record import clean_up
from app.sync.runpodctl.staging import stage
from tests.unit.sync.runpodctl_made import models, sha256, staged, tree

TWO = {"checkpoints/x.safetensors": b"x" * 5000, "loras/style/y.safetensors": b"y" * 300}


@pytest.fixture
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on another drive, or on FAT."""

    def link(source: object, target: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)


#: Stages what it is told, and dies by the second link.
KILLED = """
import asyncio, json, os, signal, sys
from pathlib import Path, PurePosixPath
from app.sync.runpodctl.model import Item
from app.sync.runpodctl.staging import stage
real, made = os.link, []
def link(source, target):
    if made: os.kill(os.getpid(), signal.SIGKILL)
    made.append(real(source, target))
os.link = link
items = [Item(PurePosixPath(path), Path(place), size) for path, place, size in json.loads(sys.argv[1])]
asyncio.run(stage(items, Path(sys.argv[2])))
"""


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- names -----------------------------------------------------------------------------------------------


def test_names_can_be_read_and_twins_are_told_apart() -> None:
    names = flat_names(
        [
            "checkpoints/x.safetensors",
            "a/b__c",
            "a__b/c",
            "loras/A.pt",
            "loras/a.pt",
            "vae/ü #1.pt",
            "-x",
            ".x",
        ]
    )
    assert names["checkpoints/x.safetensors"] == "checkpoints__x.safetensors"
    assert names["vae/ü #1.pt"] == "vae_____1.pt"
    assert names["-x"] == "_-x"
    assert names[".x"] == "_.x"
    assert re.fullmatch(r"a__b__c-[0-9a-f]{12}", names["a/b__c"])
    assert re.fullmatch(r"loras__A-[0-9a-f]{12}\.pt", names["loras/A.pt"])
    assert len({name.casefold() for name in names.values()}) == len(names)


@pytest.mark.parametrize("path", ["nul.pt", "COM1", "comfy-00000000-1-of-1.json", "SHA256SUMS-1", "x."])
def test_no_name_means_something_else(path: str) -> None:
    assert flat_names([path])[path] in ("_" + path, path[:-1] + "_")


_PARTS = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\"), min_size=1, max_size=40
)
_PATHS = st.lists(_PARTS.filter(lambda part: part not in (".", "..")), min_size=1, max_size=4).map("/".join)


@given(st.lists(_PATHS | st.sampled_from(["a/b", "A/b", "a__b", "A__B", "a/b" * 90]), max_size=12))
def test_two_paths_never_have_one_name_and_each_is_harmless(paths: list[str]) -> None:
    names = flat_names(paths)
    assert set(names) == set(paths)
    assert len({name.casefold() for name in names.values()}) == len(set(paths))
    for name in names.values():
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,119}", name)
        assert not name.endswith(".")


@pytest.mark.parametrize(
    "path",
    ["", "/etc/x", "../x", "a/../x", "a\\b", "a\nb", "C:/x", "a/" + "x" * 300, "a/\udc80", "a/b" * 600],
)
def test_a_path_that_leaves_the_folder_or_cannot_be_is_refused(path: str, tmp_path: Path) -> None:
    place = tmp_path / "x"
    place.write_bytes(b"")
    with pytest.raises(BadInput):
        staged([Item(PurePosixPath(path), place, 0)], tmp_path / "staging")
    assert not (tmp_path / "staging").exists()


@given(_PATHS)
def test_a_path_that_is_taken_stays_below_the_folder(path: str) -> None:
    try:
        text = checked_path(PurePosixPath(path))
    except BadInput:
        return
    assert os.path.normpath(os.path.join("/models", text)).startswith("/models/")  # noqa: PTH118


# -- links -----------------------------------------------------------------------------------------------


def test_files_are_linked_and_not_copied(tmp_path: Path) -> None:
    items = models(tmp_path / "models", TWO)
    (batch,) = staged(items, tmp_path / "staging")
    links = {unit.entries[0].path: batch.folder / unit.name for unit in batch.units if unit.entries}
    assert sorted(path.name for path in links.values()) == [
        "checkpoints__x.safetensors",
        "loras__style__y.safetensors",
    ]
    for item in items:
        assert links[str(item.path)].samefile(item.place)
        assert item.place.stat().st_nlink == 2


def test_what_goes_along_says_where_each_belongs(tmp_path: Path) -> None:
    (batch,) = staged(models(tmp_path / "models", TWO), tmp_path / "staging")
    script, manifest, sums = (unit.name for unit in batch.units[:3])
    assert script == batch.script
    raw = json.loads((batch.folder / manifest).read_text("utf-8"))
    assert {entry["name"]: entry["path"] for entry in raw["files"]} == {
        "checkpoints__x.safetensors": "checkpoints/x.safetensors",
        "loras__style__y.safetensors": "loras/style/y.safetensors",
    }
    assert (batch.folder / sums).read_text("utf-8") == "".join(
        f"{sha256(data)}  {path}\n" for path, data in sorted(TWO.items())
    )
    for unit in batch.units:
        assert (batch.folder / unit.name).stat().st_size == unit.size
    # croc unfolds patterns, and what begins with a dash is an option.
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", unit.name) for unit in batch.units)


def test_staging_again_changes_nothing(tmp_path: Path) -> None:
    items = models(tmp_path / "models", TWO)
    first = staged(items, tmp_path / "staging")
    inodes = {path.name: path.stat().st_ino for path in (tmp_path / "staging").iterdir()}
    again = staged(items[::-1], tmp_path / "staging")
    assert again == first
    after = {path.name: path.stat().st_ino for path in (tmp_path / "staging").iterdir()}
    sent = {unit.name for unit in first[0].units}
    assert {name: inodes[name] for name in sent} == {name: after[name] for name in sent}


def test_a_file_that_was_replaced_is_linked_anew(tmp_path: Path) -> None:
    items = models(tmp_path / "models", TWO)
    staged(items, tmp_path / "staging")
    other = tmp_path / "other"
    other.write_bytes(b"z" * 5000)
    other.replace(items[0].place)
    (batch,) = staged(items, tmp_path / "staging")
    assert (batch.folder / "checkpoints__x.safetensors").read_bytes() == b"z" * 5000
    assert sha256(b"z" * 5000) in {entry.sha256 for entry in batch.entries}


def test_a_symbolic_link_is_sent_as_the_file_that_it_means(tmp_path: Path) -> None:
    items = models(tmp_path / "models", {"vae/x.pt": b"x"})
    link = tmp_path / "link.pt"
    link.symlink_to(items[0].place)
    (batch,) = staged([replace(items[0], place=link)], tmp_path / "staging")
    assert not (batch.folder / "vae__x.pt").is_symlink()
    assert (batch.folder / "vae__x.pt").read_bytes() == b"x"


def test_at_most_so_many_files_and_bytes_are_in_a_batch(tmp_path: Path) -> None:
    items = models(tmp_path / "models", {f"loras/{number}.pt": bytes(100) for number in range(7)})
    batches = staged(items, tmp_path / "staging", files=3)
    assert [(batch.number, batch.of, len(batch.entries)) for batch in batches] == [
        (1, 3, 3),
        (2, 3, 3),
        (3, 3, 1),
    ]
    assert len({batch.script for batch in batches}) == 1
    assert len({unit.name for batch in batches for unit in batch.units}) == 7 + 1 + 3 + 3
    by_bytes = staged(items, tmp_path / "other", batch_bytes=250)
    assert [len(batch.entries) for batch in by_bytes] == [2, 2, 2, 1]
    commands = commands_for(batches[1], "1234-a-b-c-0")
    assert commands.receive == "runpodctl receive 1234-a-b-c-0"
    assert commands.extract == f"python3 {batches[1].script}"
    assert "batch 2 of 3" in commands.note


@pytest.mark.parametrize("change", ["size", "gone", "hash", "twice", "nothing"])
def test_what_cannot_be_staged_is_told(change: str, tmp_path: Path) -> None:
    items = models(tmp_path / "models", TWO)
    if change == "size":
        items[0].place.write_bytes(b"longer" * 1000)
    elif change == "gone":
        items[0].place.unlink()
    elif change == "hash":
        items[0] = replace(items[0], sha256="xyz")
    elif change == "twice":
        items.append(items[0])
    else:
        items = []
    with pytest.raises(BadInput):
        staged(items, tmp_path / "staging")


# -- zips ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_links")
def test_where_links_fail_stored_zips_are_made_and_again_byte_for_byte(tmp_path: Path) -> None:
    many = {f"loras/{name}.pt": os.urandom(4000) for name in ("b", "a", "ü c", "d")}
    items = models(tmp_path / "models", many)
    (batch,) = staged(items, tmp_path / "one", zip_bytes=9000)
    zips = [unit for unit in batch.units if unit.zipped]
    assert [len(unit.entries) for unit in zips] == [2, 2]
    for unit in zips:
        with zipfile.ZipFile(batch.folder / unit.name) as packed:
            assert packed.testzip() is None
            for info in packed.infolist():
                assert info.compress_type == zipfile.ZIP_STORED
                assert info.date_time == (1980, 1, 1, 0, 0, 0)
                assert packed.read(info) == many[info.filename]
            names = packed.namelist()
            assert names == sorted(names)
    for item in items:
        os.utime(item.place, (1, 1))
    staged(items[::-1], tmp_path / "two", zip_bytes=9000)
    one, two = tree(tmp_path / "one"), tree(tmp_path / "two")
    assert one == two


@pytest.mark.usefixtures("no_links")
def test_a_finished_zip_is_kept_and_a_half_one_made_again(tmp_path: Path) -> None:
    items = models(tmp_path / "models", TWO)
    (batch,) = staged(items, tmp_path / "staging")
    (name,) = (unit.name for unit in batch.units if unit.zipped)
    before = (batch.folder / name).stat()
    staged(items, tmp_path / "staging")
    assert (batch.folder / name).stat().st_mtime_ns == before.st_mtime_ns
    whole = (batch.folder / name).read_bytes()
    # As a kill leaves it.
    (batch.folder / name).unlink()
    (batch.folder / (name + ".part")).write_bytes(whole[:100])
    assert staged(items, tmp_path / "staging") == [batch]
    assert (batch.folder / name).read_bytes() == whole
    assert not (batch.folder / (name + ".part")).exists()


def test_only_what_cannot_be_linked_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = models(tmp_path / "models", TWO)
    real = os.link

    def link(source: Path, target: Path) -> None:
        if source.samefile(items[1].place):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    (batch,) = staged(items, tmp_path / "staging")
    assert [(unit.zipped, [e.path for e in unit.entries]) for unit in batch.units if unit.entries] == [
        (False, ["checkpoints/x.safetensors"]),
        (True, ["loras/style/y.safetensors"]),
    ]


@pytest.mark.usefixtures("no_links")
def test_room_for_the_zips_is_looked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5000))
    with pytest.raises(NeedsSetup, match="GB are free"):
        staged(models(tmp_path / "models", TWO), tmp_path / "staging")
    assert not list((tmp_path / "staging").glob("*.zip*"))


@pytest.mark.usefixtures("no_links")
def test_a_file_that_is_not_what_was_told_is_not_packed(tmp_path: Path) -> None:
    items = models(tmp_path / "models", TWO)
    wrong = [replace(items[0], sha256=hashlib.sha256(b"").hexdigest()), items[1]]
    with pytest.raises(BadInput, match="changed"):
        staged(wrong, tmp_path / "staging")
    assert not list((tmp_path / "staging").glob("*.zip*"))


# -- cleaning up, progress, cancelling -------------------------------------------------------------------


def test_cleaning_up_removes_what_we_made_and_leaves_the_models(tmp_path: Path) -> None:
    items = models(tmp_path / "models", TWO)
    staged(items, tmp_path / "staging")
    (tmp_path / "staging" / "mine.txt").write_text("mine")
    clean_up(tmp_path / "staging")
    assert listed(tmp_path / "staging") == ["mine.txt"]
    assert [item.place.read_bytes() for item in items] == list(TWO.values())
    (tmp_path / "staging" / "mine.txt").unlink()
    staged(items, tmp_path / "staging")
    clean_up(tmp_path / "staging")
    assert not (tmp_path / "staging").exists()
    clean_up(tmp_path / "staging")


def test_a_file_of_somebody_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging" / "checkpoints__x.safetensors").write_bytes(b"not ours")
    with pytest.raises(BadInput, match="not from here"):
        staged(models(tmp_path / "models", TWO), tmp_path / "staging")
    clean_up(tmp_path / "staging")
    assert tree(tmp_path / "staging") == {"checkpoints__x.safetensors": b"not ours"}


def test_a_record_that_was_tampered_with_removes_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"!")
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging" / "comfy-staging.json").write_text(json.dumps(["../precious", "..", "", 3]))
    clean_up(tmp_path / "staging")
    assert (tmp_path / "precious").exists()


def test_what_another_staging_left_goes(tmp_path: Path) -> None:
    items = models(tmp_path / "models", TWO)
    staged(items, tmp_path / "staging")
    (batch,) = staged(items[1:], tmp_path / "staging")
    assert listed(tmp_path / "staging") == sorted(
        [*(unit.name for unit in batch.units), "comfy-staging.json"]
    )


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_after_a_kill_it_is_staged_again_and_cleaned_up_whole(tmp_path: Path) -> None:
    items = models(tmp_path / "models", TWO)
    told = [(str(item.path), str(item.place), item.size) for item in items]
    ran = subprocess.run([sys.executable, "-c", KILLED, json.dumps(told), str(tmp_path / "staging")])
    assert ran.returncode == -signal.SIGKILL
    assert any(item.place.stat().st_nlink == 2 for item in items)
    shutil.copytree(tmp_path / "staging", tmp_path / "left")
    clean_up(tmp_path / "left")
    assert not (tmp_path / "left").exists()
    (batch,) = staged(items, tmp_path / "staging")
    assert listed(tmp_path / "staging") == sorted(
        [*(unit.name for unit in batch.units), "comfy-staging.json"]
    )


async def test_hashing_tells_how_far_it_is_and_known_hashes_are_believed(tmp_path: Path) -> None:
    items = models(tmp_path / "models", {"vae/x.pt": bytes(3 << 20)})
    states: list[SendState] = []
    await stage(items, tmp_path / "staging", on_state=states.append)
    await asyncio.sleep(0)
    assert states
    assert {state.phase for state in states} == {Phase.STAGING}
    assert states[-1].total_bytes == 3 << 20
    states.clear()
    known = [replace(items[0], sha256=sha256(bytes(3 << 20)).upper())]
    (batch,) = await stage(known, tmp_path / "staging", on_state=states.append)
    assert not states
    assert batch.entries[0].sha256 == sha256(bytes(3 << 20))


@pytest.mark.usefixtures("no_links")
async def test_packing_counts_too(tmp_path: Path) -> None:
    items = models(tmp_path / "models", {"vae/x.pt": bytes(3 << 20)}, hashed=True)
    states: list[SendState] = []
    await stage(items, tmp_path / "staging", on_state=states.append)
    await asyncio.sleep(0)
    assert states[0].done_bytes < states[0].total_bytes == 3 << 20


async def test_cancelling_ends_the_hashing(tmp_path: Path) -> None:
    place = tmp_path / "endless.bin"
    with place.open("wb") as file:
        file.truncate(1 << 40)
    begun = asyncio.Event()
    item = Item(PurePosixPath("vae/x.pt"), place, 1 << 40)
    staging = asyncio.create_task(stage([item], tmp_path / "staging", on_state=lambda state: begun.set()))
    await begun.wait()
    staging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await staging
    clean_up(tmp_path / "staging")
    assert not (tmp_path / "staging").exists()
