"""The pod's side, end to end: staged files are copied as croc does, and the real script runs as a process."""

from __future__ import annotations

import ast
import errno
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadInput
from app.files import resource
from app.sync.runpodctl.model import Batch
from app.sync.runpodctl.names import checked_path
from tests.unit.sync.runpodctl_made import extract, extract_as_process, models, receive, sha256, staged, tree

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the script is for pods")

LONG = "w" * 187 + ".safetensors"
ODD = {
    "checkpoints/two words.safetensors": b"a" * 100_000,
    "checkpoints/#1 (x) & 'y' $HOME *.pt": b"b",
    "loras/ü/grün.safetensors": b"c" * 70,
    f"loras/{LONG}": b"d" * 70,
    ".hidden/.dot": b"e",
    "vae/Twin.pt": b"f",
    "vae/twin.pt": b"g",
    "empty.bin": b"",
    "-rf": b"h",
}
TWO = {"checkpoints/x.safetensors": b"x" * 200_000, "loras/y.safetensors": b"y" * 300}


def no_link(source: object, target: object) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


@pytest.fixture(params=["links", "zips"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "zips":
        monkeypatch.setattr(os, "link", no_link)
    return str(request.param)


def sent(tmp_path: Path, contents: dict[str, bytes], **limits: int) -> tuple[list[Batch], Path, Path]:
    """The batches, the folder on the pod in which they were received, and a models folder there."""
    batches = staged(models(tmp_path / "models", contents), tmp_path / "staging", **limits)
    for batch in batches:
        receive(batch, tmp_path / "pod")
    return batches, tmp_path / "pod", tmp_path / "volume" / "comfyui" / "models"


def data_name(batch: Batch, path: str) -> str:
    return next(unit.name for unit in batch.units if path in [entry.path for entry in unit.entries])


def lines(text: str) -> dict[str, str]:
    """The word of each line by what the line is about."""
    return {line[10:].split(":")[0]: line[:10].strip() for line in text.splitlines()}


# -- what arrives ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("kind")
def test_every_name_arrives_with_its_bytes_and_a_second_run_changes_nothing(tmp_path: Path) -> None:
    (batch,), inbox, target = sent(tmp_path, ODD)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    status, text = extract_as_process(inbox, batch, target, cwd=elsewhere)
    assert status == 0, text
    assert tree(target) == ODD
    assert not tree(elsewhere)
    assert set(lines(text).values()) <= {"ok", "done", "note"}
    assert text.count("ok  ") == len(ODD)
    status, text = extract_as_process(inbox, batch, target)
    assert status == 0, text
    assert "9 there already" in text
    assert tree(target) == ODD


def test_links_are_moved_and_zips_stay(kind: str, tmp_path: Path) -> None:
    (batch,), inbox, target = sent(tmp_path, TWO)
    name = data_name(batch, "checkpoints/x.safetensors")
    inode = (inbox / name).stat().st_ino
    assert extract(inbox, batch, target)[0] == 0
    if kind == "links":
        assert not (inbox / name).exists()
        assert (target / "checkpoints/x.safetensors").stat().st_ino == inode
    else:
        assert (inbox / name).exists()
    # The models here are untouched in either case.
    assert set(tree(tmp_path / "models").values()) == set(TWO.values())


@pytest.mark.usefixtures("kind")
def test_several_batches_and_a_missing_one_is_named(tmp_path: Path) -> None:
    many = {f"loras/{number}.pt": bytes([number]) * 50 for number in range(5)}
    batches = staged(
        models(tmp_path / "models", many), tmp_path / "staging", files=2, zip_bytes=60, batch_bytes=2000
    )
    assert len(batches) == 3
    inbox, target = tmp_path / "pod", tmp_path / "models on the pod"
    for batch in (batches[0], batches[2]):
        receive(batch, inbox)
    status, text = extract(inbox, batches[0], target)
    assert status == 1
    assert "MISSING   batch 2 of 3: it was not received here" in text
    assert len(tree(target)) == 3
    receive(batches[1], inbox)
    status, text = extract(inbox, batches[1], target)
    assert status == 0, text
    assert tree(target) == many


def test_another_sending_in_the_same_folder_is_left_alone(tmp_path: Path) -> None:
    old = staged(models(tmp_path / "old", {f"vae/{n}.pt": b"o" for n in "ab"}), tmp_path / "s", files=1)
    receive(old[0], tmp_path / "pod")
    (batch,), inbox, target = sent(tmp_path, TWO)
    status, text = extract(inbox, batch, target)
    assert status == 0, text
    assert tree(target) == TWO


# -- what is broken --------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut off", "longer", "a byte", "zeros", "gone"])
def test_a_damaged_file_leaves_nothing_at_the_target(damage: str, kind: str, tmp_path: Path) -> None:
    (batch,), inbox, target = sent(tmp_path, {"checkpoints/x.safetensors": b"x" * 200_000})
    path = inbox / data_name(batch, "checkpoints/x.safetensors")
    data = bytearray(path.read_bytes())
    if damage == "cut off":
        path.write_bytes(data[:-70_000])
    elif damage == "longer":
        # What follows a zip does not harm it.
        path.write_bytes(data + b"!" if kind == "links" else b"!" * 70_000)
    elif damage == "a byte":
        data[100_000] ^= 1
        path.write_bytes(data)
    elif damage == "zeros":
        # As croc leaves it: the whole length, and blocks that never came.
        path.write_bytes(data[:65_536] + bytes(len(data) - 65_536))
    else:
        path.unlink()
    status, text = extract(inbox, batch, target)
    assert status == 1
    assert lines(text)["checkpoints/x.safetensors"] == ("MISSING" if damage == "gone" else "BAD")
    assert tree(target) == {}


def test_a_batch_that_is_not_whole_waits_unless_told_otherwise(tmp_path: Path) -> None:
    (batch,), inbox, target = sent(tmp_path, TWO)
    name = data_name(batch, "loras/y.safetensors")
    (inbox / name).write_bytes(b"y" * 299 + b"z")
    status, text = extract(inbox, batch, target)
    assert status == 1
    assert lines(text)["checkpoints/x.safetensors"] == "WAITS"
    assert tree(target) == {}
    # So that the transfer goes on with it.
    assert (inbox / data_name(batch, "checkpoints/x.safetensors")).exists()
    status, text = extract(inbox, batch, target, "--partial")
    assert status == 1
    assert tree(target) == {"checkpoints/x.safetensors": TWO["checkpoints/x.safetensors"]}
    receive(batch, inbox)
    assert extract(inbox, batch, target)[0] == 0
    assert tree(target) == TWO


@pytest.mark.usefixtures("kind")
def test_another_file_is_a_conflict_and_replaced_only_when_told(tmp_path: Path) -> None:
    (batch,), inbox, target = sent(tmp_path, TWO)
    (target / "loras").mkdir(parents=True)
    (target / "loras" / "y.safetensors").write_bytes(b"other")
    (target / "loras" / "z.safetensors").write_bytes(b"mine")
    status, text = extract(inbox, batch, target)
    assert status == 1
    assert lines(text)["loras/y.safetensors"] == "CONFLICT"
    assert tree(target) == {
        "checkpoints/x.safetensors": TWO["checkpoints/x.safetensors"],
        "loras/y.safetensors": b"other",
        "loras/z.safetensors": b"mine",
    }
    status, text = extract(inbox, batch, target, "--overwrite")
    assert status == 0, text
    assert tree(target) == {**TWO, "loras/z.safetensors": b"mine"}


def test_a_folder_in_the_way_and_a_file_as_a_folder_are_told(tmp_path: Path) -> None:
    (batch,), inbox, target = sent(tmp_path, TWO)
    (target / "loras" / "y.safetensors").mkdir(parents=True)
    (target / "checkpoints").write_bytes(b"a file")
    status, text = extract(inbox, batch, target, "--overwrite")
    assert status == 1
    assert lines(text)["loras/y.safetensors"] == "CONFLICT"
    assert tree(target) == {"checkpoints": b"a file"}


# -- where to --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [["--target", "relative/models"], ["--target"], ["--delete"]])
def test_a_target_that_is_no_absolute_path_is_refused(options: list[str], tmp_path: Path) -> None:
    (batch,), inbox, target = sent(tmp_path, TWO)
    assert extract(inbox, batch, target, *options)[0] == 2
    assert not target.exists()


#: What the script defines; read so that no compiled copy comes to lie beside it.
SCRIPT = SimpleNamespace(**runpy.run_path(str(resource("extract", "extract_models.py"))))


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (("runpod-volume", "workspace"), "runpod-volume"),
        (("workspace",), "workspace"),
        ((), None),
    ],
)
def test_the_volume_is_found_where_runpod_mounts_it(
    there: tuple[str, ...], chosen: str | None, tmp_path: Path
) -> None:
    """The script with other places in it, since a test cannot make folders at the root."""
    (batch,), inbox, _ = sent(tmp_path, TWO)
    for name in there:
        (tmp_path / name).mkdir()
    script = inbox / batch.script
    text = script.read_text("utf-8")
    for name in ("runpod-volume", "workspace"):
        text = text.replace(f'("/{name}"', f'("{tmp_path}/{name}"')
    script.write_text(text, "utf-8")
    ran = subprocess.run([sys.executable, "-I", str(script)], capture_output=True, text=True)
    assert ran.returncode == (0 if chosen else 2)
    if chosen:
        assert tree(tmp_path / chosen / "comfyui" / "models") == TWO


