"""Small files of every kind that carries a workflow, made by hand: no encoder is needed."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

Texts = Mapping[str, str]


def png(texts: Texts, *, kind: bytes = b"tEXt", late: bool = False) -> bytes:
    """``kind`` is tEXt, zTXt, iTXt, ``iTXt packed`` or comf; ``late`` puts the texts behind the picture."""
    chunks = b"".join(png_text(kind, name, text) for name, text in texts.items())
    plain = picture("PNG")
    at = plain.index(b"IEND" if late else b"IDAT") - 4
    return plain[:at] + chunks + plain[at:]


def png_text(kind: bytes, name: str, text: str) -> bytes:
    data = name.encode() + b"\0"
    if kind == b"zTXt":
        data += b"\0" + zlib.compress(text.encode())
    elif kind == b"iTXt":
        data += b"\0\0en\0\0" + text.encode()
    elif kind == b"iTXt packed":
        kind = b"iTXt"
        data += b"\1\0\0\0" + zlib.compress(text.encode())
    else:
        data += text.encode()
    return png_chunk(kind, data)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def picture(form: str, **options: Any) -> bytes:
    saved = io.BytesIO()
    Image.new("RGB", (4, 4), (1, 2, 3)).save(saved, form, **options)
    return saved.getvalue()


def exif(texts: Texts, *, joined: str = ":") -> bytes:
    """``prompt:{…}`` and so on in the tags from 0x0110 down, as ComfyUI writes them."""
    made = Image.Exif()
    for at, (name, text) in enumerate(texts.items()):
        made[0x0110 - at] = f"{name}{joined}{text}"
    return made.tobytes()


def user_comment(text: str, *, how: bytes = b"UNICODE\0", codec: str = "utf-16-be") -> bytes:
    """Exif with a user's comment, in its own table of entries."""
    data = how + text.encode(codec)
    head = b"MM\0*" + struct.pack(">I", 8)
    first = struct.pack(">HHHIII", 1, 0x8769, 4, 1, 26, 0)
    second = struct.pack(">HHHIII", 1, 0x9286, 7, len(data), 44, 0)
    return b"Exif\0\0" + head + first + second + data


def webp(texts: Texts) -> bytes:
    return picture("WEBP", exif=exif(texts))


def jpeg(texts: Texts) -> bytes:
    return picture("JPEG", exif=exif(texts))


def box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I", len(data) + 8) + kind + data


def mp4(texts: Texts, *, has_version: bool = True, late: bool = True) -> bytes:
    """The keys and list of QuickTime metadata; ``has_version`` False as in .mov files."""
    keys = b"".join(struct.pack(">I", len(name) + 8) + b"mdta" + name.encode() for name in texts)
    items = [
        box(struct.pack(">I", at), box(b"data", struct.pack(">II", 1, 0), text.encode()))
        for at, text in enumerate(texts.values(), 1)
    ]
    meta = box(
        b"meta",
        bytes(4) if has_version else b"",
        box(b"hdlr", bytes(8), b"mdta", bytes(13)),
        box(b"keys", struct.pack(">II", 0, len(texts)), keys),
        box(b"ilst", *items),
    )
    moov = box(b"moov", box(b"mvhd", bytes(100)), box(b"udta", meta, bytes(4)))
    parts = [box(b"ftyp", b"isom", bytes(4)), box(b"mdat", bytes(50))]
    parts.insert(2 if late else 1, moov)
    return b"".join(parts)


def mp4_comment(text: str) -> bytes:
    """iTunes' comment, which ffmpeg writes for ``-metadata comment=…``."""
    item = box(b"\xa9cmt", box(b"data", struct.pack(">II", 1, 0), text.encode()))
    meta = box(b"meta", bytes(4), box(b"hdlr", bytes(25)), box(b"ilst", item))
    return box(b"ftyp", b"isom", bytes(4)) + box(b"moov", box(b"udta", meta))


