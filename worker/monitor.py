"""Following one prompt to its end: from events, from ``/history`` and ``/queue``, whichever knows first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .comfyui import ComfyClient, Event
from .contract import Progress
from .errors import ComfyUnavailable, JobError

ProgressSink = Callable[[Progress, bytes | None], None]

#: How long no event may come before HTTP is asked, in seconds.
_QUIET_S = 2.0


@dataclass(slots=True)
class _Follow:
    """What is known so far of one running prompt."""

    workflow: Mapping[str, Any]
    started: bool = False
    ended: bool = False
    progress: Progress = field(default_factory=Progress)


async def follow_prompt(
    client: ComfyClient,
    prompt_id: str,
    workflow: Mapping[str, Any],
    *,
    timeout_s: float,
    report: ProgressSink,
    still_alive: Callable[[], bool],
) -> dict[str, Any]:
    """Wait until the prompt has ended; ComfyUI's history entry. Call ``client.follow`` before submitting.

    ``timeout_s`` counts from the moment the prompt starts to run, not while it waits behind others.

    Raises:
        JobError: ``execution_timeout``; ``prompt_lost`` when ComfyUI no longer knows it.
        ComfyUnavailable: when ComfyUI ended.
    """
    loop = asyncio.get_running_loop()
    events = client.follow(prompt_id)
    state = _Follow(workflow, progress=Progress(nodes_total=len(workflow)))
    deadline: float | None = None
    misses = 0
    while True:
        try:
            event = await asyncio.wait_for(events.get(), _QUIET_S)
        except TimeoutError:
            misses, entry = await _ask(client, prompt_id, state, misses, still_alive)
            if entry is not None:
                return entry
        else:
            misses = 0
            _take_in(event, state, report)
        if state.ended:
            entry = await client.history(prompt_id)
            if entry is not None:
                return entry
            state.ended = False
        if state.started and deadline is None:
            deadline = loop.time() + timeout_s
        if deadline is not None and loop.time() > deadline:
            raise JobError(
                "execution_timeout",
                f"The workflow was stopped after {timeout_s:g} s, the limit for one job.",
                hint="Raise EXECUTION_TIMEOUT or the job's own timeout.",
            )


def _take_in(event: Event, state: _Follow, report: ProgressSink) -> None:
    data = event.data
    match event.kind:
        case "execution_start":
            state.started = True
            report(state.progress, None)
        case "execution_cached":
            cached = [n for n in data.get("nodes") or [] if n in state.workflow]
            state.progress = replace(state.progress, nodes_done=len(cached))
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
            step, steps = data.get("value"), data.get("max")
            if isinstance(step, int | float) and isinstance(steps, int | float):
                state.progress = replace(state.progress, step=int(step), steps=int(steps))
                report(state.progress, None)
        case "preview":
            report(state.progress, event.preview)


async def _ask(
    client: ComfyClient, prompt_id: str, state: _Follow, misses: int, still_alive: Callable[[], bool]
) -> tuple[int, dict[str, Any] | None]:
    """Ask over HTTP after a quiet time: the new count of failed askings in a row, and the entry if ended."""
    if not still_alive():
        raise ComfyUnavailable(
            "ComfyUI ended while it ran this workflow.",
            code="comfyui_died",
            hint="The last log lines say why; out of memory is the usual reason.",
        )
    try:
        entry = await client.history(prompt_id)
        place = None if entry is not None else await client.where(prompt_id)
    except ComfyUnavailable:
        # A node that holds the interpreter for long silences the server: that is no reason to give up yet.
        if misses >= 30:
            raise
        return misses + 1, None
    if entry is not None:
        return 0, entry
    if place is None and misses >= 1:
        raise JobError(
            "prompt_lost",
            "ComfyUI no longer knows this prompt: it was deleted from the queue, or ComfyUI was restarted.",
            hint="Run the job again.",
        )
    state.started = state.started or place == "running"
    return (misses + 1 if place is None else 0), None


def verdict(entry: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """How a prompt ended: ``("success" | "error" | "interrupted", data of the ending message)``.

    Judged by the ending message: ``status_str`` may be left over from an earlier prompt.
    """
    status = entry.get("status")
    messages = status.get("messages") if isinstance(status, Mapping) else None
    for message in reversed(messages or []):
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
