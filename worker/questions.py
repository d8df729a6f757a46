"""Commands that only ask: which models there are, which node types, and whether a workflow would run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .catalogue import Catalogue, lay_down
from .comfyui import ComfyClient
from .config import Config
from .errors import BadRequest, ComfyUnavailable, JobError
from .examine import Verdict
from .models import Models
from .object_info import entries
from .preflight import Preflight
from .problems import MOST_PROBLEMS, shown

#: In bytes, of an answer's JSON: below what the platform lets through.
MOST_BYTES = 9_500_000
_MOST_TYPES = 1000


@dataclass(frozen=True, slots=True)
class Asks:
    """What the questions need: a ComfyUI that is ready, and what is known of it."""

    client: ComfyClient
    catalogue: Catalogue
    models: Models
    config: Config


async def models(_source: Mapping[str, Any], use: Asks) -> dict[str, Any]:
    """All models by kind, with their sizes."""
    listing = await use.models.current(use.client)
    answer = {
        "status": "success",
        "models": listing.to_json(),
        "count": listing.count,
        "hash": listing.sha256,
    }
    if len(await asyncio.to_thread(json.dumps, answer)) > MOST_BYTES:
        raise _too_large("The list of models")
    return answer


async def object_info(source: Mapping[str, Any], use: Asks) -> dict[str, Any]:
    """ComfyUI's ``/object_info``, whole or of the types named in ``node_types``.

    What is too large for an answer is laid onto the volume, and ``volume_path`` says where.
    """
    wanted = source.get("node_types")
    if wanted is not None and not (
        isinstance(wanted, list)
        and len(wanted) <= _MOST_TYPES
        and all(isinstance(each, str) for each in wanted)
    ):
        raise BadRequest(f"'node_types' must be a list of at most {_MOST_TYPES} texts.")
    text = await use.client.object_info()
    info = await use.catalogue.current(use.client)
    try:
        found = await asyncio.to_thread(_chosen, text, None if wanted is None else frozenset(wanted))
    except (ValueError, RecursionError) as error:
        raise ComfyUnavailable("ComfyUI's list of node types cannot be read.") from error
    head: dict[str, Any] = {"status": "success", "object_info_sha256": info.sha256}
    if wanted is not None:
        head["unknown"] = [name for name in dict.fromkeys(wanted) if name not in found]
    # ComfyUI's text is as long as ours would be, or longer.
    if (
        len(text) <= MOST_BYTES // 2
        or len(await asyncio.to_thread(json.dumps, found)) <= MOST_BYTES - 100_000
    ):
        return head | {"object_info": found}
    if use.config.volume is None:
        raise _too_large("The list of node types")
    try:
        path = await asyncio.to_thread(lay_down, use.config.volume, info.sha256, text)
    except OSError as error:
        raise JobError(
            "result_not_written",
            f"The list of node types could not be written to the volume: {error.strerror or error}.",
            hint="Ask for single types with 'node_types'.",
        ) from error
    return head | {"volume_path": path.relative_to(use.config.volume).as_posix()}


async def validate(
    workflow: Mapping[str, Any], brought: Iterable[str], use: Asks, preflight: Preflight
) -> dict[str, Any]:
    """Whether ComfyUI would run the workflow with these input files; nothing is run or written.

    Raises:
        ComfyUnavailable: when ComfyUI does not tell what it can do.
    """
    verdict = await preflight.verdict(use.client, workflow, brought=brought)
    if verdict is None:
        raise ComfyUnavailable("The workflow cannot be checked: ComfyUI does not tell its node types.")
    return validated(verdict)


def validated(verdict: Verdict) -> dict[str, Any]:
    """The answer of ``validate``; nothing was run.

    ``valid`` is whether ComfyUI would take the workflow with all its outputs. Of a valid one the problems are
    what may be wrong all the same.
    """
    listed = [problem.to_json() for problem in verdict.problems[:MOST_PROBLEMS]]
    return {
        "status": "success",
        "valid": not (verdict.refused or verdict.partial),
        "partial": verdict.partial,
        "problems": listed,
        "problem_count": len(verdict.problems),
    }


def _chosen(text: str, wanted: frozenset[str] | None) -> dict[str, Any]:
    return {name: raw for name, raw in entries(text) if wanted is None or name in wanted}


def _too_large(what: str) -> JobError:
    return JobError(
        "result_too_large",
        f"{what} is larger than the {shown(MOST_BYTES)} bytes that an answer may have.",
        hint="Give the endpoint a network volume, or ask for a part.",
    )
