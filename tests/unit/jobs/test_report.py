"""What is said about a failed job: the card, what is there instead, and a report without secrets."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.jobs.cards import _TITLES
from app.jobs.model import Job, Move
from app.jobs.report import (
    ErrorCard,
    Missing,
    available,
    closest,
    diagnostics,
    error_card,
    log_lines,
    mask,
    missing_name,
    traceback_text,
)
from app.jobs.states import State
from app.jobs.words import second_line
from worker.errors import JobError
from worker.refusal import refused

HOME, USER = Path("/home/marta"), "marta"
ROOT = Path(__file__).parents[3]


def failed(code: str, summary: str, *, target: str = "abcd1234", **details: Any) -> Job:
    error = {"summary": summary, "hint": details.pop("hint", ""), "code": code, "details": details}
    return Job("2b90d4aa00", 1, "Glass orbs", target, "/out", state=State.FAILED, error=error)


def by_worker(error: JobError, *, target: str = "abcd1234", **info: Any) -> Job:
    """As the worker tells a failure, and the runner keeps it."""
    diagnostic_info = {**info, **({"node_errors": error.node_errors} if error.node_errors else {})}
    details: dict[str, Any] = {"details": error.details, "diagnostic_info": diagnostic_info}
    if error.node is not None:
        details["node"] = error.node
    if error.traceback:
        details["traceback"] = "".join(error.traceback)
    return failed(error.code, error.summary, target=target, hint=error.hint, **details)


def refusal(kind: str, message: str, details: str, class_type: str, **info: Any) -> JobError:
    problem = {"type": kind, "message": message, "details": details, "extra_info": info}
    entry = {"errors": [problem], "dependent_outputs": ["9"], "class_type": class_type}
    error = {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation"}
    return refused(400, {"error": error, "node_errors": {"4": entry}})


CHECKPOINTS = ["sd3.5_large.safetensors", "flux1-dev-fp8.safetensors"]
NO_MODEL = refusal(
    "value_not_in_list",
    "Value not in list",
    "ckpt_name: 'sd3.5_large_fp8.safetensors' not in ['sd3.5_large.safetensors']",
    "CheckpointLoaderSimple",
    input_name="ckpt_name",
    received_value="sd3.5_large_fp8.safetensors",
)


# -- the card -------------------------------------------------------------------------------------------


def test_a_missing_model_is_named_with_the_closest_there_is() -> None:
    job = by_worker(NO_MODEL, available_models={"checkpoints": CHECKPOINTS, "vae": 5})
    card = error_card(job)
    assert card.title == "Model not found"
    assert card.text == (
        "The endpoint has no file named sd3.5_large_fp8.safetensors in checkpoints. "
        "Closest: sd3.5_large.safetensors."
    )
    assert card.place == "Node 4 · CheckpointLoaderSimple · ckpt_name"
    assert missing_name(job) == Missing("checkpoints", "sd3.5_large_fp8.safetensors")
    assert available(job) == {"checkpoints": CHECKPOINTS}
    assert second_line(job, None, None, 0) == "Model not found: sd3.5_large_fp8.safetensors"
    assert error_card(by_worker(NO_MODEL, target="local")).text.startswith("ComfyUI has no file")


def test_a_model_of_a_kind_that_we_do_not_know() -> None:
    error = refusal(
        *("value_not_in_list", "Value not in list", "x", "UltralyticsLoader"),
        input_name="model_name",
        received_value="bbox/face.pt",
    )
    assert error_card(by_worker(error)).text == "The endpoint has no file named bbox/face.pt."
    assert missing_name(by_worker(error)) == Missing("", "bbox/face.pt")


def test_a_value_that_is_no_model_is_no_missing_model() -> None:
    error = refusal(
        *("value_not_in_list", "Value not in list", "sampler_name: 'x' not in ['euler']", "KSampler"),
        input_name="sampler_name",
        received_value="x",
    )
    assert missing_name(by_worker(error)) is None
    assert error_card(by_worker(error)) == ErrorCard(
        "Value not accepted",
        "Node 4 KSampler, Value not in list: sampler_name: 'x' not in ['euler'].",
        "Node 4 · KSampler · sampler_name",
        "Choose a value this ComfyUI offers; a missing model must be there first.",
    )


@pytest.mark.parametrize(
    ("target", "title", "text"),
    [
        ("abcd1234", "Custom node not in the image", "The image has no node type FaceDetailer."),
        ("local", "Custom node not installed", "ComfyUI has no node type FaceDetailer."),
    ],
)
def test_a_missing_node_type(target: str, title: str, text: str) -> None:
    message = "Cannot execute because node FaceDetailer does not exist."
    error = {"type": "invalid_prompt", "message": message, "details": "Node ID '#7'"}
    card = error_card(by_worker(refused(400, {"error": error, "node_errors": {}}), target=target))
    assert (card.title, card.text) == (title, text)


def node_failed(kind: str, message: str) -> Job:
    error = JobError(
        "execution_failed",
        f"Node 7 (ImageScale) failed: {message}",
        details={"exception_type": kind, "exception_message": message},
        node={"id": "7", "class_type": "ImageScale", "input": {"width": "0"}},
        traceback=["  File x\n", "    y\n"],
    )
    return by_worker(error, last_log_lines=["got prompt", "!!! Exception"])


def test_a_node_that_raised() -> None:
    job = node_failed("builtins.ValueError", "width must be above 0\nsecond line")
    card = error_card(job)
    assert (card.title, card.place) == ("Node failed", "Node 7 · ImageScale")
    assert card.text == "Node 7 ImageScale raised ValueError: width must be above 0"
    assert log_lines(job) == ["got prompt", "!!! Exception"]
    assert traceback_text(job) == "  File x\n    y\n"


@pytest.mark.parametrize("kind", ["torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError"])
def test_a_full_gpu(kind: str) -> None:
    card = error_card(node_failed(kind, "Allocation on device 0 would exceed allowed memory."))
    assert card.title == "Out of GPU memory"
    assert card.text == "ImageScale needed more memory than the GPU has. Smaller batch or size helps."


def test_a_time_limit() -> None:
    job = failed("execution_timeout", "The workflow was stopped after 900 s, the limit for one job.")
    assert error_card(job).title == "Stopped at the time limit"
    late = Job("x", 1, "n", "abcd1234", "/out", state=State.TIMED_OUT, execution_ms=900_000)
    assert error_card(late).title == "Stopped after 15 min"
    assert error_card(late).text == "The endpoint's time limit ended the job after 15:00."


@pytest.mark.parametrize(
    ("code", "title", "text"),
    [
        ("key_refused", "API key not accepted", "RunPod answered 401. The key may be revoked."),
        ("unknown_endpoint", "Endpoint not found", "abcd1234 no longer exists in this account."),
        (
            "unreachable",
            "No connection",
            "Cannot reach RunPod. Jobs there go on; the list updates once the line is back.",
        ),
    ],
)
def test_runpod_in_the_designs_words(code: str, title: str, text: str) -> None:
    card = error_card(failed(code, "The endpoint says no.", hint="Do it."))
    assert (card.title, card.text, card.hint) == (title, text, "Do it.")


def test_an_engine_here_that_is_down_is_no_lost_connection() -> None:
    card = error_card(failed("unreachable", "The endpoint cannot be reached.", target="local"))
    assert (card.title, card.text) == ("Not reachable", "The endpoint cannot be reached.")


def test_a_window_names_no_command() -> None:
    card = error_card(failed("maybe_sent", "No answer came.", hint="`comfy-runpod jobs retry x`"))
    assert card.hint == "Sending it again may be charged twice."


def test_an_unknown_code_and_no_reason() -> None:
    assert error_card(failed("brand_new", "Something else.")) == ErrorCard("Job failed", "Something else.")
    bare = Job("x", 1, "n", "abcd1234", "/out", state=State.FAILED)
    assert error_card(bare) == ErrorCard("Job failed", "No reason was given.")


def test_the_program_that_did_not_start_has_its_log() -> None:
    job = failed("process_failed", "ComfyUI does not start: no torch", log=["a", "no torch"])
    assert log_lines(job) == ["a", "no torch"]


def test_every_code_that_there_is_has_a_title() -> None:
    """Ours and the worker's, as they stand in the source."""
    sources = [*(ROOT / "worker").glob("*.py"), *(ROOT / "app" / "jobs").rglob("*.py")]
    sources += [ROOT / "app" / "errors.py", *(ROOT / "app" / "endpoint").glob("*.py")]
    text = "\n".join(path.read_text("utf-8") for path in sources)
    found = set(re.findall(r"""(?:JobError\(\s*|\bcode ?= ?|"code": )"([a-z_]+)\"""", text))
    # Never a job's error: what is asked of the runner, or of a job that is not there.
    found -= {"error", "runner_gone", "no_window", "unknown_job", "unknown_worker", "submit_unanswered"}
    assert {"execution_failed", "key_refused", "maybe_sent", "comfyui_died"} <= found
    assert found <= set(_TITLES)


