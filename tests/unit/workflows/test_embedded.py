"""Workflows in pictures, videos, sounds and tensor files: found where they are; nothing hangs or crashes."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.workflows.embedded import MAX_TEXT, Embedded, kind_of, look_into
from tests.unit.workflows import containers
from tests.unit.workflows.cases import ROOT, load

HERE = ROOT / "tests" / "data" / "workflows" / "containers"
REAL = load(HERE / "manifest.json")["containers"]
PROMPT = {"1": {"class_type": "LoadImage", "inputs": {"image": "ä 猫.png", "list": [1, "]"]}}}
UI = {"nodes": [{"id": 1, "type": "LoadImage"}], "links": []}
TEXTS = {"prompt": json.dumps(PROMPT), "workflow": json.dumps(UI)}


def read(tmp_path: Path, content: bytes) -> Embedded:
    path = tmp_path / "file"
    path.write_bytes(content)
    kind = kind_of(content[:64], len(content))
    assert kind is not None
    return look_into(path, kind)


@pytest.mark.parametrize("each", REAL, ids=lambda each: each["file"])
def test_what_comfyui_wrote_is_found(each: dict[str, Any]) -> None:
    path = HERE / each["file"]
    kind = kind_of(path.read_bytes()[:64], path.stat().st_size)
    assert kind is not None
    found = look_into(path, kind)
    assert not found.is_damaged
    assert {name for name in found.texts if name != "parameters"} == {"prompt", "workflow"} & set(each)
    for name in found.texts:
        if name in each:
            assert json.loads(found.texts[name]) == load(HERE / each[name])


@pytest.mark.parametrize("make", containers.ALL.values(), ids=containers.ALL)
def test_every_way_of_writing_is_read(tmp_path: Path, make: Any) -> None:
    assert read(tmp_path, make(TEXTS)) == Embedded(TEXTS)
    assert read(tmp_path, make({"prompt": TEXTS["prompt"]})).texts == {"prompt": TEXTS["prompt"]}
    assert read(tmp_path, make({"title": "x"})).texts == {}


@pytest.mark.parametrize("name", ["flac", "opus", "mp4", "webm", "mp3 2.4", "png zTXt", "safetensors"])
def test_long_texts_are_read(tmp_path: Path, name: str) -> None:
    text = json.dumps({"a": ["text"] * 150_000})
    assert read(tmp_path, containers.ALL[name]({"workflow": text})).texts == {"workflow": text}


def test_names_are_told_by_the_beginning_of_a_text(tmp_path: Path) -> None:
    loud = containers.picture("JPEG", exif=containers.exif({"Prompt": '{"a": 1}', "WORKFLOW": '{"b": 2}'}))
    assert read(tmp_path, loud).texts == {"prompt": '{"a": 1}', "workflow": '{"b": 2}'}
    spaced = containers.picture("WEBP", exif=containers.exif({"workflow": '{"b": 2}'}, joined=" : "))
    assert read(tmp_path, spaced).texts == {"workflow": '{"b": 2}'}


@pytest.mark.parametrize(
    ("how", "codec"),
    [
        (b"UNICODE\0", "utf-16-be"),
        (b"UNICODE\0", "utf-16-le"),
        (b"ASCII\0\0\0", "utf-8"),
        (bytes(8), "utf-8"),
    ],
)
def test_a_users_comment_is_read_however_it_is_written(tmp_path: Path, how: bytes, codec: str) -> None:
    both = json.dumps({"prompt": PROMPT, "workflow": json.dumps(UI)})
    made = containers.picture("JPEG", exif=containers.user_comment(both, how=how, codec=codec))
    found = read(tmp_path, made).texts
    assert {name: json.loads(text) for name, text in found.items()} == {"prompt": PROMPT, "workflow": UI}


def test_settings_of_other_programs_are_told(tmp_path: Path) -> None:
    text = "a cat\nNegative prompt: bad\nSteps: 20, Sampler: Euler a, CFG scale: 7"
    assert read(tmp_path, containers.png({"parameters": text})).texts == {"parameters": text}
    commented = containers.picture("JPEG", exif=containers.user_comment(text))
    assert read(tmp_path, commented).texts == {"parameters": text}


def test_a_wrong_check_sum_is_passed_over_and_said(tmp_path: Path) -> None:
    content = bytearray(containers.png({"prompt": TEXTS["prompt"]}))
    content[content.index(b"LoadImage")] ^= 1
    assert read(tmp_path, bytes(content)) == Embedded({}, is_damaged=True)


def test_what_was_read_before_a_break_is_kept(tmp_path: Path) -> None:
    content = containers.png(TEXTS)
    assert read(tmp_path, content[:-20]) == Embedded(TEXTS, is_damaged=True)


def bomb(form: bytes) -> bytes:
    packed = zlib.compress(bytes(200 * 1024 * 1024), 9)
    data = b"prompt\0" + (b"\0" if form == b"zTXt" else b"\1\0\0\0") + packed
    at = containers.png({}).index(b"IDAT") - 4
    return containers.png({})[:at] + containers.png_chunk(form, data) * 3 + containers.png({})[at:]


def exif_bomb() -> bytes:
    """Two thousand texts that are all the whole of the data."""
    entries = b"".join(struct.pack("<HHII", 0x0110, 2, 60_000, 8) for _ in range(2_000))
    data = b"II*\0" + struct.pack("<IH", 8, 2_000) + entries + b"x" * 40_000
    return b"RIFF" + struct.pack("<I", len(data) + 12) + b"WEBPEXIF" + struct.pack("<I", len(data)) + data


def looping_exif() -> bytes:
    """Tables of entries that name each other."""
    loop = struct.pack("<HHHII", 2, 0x8769, 4, 1, 8) + struct.pack("<HHII", 0x8769, 4, 1, 8) + bytes(4)
    data = b"II*\0" + struct.pack("<I", 8) + loop
    return b"RIFF" + struct.pack("<I", len(data) + 12) + b"WEBPEXIF" + struct.pack("<I", len(data)) + data


MUCH = 400_000
EBML = b"\x1a\x45\xdf\xa3"
HOSTILE = {
    "zTXt bomb": bomb(b"zTXt"),
    "iTXt bomb": bomb(b"iTXt"),
    "exif bomb": exif_bomb(),
    "exif loop": looping_exif(),
    "png of empty chunks": containers.png({})[:33] + containers.png_chunk(b"abcd", b"") * (MUCH // 12),
    "png with a huge length": containers.png({})[:33] + b"\xff\xff\xff\xfftEXt",
    "mp4 of empty boxes": containers.box(b"ftyp", b"isom")
    + containers.box(b"moov", containers.box(b"udta") * (MUCH // 8)),
    "mp4 with a box of one byte": containers.box(b"ftyp", b"isom") + b"\0\0\0\4moov" + bytes(100),
    "mp4 with a huge box": containers.box(b"ftyp", b"isom") + b"\0\0\0\1moov" + b"\xff" * 8,
    "mp4 with many keys": containers.mp4({"a": "b"}).replace(
        struct.pack(">II", 0, 1), struct.pack(">II", 0, 2**31)
    ),
    "webm of ones": EBML + b"\xff" * MUCH,
    "webm of zeros": EBML + bytes(MUCH),
    "webm of open tags": EBML + b"\x80" + b"\x67\xc8\xff" * (MUCH // 3),
    "webm with a huge text": EBML + b"\x80\x67\xc8\xff\x45\xa3\x81a\x44\x87\x01" + b"\xee" * 7,
    "flac without an end": b"fLaC" + bytes(MUCH),
    "ogg of streams": b"".join(containers.ogg([b""], serial=n) for n in range(MUCH // 28)),
    "ogg without an end": containers.ogg([b"OpusHead", b"OpusTags" + bytes(MUCH)])[:-300],
    "ogg with many comments": containers.ogg(
        [b"OpusHead", b"OpusTags" + bytes(4) + b"\xff" * 4 + bytes(MUCH)]
    ),
    "mp3 with a huge tag": b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(100),
    "mp3 of empty frames": b"ID3\4\0\0" + containers.synchsafe(MUCH) + b"TXXX\0\0\0\0\0\0" * (MUCH // 10),
    "mp3 of zeros in odd places": b"ID3\3\0\0"
    + containers.synchsafe(MUCH + 11)
    + b"TXXX"
    + struct.pack(">I", MUCH + 1)
    + b"\0\0\1"
    + b"\1\0\0\1" * (MUCH // 4),
    "jpeg of fill bytes": b"\xff\xd8" + b"\xff" * MUCH,
    "jpeg of empty segments": b"\xff\xd8" + b"\xff\xfe\0\2" * (MUCH // 4),
    "jpeg with a segment of no length": b"\xff\xd8\xff\xe1\0\0" + bytes(100),
    "safetensors that nest": struct.pack("<Q", 2_000_001) + b"{" + b'"a":[' * 400_000,
    "webp with a huge chunk": b"RIFF\xff\xff\xff\xffWEBPEXIF\xff\xff\xff\xff" + bytes(100),
}


#: Much like another one, and slow.
LATER = ("webm of ones", "jpeg of fill bytes")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(content, id=name, marks=[pytest.mark.long] if name in LATER else [])
        for name, content in HOSTILE.items()
    ],
)
def test_what_is_made_to_hang_or_to_fill_memory_does_not(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    kind = kind_of(content[:64], len(content))
    assert kind is not None
    tracemalloc.start()
    found = look_into(path, kind)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not found.texts
    assert peak < 4 * MAX_TEXT


SAMPLES = [make(TEXTS) for make in containers.ALL.values()] + [
    (HERE / each["file"]).read_bytes() for each in REAL
]


def test_pillow_agrees_on_pictures(tmp_path: Path) -> None:
    """The pictures made here are pictures."""
    for name in ("png tEXt", "png zTXt", "png iTXt", "png iTXt packed", "png exif", "webp", "jpeg"):
        path = tmp_path / "picture"
        path.write_bytes(containers.ALL[name](TEXTS))
        with Image.open(path) as image:
            image.load()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b'{"prompt": {}}', None),
        (b"", None),
        (b"the freedom of text", None),
        (b"BMW and others", None),
        (b"[[[[[[[[{", None),
        (b"GIF89a" + bytes(20), "gif"),
        (b"BM" + struct.pack("<I", 26) + bytes(20), "bmp"),
        (b"RIFF\0\0\0\0WAVE", "wav"),
        (b"RIFF\0\0\0\0AVI ", None),
        (b"\0\0\0\x20ftypavif", "heif"),
        (b"\0\0\0\x20ftypqt  ", "mp4"),
        (b"\0\0\0\x08wide", "mp4"),
        (b"\0\0\0\0\0\0\0\0{", None),
    ],
)
def test_kinds_are_told_by_the_beginning(content: bytes, name: str | None) -> None:
    kind = kind_of(content, len(content))
    assert (kind and kind.name) == name
