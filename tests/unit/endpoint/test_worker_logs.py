"""Workers' logs: events in any pieces, any lines, connections that break, workers that come and go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from app.endpoint.errors import KeyRefused, RateLimited
from app.endpoint.events import Event, EventReader
from app.endpoint.log_stream import Cursor
from app.endpoint.worker_logs import LogLine, LogStream, UnknownWorker, WorkerLogs
from app.errors import BadInput, NeedsSetup, Refused, Unreachable
from app.log_lines import LONGEST, LineReader, clean
from app.settings import Secret
from tests.unit.endpoint.management import KEY, Management, WorkerLog, managing, problem
from tests.unit.jobs.helpers import until


@pytest.fixture
async def api() -> AsyncIterator[Management]:
    async with managing() as management:
        management.logs = {"w1": WorkerLog(), "w2": WorkerLog()}
        yield management


def logs(api: Management, key: str = KEY, **options: Any) -> WorkerLogs:
    return WorkerLogs(api.url, Secret(key), **{"backoff_s": 0.001, **options})


async def some(stream: LogStream, count: int) -> list[str]:
    async with asyncio.timeout(5):
        return [(await anext(stream)).text for _ in range(count)]


# -- events --------------------------------------------------------------------------------------------


def read(pieces: list[bytes], most: int = 1_000_000) -> list[Event]:
    reader = EventReader(most)
    return [event for piece in pieces for event in reader.feed(piece)]


TEXTS = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)
EVENTS = st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), max_size=6)


@given(EVENTS, st.lists(st.integers(0, 400)), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_events_are_the_same_in_any_pieces(
    events: list[tuple[str, list[str]]], cuts: list[int], end: str, bom: bool
) -> None:
    lines = []
    for key, data in events:
        lines += [": heartbeat", f"id: {key}", *(f"data: {each}" for each in data), "event: log", "odd", ""]
    raw = b"\xef\xbb\xbf" * bom + "".join(line + end for line in lines).encode()
    places = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    pieces = [raw[a:b] for a, b in pairwise(places)]
    found = read(pieces)
    assert found == [Event("\n".join(data), key) for key, data in events]
    assert found == read([raw[n : n + 1] for n in range(len(raw))])


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_any_bytes_are_survived_and_little_is_kept(pieces: list[bytes]) -> None:
    reader, cursor = EventReader(64), Cursor()
    for piece in pieces:
        for event in reader.feed(piece):
            assert len(event.data) <= 70
            cursor.take(event)
    assert len(reader._line) <= 64


def test_an_event_that_is_too_long_is_told_and_the_next_one_read() -> None:
    found = read([b"data: " + b"x" * 5000 + b"\n\n", b"id: 7\ndata: good\n\n"], most=100)
    assert [(event.is_cut, event.data == "good") for event in found] == [(True, False), (False, True)]
    assert [line.text for event in found[:1] if (line := Cursor().take(event))] == [
        "(a line of more than 1 MB is left out)"
    ]
    reader = EventReader()
    assert list(reader.feed(b"retry: 1500\nretry: soon\n\nid: 3\n\ndata: a\n")) == []
    assert (reader.retry_ms, list(reader.feed(b"\n"))) == (1500, [Event("a", "3")])


@pytest.mark.parametrize("data", ["", "[]", "7", "{", "[" * 5000, '{"line": 7}', '{"source": "container"}'])
def test_data_that_is_no_line_is_passed_over(data: str) -> None:
    assert Cursor().take(Event(data, "1")) is None


def test_moments_of_any_kind() -> None:
    at = {}
    for ts in ("2026-06-01T12:05:04Z", "2026-06-01T12:05:04.123456789Z", "2026-06-01T12:05:04", "soon", ""):
        line = Cursor().take(Event(json.dumps({"ts": ts, "source": "container", "line": "x"})))
        assert line is not None
        at[ts] = line.at
    assert at["2026-06-01T12:05:04Z"] == at["2026-06-01T12:05:04"] == 1780315504
    assert at["2026-06-01T12:05:04.123456789Z"] == pytest.approx(1780315504.123, abs=0.001)
    assert at["soon"] is at[""] is None


# -- lines ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "text", "replaces", "is_open"),
    [
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07end\x1b[2K", "red end", False, False),
        ("a\x00b\x08c\x7fd\u2028e\u202ef\x9b1mg", "abcdefg", False, False),
        ("\r 50%|##  |", " 50%|##  |", True, False),
        (" 10%|\r 20%|\r 30%|", " 30%|", False, False),
        (" 10%|\r", " 10%|", False, True),
        ("windows\r\n", "windows", False, True),
        ("tab\there  \n", "tab\there", False, False),
        ("\x1b[31", "31", False, False),
        ("", "", False, False),
    ],
)
def test_what_a_terminal_obeys_is_not_in_a_line(raw: str, text: str, replaces: bool, is_open: bool) -> None:
    found = clean(raw)
    assert (found.text, found.replaces) == (text, replaces)
    assert found.is_open == is_open or raw == "windows\r\n"


@given(st.text(max_size=300))
def test_any_text_becomes_one_harmless_line(raw: str) -> None:
    text = clean(raw).text
    assert len(text) <= LONGEST + 1
    assert all(sign == "\t" or sign.isprintable() or ord(sign) > 0x9F for sign in text)
    assert not set(text) & set("\r\n\x1b\x9b\u2028\u2029\u202e")
    assert clean(text).text == text
    for line in LineReader("w").read(raw):
        assert "\n" not in line.text


def test_a_huge_line_is_cut() -> None:
    found = clean("\x1b[31m" + "x" * 3_000_000)
    assert len(found.text) == LONGEST + 1
    assert found.text.endswith("x…")


def test_levels_are_read_from_lines() -> None:
    reader = LineReader("w1")
    said = [
        ("got prompt", "info", "got prompt"),
        ("WARNING | job-1 | low memory", "warning", "job-1 | low memory"),
        ("[ERROR] no file", "error", "no file"),
        ("2026-06-01 12:05:04,123 ERROR app: broken", "error", "2026-06-01 12:05:04,123 ERROR app: broken"),
        ("UserWarning: old torch", "warning", "UserWarning: old torch"),
        (" 52%|#####     | 13/25", "step", " 52%|#####     | 13/25"),
        ("Traceback (most recent call last):", "error", "Traceback (most recent call last):"),
        ('  File "a.py", line 1', "error", '  File "a.py", line 1'),
        ("torch.OutOfMemoryError: too big", "error", "torch.OutOfMemoryError: too big"),
        ("Prompt executed in 39.02 seconds", "info", "Prompt executed in 39.02 seconds"),
        ('{"message": "hello", "level": "WARNING", "requestId": null}', "warning", "hello"),
        ('{"no": "message"}', "info", '{"no": "message"}'),
    ]
    assert [(line.level, line.text) for raw, _, _ in said for line in reader.read(raw, 1.0)] == [
        (level, text) for _, level, text in said
    ]
    several = reader.read(json.dumps({"message": "one\n\x1b[31mtwo", "level": "ERROR"}))
    assert [(line.text, line.level, line.prefix) for line in several] == [
        ("one", "error", "w1"),
        ("two", "error", "w1"),
    ]
    assert [line.replaces for raw in ("a\r", "b", "c") for line in reader.read(raw)] == [False, True, False]


# -- connections ---------------------------------------------------------------------------------------


async def test_the_tail_comes_first_and_then_what_is_printed(api: Management) -> None:
    log = api.logs["w1"]
    for number in range(5):
        log.say(f"line {number}", source="system" if number == 3 else "container")
    async with logs(api).of_one("ep-one", "w1", tail=3) as stream:
        found = await stream.backlog(0.1)
        assert [(line.source, line.text, line.worker) for line in found] == [
            ("container", "line 2", "w1"), ("system", "line 3", "w1"), ("container", "line 4", "w1"),
        ]  # fmt: skip
        assert found[0].at == 1780315202
        log.say("\x1b[32mnew\x1b[0m")
        assert await some(stream, 1) == ["new"]
    async with logs(api).of_one("ep-one", "w1", source="system") as stream:
        assert [line.text for line in await stream.backlog(0.1)] == ["line 3"]
    assert api.asked[-1] == "GET serverless/ep-one/workers/w1/logs?tail=100&source=system"
    await until(lambda: log.readers == 0)


@pytest.mark.parametrize("repeats", [True, False])
async def test_a_broken_connection_goes_on_where_it_was(api: Management, repeats: bool) -> None:
    log = api.logs["w1"]
    log.repeats = repeats
    for text in ("a", "b", "b"):
        log.say(text, ts="2026-06-01T12:00:00Z")
    async with logs(api).of_one("ep-one", "w1") as stream:
        assert await some(stream, 3) == ["a", "b", "b"]
        log.cut()
        await until(lambda: len(log.last_ids) == 2)
        log.say("c")
        assert await some(stream, 1) == ["c"]
        log.cut()
        api.first = [web.Response(status=502), None]
        log.say("d")
        assert await some(stream, 1) == ["d"]
    assert log.last_ids == [None, "2026-06-01T12:00:00Z/000000000002", "2026-06-01T12:00:03Z/000000000003"]


async def test_a_reader_goes_on_where_it_was_when_it_is_asked_again(api: Management) -> None:
    reader = logs(api)
    api.logs["w1"].say("a")
    async with reader.of_one("ep-one", "w1") as stream:
        assert await some(stream, 1) == ["a"]
    api.logs["w1"].say("b")
    async with reader.of_one("ep-one", "w1") as stream:
        assert await some(stream, 1) == ["b"]


async def test_silence_makes_a_new_connection(api: Management) -> None:
    log = api.logs["w1"]
    async with logs(api, silence_s=0.02).of_one("ep-one", "w1") as stream:
        await until(lambda: len(log.last_ids) > 3)
        log.say("at last")
        assert await some(stream, 1) == ["at last"]


async def test_it_ends_when_the_worker_goes(api: Management) -> None:
    api.logs["w1"].say("last words")
    found: list[LogLine] = []
    async for line in logs(api).follow("ep-one", "w1"):
        found.append(line)
        api.gone("w1")
    assert [line.text for line in found] == ["last words"]
    for status in (404, 410):
        api.first = [problem(status, "Gone", "gone")]
        with pytest.raises(UnknownWorker, match="has gone, and its log with it"):
            await anext(logs(api).follow("ep-one", "w1"))


async def test_a_key_that_is_refused_says_what_to_do(api: Management) -> None:
    with pytest.raises(KeyRefused) as caught:
        await anext(logs(api, "rpa_another_key").follow("ep-one", "w1"))
    assert "enter it again in Settings, or with `comfy-runpod key set`" in caught.value.hint
    assert len(api.asked) == 1
    with pytest.raises(NeedsSetup, match="No RunPod API key"):
        await anext(logs(api, "").follow("ep-one", "w1"))
    api.first = [problem(403, "Forbidden", "access denied")]
    with pytest.raises(KeyRefused, match="not allowed"):
        await anext(logs(api).follow("ep-one", "w1"))


async def test_what_may_pass_is_asked_again_and_what_will_not_is_told(api: Management) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    api.logs["w1"].say("hello")
    api.first = [problem(429, "Too Many Requests", "slow", Retry_After="12"), web.Response(status=500)]
    line = await anext(logs(api, sleep=sleep).follow("ep-one", "w1"))
    assert (line.text, slept[0]) == ("hello", 12)
    api.first = [problem(429, "Too Many Requests", "slow") for _ in range(5)]
    with pytest.raises(RateLimited):
        await anext(logs(api, sleep=sleep).follow("ep-one", "w1"))
    for wrong in (web.Response(text="<html>Sign in</html>"), web.Response(status=302)):
        api.first = [wrong]
        with pytest.raises(Refused, match=r"not a log|leads elsewhere"):
            await anext(logs(api).follow("ep-one", "w1"))
    api.first = [problem(422, "Unprocessable Entity", f"no {KEY}")]
    with pytest.raises(Refused, match=r"\*\*\*"):
        await anext(logs(api).follow("ep-one", "w1"))
    asked = len(api.asked)
    for name, tail in (("a/b", 1), ("..", 1), ("w1", 5001), ("w1", -1)):
        with pytest.raises(BadInput):
            await anext(logs(api).follow("ep-one", name, tail=tail))
    assert len(api.asked) == asked


async def test_nobody_there(api: Management) -> None:
    for url in ("http://127.0.0.1:9/v2", "http://[", "http://.invalid./"):
        with pytest.raises(Unreachable, match="cannot be reached") as caught:
            await anext(WorkerLogs(url, Secret(KEY), attempts=1, timeout_s=2).follow("e", "w"))
        assert KEY not in repr(caught.value.problem)
    with pytest.raises(Unreachable, match="cannot be sent"):
        await anext(logs(api, "rpa_a\nb", attempts=1).follow("ep-one", "w1"))


# -- all workers ---------------------------------------------------------------------------------------


async def test_workers_join_and_leave(api: Management) -> None:
    there = ["w1", "w3"]

    async def look() -> list[str]:
        return there

    api.logs["w1"].say("one")
    async with logs(api).of_all("ep-one", look, look_every_s=0.01) as stream:
        assert await some(stream, 1) == ["one"]
        there.append("w2")
        api.logs["w2"].say("two")
        assert (await anext(stream)).worker == "w2"
        there.remove("w1")
        await until(lambda: api.logs["w1"].readers == 0)
        api.gone("w2")
        there.append("w1")
        api.logs["w1"].say("one again")
        assert await some(stream, 1) == ["one again"]
    await until(lambda: api.logs["w1"].readers == 0)


async def test_what_is_there_of_all_is_in_order_of_its_time(api: Management) -> None:
    async def look() -> list[str]:
        return ["w1", "w2"]

    for worker, moment, text in (("w1", 10, "a"), ("w1", 30, "c"), ("w2", 20, "b"), ("w2", 40, "d")):
        api.logs[worker].say(text, ts=f"2026-06-01T12:00:{moment}Z")
    async with logs(api).of_all("ep-one", look, once=True) as stream:
        assert [line.text for line in await stream.backlog(0.1)] == ["a", "b", "c", "d"]
        for worker in ("w1", "w2"):
            api.gone(worker)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_what_ends_all_of_it_is_raised(api: Management) -> None:
    async def look() -> list[str]:
        return ["w1", "w2"]

    async def fails() -> list[str]:
        raise Unreachable("RunPod cannot be reached.")

    async with logs(api, "rpa_another_key").of_all("ep-one", look) as stream:
        with pytest.raises(KeyRefused):
            await anext(stream)
    with pytest.raises(Unreachable):
        async with logs(api).of_all("ep-one", fails) as stream:
            await anext(stream)


async def test_a_mistake_of_ours_is_raised_too(api: Management) -> None:
    async def look() -> list[str]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with logs(api).of_all("ep-one", look) as stream:
            await anext(stream)


async def test_a_slow_reader_is_waited_for(api: Management) -> None:
    log = api.logs["w1"]
    for number in range(3000):
        log.say(str(number))
    async with logs(api).of_one("ep-one", "w1", tail=5000) as stream:
        await asyncio.sleep(0.05)
        assert await some(stream, 3000) == [str(number) for number in range(3000)]
