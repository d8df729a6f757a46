"""Bent copies of real files: of their bytes, and of the JSON in them. One ``Random`` decides all."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Sequence
from typing import Any

_NUMBERS = (
    0,
    1,
    2,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0xFFFF,
    0xFFFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)
_TOKENS = (
    b"NaN",
    b"-Infinity",
    b"1e999",
    b'"\\ud800"',
    b"1" * 400,
    b"1e-400",
    b"[" * 900,
    b'{"a":' * 99,
    b"null",
)
_PNG = b"\x89PNG\r\n\x1a\n"


def bent(rng: random.Random, samples: Sequence[bytes]) -> bytes:
    """One of the samples, changed at one to six places."""
    content = bytearray(rng.choice(samples))
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        _bend(rng, content, samples)
    if content.startswith(_PNG) and rng.random() < 0.8:
        return _with_check_sums(content)
    return bytes(content)


def _bend(rng: random.Random, content: bytearray, samples: Sequence[bytes]) -> None:
    # Heads and lengths stand near the beginning or near another one: small steps are likelier than far ones.
    size = len(content)
    at = rng.randrange(min(size, rng.choice((16, 64, 512, size))) + 1) if size else 0
    length = min(rng.choice((1, 2, 4, 8, 30, 300, 3000)), size - at)
    match rng.randrange(9):
        case 0:
            content[at : at + 1] = bytes([rng.randrange(256)])
        case 1 if at < size:
            content[at] ^= 1 << rng.randrange(8)
        case 2:
            del content[rng.randrange(size + 1) :]
        case 3:
            del content[at : at + length]
        case 4:
            content[at:at] = content[at : at + length] * rng.choice((1, 1, 2, 50, 1000))
        case 5 | 6:
            width = rng.choice((1, 2, 3, 4, 4, 4, 8))
            number = rng.choice((*_NUMBERS, size, size - at, rng.randrange(70_000))) & ((1 << 8 * width) - 1)
            keeps = rng.random() < 0.8
            content[at : at + width * keeps] = number.to_bytes(width, rng.choice(("big", "little")))
        case 7:
            other = rng.choice(samples)
            start = rng.randrange(len(other) + 1)
            content[at : at + rng.choice((0, length))] = other[start : start + rng.choice((length, 3000))]
        case _:
            content[at:at] = (
                rng.choice(_TOKENS)
                if rng.random() < 0.5
                else bytes(rng.choice((1, 4, 30, 255, 255, 1000, 1000, 70_000)))
            )


def _with_check_sums(content: bytearray) -> bytes:
    """A picture whose chunks are passed over for their sums would show little."""
    at = len(_PNG)
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        if at + 12 + length > len(content):
            break
        end = at + 8 + length
        content[end : end + 4] = struct.pack(">I", zlib.crc32(content[at + 4 : end]))
        at = end + 4
    return bytes(content)


def bent_json(rng: random.Random, samples: Sequence[str]) -> Any:
    """The JSON of one of the samples, changed at one to eight places."""
    raw = json.loads(rng.choice(samples))
    found = _places(raw)
    others = _places(json.loads(rng.choice(samples))) if rng.random() < 0.2 else found
    for _ in range(rng.choice((1, 1, 2, 4, 8)) if found and others else 0):
        holder, key = rng.choice(found)
        # What an earlier change took away is passed over.
        if _is_there(holder, key):
            _bend_json(rng, holder, key, [each for each in others if _is_there(*each)])
    return raw


def bent_text(rng: random.Random, raw: Any) -> bytes:
    """As a file; now and then with something that is no JSON, or that only some would read."""
    text = json.dumps(raw, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        return bent(rng, [text])
    if rng.random() < 0.2:
        # Where a value ends: a number or a word becomes another one.
        at = text.find(rng.choice((b",", b":")), rng.randrange(len(text) + 1)) + 1
        text = text[:at] + rng.choice(_TOKENS) + b"," + text[at:]
    return text


_Place = tuple[Any, Any]


def _places(raw: Any) -> list[_Place]:
    """Every member of every object and list, as its holder and key."""
    found: list[_Place] = []
    waiting = [raw]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, dict | list):
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            found += [(holder, key) for key in keys]
            waiting += [holder[key] for key in keys]
        if len(found) > 20_000:
            break
    return found


def _is_there(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _bend_json(rng: random.Random, holder: Any, key: Any, others: list[_Place]) -> None:
    match rng.randrange(10):
        case 0 | 1:
            holder[key] = odd(rng)
        case 2:
            del holder[key]
        case 3 | 4:
            # The same key elsewhere: ids given twice, types of other nodes, subgraphs in themselves.
            same = [each for each in others if each[1] == key and type(each[0]) is type(holder)]
            at, name = rng.choice(same or others)
            holder[key] = _copy(at[name])
        case 5:
            ids = [
                at[name] for at, name in others if name in ("id", "key") and isinstance(at[name], str | int)
            ]
            holder[key] = rng.choice(ids) if ids else odd(rng)
        case 6:
            at, name = rng.choice(others)
            holder[key] = _copy(at[name])
        case 7 if isinstance(holder, list):
            # Many nodes of one kind, with ids of their own or not.
            copies = [_copy(holder[key]) for _ in range(rng.choice((1, 1, 3, 300)))]
            if rng.random() < 0.5:
                for number, each in enumerate(copies, 1000):
                    if isinstance(each, dict) and "id" in each:
                        each["id"] = number
            holder[key:key] = copies
        case 8 if isinstance(holder, dict):
            holder[rng.choice((str(rng.choice(others)[1]), "", "nodes", "links", "inputs", "id"))] = (
                holder.pop(key)
            )
        case _:
            for _ in range(rng.choice((1, 1, 3, 60, 97, 300))):
                holder[key] = (
                    [holder[key]]
                    if rng.random() < 0.5
                    else {rng.choice(("a", "nodes", "inputs")): holder[key]}
                )


def odd(rng: random.Random) -> Any:
    """A value that is seldom meant."""
    plain = (
        None,
        True,
        False,
        0,
        -1,
        -10,
        -20,
        1,
        2,
        4,
        1.5,
        2**31,
        2**53,
        -(2**63),
        2**64,
        10**400,
        1e300,
        5e-324,
    )
    texts = (
        "",
        "0",
        "-10",
        "1",
        "a\0b",
        "\ud800",
        "ä猫",
        "x" * 5000,
        "%a.b%",
        "%date:yyyy%",
        "{a|{b|c}",
        "/*//",
    )
    kinds = ("*", "INT", "FLOAT", "STRING", "COMBO", "IMAGE", "COMFY_DYNAMICCOMBO_V3", "COMFY_AUTOGROW_V3")
    nodes = (
        "Reroute",
        "PrimitiveNode",
        "Note",
        "KSampler",
        "SaveImage",
        "CLIPTextEncode",
        "workflow>a",
        "no such",
    )
    notfinite = (float("nan"), float("inf"), float("-inf"))
    made: tuple[Any, ...] = ([], {}, [[]], [{}], [1, 0], ["1", 0], {"name": "seed"}, list(range(300)))
    return _copy(rng.choice(rng.choice((plain, texts, kinds, nodes, notfinite, made))))


def _copy(raw: Any) -> Any:
    """A copy of what is no larger than it needs to be; deep nests are cut off."""
    waiting, count = [(raw, 0)], 0
    while waiting:
        each, depth = waiting.pop()
        count += 1
        if depth > 300 or count > 3000:
            return None
        if isinstance(each, dict | list):
            waiting += [(inner, depth + 1) for inner in (each.values() if isinstance(each, dict) else each)]
    return _copied(raw)


def _copied(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {key: _copied(inner) for key, inner in raw.items()}
    return [_copied(inner) for inner in raw] if isinstance(raw, list) else raw
