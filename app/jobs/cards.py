"""What a job's error says, in the window's words: a card with a title, the cause, and the place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from .figures import duration, span
from .model import Job
from .states import State
from .targets import is_remote


@dataclass(frozen=True, slots=True)
class ErrorCard:
    """An error as the inspector shows it first.

    Attributes:
        title: what is wrong, in 2 to 5 words.
        text: the thing by its name, and the cause.
        place: ``Node 4 · CheckpointLoaderSimple · ckpt_name``; empty when no node is named.
        hint: what to do about it; may be empty.
    """

    title: str
    text: str
    place: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """A model file that is not there. ``kind`` is ComfyUI's (``checkpoints`` …), empty when not known."""

    kind: str
    name: str


#: By the code of an error, whoever gave it: the worker, the endpoint's client, or the runner.
_TITLES: Final[dict[str, str]] = {
    "bad_input": "Request not accepted",
    "validation_failed": "Workflow not accepted",
    "execution_failed": "Node failed",
    "execution_timeout": "Stopped at the time limit",
    "interrupted": "Interrupted in ComfyUI",
    "prompt_lost": "Lost by ComfyUI",
    "comfyui_unavailable": "ComfyUI does not answer",
    "comfyui_died": "ComfyUI stopped by itself",
    "comfyui_error": "Workflow not accepted",
    "worker_error": "The worker failed",
    "input_not_written": "Input not written",
    "input_missing": "Input not on the volume",
    "input_too_large": "Input too large",
    "download_failed": "Input not fetched",
    "outputs_missing": "Results not found",
    "bad_output_name": "Result not usable",
    "result_not_written": "Results not handed over",
    "result_too_large": "Results too large to return",
    "no_volume": "No network volume",
    "no_bucket": "No bucket",
    "id_conflict": "Another job has this id",
    "still_running": "Runs on another worker",
    "result_lost": "Result lost",
    "result_damaged": "File damaged in transit",
    "fetch_failed": "Results not fetched",
    "job_unknown": "No longer known",
    "cancelled_elsewhere": "Cancelled elsewhere",
    "maybe_sent": "May have been sent",
    "never_heard_of": "Never heard of again",
    "key_refused": "API key not accepted",
    "unknown_endpoint": "Endpoint not found",
    "unreachable": "No connection",
    "rate_limited": "Asked too often",
    "refused": "Not accepted",
    "too_large": "Inputs too large to send",
    "volume_full": "Network volume full",
    "disk_full": "Disk full",
    "memory_low": "Too little memory",
    "output_too_large": "Results too large",
    "download_not_allowed": "Downloads not allowed",
    "download_refused": "Download not allowed",
    "model_exists": "Another model has this name",
    "model_too_large": "Model too large",
    "model_damaged": "Model damaged in transit",
    "model_not_written": "Model not written",
    "chunk_damaged": "File damaged in transit",
    "file_damaged": "File damaged in transit",
    "file_missing": "File not on the volume",
    "needs_setup": "Something to set up",
    "process_failed": "Did not start",
    "daily_limit": "Daily limit reached",
    "timed_out": "Stopped at the time limit",
    "lacking": "Something is missing",
}
#: What is said of RunPod instead of the client's own words.
_REMOTE_TEXTS: Final[dict[str, str]] = {
    "key_refused": "RunPod answered 401. The key may be revoked.",
    "unknown_endpoint": "{target} no longer exists in this account.",
    "unreachable": "Cannot reach RunPod. Jobs there go on; the list updates once the line is back.",
}
#: The command line's hint names a command.
_SEND_AGAIN: Final = "Sending it again may be charged twice."
_IS_SOUGHT: Final = "When a worker is seen to have it, it goes on by itself."
_UNKNOWN_TITLE: Final = "Job failed"
#: Which kind of models an input chooses from, by the input's name.
_KINDS: Final[dict[str, str]] = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "lora_name": "loras",
    "vae_name": "vae",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "control_net_name": "controlnet",
}
_MODEL_FILE: Final = re.compile(r"\.(safetensors|sft|ckpt|pth?|bin|gguf|onnx)$", re.IGNORECASE)
_NO_SUCH_NODE: Final = re.compile(r"node (.+?) does not exist|of the type '(.+?)', which this ComfyUI")
_OUT_OF_MEMORY: Final = re.compile(r"OutOfMemory|out of memory", re.IGNORECASE)
#: Longer than this, a text is no sentence for a card.
_LONGEST: Final = 400
_LACKS_SHOWN: Final = 6


