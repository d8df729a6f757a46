"""Following one prompt to its end: from events, from ``/history`` and ``/queue``, whichever knows first."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .comfyui import ComfyClient, Event
from .contract import Progress
from .errors import ComfyLost, ComfyUnavailable, JobError

ProgressSink = Callable[[Progress, bytes | None], None]

#: How long no event may come before HTTP is asked, and how often it is asked without a websocket, in seconds.
_QUIET_S, _POLL_S = 2.0, 0.3
#: How often the process is looked at, in seconds.
_LOOK_S = 0.5
#: How long one asking may take, in seconds: the deadlines must not wait for a ComfyUI that is stuck.
_ASKING_S = 20.0
#: A failure's summary is one sentence; the whole message is in its details.
_LONGEST_SUMMARY = 500


#: Words in a node's failure, and what helps.
_KNOWN_FAILURES = (
    ("No space left on device", "Give the worker a larger disk, or make room on it."),
    ("out of memory", "Use a worker with more memory, or smaller pictures, batches and models."),
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a prompt may take, in seconds; 0 is for ever.

    ``run_s`` counts from the moment the prompt starts to run, not while it waits behind others;
    ``silence_s`` is without any event while the websocket is open; ``unanswered_s`` without any answer.
    After ``quiet_s`` without an event ComfyUI is asked.
    """

    run_s: float
    silence_s: float = 0.0
    unanswered_s: float = 300.0
    quiet_s: float = _QUIET_S


@dataclass(slots=True)
class _Follow:
    """What is known so far of one running prompt."""

    workflow: Mapping[str, Any]
    started: bool = False
    ended: bool = False
    #: Whether a node has left something behind.
    produced: bool = False
    #: Askings in a row that found no trace of the prompt.
    absent: int = 0
    #: When ComfyUI last answered or told something, and when it last told something of the prompt.
    answered_at: float = 0.0
    heard_at: float = 0.0
    progress: Progress = field(default_factory=Progress)


async def follow_prompt(
    client: ComfyClient,
    prompt_id: str,
    workflow: Mapping[str, Any],
    *,
    patience: Patience,
    report: ProgressSink,
    still_alive: Callable[[], bool],
    found: bool = False,
) -> dict[str, Any]:
    """Wait until the prompt has ended; ComfyUI's history entry. Call ``client.follow`` before submitting.

    ``found`` says that the prompt was there already, so that its events may be past. Without a websocket
    ComfyUI is asked all the time: that costs nothing but the progress.

    Raises:
        JobError: ``execution_timeout``; ``prompt_lost`` when ComfyUI no longer knows it.
        ComfyLost: when ComfyUI ended.
        ComfyUnavailable: when it answers no more.
    """
    loop = asyncio.get_running_loop()
    events = client.follow(prompt_id)
    now = loop.time()
    state = _Follow(workflow, progress=Progress(nodes_total=len(workflow)), answered_at=now, heard_at=now)
    deadline = math.inf
    ask_at = now if found else now + patience.quiet_s
    while True:
        had_started = state.started
        event = await _next(events, min(ask_at, deadline, now + _LOOK_S) - now)
        now = loop.time()
        if event is not None:
            _take_in(event, state, report)
            state.answered_at = state.heard_at = now
            ask_at = now + patience.quiet_s
        elif not still_alive():
            raise ComfyLost(produced=state.produced)
        if state.ended or now >= ask_at:
            entry = await _ask(client, prompt_id, state, min(_ASKING_S, max(deadline - now, 1.0)))
            if entry is not None:
                return entry
            now = loop.time()
            ask_at = now + (patience.quiet_s if client.connected else min(_POLL_S, patience.quiet_s))
        if not client.connected or state.started is not had_started:
            # While it waited it had nothing to tell; from now on it has.
            state.heard_at = now
        if not client.connected:
            ask_at = min(ask_at, now + _POLL_S)
        if state.started and deadline == math.inf and patience.run_s:
            deadline = now + patience.run_s
        _check(state, patience, now, deadline)


async def _next(events: asyncio.Queue[Event], wait_s: float) -> Event | None:
    try:
        # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with an event.
        async with asyncio.timeout(max(wait_s, 0.0)):
            return await events.get()
    except TimeoutError:
        return None


def _check(state: _Follow, patience: Patience, now: float, deadline: float) -> None:
    """Give up what has taken too long."""
    if now >= deadline:
        raise JobError(
            "execution_timeout",
            f"The workflow was stopped after {patience.run_s:g} s, the limit for one job.",
            hint="Raise EXECUTION_TIMEOUT or the job's own timeout.",
        )
    if state.started and 0 < patience.silence_s < now - state.heard_at:
        raise JobError(
            "execution_timeout",
            f"The workflow was stopped: ComfyUI has told nothing of it for {patience.silence_s:g} s.",
            hint="Raise SILENCE_TIMEOUT if a node may work for that long without a word.",
        )
    if 0 < patience.unanswered_s < now - state.answered_at:
        raise ComfyUnavailable(
            f"ComfyUI has not answered for {patience.unanswered_s:g} s.",
            hint="It is stuck, or a node keeps it from answering: look at its log.",
        )


