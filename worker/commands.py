"""What a job may ask of the worker beside running a workflow: ``input: {"command": ...}``."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import chunks, questions
from .answer import provenance_of
from .config import Config
from .diagnostics import disk_of, memory_now
from .download import Downloader
from .engine import Engine
from .errors import BadRequest, ComfyUnavailable
from .knowledge import Knowledge
from .model_download import Downloads, download_model
from .monitor import ProgressSink
from .tasks import to_the_end
from .validation import parse_request

log = logging.getLogger(__name__)

_STARTED = time.time()


@dataclass(frozen=True, slots=True)
class Context:
    """What a command may use. ``report`` shows how far it is."""

    config: Config
    engine: Engine
    knowledge: Knowledge
    downloader: Downloader
    report: ProgressSink

    async def asks(self) -> questions.Asks:
        """What a question needs of a ComfyUI that is ready."""
        client, known = await self.engine.ready(), self.knowledge
        known.meets(client, self.engine.generation)
        return questions.Asks(client, known.catalogue, known.models, self.config)


Command = Callable[[Mapping[str, Any], Context], Awaitable[dict[str, Any]]]


async def run_command(source: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """The answer of a command.

    Raises:
        BadRequest: when there is no such command; else what the command raises.
    """
    name = source["command"]
    command = COMMANDS.get(name) if isinstance(name, str) else None
    if command is None:
        raise BadRequest(f"There is no command {name!r}.", hint=f"There are {', '.join(sorted(COMMANDS))}.")
    return await command(source, context)


async def health(_source: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """How the worker and its ComfyUI are; an answer even when ComfyUI gives none."""
    config, engine = context.config, context.engine
    said = "answering"
    try:
        await engine.connection().system_stats()
    except ComfyUnavailable as error:
        said = error.summary
    return {
        "status": "success",
        "healthy": said == "answering",
        "comfyui_status": said,
        "comfyui_starts": engine.generation,
        "mode": "own" if config.owns_comfyui else "attach",
        "worker_id": config.worker_id,
        "up_s": round(time.time() - _STARTED, 1),
        "memory": memory_now(),
        "disk": await asyncio.to_thread(disk_of, config.output_dir),
        "volume": await asyncio.to_thread(disk_of, config.volume) if config.volume is not None else None,
        "provenance": provenance_of(engine.stats),
    }


async def models(source: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """All models, by kind."""
    return await questions.models(source, await context.asks())


async def object_info(source: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """ComfyUI's node types."""
    return await questions.object_info(source, await context.asks())


async def validate(source: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Whether a request's workflow would run; nothing is run or written."""
    request = await asyncio.to_thread(parse_request, source)
    brought = [str(file.name) for file in request.files]
    preflight = context.knowledge.preflight
    return await questions.validate(request.workflow, brought, await context.asks(), preflight)


async def download(source: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Bring a model onto the volume. A ComfyUI that answers tells its own folders for them."""
    known = context.knowledge.models
    try:
        await known.current(context.engine.connection())
    except ComfyUnavailable:
        log.info("ComfyUI does not answer: the usual folders are taken.")
    use = Downloads(context.config, context.downloader, context.report, folders=known.folders)
    answer = await download_model(source, use)
    known.forget()
    return answer


def _in_thread(command: chunks.Command) -> Command:
    async def run(source: Mapping[str, Any], context: Context) -> dict[str, Any]:
        # To the end: a chunk is small, and half a one is of no use.
        return await to_the_end(asyncio.to_thread(command, context.config.volume, source))

    return run


COMMANDS: dict[str, Command] = {
    "health": health,
    "models": models,
    "object_info": object_info,
    "validate": validate,
    "download": download,
    **{name: _in_thread(command) for name, command in chunks.COMMANDS.items()},
}