def error_card(job: Job) -> ErrorCard:
    """The card of a job's error; for a job without one its state in words."""
    error = _mapping(job.error)
    code, summary = str(error.get("code") or ""), str(error.get("summary") or "")
    card = ErrorCard(
        _TITLES.get(code, _UNKNOWN_TITLE),
        _short(summary) or "No reason was given.",
        _place(job),
        str(error.get("hint") or ""),
    )
    if job.state is State.TIMED_OUT or code == "execution_timeout":
        return _timed_out(job, card)
    match code:
        case "validation_failed":
            return _not_valid(job, card)
        case "execution_failed":
            return _node_failed(job, card)
        case "lacking":
            return _lacking(job, card)
        case "maybe_sent":
            return replace(card, hint=f"{_IS_SOUGHT} {_SEND_AGAIN}" if job.is_sought else _SEND_AGAIN)
        case _ if code in _REMOTE_TEXTS and is_remote(job.target):
            return replace(card, text=_REMOTE_TEXTS[code].format(target=job.target))
        case "unreachable":
            return replace(card, title="Not reachable")
        case _:
            return card


def headline(job: Job) -> str:
    """An error in one line, for a row: its summary, or which model is not there."""
    missing = missing_name(job)
    if missing is not None:
        return f"Model not found: {missing.name}"
    lines = str(_mapping(job.error).get("summary") or "").strip().splitlines()
    return lines[0] if lines else ""


def missing_name(job: Job) -> Missing | None:
    """The model file that the target does not have, when that is what failed the job."""
    problem = _first_problem(job)
    if problem.get("type") != "value_not_in_list":
        return None
    info = _mapping(problem.get("extra_info"))
    name, kind = str(info.get("received_value") or ""), _KINDS.get(str(info.get("input_name") or ""), "")
    return Missing(kind, name) if name and (kind or _MODEL_FILE.search(name)) else None


def available(job: Job) -> dict[str, list[str]]:
    """The models that the target had, by kind (``checkpoints`` …)."""
    listed = _mapping(_diagnostics(job).get("available_models"))
    return {
        str(kind): [str(name) for name in names] for kind, names in listed.items() if isinstance(names, list)
    }


def log_lines(job: Job) -> list[str]:
    """The last lines of ComfyUI's log, or of the program that did not start."""
    details = _details(job)
    for listed in (_diagnostics(job).get("last_log_lines"), details.get("log")):
        if isinstance(listed, list):
            return [str(line) for line in listed]
    return []


def traceback_text(job: Job) -> str:
    """ComfyUI's traceback; empty when there is none."""
    traceback = _details(job).get("traceback")
    return traceback if isinstance(traceback, str) else ""