KEYS = ["details", "node", "id", "diagnostic_info", "node_errors", "4", "errors", "extra_info", "type"]
KEYS += ["available_models", "last_log_lines", "input_name", "received_value", "traceback", "log"]
WRONG: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(WRONG, st.sampled_from(["validation_failed", "execution_failed", "x", ""]))
def test_an_error_of_any_shape_can_be_shown(details: Any, code: str) -> None:
    """The endpoint may be anybody's."""
    error = {"summary": details, "code": code, "details": details}
    job = Job("x", 1, "n", "abcd1234", "/out", state=State.FAILED, error=error)
    assert error_card(job).title
    assert isinstance(second_line(job, None, None, 0), str)
    assert diagnostics(job, [], now=0, home=HOME, user=USER)


def test_the_closest_name() -> None:
    assert closest("SD3.5_Large_FP8.safetensors", CHECKPOINTS) == "sd3.5_large.safetensors"
    assert closest("upscaler.pth", CHECKPOINTS) is None
    assert closest("x", []) is None


# -- the report -----------------------------------------------------------------------------------------


def test_a_report_holds_what_helps() -> None:
    job = by_worker(
        NO_MODEL,
        available_models={"checkpoints": CHECKPOINTS},
        last_log_lines=[f"line {n}" for n in range(60)],
    )
    text = diagnostics(job, [Move(0, State.PREPARING), Move(9, State.FAILED, "why")], now=99)
    for part in (
        *("# Comfy RunPod: Glass orbs", "- Runs on: abcd1234", "- Job: 2b90d4aa00", "- State: Failed"),
        *("## Error", "Model not found", "Code: validation_failed", "## Timeline", "failed  why"),
        *("## Available in checkpoints", "flux1-dev-fp8.safetensors", "## Log", "line 59", "line 10\n"),
    ):
        assert part in text
    assert "line 9\n" not in text
    assert "## Traceback" not in text