def test_the_script_is_for_python_3_8_and_its_places_are_those_of_runpod() -> None:
    text = resource("extract", "extract_models.py").read_text("utf-8")
    ast.parse(text, feature_version=(3, 8))
    assert [f"{volume}/{models}" for volume, models in SCRIPT.PLACES] == [
        "/runpod-volume/comfyui/models",
        "/workspace/comfyui/models",
    ]


# -- what is hostile -------------------------------------------------------------------------------------

BAD_PATHS = [
    "/etc/passwd", "../x", "a/../../x", "a/./b", "..", ".", "", "a//b", "a\\b", "..\\x", "C:/x", "c:x",
    "a\x00b", "a\nb", "a/", "x" * 300, "\ud800",
]  # fmt: skip


def rewritten(inbox: Path, batch: Batch, change: Callable[[dict[str, Any]], None]) -> None:
    path = inbox / f"comfy-{batch.set_id}-1-of-1.json"
    raw = json.loads(path.read_text("utf-8"))
    change(raw)
    path.write_text(json.dumps(raw), "utf-8")


def test_a_list_with_paths_that_leave_the_folder_lays_nothing_down(kind: str, tmp_path: Path) -> None:
    (batch,), inbox, target = sent(tmp_path, {f"loras/{n}.pt": bytes([n]) for n in range(len(BAD_PATHS))})

    def change(raw: dict[str, Any]) -> None:
        entries = raw["files"] if kind == "links" else raw["zips"][0]["files"]
        for entry, path in zip(entries, BAD_PATHS, strict=True):
            entry["path"] = path

    rewritten(inbox, batch, change)
    before = tree(tmp_path)
    status, text = extract(inbox, batch, target, "--overwrite", "--partial")
    assert status == 1
    assert text.count("REFUSED   ") >= len(BAD_PATHS)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["../staging/x", "/etc/passwd", "", ".", "..", None, 3, "a b", "-x"])