def element(kind: int, *parts: bytes, unknown: bool = False) -> bytes:
    data = b"".join(parts)
    name = kind.to_bytes((kind.bit_length() + 7) // 8, "big")
    return name + (b"\x01" + b"\xff" * 7 if unknown else (len(data) | 1 << 56).to_bytes(8, "big")) + data


def webm(texts: Texts, *, unknown: bool = False) -> bytes:
    """``unknown`` as in live recordings: the segment and cluster do not say how long they are."""
    tags = [
        element(0x67C8, element(0x45A3, name.upper().encode()), element(0x4487, text.encode()))
        for name, text in texts.items()
    ]
    cluster = element(0x1F43B675, element(0xE7, b"\0"), element(0xA3, bytes(30)), unknown=unknown)
    tail = element(0x1254C367, element(0x7373, *tags))
    return element(0x1A45DFA3, element(0x4282, b"webm")) + element(0x18538067, cluster, tail, unknown=unknown)


def comments(texts: Texts) -> bytes:
    made = struct.pack("<I", 4) + b"test" + struct.pack("<I", len(texts))
    for name, text in texts.items():
        entry = f"{name}={text}".encode()
        made += struct.pack("<I", len(entry)) + entry
    return made


def flac(texts: Texts) -> bytes:
    data = comments(texts)
    return (
        b"fLaC"
        + bytes([0, 0, 0, 34])
        + bytes(34)
        + bytes([0x84])
        + len(data).to_bytes(3, "big")
        + data
        + b"\xff\xf8"
    )


def ogg(packets: list[bytes], *, serial: int = 7) -> bytes:
    """Each packet on pages of its own, 255 segments at most on each."""
    pages, number = b"", 0
    for packet in packets:
        lengths = [255] * (len(packet) // 255) + [len(packet) % 255]
        at = 0
        while lengths:
            now, lengths = lengths[:255], lengths[255:]
            body = packet[at : at + sum(now)]
            at += len(body)
            pages += (
                b"OggS" + bytes(10) + struct.pack("<III", serial, number, 0) + bytes([len(now), *now]) + body
            )
            number += 1
    return pages


def opus(texts: Texts) -> bytes:
    return ogg([b"OpusHead" + bytes(11), b"OpusTags" + comments(texts), bytes(40)])


def vorbis(texts: Texts) -> bytes:
    return ogg([b"\x01vorbis" + bytes(23), b"\x03vorbis" + comments(texts) + b"\1", bytes(40)])


def synchsafe(value: int) -> bytes:
    return bytes(value >> shift & 0x7F for shift in (21, 14, 7, 0))


def mp3(texts: Texts, *, version: int = 4, encoding: int = 3) -> bytes:
    """An ID3 tag of version 2.2, 2.3 or 2.4, with texts in one of the four ways of writing."""
    codec = ("latin-1", "utf-16", "utf-16-be", "utf-8")[encoding]
    stop = b"\0\0" if encoding in (1, 2) else b"\0"
    frames = b""
    for name, text in texts.items():
        data = bytes([encoding]) + name.encode(codec) + stop + text.encode(codec)
        if version == 2:
            frames += b"TXX" + len(data).to_bytes(3, "big") + data
        else:
            size = synchsafe(len(data)) if version == 4 else struct.pack(">I", len(data))
            frames += b"TXXX" + size + b"\0\0" + data
    frames += bytes(20)
    return b"ID3" + bytes([version, 0, 0]) + synchsafe(len(frames)) + frames + b"\xff\xfb" + bytes(40)


def safetensors(texts: Texts) -> bytes:
    head = json.dumps(
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "__metadata__": dict(texts)}
    )
    return struct.pack("<Q", len(head)) + head.encode() + bytes(4)


#: Each kind of file and of writing, by a name for the test.
ALL: dict[str, Callable[[Texts], bytes]] = {
    "png tEXt": png,
    "png zTXt": lambda texts: png(texts, kind=b"zTXt"),
    "png iTXt": lambda texts: png(texts, kind=b"iTXt"),
    "png iTXt packed": lambda texts: png(texts, kind=b"iTXt packed"),
    "png late": lambda texts: png(texts, late=True),
    "animated png": lambda texts: png(texts, kind=b"comf", late=True),
    "png exif": lambda texts: png({})[:33] + png_chunk(b"eXIf", exif(texts)) + png({})[33:],
    "webp": webp,
    "jpeg": jpeg,
    "mp4": mp4,
    "mp4 moov first": lambda texts: mp4(texts, late=False),
    "mov": lambda texts: mp4(texts, has_version=False),
    "mp4 comment": lambda texts: mp4_comment(json.dumps(dict(texts))),
    "webm": webm,
    "webm live": lambda texts: webm(texts, unknown=True),
    "flac": flac,
    "opus": opus,
    "vorbis": vorbis,
    "ogg flac": lambda texts: ogg([b"\x7fFLAC" + bytes(40), b"\x84" + bytes(3) + comments(texts)]),
    "mp3 2.2": lambda texts: mp3(texts, version=2, encoding=0),
    "mp3 2.3": lambda texts: mp3(texts, version=3, encoding=1),
    "mp3 2.4": mp3,
    "mp3 2.4 utf-16": lambda texts: mp3(texts, encoding=2),
    "safetensors": safetensors,
}