def closest(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that is most like ``name``; None when none is."""
    by_key = {other.casefold(): other for other in names}
    found = difflib.get_close_matches(name.casefold(), by_key, n=1, cutoff=0.5)
    return by_key[found[0]] if found else None


def _timed_out(job: Job, card: ErrorCard) -> ErrorCard:
    ran_s = None if job.execution_ms is None else job.execution_ms / 1000
    title = card.title if ran_s is None else f"Stopped after {span(ran_s)}"
    said = str(_mapping(job.error).get("summary") or "")
    text = said or f"The endpoint's time limit ended the job{f' after {duration(ran_s)}' if ran_s else ''}."
    return ErrorCard(title, _short(text), card.place, card.hint or "Raise the limit and run the job again.")


def _lacking(job: Job, card: ErrorCard) -> ErrorCard:
    """What was found missing before anything was sent: each in a line of its own."""
    listed = _details(job).get("lacks")
    texts = [str(_mapping(each).get("text") or "") for each in listed] if isinstance(listed, list) else []
    if len(texts) > _LACKS_SHOWN:
        texts = [*texts[:_LACKS_SHOWN], f"And {len(texts) - _LACKS_SHOWN} more."]
    return ErrorCard(card.text, "\n".join(texts) or card.text, "", "Nothing was sent.")


def _not_valid(job: Job, card: ErrorCard) -> ErrorCard:
    absent = _NO_SUCH_NODE.search(card.text)
    if absent is not None:
        remote = is_remote(job.target)
        title = "Custom node not in the image" if remote else "Custom node not installed"
        where = "The image" if remote else "ComfyUI"
        return ErrorCard(title, f"{where} has no node type {absent[1] or absent[2]}.", card.place, card.hint)
    missing = missing_name(job)
    if missing is not None:
        return _model_missing(job, missing, card)
    problem, node = _first_problem(job), _node(job)
    if not problem:
        return card
    said = ": ".join(str(problem[key]) for key in ("message", "details") if problem.get(key))
    text = f"Node {node.get('id')} {node.get('class_type')}, {said}."
    return ErrorCard("Value not accepted", _short(text), card.place, card.hint)


def _model_missing(job: Job, missing: Missing, card: ErrorCard) -> ErrorCard:
    owner = "The endpoint" if is_remote(job.target) else "ComfyUI"
    text = f"{owner} has no file named {missing.name}{f' in {missing.kind}' if missing.kind else ''}."
    like = closest(missing.name, available(job).get(missing.kind, []))
    if like is not None:
        text += f" Closest: {like}."
    return ErrorCard("Model not found", text, card.place, card.hint)


def _node_failed(job: Job, card: ErrorCard) -> ErrorCard:
    node, raised = _node(job), _mapping(_details(job).get("details"))
    kind = str(raised.get("exception_type") or "").rpartition(".")[2]
    message = next(iter(str(raised.get("exception_message") or "").strip().splitlines()), "")
    class_type = str(node.get("class_type") or "A node")
    if _OUT_OF_MEMORY.search(f"{kind} {message}"):
        text = f"{class_type} needed more memory than the GPU has. Smaller batch or size helps."
        return ErrorCard("Out of GPU memory", text, card.place, card.hint)
    if not node or not kind:
        return card
    text = f"Node {node.get('id')} {class_type} raised {kind}{f': {message}' if message else ''}"
    return ErrorCard(card.title, _short(text), card.place, card.hint)


def _place(job: Job) -> str:
    node = _node(job)
    if not node.get("id"):
        return ""
    field = node.get("input")
    parts = [f"Node {node['id']}", str(node.get("class_type") or ""), field if isinstance(field, str) else ""]
    return " · ".join(part for part in parts if part)


def _first_problem(job: Job) -> Mapping[str, Any]:
    """ComfyUI's own word on the first input that it refused, of the node that the worker names."""
    entries = _mapping(_diagnostics(job).get("node_errors"))
    entry = _mapping(entries.get(str(_node(job).get("id"))))
    errors = entry.get("errors")
    return _mapping(errors[0]) if isinstance(errors, Sequence) and errors else {}


def _node(job: Job) -> Mapping[str, Any]:
    return _mapping(_details(job).get("node"))


def _diagnostics(job: Job) -> Mapping[str, Any]:
    return _mapping(_details(job).get("diagnostic_info"))


def _details(job: Job) -> Mapping[str, Any]:
    return _mapping(_mapping(job.error).get("details"))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