def test_a_list_that_names_files_elsewhere_is_refused(name: object, tmp_path: Path) -> None:
    (batch,), inbox, target = sent(tmp_path, {"loras/x.pt": b"x"})
    rewritten(inbox, batch, lambda raw: raw["files"][0].update(name=name))
    status, text = extract(inbox, batch, target)
    assert status == 1
    assert "REFUSED" in text
    assert tree(target) == {}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 2}', '{"version": 1, "files": 3, "zips": []}', "[" * 100_000, "\xff",
     '{"version": 1, "files": [], "zips": [3]}', '{"version": 1, "files": [3, null, []], "zips": []}',
     '{"version": 1, "files": [{"path": "x", "size": true, "sha256": "x"}], "zips": []}',
     '{"version": 1, "files": [{"path": "x", "size": 1, "sha256": 5}], "zips": [{"files": [1]}]}'],
)  # fmt: skip
def test_a_list_that_is_none_is_told(text: str, tmp_path: Path) -> None:
    (batch,), inbox, target = sent(tmp_path, {"loras/x.pt": b"x"})
    (inbox / f"comfy-{batch.set_id}-1-of-1.json").write_bytes(text.encode("latin-1"))
    status, out = extract(inbox, batch, target)
    assert status == 1
    assert "Traceback" not in out
    assert tree(target) == {}


@pytest.mark.parametrize("place", ["folder", "inner folder", "file"])
@pytest.mark.usefixtures("kind")
def test_a_symbolic_link_that_leads_out_of_the_target_is_not_followed(place: str, tmp_path: Path) -> None:
    (batch,), inbox, target = sent(tmp_path, {"loras/style/y.safetensors": b"y"})
    outside = tmp_path / "outside"
    outside.mkdir()
    if place == "folder":
        target.mkdir(parents=True)
        (target / "loras").symlink_to(outside)
    elif place == "inner folder":
        (target / "loras").mkdir(parents=True)
        (target / "loras" / "style").symlink_to("../../../../outside")
    else:
        (target / "loras" / "style").mkdir(parents=True)
        (target / "loras" / "style" / "y.safetensors").symlink_to(outside / "new")
    status, text = extract(inbox, batch, target, "--overwrite")
    assert status == 1
    assert "REFUSED" in text
    assert tree(outside) == {}