def test_a_log_cannot_break_out_of_its_block() -> None:
    text = diagnostics(by_worker(NO_MODEL, last_log_lines=["```", "# not a title"]), [], now=0)
    assert "````\n```\n# not a title\n````" in text


NAMES = [
    "api_key",
    "RUNPOD_API_KEY",
    "HF_TOKEN",
    "civitai-token",
    "client_secret",
    "password",
    "Authorization",
]
LETTERS = string.ascii_letters + string.digits
WORDS = st.text(LETTERS, min_size=12, max_size=40)
ANY = st.text(st.characters(codec="utf-8"), max_size=30)


@st.composite
def with_secret(draw: st.DrawFn) -> tuple[str, str]:
    """A text, and the secret that it holds."""
    secret = draw(WORDS)
    shape = draw(st.integers(0, 6))
    if shape == 0:
        secret = draw(st.sampled_from(["rpa_", "hf_", "sk-", "sk-ant-", "ghp_"])) + secret
        held = draw(st.sampled_from(["{}", "({})", "key {}", "/{}/", '"{}"', "x={}&y=1"])).format(secret)
    elif shape == 1:
        held = f"{draw(st.sampled_from(['Bearer', 'bearer', 'BEARER']))} {secret}"
    elif shape == 2:
        held = f"https://user:{secret}@host/path"
    else:
        name = draw(st.sampled_from(NAMES))
        form = draw(st.sampled_from(["{}={}", "{}: {}", "'{}': '{}'", '"{}": "{}"', "https://h/?{}={}&b=c"]))
        held = form.format(name, secret)
        if shape == 6:
            held = json.dumps(json.dumps({"in": held}))
    before, after = draw(ANY), draw(ANY)
    assume(secret not in f"{before} {after}")
    return f"{before} {held} {after}", secret


