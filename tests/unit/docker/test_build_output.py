"""What builds print, by BuildKits of several ages: the steps, their lines, and that nothing breaks it."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.docker.model import BuildProgress, Step, StepState
from app.docker.plain import PlainOutput
from app.docker.rawjson import RawJsonOutput
from app.docker.steps import BuildOutput, Line
from tests.unit.docker.scripted import recorded

RUN = r"compile: RUN echo hi && sleep 0.3 && printf '10%%\r100%%\nthere'"
DIGEST = "sha256:" + "5" * 64


def fed(output: BuildOutput, text: str) -> list[Line]:
    return [line for each in text.split("\n") for line in output.feed(each)]


def made(name: str) -> tuple[BuildOutput, list[Line]]:
    output: BuildOutput = RawJsonOutput() if name.endswith(".rawjson") else PlainOutput()
    return output, fed(output, recorded(name))


def titled(progress: BuildProgress, title: str) -> Step:
    (step,) = (step for step in progress.steps if step.title == title)
    return step


# -- whole builds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["docker-20.10.plain", "buildx-0.13.plain", "buildx-0.13.rawjson"])
def test_a_build_has_its_steps_with_titles_times_and_lines(name: str) -> None:
    output, lines = made(name)
    output.book.close(succeeded=True)
    progress = output.book.progress()
    assert {step.title for step in progress.steps} == {
        "Load build definition from Dockerfile",
        "Load .dockerignore",
        "Load metadata for docker.io/library/base:1",
        "compile: FROM docker.io/library/base:1",
        RUN,
        "stage-1: COPY --from=compile /etc/passwd /x",
        "stage-1: RUN head -c 3000000 /dev/urandom > /blob",
        "Exporting to image",
    }
    assert {step.state for step in progress.steps} == {StepState.DONE}
    assert progress.part == 1.0
    run = titled(progress, RUN)
    assert run.seconds == pytest.approx(0.6, abs=0.4)
    assert not run.cached
    # The last that a progress bar drew, and a line that the program did not end.
    assert [text for key, text in lines if key == run.key] == ["hi", "100%", "there"]
    assert output.book.failure is None


def test_cached_steps_are_marked() -> None:
    output, _ = made("docker-20.10-cached.plain")
    steps = output.book.progress().steps
    cached = {step.title for step in steps if step.cached}
    assert RUN in cached
    assert "stage-1: RUN head -c 3000000 /dev/urandom > /blob" in cached
    assert "Load build definition from Dockerfile" not in cached
    assert all(step.state is StepState.DONE for step in steps)


@pytest.mark.parametrize(
    "name", ["docker-20.10-failed.plain", "buildx-0.13-failed.plain", "buildx-0.13-failed.rawjson"]
)
def test_a_failed_step_has_its_error_and_its_lines(name: str) -> None:
    output, _ = made(name)
    output.book.close(succeeded=False)
    failure = output.book.failure
    assert failure is not None
    # With one stage there is none to tell.
    assert failure.title == "RUN echo boo; echo two lines >&2; exit 7"
    assert failure.error.endswith("exit code: 7")
    assert sorted(failure.lines) == ["boo", "two lines"]
    assert titled(output.book.progress(), failure.title).state is StepState.FAILED


@pytest.mark.parametrize("name", ["buildx-0.13-pull.plain", "buildx-0.13-pull.rawjson"])
def test_a_base_image_comes_with_bytes(name: str) -> None:
    output, _ = made(name)
    base = titled(output.book.progress(), "big: FROM 127.0.0.1:25555/big:1")
    assert base.done == base.total
    assert base.total == pytest.approx(40_000_000, rel=0.01)


@pytest.mark.parametrize("name", ["docker-20.10.plain", "buildx-0.13.rawjson", "buildx-0.13-pull.plain"])
def test_the_part_grows_line_by_line_and_never_falls(name: str) -> None:
    output: BuildOutput = RawJsonOutput() if name.endswith(".rawjson") else PlainOutput()
    parts = []
    for line in recorded(name).split("\n"):
        output.feed(line)
        if (part := output.book.progress().part) is not None:
            parts.append(part)
    assert parts == sorted(parts)
    assert len(set(parts)) > 3
    assert parts[-1] > 0.5


# -- plain -----------------------------------------------------------------------------------------------


def test_a_step_that_the_report_returns_to_stays_one() -> None:
    output = PlainOutput()
    lines = fed(
        output,
        '#0 building with "default" instance using docker driver\n\n'
        "#4 [linux/amd64 stage-1  3/12] RUN make\n#4 0.1 one\n#4 ...\n\n"
        "#5 [linux/amd64 tools 1/2] RUN sleep\n#5 CANCELED\n\n"
        "#4 [linux/amd64 stage-1  3/12] RUN make\n#4 1.2 #4 DONE, says make\n#4 DONE 1.3s",
    )
    make, sleep = output.book.progress().steps
    assert (make.title, make.state, make.seconds) == ("stage-1: RUN make", StepState.DONE, 1.3)
    assert (sleep.title, sleep.state) == ("tools: RUN sleep", StepState.CANCELLED)
    assert lines[1:] == [("4", "one"), ("4", "#4 DONE, says make")]


def test_what_belongs_to_no_step_has_no_key() -> None:
    output, lines = made("docker-20.10-failed.plain")
    assert (None, "------") in lines
    assert output.book.lines(None)[-1].startswith("executor failed running")


def test_a_newer_failure_is_found_too() -> None:
    output = PlainOutput()
    error = 'process "/bin/sh -c exit 3" did not complete successfully: exit code: 3'
    fed(output, f"#5 [2/2] RUN exit 3\n#5 ERROR: {error}\n#6 [other 1/1] RUN sleep\n")
    output.book.close(succeeded=False)
    assert output.book.failure is not None
    assert output.book.failure.error == error
    assert [step.state for step in output.book.progress().steps] == [StepState.FAILED, StepState.CANCELLED]


def test_no_password_of_an_address_is_told() -> None:
    output = PlainOutput()
    lines = fed(
        output, "#5 [2/2] RUN x\n#5 0.1 see https://me:hunter2@example.org/x\n#5 ERROR: https://a:hunter2@b"
    )
    assert output.book.failure is not None
    assert "hunter2" not in repr((lines, output.book.failure))


# -- raw JSON --------------------------------------------------------------------------------------------


def status(**lists: object) -> str:
    return json.dumps(lists)


def one_a_line(text: str) -> str:
    """The same statuses as newer ones print them."""
    decoder, at, lines = json.JSONDecoder(), 0, []
    while (at := text.find("{", at)) >= 0:
        value, at = decoder.raw_decode(text, at)
        lines.append(json.dumps(value))
    return "\n".join(lines)


def test_indented_and_on_one_line_it_says_the_same() -> None:
    text = recorded("buildx-0.13.rawjson")
    indented, flat = RawJsonOutput(), RawJsonOutput()
    assert fed(indented, text) == fed(flat, one_a_line(text))
    assert indented.book.progress() == flat.book.progress()
    assert indented.book.progress().steps


@given(st.lists(st.binary(max_size=12), max_size=6))
def test_lines_may_come_in_any_pieces(pieces: list[bytes]) -> None:
    output = RawJsonOutput()
    output.feed(
        status(vertexes=[{"digest": DIGEST, "name": "[2/2] RUN x", "started": "2026-11-28T10:00:00Z"}])
    )
    logs = [{"vertex": DIGEST, "data": base64.b64encode(piece).decode()} for piece in pieces]
    got = [line for log in logs for line in output.feed(status(logs=[log]))]
    got += output.feed(
        status(
            vertexes=[
                {"digest": DIGEST, "started": "2026-11-28T10:00:00Z", "completed": "2026-11-28T10:00:01.5Z"}
            ]
        )
    )
    whole = b"".join(pieces)
    wanted = whole.removesuffix(b"\n").split(b"\n") if whole else []
    assert len(got) == len(wanted)
    assert {key for key, _ in got} <= {DIGEST}
    (step,) = output.book.progress().steps
    assert (step.title, step.state, step.seconds) == ("RUN x", StepState.DONE, 1.5)


def test_a_status_that_was_cut_by_its_reader_is_put_together() -> None:
    output = RawJsonOutput()
    text = base64.b64encode(b"x" * 150_000 + b"\nend\n").decode()
    whole = status(
        vertexes=[{"digest": DIGEST, "name": "RUN x", "started": "2026-11-28T10:00:00Z"}],
        logs=[{"vertex": DIGEST, "data": text}],
    )
    size = 65 * 1024
    lines = [line for at in range(0, len(whole), size) for line in output.feed(whole[at : at + size])]
    assert lines[-1] == (DIGEST, "end")
    assert output.book.progress().steps[0].state is StepState.RUNNING


def test_a_broken_status_does_not_hide_what_follows() -> None:
    output = RawJsonOutput()
    lines = fed(output, '{\n  "vertexes": [\nERROR: failed to solve: lost\n{"broken\n' + status(vertexes=[]))
    assert (None, "ERROR: failed to solve: lost") in lines
    fed(output, status(vertexes=[{"digest": DIGEST, "name": "exporting to image"}]))
    assert [step.title for step in output.book.progress().steps] == ["Exporting to image"]


def test_warnings_are_lines() -> None:
    output = RawJsonOutput()
    short = base64.b64encode(b"JSONArgsRecommended: x").decode()
    assert output.feed(status(warnings=[{"vertex": DIGEST, "short": short}])) == [
        (None, "Warning: JSONArgsRecommended: x")
    ]


# -- anything --------------------------------------------------------------------------------------------

_WORDS = st.sampled_from(
    ["#1 ", "#22 ", "#000 ", "[a 1/3] ", "[0/0] ", "[9/2] ", "DONE 0.1s", "CACHED", "ERROR: x", "CANCELED"]
) | st.sampled_from(
    ["...", "0.1 ", " 3MB / 2MB", " 9e+99kB / 1B 0.1s done", " 1.5GB / 2.0GiB 3.2s", "exporting to image"]
)
_NAMES = (
    "vertexes statuses logs warnings digest vertex name id started completed error data short current total"
    " cached"
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(DIGEST),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES.split()), inner, max_size=5)
    ),
    max_leaves=20,
)


def holds(output: BuildOutput) -> None:
    progress = output.book.progress()
    assert progress.part is None or 0.0 <= progress.part <= 1.0
    for step in progress.steps:
        assert step.done is None or step.done >= 0
        assert step.total is None or (step.done is not None and step.done <= step.total)


@given(st.lists(st.lists(_WORDS | st.text(max_size=6), max_size=5).map("".join), max_size=30))
def test_no_plain_output_breaks_it(lines: list[str]) -> None:
    output = PlainOutput()
    for line in lines:
        output.feed(line)
        holds(output)
    output.book.close(succeeded=False)
    assert all(step.state is not StepState.RUNNING for step in output.book.progress().steps)


@given(
    st.lists(
        _JSON.map(json.dumps) | st.text(max_size=10) | st.sampled_from(["{", "  x", "}", "{}"]), max_size=20
    )
)
def test_no_raw_output_breaks_it(lines: list[str]) -> None:
    output = RawJsonOutput()
    for line in lines:
        output.feed(line)
        holds(output)


def test_what_never_ends_is_not_kept() -> None:
    plain, raw = PlainOutput(), RawJsonOutput()
    for number in range(4_000):
        plain.feed(f"#{number + 1} RUN {'y' * 2_000}")
        raw.feed(status(vertexes=[{"digest": str(number), "name": "y" * 2_000}]))
    for output in (plain, raw):
        progress = output.book.progress()
        assert len(progress.steps) <= 2_000
        assert max(len(step.title) for step in progress.steps) < 400
    raw.feed("{")
    for _ in range(1_000):
        raw.feed(" " * 20_000)
    raw.feed(status(logs=[{"vertex": "1", "data": base64.b64encode(b"after\n").decode()}]))
    assert raw.book.lines("1") == ["after"]
