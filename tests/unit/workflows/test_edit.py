"""`--set NODE.INPUT=VALUE` and `--image NAME=PATH|DIR`."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest

from app.errors import BadInput
from app.workflows import inputs_from, set_values

PROMPT: dict[str, dict[str, Any]] = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "cfg": 7.5, "model": ["4", 0], "on": True}},
    "4": {"class_type": "Loader", "inputs": {"name": "a.safetensors"}, "_meta": {"title": "My model"}},
    "75:12.5": {"class_type": "Text", "inputs": {"text": "a"}, "_meta": {"title": "v1.5 text"}},
    "8": {"class_type": "Resize", "inputs": {"resize_type": "scale", "resize_type.width": 64}},
    "9": {"class_type": "Save", "inputs": {"prefix": "x"}, "_meta": ["no object"]},
    "10": {"class_type": "Save", "inputs": {"prefix": "y"}, "_meta": {"title": "3"}},
}


@pytest.mark.parametrize(
    ("change", "node", "key", "value"),
    [
        ("3.seed=42", "3", "seed", 42),
        ("KSampler.cfg=1e1", "3", "cfg", 10.0),
        ("3.on=false", "3", "on", False),
        ('3.model=["5", 1]', "3", "model", ["5", 1]),
        ("3.seed=a text", "3", "seed", "a text"),
        ("3.seed=", "3", "seed", ""),
        ("3.seed=" + "[" * 100_000, "3", "seed", "[" * 100_000),
        ("My model.name=b=c.safetensors", "4", "name", "b=c.safetensors"),
        ("4.name=12", "4", "name", "12"),
        ("75:12.5.text=42", "75:12.5", "text", "42"),
        ("v1.5 text.text=hello. world", "75:12.5", "text", "hello. world"),
        ("8.resize_type.width=128", "8", "resize_type.width", 128),
        ("8.resize_type=crop", "8", "resize_type", "crop"),
        ("10.prefix=z", "10", "prefix", "z"),
    ],
)
def test_one_value_is_changed_and_nothing_else(change: str, node: str, key: str, value: object) -> None:
    before = copy.deepcopy(PROMPT)
    changed = set_values(PROMPT, [change])
    assert before == PROMPT
    assert changed[node]["inputs"][key] == value
    assert type(changed[node]["inputs"][key]) is type(value)
    changed[node]["inputs"][key] = before[node]["inputs"][key]
    assert changed == before


def test_changes_come_one_after_the_other() -> None:
    assert set_values(PROMPT, ["3.seed=5", "KSampler.seed=6"])["3"]["inputs"]["seed"] == 6
    assert set_values(PROMPT, []) == PROMPT


@pytest.mark.parametrize(
    ("change", "why", "hint"),
    [
        ("nonsense", "NODE.INPUT=VALUE", ""),
        ("3=5", "NODE.INPUT=VALUE", ""),
        (".seed=5", "NODE.INPUT=VALUE", ""),
        ("3.=5", "NODE.INPUT=VALUE", ""),
        ("3.seed", "NODE.INPUT=VALUE", ""),
        ("7.seed=5", "no node '7'", "3 (KSampler)"),
        ("3.sed=5", "no input 'sed'", "seed, cfg"),
        ("8.resize_type.height=5", "no input 'resize_type.height'", "resize_type.width"),
        ("Save.prefix=5", "2 nodes are called 'Save'", "9, 10"),
    ],
)
def test_what_cannot_be_changed_names_the_choices(change: str, why: str, hint: str) -> None:
    with pytest.raises(BadInput) as caught:
        set_values(PROMPT, [change])
    assert why in str(caught.value)
    assert hint in caught.value.hint


def loads(*names: str) -> dict[str, Any]:
    return {str(n): {"class_type": "Load", "inputs": {"image": name}} for n, name in enumerate(names)}


def test_inputs_are_found_by_name_and_in_folders(tmp_path: Path) -> None:
    for name in ("a.png", "masks/m.png", "unused.png", "own.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    prompt = loads("a.png [input]", "masks/m.png", "other.png", "../escape.png", "/etc/passwd", "C:\\x")
    prompt["n"] = {"class_type": "Number", "inputs": {"n": 5, "link": ["1", 0]}}
    found = inputs_from(
        [str(tmp_path), f"other.png={tmp_path}/own.bin", f"a=b={tmp_path}/own.bin"][:2], prompt
    )
    assert found == {
        "a.png": tmp_path / "a.png",
        "masks/m.png": tmp_path / "masks" / "m.png",
        "other.png": tmp_path / "own.bin",
    }


def test_a_later_argument_wins(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "b.png").write_bytes(b"x")
    mine = f"a.png={tmp_path / 'b.png'}"
    assert inputs_from([str(tmp_path), mine], loads("a.png")) == {"a.png": tmp_path / "b.png"}


def test_long_texts_in_a_workflow_are_no_file_names(tmp_path: Path) -> None:
    """A prompt may have slashes, and more letters than a path may have."""
    texts = ("a castle / oil on canvas / " * 400, "x" * 5000, "\0", "half \ud800 a letter", "a" * 300 + "/b")
    assert inputs_from([str(tmp_path)], loads(*texts)) == {}


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("nowhere", "no folder and not of the form"),
        ("n" * 5000, "no folder and not of the form"),
        ("../x.png={file}", "leave its folder"),
        ("/x.png={file}", "leave its folder"),
        ("a\\b.png={file}", "not every system"),
        ("={file}", "empty"),
        ("a.png=not/there", "is not there"),
        ("a.png=" + "n" * 5000, "is not there"),
        ("a.png=", "is not there"),
    ],
)
def test_what_is_no_input_is_refused(tmp_path: Path, argument: str, why: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(BadInput, match=why):
        inputs_from([argument.format(file=tmp_path / "file")], loads("a.png"))


@pytest.mark.skipif(
    os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="needs a closed folder"
)
def test_a_folder_that_may_not_be_entered_holds_nothing(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    assert inputs_from([str(tmp_path)], loads("closed/a.png")) == {}
    closed.chmod(0o700)