@settings(max_examples=120)
@given(with_secret(), st.sampled_from(["log", "traceback", "summary", "hint", "note", "name"]))
def test_no_secret_comes_through(held: tuple[str, str], where: str) -> None:
    text, secret = held
    assert secret not in _report(text, where)


@given(WORDS, ANY, st.sampled_from(["log", "summary", "name", "note"]))
def test_a_key_that_is_known_never_comes_through(secret: str, text: str, where: str) -> None:
    assert secret not in _report(f"{text}{secret}{text}", where, secrets=[secret])


HOMES = [PurePosixPath("/home/marta"), PurePosixPath("/Users/Marta W"), PureWindowsPath("C:\\Users\\marta")]


@given(st.sampled_from(HOMES), st.integers(0, 4), ANY, ANY, st.sampled_from(["log", "traceback", "note"]))
def test_no_home_folder_comes_through(home: Any, form: int, before: str, after: str, where: str) -> None:
    path = str(home / "ComfyUI" / "x.py")
    path = [path, json.dumps(path), path.replace("\\", "/"), path.upper(), json.dumps(json.dumps(path))][form]
    text = _report(f"{before} {path} {after}", where, home=home, user="nobody-here")
    name = home.name.casefold()
    assert f"{name}/" not in text.casefold().replace("\\", "/")


@given(ANY, ANY)
def test_no_users_name_comes_through(before: str, after: str) -> None:
    text = _report(f"{before} /srv/marta/x, Marta's {after}", "log")
    assert not re.search(r"(?<!\w)marta(?!\w)", text, re.IGNORECASE)


def _report(text: str, where: str, **options: Any) -> str:
    details: dict[str, Any] = {"diagnostic_info": {"last_log_lines": [text] if where == "log" else []}}
    details["traceback"] = text if where == "traceback" else ""
    said = {key: text if where == key else "x" for key in ("summary", "hint")}
    error = {**said, "code": "x", "details": details}
    name = text if where == "name" else "n"
    job = Job("x", 1, name, "abcd1234", "/out", state=State.FAILED, error=error)
    moves = [Move(0, State.FAILED, text if where == "note" else "")]
    return diagnostics(job, moves, now=0, **{"home": HOME, "user": USER, **options})


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'model.diffusion_model.input_blocks.0.0.weight'",
        "torch.KeyError: 'a long name of something'",
        "77 tokens, max_tokens=77, key: 5",
        "got prompt for the task-runner of the root user",
        "/srv/homely/marta2/x",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text, home=HOME, user=USER) == text


def test_a_huge_line_is_masked_in_no_time() -> None:
    line = "a" * 2_000_000 + " token=" + "b" * 20
    assert mask(line, home=HOME, user=USER).endswith(" token=***")
