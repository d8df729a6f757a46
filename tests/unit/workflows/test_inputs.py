"""Which files travel with a workflow: those handed over and those of ComfyUI's folders, and no other one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BadInput
from app.workflows.inputs import ComfyFolders, file_below, gathered, inputs_from, named_in_ui


def prompt(*names: str) -> dict[str, dict[str, Any]]:
    return {"1": {"class_type": "LoadImage", "inputs": dict(enumerate_names(names))}}


def enumerate_names(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(f"image{number}", name) for number, name in enumerate(names)]


def put(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


@pytest.fixture
def comfy(tmp_path: Path) -> Path:
    put(tmp_path / "ComfyUI" / "input", "a.png", "masks/m.png", "both.png")
    put(tmp_path / "ComfyUI" / "output", "o.png", "both.png", "sub/p.png")
    put(tmp_path / "ComfyUI" / "temp", "t.png")
    put(tmp_path, "secret.png", "ComfyUI/models/model.png")
    return tmp_path / "ComfyUI"


def test_comfyuis_own_folders_are_reached_by_the_marks(comfy: Path) -> None:
    flow = prompt("a.png", "masks/m.png [input]", "o.png [output]", "sub/p.png [output]", "t.png [temp]")
    changed, files = gathered(flow, given={}, folders=ComfyFolders.of(comfy))
    assert files == {
        "a.png": comfy / "input" / "a.png",
        "masks/m.png": comfy / "input" / "masks" / "m.png",
        "output/o.png": comfy / "output" / "o.png",
        "output/sub/p.png": comfy / "output" / "sub" / "p.png",
        "temp/t.png": comfy / "temp" / "t.png",
    }
    names = ["a.png", "masks/m.png [input]", "output/o.png", "output/sub/p.png", "temp/t.png"]
    assert list(changed["1"]["inputs"].values()) == names
    assert flow["1"]["inputs"]["image2"] == "o.png [output]"


def test_what_was_handed_over_wins(comfy: Path, tmp_path: Path) -> None:
    mine = put(tmp_path / "mine", "both.png", "o.png") / "both.png"
    flow = prompt("both.png", "both.png [output]", "x/o.png")
    _, files = gathered(
        flow, given={"both.png": mine}, folders=ComfyFolders.of(comfy), roots=[tmp_path / "mine"]
    )
    assert files == {"both.png": mine, "output/both.png": mine}
    _, files = gathered(flow, given={}, folders=ComfyFolders(), roots=[tmp_path / "mine"])
    assert files["both.png"] == mine


STRANGE = [
    "/etc/hostname",
    "../secret.png",
    "masks/../../../secret.png",
    "../models/model.png",
    "..\\secret.png",
    "C:\\Windows\\win.ini",
    "\\\\server\\share\\a.png",
    "//server/share/a.png",
    "~/.ssh/id_rsa",
    "file:///etc/hostname",
    "a.png/",
    "",
    ".",
    "a\0.png",
    "x" * 10_000,
    "secret.png",
    "../secret.png [output]",
    "/etc/hostname [temp]",
]


@pytest.mark.parametrize("name", STRANGE)
def test_no_other_file_is_reached(comfy: Path, name: str) -> None:
    changed, files = gathered(prompt(name), given={}, folders=ComfyFolders.of(comfy))
    assert files == {}
    assert changed == prompt(name)
    assert inputs_from([str(comfy / "input")], prompt(name)) == {}


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_that_leads_out_is_not_followed(comfy: Path, tmp_path: Path) -> None:
    for folder in ("input", "output"):
        (comfy / folder / "link.png").symlink_to(tmp_path / "secret.png")
        (comfy / folder / "out").symlink_to(tmp_path)
    (comfy / "input" / "inner.png").symlink_to(comfy / "input" / "a.png")
    (comfy / "input" / "loop.png").symlink_to(comfy / "input" / "loop.png")
    names = ["link.png", "out/secret.png", "link.png [output]", "out/secret.png [output]", "loop.png"]
    flow = prompt(*names, "inner.png")
    _, files = gathered(flow, given={}, folders=ComfyFolders.of(comfy), roots=[comfy / "input"])
    assert files == {"inner.png": comfy / "input" / "a.png"}
    # What the user names may be a link: that one was looked at.
    chosen = comfy / "input" / "link.png"
    assert gathered(flow, given={"link.png": chosen}, folders=ComfyFolders())[1]["link.png"] == chosen


def test_arguments_name_files_and_folders(comfy: Path, tmp_path: Path) -> None:
    flow = prompt("a.png", "masks/m.png")
    file = put(tmp_path / "mine", "a.png", "m.png") / "a.png"
    assert inputs_from([str(comfy / "input")], flow) == {
        "a.png": comfy / "input" / "a.png",
        "masks/m.png": comfy / "input" / "masks" / "m.png",
    }
    assert inputs_from([str(file), f"masks/m.png={file}"], flow) == {"a.png": file, "masks/m.png": file}
    assert inputs_from([str(tmp_path / "mine" / "m.png")], flow) == {
        "masks/m.png": tmp_path / "mine" / "m.png"
    }
    for argument, why in (
        (str(tmp_path / "secret.png"), "names no input file secret.png"),
        ("nothing", "is no file, no folder"),
        (f"../x.png={file}", "leave its folder"),
        (f"a.png={tmp_path / 'gone'}", "is not there"),
    ):
        with pytest.raises(BadInput, match=why):
            inputs_from([argument], flow)


@settings(max_examples=80, deadline=None)
@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(["..", "a", "/", "\\", "~", "sub", ".", " "])).map("".join)
)
def test_whatever_the_name_a_file_found_lies_in_the_folder(name: str) -> None:
    folder = Path(__file__).parent
    found = file_below(folder, name)
    assert found is None or found.is_relative_to(folder.resolve())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["nodes", "widgets_values", "definitions", "subgraphs", "x"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["nodes", "definitions"]), JSON))
def test_any_browsers_form_has_names(ui: dict[str, Any]) -> None:
    assert all(isinstance(name, str) for name in named_in_ui(ui))
