"""Finding ComfyUI on a disk without running anything of it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from app.comfyui import find
from app.comfyui.find import describe, find_installations

INSIDE = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"


def made(folder: Path, *, python: bool = True) -> Path:
    (folder / "custom_nodes").mkdir(parents=True)
    (folder / "main.py").write_text("raise SystemExit('must not run')")
    if python:
        (folder / "venv" / INSIDE).parent.mkdir(parents=True)
        (folder / "venv" / INSIDE).write_text("")
    return folder


def test_all_there_is_to_say(tmp_path: Path) -> None:
    folder = made(tmp_path / "ComfyUI")
    (folder / "comfyui_version.py").write_text('# generated\n__version__ = "0.3.64"\nraise SystemExit\n')
    for name in ("pack", "other", "off.disabled", ".git", "__pycache__"):
        (folder / "custom_nodes" / name).mkdir()
    for name in ("one.py", "example_node.py.example", "notes.txt"):
        (folder / "custom_nodes" / name).write_text("")
    (folder / "models" / "loras").mkdir(parents=True)
    (folder / "models" / "a.safetensors").write_bytes(b"x" * 1000)
    (folder / "models" / "loras" / "b.safetensors").write_bytes(b"x" * 234)
    found = describe(folder)
    assert (found.version, found.custom_nodes, found.models_bytes) == ("0.3.64", 3, 1234)
    assert (found.folder, found.python, found.problem) == (folder, folder / "venv" / INSIDE, "")


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("comfyui_version.py", "__version__ = '1.2.3'", "1.2.3"),
        ("pyproject.toml", '[project]\nname = "ComfyUI"\nversion = "0.4.0"\n', "0.4.0"),
        ("pyproject.toml", "[project]\n", None),
        ("comfyui_version.py", "__version__ = compute()", None),
        ("comfyui_version.py", "\udcff\x00", None),
    ],
)
def test_its_version_is_read_not_run(tmp_path: Path, name: str, text: str, version: str | None) -> None:
    folder = made(tmp_path / "ComfyUI")
    (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert describe(folder).version == version


def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path) -> None:
    assert "no main.py" in describe(tmp_path).problem
    assert "no main.py" in describe(tmp_path / "nowhere").problem
    assert "No Python environment" in describe(made(tmp_path / "ComfyUI", python=False)).problem
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / ("n" * 300)):
        found = describe(path)
        assert found.problem
        assert (found.version, found.custom_nodes, found.models_bytes) == (None, 0, None)


def test_too_many_models_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(tmp_path / "ComfyUI")
    (folder / "models").mkdir()
    assert describe(folder).models_bytes == 0
    for number in range(4):
        (folder / "models" / str(number)).write_text("x")
    assert describe(folder).models_bytes == 4
    monkeypatch.setattr(find, "_MAX_FILES", 3)
    assert describe(folder).models_bytes is None


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_models_that_link_to_themselves_end(tmp_path: Path) -> None:
    folder = made(tmp_path / "ComfyUI")
    (folder / "models").mkdir()
    (folder / "models" / "again").symlink_to(folder / "models")
    assert describe(folder).models_bytes == 0


def test_the_usual_places_are_looked_at(tmp_path: Path) -> None:
    places = ["ComfyUI", "Documents/ComfyUI", "src/ComfyUI", "ComfyUI_windows_portable/ComfyUI"]
    folders = {made(tmp_path / place) for place in places}
    made(tmp_path / "code" / "ComfyUI", python=False)
    (tmp_path / "git" / "ComfyUI").mkdir(parents=True)
    found = find_installations(tmp_path)
    assert {each.folder for each in found if not each.problem} == folders
    assert [each.folder for each in found if each.problem] == [tmp_path / "code" / "ComfyUI"]
    assert found[-1].problem


def test_each_is_named_once(tmp_path: Path) -> None:
    folder = made(tmp_path / "ComfyUI")
    note = tmp_path / ".config" / "ComfyUI" / "config.json"
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps({"basePath": str(folder)}))
    assert [each.folder for each in find_installations(tmp_path)] == [folder]


@pytest.mark.parametrize("note", ["", "[]", '{"basePath": 5}', '{"basePath": "\\u0000"}', "[" * 100_000])
def test_a_spoilt_note_of_comfy_desktop_is_no_hindrance(tmp_path: Path, note: str) -> None:
    path = tmp_path / ".config" / "ComfyUI" / "config.json"
    path.parent.mkdir(parents=True)
    path.write_text(note)
    assert find_installations(tmp_path) == []


def test_comfy_desktops_folder_is_found(tmp_path: Path) -> None:
    folder = made(tmp_path / "elsewhere" / "ComfyUI")
    path = tmp_path / "AppData" / "Roaming" / "ComfyUI" / "config.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"basePath": str(folder.parent)}))
    assert [each.folder for each in find_installations(tmp_path)] == [folder]


def test_it_is_quick(tmp_path: Path) -> None:
    started = time.monotonic()
    find_installations()
    find_installations(tmp_path / "nowhere")
    assert time.monotonic() - started < 3
