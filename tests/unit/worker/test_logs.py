"""What the worker prints: whole lines, nobody's secret, and never a line that somebody must wait for."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from worker import logs
from worker.logs import current_job

SECRET = "a-secret-of-the-user"


@pytest.fixture
def set_up() -> Iterator[Callable[..., tuple[io.StringIO, Callable[[], None]]]]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level

    def make(**env: str) -> tuple[io.StringIO, Callable[[], None]]:
        stream = io.StringIO()
        return stream, logs.set_up(env, [SECRET, "short"], stream)

    yield make
    root.handlers[:] = before
    root.setLevel(level)


def test_on_runpod_each_line_is_an_object_with_its_job(
    set_up: Callable[..., tuple[io.StringIO, Callable[[], None]]],
) -> None:
    stream, finish = set_up(RUNPOD_ENDPOINT_ID="abc")
    logging.getLogger("worker").info("two\nlines and %s", SECRET)
    token = current_job.set("job-7")
    logging.getLogger("ComfyUI").info("%s", f"100%|#### {SECRET}")
    error = ValueError(f"about {SECRET}")
    logging.getLogger("worker.handler").error("It failed.", exc_info=error)
    current_job.reset(token)
    finish()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["requestId"] for line in lines] == [None, "job-7", "job-7"]
    assert [line["level"] for line in lines] == ["INFO", "INFO", "ERROR"]
    assert lines[0]["message"] == "two\nlines and ***"
    assert lines[1]["message"] == "[ComfyUI] 100%|#### ***"
    assert "ValueError: about ***" in lines[2]["message"]
    assert all(line["time"].endswith("Z") for line in lines)


def test_elsewhere_lines_are_plain(set_up: Callable[..., tuple[io.StringIO, Callable[[], None]]]) -> None:
    stream, finish = set_up()
    token = current_job.set("job-7")
    logging.getLogger("ComfyUI").info("got prompt")
    current_job.reset(token)
    logging.getLogger("botocore").info("a connection")
    finish()
    assert stream.getvalue() == "INFO    | job-7 | [ComfyUI] got prompt\n"


def test_a_format_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match=r"^LOG_FORMAT is neither json nor text: 'xml'"):
        logs.set_up({"LOG_FORMAT": "xml"}, [], io.StringIO())


def test_nobody_waits_for_a_reader_that_does_not_read(
    set_up: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_MOST_WAITING", 10)
    reads = threading.Event()

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            reads.wait(20)
            return super().write(text)

    stream = Slow()
    finish = logs.set_up({}, [], stream)
    for number in range(500):
        logging.getLogger("ComfyUI").info("line %d", number)
    reads.set()
    for _ in range(200):
        logging.getLogger("worker").info("later")
        if "were left out" in stream.getvalue():
            break
        threading.Event().wait(0.01)
    finish()
    assert "line 0" in stream.getvalue()
    assert "lines were left out" in stream.getvalue()
