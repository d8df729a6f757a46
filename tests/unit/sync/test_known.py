"""What model files say of themselves: headers made here byte by byte, whole, cut, and made up."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.sync.known import Header, Truncated, read_header
from tests.unit.sync.volume_made import safetensors

LORA = {"lora_unet_x.lora_up.weight": ("BF16", 2, 3), "lora_unet_x.alpha": ("F32", 1)}


def read(folder: Path, content: bytes, name: str = "x.safetensors") -> Header | None:
    path = folder / name
    path.write_bytes(content)
    return read_header(path)


def said(folder: Path, **metadata: Any) -> Header:
    found = read(folder, safetensors(metadata, LORA))
    assert found is not None
    return found


def raw(header: bytes, tail: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + tail


def test_a_header_tells_kind_type_and_tensors(tmp_path: Path) -> None:
    found = said(tmp_path)
    assert found == Header(kind="LoRA", tensors=2, dtype="BF16")


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        ("model.diffusion_model.input_blocks.0.0.weight", "Checkpoint"),
        ("double_blocks.0.img_attn.qkv.weight", "Diffusion model"),
        ("control_model.input_blocks.0.weight", "ControlNet"),
        ("text_model.encoder.layers.0.weight", "Text encoder"),
        ("decoder.conv_in.weight", "VAE"),
        ("emb_params", "Embedding"),
        ("something.else", ""),
    ],
)
def test_the_kind_is_told_by_the_tensors(tmp_path: Path, tensor: str, kind: str) -> None:
    found = read(tmp_path, safetensors({}, {tensor: ("F16", 4)}))
    assert found is not None
    assert found.kind == kind


def test_what_kohya_wrote_is_read(tmp_path: Path) -> None:
    tags = {"10_me": {"ohwx woman": 40, "smile": 12, " outdoors": 3}, "5_more": {"ohwx woman": 10}}
    found = said(
        tmp_path,
        ss_base_model_version="sdxl_base_v1-0",
        ss_output_name="my style",
        ss_tag_frequency=json.dumps(tags),
    )
    assert (found.base_model, found.title) == ("sdxl_base_v1-0", "my style")
    assert found.triggers == ("ohwx woman",)


def test_captions_of_which_none_is_in_all_pictures_are_no_trigger_words(tmp_path: Path) -> None:
    tags = {"1_x": {f"tag {n}": 1 for n in range(30)}}
    assert said(tmp_path, ss_tag_frequency=json.dumps(tags)).triggers == ()


def test_what_the_model_specification_says_is_read(tmp_path: Path) -> None:
    found = said(
        tmp_path,
        **{
            "modelspec.architecture": "flux-1-dev/lora",
            "modelspec.title": "A  title\nin two lines",
            "modelspec.trigger_phrase": "one, two,, one",
            "modelspec.author": "Somebody",
            "modelspec.license": "MIT",
            "modelspec.resolution": "1024x1024",
        },
    )
    assert found.kind == "LoRA"
    assert found.base_model == "flux-1-dev/lora"
    assert found.title == "A title in two lines"
    assert found.triggers == ("one", "two")
    assert found.details == (("Author", "Somebody"), ("Licence", "MIT"), ("Resolution", "1024x1024"))


def test_what_civitais_trainers_wrote_is_read(tmp_path: Path) -> None:
    found = said(tmp_path, base_model="SDXL 1.0", trained_words="a b, c", name="x")
    assert (found.base_model, found.triggers, found.title) == ("SDXL 1.0", ("a b", "c"), "x")


def test_the_type_is_that_of_most_bytes_and_not_of_most_tensors(tmp_path: Path) -> None:
    tensors = {"a": ("F32", 1), "b": ("F32", 1), "c": ("F8_E4M3", 1000)}
    found = read(tmp_path, safetensors({}, tensors))
    assert found is not None
    assert found.dtype == "F8_E4M3"


def test_long_and_odd_texts_are_held_within_bounds(tmp_path: Path) -> None:
    found = said(
        tmp_path,
        **{
            "modelspec.title": "x" * 10_000,
            "modelspec.author": "\ud800 half a sign",
            "modelspec.license": 7,
            "ss_tag_frequency": json.dumps({"1_x": {"y" * 10_000: 5}}),
        },
    )
    assert len(found.title) == 300
    assert [len(word) for word in found.triggers] == [300]
    assert found.details == (("Author", "? half a sign"),)


@pytest.mark.parametrize(
    "frequency", ["[]", "7", "{", "null", '{"a": 3}', '{"a": {"b": "c"}}', "[" * 5000, 3]
)
def test_captions_that_are_none_are_no_trouble(tmp_path: Path, frequency: object) -> None:
    assert said(tmp_path, ss_tag_frequency=frequency).triggers == ()


WHOLE = safetensors({"name": "x"}, LORA)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "It has 0 bytes: too few"),
        (WHOLE[:7], "It has 7 bytes: too few"),
        (WHOLE[:8], "ends in the middle of its header"),
        (WHOLE[:40], "ends in the middle of its header"),
        (
            WHOLE[:-1],
            f"It has {len(WHOLE) - 1} bytes, and its header tells of {len(WHOLE)}: the end is missing",
        ),
        (WHOLE + b"x", f"It has {len(WHOLE) + 1} bytes, and its header tells of {len(WHOLE)} only"),
        (b"\xff" * 64, "impossible header"),
        (struct.pack("<Q", 100_000_001) + b"{}", "impossible header"),
        (b"<!DOCTYPE html><html>", "impossible header"),
        (raw(b"not json"), "header cannot be read"),
        (raw(b"[]"), "header cannot be read"),
        (raw(b"\xff\xfe\x00"), "header cannot be read"),
        (raw(b"[" * 100_000), "header cannot be read"),
        (raw(b'{"a":' * 5000 + b"1" + b"}" * 5000), "header cannot be read"),
        (raw(b'{"a":{"data_offsets":[0]}}'), "header cannot be read"),
        (raw(b'{"a":{"data_offsets":[0,-1]}}'), "header cannot be read"),
        (raw(b'{"a":{"data_offsets":"01"}}'), "header cannot be read"),
        (raw(b'{"a":7}'), "header cannot be read"),
        (raw(b'{"a":{"data_offsets":[0,1' + b"0" * 4299 + b"]}}"), "header cannot be read"),
        (raw(b'{"a":{"data_offsets":[0,' + b"9" * 5000 + b"]}}"), "header cannot be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_a_file_that_is_not_whole_is_told_in_a_sentence(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(Truncated, match=says):
        read(tmp_path, content)


def test_metadata_and_types_of_any_shape_are_no_trouble(tmp_path: Path) -> None:
    assert read(tmp_path, raw(b"{}")) == Header()
    assert read(tmp_path, raw(b'{"__metadata__": [1, 2]}')) == Header()
    assert read(tmp_path, raw(b'{"a":{"dtype":["x"],"data_offsets":[0,0]}}')) == Header(tensors=1)
    for depth in (900, 960, 980, 990, 994, 995, 996, 997, 998):
        nested = b"[" * depth + b"]" * depth
        with contextlib.suppress(Truncated):
            read(tmp_path, raw(b'{"a":{"dtype":' + nested + b',"data_offsets":[0,0]}}'))


def test_other_files_say_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, b"", "x.ckpt") is None
    assert read_header(tmp_path / "none.pt") is None
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "none.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(OSError, match="folder"):
        read_header(tmp_path / "folder.safetensors")
    found = read(tmp_path, WHOLE, "X.SafeTensors")
    assert found is not None
    assert found.title == "x"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TENSOR = st.fixed_dictionaries(
    {"data_offsets": st.lists(st.integers(-5, 50) | JSON, min_size=2, max_size=2)},
    optional={"dtype": JSON, "shape": JSON},
)
METADATA = st.dictionaries(
    st.sampled_from(["modelspec.architecture", "trained_words", "ss_tag_frequency", "modelspec.title", "x"]),
    JSON | JSON.map(json.dumps),
)
HEADERS = st.dictionaries(st.text(max_size=8), JSON | TENSOR, max_size=3).flatmap(
    lambda header: METADATA.map(lambda said: json.dumps({**header, "__metadata__": said}).encode())
)


@given(
    st.binary(max_size=300)
    | st.builds(raw, st.binary(max_size=200), st.binary(max_size=20))
    | st.builds(raw, HEADERS, st.binary(max_size=60))
)
@example(raw(b'{"__metadata__": null, "a": {"data_offsets": [null, 0]}}'))
def test_no_bytes_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    try:
        found = read(tmp_path_factory.getbasetemp(), content, "any.safetensors")
    except Truncated:
        return
    assert found is not None
    for text in (found.kind, found.base_model, found.title, found.dtype, *found.triggers):
        assert len(text) <= 300
        text.encode()


@given(st.integers(0, len(WHOLE) - 1))
def test_no_part_of_a_file_passes_for_the_whole(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    with pytest.raises(Truncated):
        read(tmp_path_factory.getbasetemp(), WHOLE[:cut], "cut.safetensors")
