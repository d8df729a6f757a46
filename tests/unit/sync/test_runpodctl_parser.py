"""What runpodctl prints, as events: whole, cut at every byte, and as noise.

The texts in `tests/data/runpodctl` follow the source of runpodctl 2.7; they were not observed.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sync.runpodctl.parser import (
    CodeKnown,
    Connected,
    ErrorLine,
    Event,
    Hashing,
    Line,
    Parser,
    Progress,
    ReceiverMayConnect,
    Stream,
)

DATA = Path(__file__).parents[2] / "data" / "runpodctl"
CODE = "8338-galileo-collect-fidel-4"
CASES = sorted(path.stem for path in DATA.glob("*.json"))
Chunks = list[tuple[Stream, bytes]]


@dataclass(frozen=True)
class Case:
    chunks: Chunks
    exit_code: int


def case(name: str) -> Case:
    raw = json.loads((DATA / f"{name}.json").read_text("utf-8"))
    return Case([(stream, text.encode()) for stream, text in raw["chunks"]], raw["exit_code"])


def events(chunks: Chunks, *, with_lines: bool = False) -> list[Event]:
    parser = Parser()
    found = [event for stream, data in chunks for event in parser.feed(stream, data)] + parser.finish()
    return [event for event in found if with_lines or not isinstance(event, Line)]


def test_two_files() -> None:
    assert events(case("two_files").chunks) == [
        CodeKnown(CODE),
        Hashing(1946),
        Hashing(4 << 30),
        Hashing(4 << 30),
        ReceiverMayConnect(CODE),
        Connected("203.0.113.7:51820"),
        Progress("a.py", 0, 0),
        Progress("a.py", 100, 1900, 64e3),
        Progress("checkpoints__x.safetensors", 0, 0),
        Progress("checkpoints__x.safetensors", 16, 700_000_000, 52e6),
        Progress("checkpoints__x.safetensors", 53, 2_300_000_000, 51e6),
        Progress("checkpoints__x.safetensors", 100, 4_300_000_000, 51e6),
    ]


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        ("one_file", []),
        ("broken", ["read tcp 198.51.100.4:40022->203.0.113.9:9009: read: connection reset by peer"]),
        ("no_room", ["could not secure channel"]),
        ("refused", ["peer error: refusing files"]),
        ("silent", []),
    ],
)
def test_errors_are_the_further_lines_of_standard_output(name: str, errors: list[str]) -> None:
    assert [event.text for event in events(case(name).chunks) if isinstance(event, ErrorLine)] == errors


def test_a_list_of_relays_that_cannot_be_had_is_told_on_standard_error() -> None:
    found = events(case("no_relays").chunks)
    assert isinstance(found[-1], ErrorLine)
    assert "list of relays" in found[-1].text


def test_a_panic_is_known_as_one() -> None:
    panics = [event for event in events(case("panic").chunks) if isinstance(event, ErrorLine)]
    assert panics[0].text.startswith("panic: write tcp")
    assert all(event.panic for event in panics)


def test_the_log_of_croc_on_standard_output_is_no_code_and_its_errors_are_errors() -> None:
    found = events(case("with_log").chunks)
    assert found[0] == CodeKnown(CODE)
    assert [type(event) for event in found].count(ErrorLine) == 1


def test_the_receiver_may_connect_only_when_standard_error_says_so() -> None:
    parser = Parser()
    assert parser.feed("stdout", f"{CODE}\n".encode()) == [CodeKnown(CODE)]
    assert parser.feed("stderr", b"\rsending 0 files (1 B)") == []
    assert parser.feed("stderr", f"\rcode is: {CODE}\n".encode()) == [Hashing(1)]
    told = parser.feed("stderr", f"on the other computer run\n\nrunpodctl receive {CODE}\n".encode())
    assert ReceiverMayConnect(CODE) in told


@pytest.mark.parametrize("code", ["1234-a; rm -rf ~-1", "$(id)-a-1", "1234-a\x00b-1", "a b", "1234"])
def test_only_a_code_is_a_code(code: str) -> None:
    """It is shown to the user as a command."""
    told = events([("stdout", f"{code}\n".encode()), ("stderr", f"runpodctl receive {code}\n".encode())])
    assert not any(isinstance(event, CodeKnown) and event.code == code for event in told)
    assert all(
        set("$;\x00 ").isdisjoint(e.code) for e in told if isinstance(e, CodeKnown | ReceiverMayConnect)
    )


def test_windows_ends_colours_and_older_words_are_understood() -> None:
    told = events(
        [
            ("stdout", f"{CODE}\r\n".encode()),
            ("stderr", b"Sending 'x.zip' (4.0 GB)\r\n\x1b[2K\rCode is: 1-a-b\r\nSending (->[::1]:9)\r\n"),
            ("stderr", b"x.zip 7% |#   | (12.3/45 MB) [0s:1s]\x1b[0m"),
        ]
    )
    assert told == [
        CodeKnown(CODE),
        Hashing(4 << 30),
        Connected("[::1]:9"),
        Progress("x.zip", 7, 12_300_000),
    ]


@pytest.mark.parametrize("name", CASES)
def test_cut_at_every_byte_the_events_are_the_same(name: str) -> None:
    chunks = case(name).chunks
    whole = events(chunks, with_lines=True)
    assert events([(s, bytes([byte])) for s, data in chunks for byte in data], with_lines=True) == whole
    for index, (stream, data) in enumerate(chunks):
        for at in range(1, len(data)):
            pieces: Chunks = [(stream, data[:at]), (stream, data[at:])]
            assert events([*chunks[:index], *pieces, *chunks[index + 1 :]], with_lines=True) == whole


@given(st.sampled_from(CASES), st.lists(st.integers(1, 40), min_size=1))
def test_cut_anywhere_the_events_are_the_same(name: str, lengths: list[int]) -> None:
    chunks = case(name).chunks
    cut: Chunks = []
    for stream, data in chunks:
        at = 0
        while at < len(data):
            step = lengths[len(cut) % len(lengths)]
            cut.append((stream, data[at : at + step]))
            at += step
    assert events(cut, with_lines=True) == events(chunks, with_lines=True)


@given(st.sampled_from(CASES), st.randoms(use_true_random=False))
def test_whichever_stream_is_read_first_the_events_are_the_same(name: str, chance: random.Random) -> None:
    chunks = case(name).chunks
    out, err = ([chunk for chunk in chunks if chunk[0] == stream] for stream in ("stdout", "stderr"))
    mixed: Chunks = []
    while out or err:
        first = out if out and (not err or chance.random() < 0.5) else err
        mixed.append(first.pop(0))
    told, usual = events(mixed, with_lines=True), events(chunks, with_lines=True)
    assert sorted(map(repr, told)) == sorted(map(repr, usual))


_STREAMS: st.SearchStrategy[Literal["stdout", "stderr"]] = st.sampled_from(("stdout", "stderr"))
_PIECES = st.binary(max_size=60) | st.sampled_from(
    [
        b"\r",
        b"\n",
        b" 100% |",
        b"| (",
        b"9.9.9 ",
        b"sending (->",
        b"sending '",
        b"(1.1.1 GB)",
        b"code is: ",
        b"%",
    ]
)


@given(st.lists(st.tuples(_STREAMS, _PIECES), max_size=40))
def test_noise_never_raises(chunks: Chunks) -> None:
    for event in events(chunks):
        if isinstance(event, Progress):
            assert 0 <= event.percent <= 100


@given(st.lists(st.binary(min_size=1, max_size=3000).map(lambda b: b.translate(None, b"\r\n")), max_size=8))
def test_a_line_without_an_end_is_kept_in_part_however_it_comes(pieces: list[bytes]) -> None:
    one: Chunks = [("stderr", b"".join(pieces))]
    many: Chunks = [("stderr", piece) for piece in pieces]
    assert events(one, with_lines=True) == events(many, with_lines=True)


def test_what_is_endless_takes_little_memory() -> None:
    parser = Parser()
    for _ in range(50):
        parser.feed("stderr", b"x" * 100_000)
    (line,) = parser.finish()
    assert isinstance(line, Line)
    assert len(line.text) <= 4096
