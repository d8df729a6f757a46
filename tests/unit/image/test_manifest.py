from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadInput
from app.files import resource
from app.image.differences import changes
from app.image.manifest import manifest_text, parse_manifest, read_manifest, write_manifest
from app.image.model import Manifest, NodePin, Torch

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MINIMAL = f"comfyui: {{repository: 'https://example.org/ComfyUI.git', commit: {COMMIT}}}\n"
FULL = Manifest(
    comfyui=NodePin("comfyui", "https://example.org/ComfyUI.git", COMMIT, version="0.3.64"),
    python="3.12",
    torch=Torch("2.8.0", "0.23.0", "2.8.0", "https://download.pytorch.org/whl/cu126", "12.6"),
    custom_nodes=(
        NodePin("Impact-Pack", "https://example.org/impact.git", COMMIT, version="8.22.1"),
        NodePin("rgthree-comfy", registry_id="rgthree-comfy", version="1.0.2510"),
    ),
    system_packages=("ffmpeg", "libgl1"),
    python_packages=("numpy<2.3",),
    overrides=("opencv-python==4.11.0.86",),
    base="nvidia/cuda:12.6.3-devel-ubuntu24.04",
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.yaml", FULL)
    assert read_manifest(tmp_path / "manifest.yaml") == FULL


def test_the_shipped_manifest_is_as_it_would_be_written() -> None:
    path = resource("docker", "manifest.yaml")
    assert manifest_text(read_manifest(path)) == path.read_text(encoding="utf-8")


def test_little_is_enough() -> None:
    manifest = parse_manifest(MINIMAL)
    assert (manifest.python, manifest.base_image) == ("3.12", "python:3.12-slim-bookworm")
    assert manifest.custom_nodes == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "no YAML in line 1"),
        ("- a", "no list of fields"),
        ("{}", "comfyui"),
        ("comfyui: {repository: 'https://x.org/a', commit: main}", "needs a commit"),
        (f"comfyui: {{repository: '--upload-pack=x', commit: {COMMIT}}}", "no address"),
        (f"comfyui: {{repository: 'ext::sh -c x', commit: {COMMIT}}}", "no address"),
        (MINIMAL + "extra: 1", "no field 'extra'"),
        (MINIMAL + "python: 3.1", "no version of Python"),
        (MINIMAL + "python: '3.10'", "no version of Python"),
        (MINIMAL + "system_packages: ['a; rm -rf /']", "no Debian package"),
        (MINIMAL + "system_packages: ['-o=x']", "no Debian package"),
        (MINIMAL + "python_packages: ['--index-url http://x']", "no requirement"),
        (MINIMAL + "overrides: [numpy, 'numpy=<2']", "no requirement"),
        (MINIMAL + "torch: {version: newest}", "no version"),
        (MINIMAL + "torch: {index: 'https://u:p@example.org/'}", "no address of a Python index"),
        (MINIMAL + "base: '$(id)'", "no name of an image"),
        (MINIMAL + "custom_nodes: [{name: a}]", "needs either"),
        (MINIMAL + "custom_nodes: [{name: ../a, registry: a, version: '1'}]", "cannot be the folder"),
        (MINIMAL + "custom_nodes: [{name: aux, registry: a, version: '1'}]", "cannot be the folder"),
        (MINIMAL + "custom_nodes: [{name: a, registry: 'a/b', version: '1'}]", "no id"),
        (MINIMAL + "custom_nodes: [{name: a, registry: a, version: latest}]", "no version"),
        (MINIMAL + "custom_nodes: [{name: a, registry: a, version: '1'}] \nbase: [1]", "base is no text"),
        (
            MINIMAL
            + "custom_nodes: [{name: a, registry: a, version: 1}, {name: A, registry: b, version: 1}]",
            "there twice",
        ),
    ],
)
def test_what_cannot_be_used_is_named(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=re.escape(says)):
        parse_manifest(text)


@given(st.text(max_size=300))
def test_any_text_is_a_manifest_or_refused(text: str) -> None:
    with suppress(BadInput):
        assert parse_manifest(manifest_text(parse_manifest(text)))


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no manifest") as caught:
        read_manifest(tmp_path / "manifest.yaml")
    assert "comfy-runpod image manifest" in caught.value.hint


def test_the_digest_changes_with_everything_that_changes_the_image() -> None:
    others = [
        replace(FULL, python="3.13"),
        replace(FULL, torch=replace(FULL.torch, version="2.7.0")),
        replace(FULL, custom_nodes=FULL.custom_nodes[:1]),
        replace(FULL, system_packages=()),
        replace(FULL, base=""),
    ]
    assert len({each.digest for each in [FULL, *others]}) == len(others) + 1


def test_changes_are_told_one_by_one() -> None:
    after = replace(
        FULL,
        python="3.13",
        torch=replace(FULL.torch, version="2.9.0"),
        custom_nodes=(
            NodePin("Impact-Pack", "https://example.org/impact.git", "f" * 40, version="8.23"),
            NodePin("New", "https://example.org/new.git", COMMIT),
        ),
        overrides=(),
    )
    told = changes(FULL, after)
    assert told == (
        "Python: 3.12 becomes 3.13",
        "torch: 2.8.0 becomes 2.9.0",
        "Impact-Pack: 8.22.1 · 0123456 becomes 8.23 · fffffff",
        "New 0123456 is new",
        "rgthree-comfy 1.0.2510 goes",
        "override opencv-python==4.11.0.86 goes",
    )
    assert changes(FULL, FULL) == ()