def test_a_symbolic_link_inside_and_one_that_is_the_target_are_fine(tmp_path: Path) -> None:
    (batch,), inbox, _ = sent(tmp_path, {"loras/y.safetensors": b"y"})
    real = tmp_path / "real"
    (real / "styles").mkdir(parents=True)
    (real / "loras").symlink_to("styles")
    target = tmp_path / "link"
    target.symlink_to(real)
    status, text = extract(inbox, batch, target)
    assert status == 0, text
    assert (real / "styles" / "y.safetensors").read_bytes() == b"y"


def test_a_received_file_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (batch,), inbox, target = sent(tmp_path, {"loras/y.safetensors": b"y"})
    (tmp_path / "secret").write_bytes(b"y")
    name = data_name(batch, "loras/y.safetensors")
    (inbox / name).unlink()
    (inbox / name).symlink_to(tmp_path / "secret")
    assert extract(inbox, batch, target)[0] == 1
    assert tree(target) == {}


MEMBERS = [
    "../evil",
    "/evil",
    "loras/../../evil",
    "..\\evil",
    "loras/evil.pt",
    "loras/y.safetensors\0x",
    "d/",
]


@pytest.mark.parametrize("member", MEMBERS)
def test_a_zip_with_more_than_is_listed_is_refused(
    member: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", no_link)
    (batch,), inbox, target = sent(tmp_path, {"loras/y.safetensors": b"y"})
    with zipfile.ZipFile(inbox / data_name(batch, "loras/y.safetensors"), "a") as packed:
        info = zipfile.ZipInfo("placeholder")
        info.filename = info.orig_filename = member
        packed.writestr(info, b"evil")
    before = tree(tmp_path)
    status, text = extract(inbox, batch, target, "--partial", "--overwrite")
    assert status == 1
    assert "REFUSED" in text
    assert tree(tmp_path) == before


@pytest.mark.parametrize("trick", ["deflated", "size", "twice", "missing", "symlink"])
def test_a_zip_that_is_not_as_packed_is_not_taken(
    trick: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", no_link)
    (batch,), inbox, target = sent(tmp_path, {"loras/y.safetensors": b"y" * 99, "vae/x.pt": b"x"})
    path = inbox / data_name(batch, "loras/y.safetensors")
    method = zipfile.ZIP_DEFLATED if trick == "deflated" else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as packed:
        info = zipfile.ZipInfo("loras/y.safetensors")
        info.compress_type = method
        if trick == "symlink":
            info.external_attr = 0o120777 << 16
        packed.writestr(
            info, b"/etc/passwd" if trick == "symlink" else b"y" * (98 if trick == "size" else 99)
        )
        if trick == "twice":
            with pytest.warns(UserWarning, match="Duplicate"):
                packed.writestr("loras/y.safetensors", b"y" * 99)
        if trick != "missing":
            packed.writestr("vae/x.pt", b"x")
    status, text = extract(inbox, batch, target, "--partial")
    assert status == 1
    assert "Traceback" not in text
    assert tree(target) == {}


_ANY = st.text(max_size=30) | st.lists(
    st.sampled_from(["..", ".", "", "a", "b\\", "C:", "~", "ü", "\x00", "-"]), max_size=5
).map("/".join)


@given(_ANY)
def test_a_path_that_the_script_takes_stays_below_the_target(path: str) -> None:
    try:
        SCRIPT.checked_path(path)
    except SCRIPT.Problem:
        return
    place = os.path.normpath(os.path.join("/models", path))  # noqa: PTH118
    assert place.startswith("/models/")
    assert place == f"/models/{path}"


@given(_ANY)
def test_the_app_sends_no_path_that_the_script_refuses(path: str) -> None:
    try:
        text = checked_path(PurePosixPath(path))
    except BadInput:
        return
    assert SCRIPT.checked_path(text) == text


def test_a_half_written_copy_is_taken_up_and_none_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", no_link)
    (batch,), inbox, target = sent(tmp_path, {"loras/y.safetensors": b"y" * 99})
    (target / "loras").mkdir(parents=True)
    (target / "loras" / f"y.safetensors.{sha256(b'y' * 99)[:8]}.part").write_bytes(b"old" * 99)
    (target / "loras" / "y.safetensors.part").write_bytes(b"of another program")
    assert extract(inbox, batch, target)[0] == 0
    assert tree(target) == {
        "loras/y.safetensors": b"y" * 99,
        "loras/y.safetensors.part": b"of another program",
    }


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no second file system")
def test_from_another_file_system_files_are_copied(tmp_path: Path) -> None:
    other = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        (batch,), inbox, _ = sent(tmp_path, TWO)
        status, text = extract(inbox, batch, other / "models")
        assert status == 0, text
        assert tree(other / "models") == TWO
        assert (inbox / data_name(batch, "loras/y.safetensors")).exists()
    finally:
        shutil.rmtree(other)
