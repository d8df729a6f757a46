"""Asking a worker itself what a workflow lacks. It is the surest answer, and on RunPod it is billed."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from ..endpoint.asking import asked
from ..endpoint.client import JobClient
from ..errors import NeedsSetup, Unreachable
from ..jobs.answers import error_of
from .report import Lack, LackKind, Report

#: How long a worker may take to start and to answer, in seconds.
_PATIENCE_S = 900.0
_KINDS: dict[str, LackKind] = {
    "unknown_node": "node",
    "missing_model": "model",
    "missing_input_file": "input",
}
#: Nothing is written of what comes with a question, so the shortest content will do.
_NOTHING = "AA=="
_LONGEST, _MOST = 1_000, 200


async def asked_worker(
    client: JobClient, prompt: Mapping[str, Any], target: str, *, names: Collection[str]
) -> Report:
    """What a worker of the target says of a workflow; nothing is run.

    Args:
        names: of the input files that would travel with it.

    Raises:
        ComfyRunPodError: when it cannot be asked, or gives no sense.
    """
    images = [{"name": name, "image": _NOTHING} for name in names]
    request: dict[str, Any] = {"command": "validate", "workflow": prompt}
    if images:
        request["images"] = images
    try:
        async with asyncio.timeout(_PATIENCE_S):
            reply = await asked(client, request)
    except TimeoutError as error:
        raise Unreachable(f"No worker of {target} answered within {_PATIENCE_S / 60:.0f} min.") from error
    output = reply.output if isinstance(reply.output, dict) else {}
    if reply.status != "COMPLETED" or not isinstance(output.get("valid"), bool):
        said = error_of(reply)["summary"] if reply.status != "COMPLETED" else "it is none of this program's."
        raise NeedsSetup(
            f"The worker of {target} cannot check workflows: {said}",
            hint="Run this program's own worker there.",
        )
    listed = output.get("problems")
    problems = [each for each in listed[:_MOST] if isinstance(each, dict)] if isinstance(listed, list) else []
    lacks = tuple(_lack(each) for each in problems)
    if not output["valid"] and not any(lack.certain for lack in lacks):
        lacks = (*lacks, Lack("value", "The worker does not accept the workflow."))
    return Report(target, f"a worker of {target}", lacks)


def _lack(raw: Mapping[str, Any]) -> Lack:
    """A problem as the worker tells it; its texts may be anything."""
    kind = _KINDS.get(str(raw.get("kind")), "value")
    near = raw.get("closest")
    closest = tuple(str(each)[:_LONGEST] for each in near[:5]) if isinstance(near, list) else ()
    wanted = raw.get("wanted")
    return Lack(
        kind,
        _text(raw, "text") or "It is not accepted.",
        str(wanted)[:_LONGEST] if kind != "value" and wanted is not None else "",
        _text(raw, "node_id"),
        _text(raw, "input"),
        _text(raw, "folder").removeprefix("models").strip("/"),
        closest,
        certain=raw.get("certain") is not False,
    )


def _text(raw: Mapping[str, Any], key: str) -> str:
    value = raw.get(key)
    return value[:_LONGEST] if isinstance(value, str) else ""