def _take_in(event: Event, state: _Follow, report: ProgressSink) -> None:
    data = event.data
    state.absent = 0
    match event.kind:
        case "execution_start":
            state.started = True
            report(state.progress, None)
        case "execution_cached":
            nodes = data.get("nodes")
            cached = [n for n in nodes if isinstance(n, str)] if isinstance(nodes, list) else []
            done = len(state.workflow.keys() & set(cached))
            state.progress = replace(state.progress, nodes_done=done)
        case "executing" if data.get("node") is None:
            # Sent after history is written, for success, error and interruption alike: the reliable end mark.
            state.ended = True
        case "executing":
            state.started = True
            node = str(data.get("display_node") or data.get("node"))
            class_type, title = _names(state.workflow.get(node))
            done = state.progress.nodes_done + (1 if state.progress.node_id not in ("", node) else 0)
            state.progress = replace(
                state.progress,
                node_id=node,
                class_type=class_type,
                title=title,
                step=0,
                steps=0,
                nodes_done=done,
            )
            report(state.progress, None)
        case "executed":
            state.produced = state.produced or bool(data.get("output"))
        case "progress":
            step, steps = _whole(data.get("value")), _whole(data.get("max"))
            if step is not None and steps is not None:
                state.progress = replace(state.progress, step=step, steps=steps)
                report(state.progress, None)
        case "preview" if state.started:
            report(state.progress, event.preview)


def _whole(value: object) -> int | None:
    """A count as ComfyUI tells it, which may be a float."""
    if isinstance(value, int):
        return max(value, 0)
    return max(int(value), 0) if isinstance(value, float) and math.isfinite(value) else None


def _names(node: object) -> tuple[str, str]:
    """A node's type, and the title that its user gave it."""
    if not isinstance(node, Mapping):
        return "", ""
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, Mapping) else None
    return str(node.get("class_type") or ""), title[:200] if isinstance(title, str) else ""


async def _ask(client: ComfyClient, prompt_id: str, state: _Follow, limit_s: float) -> dict[str, Any] | None:
    """Ask over HTTP, after a quiet time or the end mark: the history entry if the prompt has ended."""
    ended, state.ended = state.ended, False
    try:
        async with asyncio.timeout(limit_s):
            # The end mark comes when the history is written.
            if ended and (entry := await client.history(prompt_id)) is not None:
                return entry
            # In this order: a prompt that ends between the two questions is found by the second.
            place = await client.where(prompt_id)
            entry = await client.history(prompt_id) if place is None else None
    except (ComfyUnavailable, TimeoutError):
        # A node that holds the interpreter for long silences the server: that is no reason to give up yet.
        return None
    state.answered_at = asyncio.get_running_loop().time()
    state.absent = state.absent + 1 if place is None and entry is None else 0
    if state.absent > 1:
        raise JobError(
            "prompt_lost",
            "ComfyUI no longer knows this prompt: it was deleted from the queue, or ComfyUI was restarted.",
            hint="Run the job again.",
        )
    state.started = state.started or place == "running"
    return entry


async def already_there(client: ComfyClient, prompt_id: str, workflow: Mapping[str, Any]) -> bool:
    """Whether an earlier attempt at this job left its prompt in ComfyUI, so that it need not run twice."""
    if await client.where(prompt_id) is not None:
        return True
    entry = await client.history(prompt_id)
    if entry is None:
        return False
    prompt = entry.get("prompt")
    same = isinstance(prompt, list) and len(prompt) > 2 and prompt[2] == workflow
    if same and verdict(entry)[0] == "success":
        return True
    # The id runs again: its old end must not be taken for the new one.
    await client.forget_history(prompt_id)
    return False


def verdict(entry: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """How a prompt ended: ``("success" | "error" | "interrupted", data of the ending message)``.

    Judged by the ending message: ``status_str`` may be left over from an earlier prompt.
    """
    status = entry.get("status")
    messages = status.get("messages") if isinstance(status, Mapping) else None
    for message in reversed(messages if isinstance(messages, list) else []):
        if isinstance(message, list) and len(message) == 2 and isinstance(message[1], Mapping):
            match message[0]:
                case "execution_success":
                    return "success", message[1]
                case "execution_error":
                    return "error", message[1]
                case "execution_interrupted":
                    return "interrupted", message[1]
    word = status.get("status_str") if isinstance(status, Mapping) else None
    return ("success" if word == "success" else "error"), {}


def cached_nodes(entry: Mapping[str, Any]) -> set[str]:
    """The nodes that a prompt did not run, because their results were there from before."""
    status = entry.get("status")
    messages = status.get("messages") if isinstance(status, Mapping) else None
    for message in messages if isinstance(messages, list) else []:
        match message:
            case ["execution_cached", {"nodes": [*nodes]}]:
                return {str(node) for node in nodes}
    return set()


def raise_for_verdict(entry: Mapping[str, Any], workflow: Mapping[str, Any]) -> None:
    """Raise the failure that a history entry tells of.

    Raises:
        JobError: ``execution_failed`` with the node, ``disk_full``, ``interrupted``.
    """
    word, data = verdict(entry)
    if word == "success":
        return
    if word == "interrupted":
        raise JobError(
            "interrupted",
            "The workflow was interrupted in ComfyUI.",
            hint="Somebody pressed Cancel in ComfyUI, or another program did. Run the job again.",
        )
    node_id = str(data.get("node_id") or "")
    class_type = str(data.get("node_type") or _names(workflow.get(node_id))[0])
    message = str(data.get("exception_message") or "").strip() or "no message"
    lines, inputs = data.get("traceback"), data.get("current_inputs")
    shown = {str(k): str(v)[:300] for k, v in inputs.items()} if isinstance(inputs, Mapping) else {}
    code = "execution_failed"
    if "No space left on device" in message:
        code = "disk_full"
    hints = (hint for words, hint in _KNOWN_FAILURES if words in message)
    hint = next(hints, "The traceback and the last log lines show the cause.")
    raise JobError(
        code,
        f"Node {node_id} ({class_type}) failed: {message.splitlines()[0][:_LONGEST_SUMMARY]}",
        hint=hint,
        details={"exception_type": data.get("exception_type"), "exception_message": message},
        node={"id": node_id, "class_type": class_type, "input": shown},
        traceback=[str(line) for line in lines] if isinstance(lines, list) else None,
    )
