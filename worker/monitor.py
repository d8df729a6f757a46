"""Following one prompt to its end: from events, from ``/history`` and ``/queue``, whichever knows first."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .comfyui import ComfyClient, Event
from .contract import Progress
from .errors import ComfyUnavailable, JobError

ProgressSink = Callable[[Progress, bytes | None], None]

#: How long no event may come before HTTP is asked, in seconds.
_QUIET_S = 2.0
#: How many unanswered askings in a row are no reason yet to give a prompt up.
_MOST_SILENCE = 30
#: A failure's summary is one sentence; the whole message is in its details.
_LONGEST_SUMMARY = 500


@dataclass(slots=True)
class _Follow:
    """What is known so far of one running prompt."""

    workflow: Mapping[str, Any]
    started: bool = False
    ended: bool = False
    #: Askings in a row that ComfyUI did not answer, and that found no trace of the prompt.
    silent: int = 0
    absent: int = 0
    progress: Progress = field(default_factory=Progress)


async def follow_prompt(
    client: ComfyClient,
    prompt_id: str,
    workflow: Mapping[str, Any],
    *,
    timeout_s: float,
    report: ProgressSink,
    still_alive: Callable[[], bool],
    found: bool = False,
    quiet_s: float = _QUIET_S,
) -> dict[str, Any]:
    """Wait until the prompt has ended; ComfyUI's history entry. Call ``client.follow`` before submitting.

    ``timeout_s`` counts from the moment the prompt starts to run, not while it waits behind others.
    ``found`` says that the prompt was there already, so that its events may be past. After ``quiet_s``
    seconds without an event ComfyUI is asked.

    Raises:
        JobError: ``execution_timeout``; ``prompt_lost`` when ComfyUI no longer knows it.
        ComfyUnavailable: when ComfyUI ended.
    """
    loop = asyncio.get_running_loop()
    events = client.follow(prompt_id)
    state = _Follow(workflow, progress=Progress(nodes_total=len(workflow)))
    deadline: float | None = None
    patience = 0.0 if found else quiet_s
    while True:
        asked = False
        try:
            # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with an event.
            async with asyncio.timeout(patience):
                event = await events.get()
        except TimeoutError:
            asked = True
        else:
            _take_in(event, state, report)
        if asked or state.ended:
            entry = await _ask(client, prompt_id, state, still_alive)
            if entry is not None:
                return entry
        patience = quiet_s
        if state.started:
            deadline = deadline or loop.time() + timeout_s
            patience = min(quiet_s, deadline - loop.time())
            if patience <= 0:
                raise JobError(
                    "execution_timeout",
                    f"The workflow was stopped after {timeout_s:g} s, the limit for one job.",
                    hint="Raise EXECUTION_TIMEOUT or the job's own timeout.",
                )


def _take_in(event: Event, state: _Follow, report: ProgressSink) -> None:
    data = event.data
    state.silent = state.absent = 0
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
            class_type = str((state.workflow.get(node) or {}).get("class_type") or "")
            done = state.progress.nodes_done + (1 if state.progress.node_id not in ("", node) else 0)
            state.progress = replace(
                state.progress, node_id=node, class_type=class_type, step=0, steps=0, nodes_done=done
            )
            report(state.progress, None)
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


async def _ask(
    client: ComfyClient, prompt_id: str, state: _Follow, still_alive: Callable[[], bool]
) -> dict[str, Any] | None:
    """Ask over HTTP, after a quiet time or the end mark: the history entry if the prompt has ended."""
    state.ended = False
    if not still_alive():
        raise ComfyUnavailable(
            "ComfyUI ended while it ran this workflow.",
            code="comfyui_died",
            hint="The last log lines say why; out of memory is the usual reason.",
        )
    try:
        # In this order: a prompt that ends between the two questions is found by the second.
        place = await client.where(prompt_id)
        entry = await client.history(prompt_id) if place is None else None
    except ComfyUnavailable:
        # A node that holds the interpreter for long silences the server: that is no reason to give up yet.
        state.silent += 1
        if state.silent > _MOST_SILENCE:
            raise
        return None
    state.silent = 0
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
        JobError: ``execution_failed`` with the node, ``interrupted``.
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
    class_type = str(data.get("node_type") or (workflow.get(node_id) or {}).get("class_type") or "")
    message = str(data.get("exception_message") or "").strip() or "no message"
    lines, inputs = data.get("traceback"), data.get("current_inputs")
    shown = {str(k): str(v)[:300] for k, v in inputs.items()} if isinstance(inputs, Mapping) else {}
    raise JobError(
        "execution_failed",
        f"Node {node_id} ({class_type}) failed: {message.splitlines()[0][:_LONGEST_SUMMARY]}",
        hint="The traceback and the last log lines show the cause.",
        details={"exception_type": data.get("exception_type"), "exception_message": message},
        node={"id": node_id, "class_type": class_type, "input": shown},
        traceback=[str(line) for line in lines] if isinstance(lines, list) else None,
    )
