"""Locking with real uv, and packages of a few bytes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comfyui.environments import Uv
from app.errors import BadInput
from app.image.lock import LOCK, TORCH_LOCK, Conflict, Wants, is_fresh, lock, pins_in, read_lock, wants_of
from app.image.model import Manifest, NodePin, Torch
from app.image.requirements import asked_by, requirement_of
from tests.unit.comfyui.made import only_these, uv, wheel

PIN = NodePin("comfyui", "https://example.org/ComfyUI.git", "a" * 40)
MANIFEST = Manifest(PIN, torch=Torch("2.8.0"))
COMFYUI = Wants("ComfyUI", ("torch", "pictures>=1", "numbers-lib"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    wheels = tmp_path / "wheels"
    wheel(wheels, "torch", "2.8.0", ["nvidia-part"])
    wheel(wheels, "torch", "2.9.0")
    for name, version in (("nvidia-part", "1.0"), ("pictures", "1.0"), ("pictures", "2.0")):
        wheel(wheels, name, version)
    for version in ("1.0", "2.0", "3.0"):
        wheel(wheels, "numbers-lib", version)
    only_these(monkeypatch, wheels, tmp_path / "cache")
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


async def test_all_are_locked_together_and_torch_by_itself(folder: Path) -> None:
    wants = [Wants("torch", ("torch==2.8.0",)), COMFYUI, Wants("Some_Pack", ("numbers-lib<3",))]
    made = await lock(Uv(uv()), MANIFEST, wants, folder)
    assert made.packages == {
        "torch": "2.8.0", "nvidia-part": "1.0", "pictures": "2.0", "numbers-lib": "2.0"
    }  # fmt: skip
    assert pins_in((folder / TORCH_LOCK).read_text()) == {"torch": "2.8.0", "nvidia-part": "1.0"}
    text = (folder / LOCK).read_text()
    assert text.count("--hash=sha256:") == 4
    # Who wants what can be read in the lock; how we asked uv cannot.
    assert "via comfyui, some-pack" in text
    assert "of-image" not in text
    again = read_lock(folder)
    assert again == made
    assert is_fresh(again, MANIFEST)
    assert not is_fresh(again, replace(MANIFEST, python="3.13"))


async def test_a_conflict_says_who_wants_what(folder: Path) -> None:
    wants = [COMFYUI, Wants("Old Pack", ("numbers-lib<2",)), Wants("New_Pack", ("numbers-lib>=3",))]
    with pytest.raises(Conflict) as caught:
        await lock(Uv(uv()), MANIFEST, wants, folder)
    told = caught.value.summary
    assert "Old Pack wants numbers-lib<2" in told
    assert "New_Pack wants numbers-lib>=3" in told
    assert "of-image" not in " ".join([told, *caught.value.details["explanation"]])
    # What was locked before is not lost by that.
    assert not (folder / LOCK).exists()


async def test_an_override_settles_it(folder: Path) -> None:
    wants = [COMFYUI, Wants("Old Pack", ("numbers-lib<2",)), Wants("New_Pack", ("numbers-lib>=3",))]
    made = await lock(Uv(uv()), replace(MANIFEST, overrides=("numbers-lib==2.0",)), wants, folder)
    assert made.packages["numbers-lib"] == "2.0"


async def test_versions_stay_as_they_were_or_are_here_where_that_suits(folder: Path) -> None:
    wants = [COMFYUI]
    made = await lock(Uv(uv()), MANIFEST, wants, folder, prefer={"pictures": "1.0", "numbers-lib": "9.9"})
    assert (made.packages["pictures"], made.packages["numbers-lib"]) == ("1.0", "3.0")
    again = await lock(Uv(uv()), MANIFEST, wants, folder)
    assert again.packages["pictures"] == "1.0"
    newest = await lock(Uv(uv()), MANIFEST, wants, folder, upgrade=True)
    assert newest.packages["pictures"] == "2.0"


def test_half_a_lock_is_none(tmp_path: Path) -> None:
    assert read_lock(tmp_path) is None
    (tmp_path / LOCK).write_text(f"# manifest: {'a' * 64}\n")
    (tmp_path / TORCH_LOCK).write_text(f"# manifest: {'b' * 64}\n")
    assert read_lock(tmp_path) is None


@pytest.mark.parametrize(
    ("line", "becomes"),
    [
        ("numpy >= 1.25 ; python_version > '3'", "numpy >= 1.25 ; python_version > '3'"),
        ("torch --hash=sha256:aa", "torch"),
        ("git+https://example.org/a.git@main#egg=a", "a @ git+https://example.org/a.git@main"),
        ("a @ git+https://example.org/a.git", "a @ git+https://example.org/a.git"),
    ],
)
def test_lines_become_requirements(line: str, becomes: str) -> None:
    assert requirement_of(line, "Pack") == becomes


@pytest.mark.parametrize(
    "line",
    [
        "./local",
        "-e .",
        "git+https://example.org/a.git",
        "a @ file:///etc",
        "a @ git+ssh://x/y",
        "==1",
        "a=<1",
    ],
)
def test_what_cannot_be_locked_names_who_wants_it(line: str) -> None:
    with pytest.raises(BadInput, match="Pack asks for"):
        requirement_of(line, "Pack")


def test_files_are_read_with_what_they_include(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("scipy\n--extra-index-url https://example.org\n")
    (tmp_path / "requirements.txt").write_text(
        "\ufeffnumpy>=1  # why\n\n# nothing\n-r more.txt\naccelerate \\\n  >=1\nnumpy>=1\n", encoding="utf-8"
    )
    asked = asked_by(tmp_path, "Pack")
    assert asked.requirements == ("numpy>=1", "scipy", "accelerate >=1")
    assert asked.passed_over == ("--extra-index-url https://example.org",)


@pytest.mark.parametrize("other", ["../other.txt", "requirements.txt", "/etc/passwd"])
def test_no_file_outside_and_no_circle_is_read(tmp_path: Path, other: str) -> None:
    (tmp_path / "other.txt").write_text("secret\n")
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "requirements.txt").write_text(f"-r {other}\n")
    with pytest.raises(BadInput, match="cannot be used"):
        asked_by(folder, "Pack")


def test_a_comfyui_without_requirements_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no ComfyUI"):
        wants_of(MANIFEST, {"comfyui": tmp_path})


@given(st.binary(max_size=400))
def test_any_file_is_requirements_or_refused(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    folder = tmp_path_factory.mktemp("pack")
    (folder / "requirements.txt").write_bytes(raw)
    with suppress(BadInput):
        assert all(each.strip() for each in asked_by(folder, "Pack").requirements)
