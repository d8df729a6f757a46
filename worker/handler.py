"""One job, start to finish.

    read the request → note that we have it → have ComfyUI ready → stage inputs → run → pack outputs

A cancelled job stops its own prompt and no other, and takes its staged files away.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import threading
import time
import traceback
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import aiohttp

from . import inputs, outputs
from .comfyui import ComfyClient
from .config import Config
from .contract import taken_marker
from .diagnostics import failure, without
from .errors import ComfyUnavailable, JobError
from .monitor import cached_nodes, follow_prompt, raise_for_verdict, verdict
from .progress import ProgressPoster
from .refusal import left_out
from .supervisor import OwnComfy
from .tasks import to_the_end
from .validation import Request, parse_request

log = logging.getLogger(__name__)

#: How long ComfyUI may take to confirm that a cancelled prompt has ended, in seconds.
_CANCEL_CONFIRM_S = 10.0
#: Runs of one workflow: from the cache, from the cache that was not forgotten in time, in earnest.
_ATTEMPTS = 3
#: Failures after which ComfyUI has nothing of the prompt any more.
_NOT_IN_COMFYUI = {"validation_failed", "comfyui_error", "prompt_lost", "comfyui_died"}


class Worker:
    """Holds what lasts from job to job: the client of ComfyUI and, in *own* mode, its process."""

    def __init__(self, config: Config, own: OwnComfy | None) -> None:
        self._config = config
        self._own = own
        self._client: ComfyClient | None = None
        self._session: aiohttp.ClientSession | None = None
        self._delivered: list[Path] = []
        #: Set while no cancelled job is being taken out of ComfyUI and its inputs away.
        self.tidy = threading.Event()
        self.tidy.set()

    async def handle(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The SDK's handler: the answer of one job, as the contract describes it."""
        secrets: tuple[str, ...] = ()
        try:
            request = parse_request(job.get("input"))
            secrets = request.secrets
            return await self._run(str(job["id"]), request)
        except JobError as error:
            problem = error
        except Exception as error:  # noqa: BLE001 - a bug of ours must reach the user as a failed job too
            lines = traceback.format_exception(error)
            log.error("A job failed inside the worker.\n%s", without("".join(lines), secrets))  # noqa: TRY400
            problem = JobError(
                "worker_error",
                f"The worker failed: {type(error).__name__}: {error}",
                hint="This is a fault of the worker. Please report it with the diagnostics.",
                traceback=lines,
            )
        finally:
            self.tidy.set()
        own_log = self._own.tail() if self._own is not None else None
        return await failure(problem, self._client, own_log, self._config.output_dir, secrets)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
        if self._session is not None:
            await self._session.close()

    async def _run(self, job_id: str, request: Request) -> dict[str, Any]:
        config, began = self._config, time.monotonic()
        await asyncio.to_thread(self._take_note, job_id, request.client_job_id)
        client = await self._ready_client()
        ready = time.monotonic()
        poster = ProgressPoster(
            self._http(), config.result_url, key=config.result_key, worker_id=config.worker_id, job_id=job_id
        )
        async with self._staged(request, job_id) as workflow, poster:
            collected, warnings = await self._execute(client, job_id, workflow, request, poster)
        executed = time.monotonic()
        key = hashlib.sha256((request.client_job_id or job_id).encode()).hexdigest()[:24]
        packed = await asyncio.to_thread(outputs.pack, collected.files, config, request.output_mode, key)
        if config.owns_comfyui:
            self._delivered = [file.path for file in collected.files]
        answer: dict[str, Any] = {
            "status": "success",
            **{k: v for k, v in packed.items() if v or k == "images"},
        }
        if not collected.files:
            answer["status"] = "success_no_images"
        if collected.texts:
            answer["text"] = list(collected.texts)
        if warnings:
            answer["warnings"] = warnings
        answer["timings"] = {
            "ready_s": round(ready - began, 3),
            "execute_s": round(executed - ready, 3),
            "pack_s": round(time.monotonic() - executed, 3),
        }
        answer["provenance"] = _provenance(client.stats)
        return answer

    @asynccontextmanager
    async def _staged(self, request: Request, job_id: str) -> AsyncGenerator[dict[str, Any], None]:
        """The workflow with its inputs in place, which are taken away afterwards whatever happens."""
        config = self._config
        own = config.owns_comfyui
        work = asyncio.ensure_future(
            asyncio.to_thread(
                inputs.stage, request.files, request.workflow, config.input_dir, job_id, own=own
            )
        )
        try:
            yield (await to_the_end(work, self.tidy.clear)).workflow
        finally:
            self.tidy.clear()
            if work.done() and not work.cancelled() and work.exception() is None:
                await to_the_end(asyncio.to_thread(work.result().remove))

    async def _execute(
        self,
        client: ComfyClient,
        job_id: str,
        workflow: dict[str, Any],
        request: Request,
        poster: ProgressPoster,
    ) -> tuple[outputs.Collected, list[str]]:
        """Run the prompt; again when ComfyUI answered from its cache and the cached files are gone.

        ComfyUI forgets its cache when it is next idle. A prompt that comes first is answered from the cache
        once more, which costs nothing, and the one after that is not.
        """
        for attempt in range(_ATTEMPTS):
            prompt_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"comfy-runpod:{job_id}:{attempt}"))
            entry, warnings, found = await self._run_prompt(client, prompt_id, workflow, request, poster)
            raise_for_verdict(entry, workflow)
            collected = outputs.collect(entry, workflow, self._config.output_dir)
            missing = await asyncio.to_thread(collected.missing)
            if not missing:
                return collected, warnings
            if not found and not cached_nodes(entry) & {file.node_id for file in missing}:
                break
            await client.forget_cache()
        raise JobError(
            "outputs_missing",
            f"ComfyUI says it wrote {missing[0].filename!r}, but the file is not in its output folder.",
            hint="Is the worker's output folder the one that ComfyUI uses?",
            details={
                "missing": [file.filename for file in missing],
                "output_dir": str(self._config.output_dir),
            },
        )

    async def _run_prompt(
        self,
        client: ComfyClient,
        prompt_id: str,
        workflow: dict[str, Any],
        request: Request,
        poster: ProgressPoster,
    ) -> tuple[dict[str, Any], list[str], bool]:
        """The history entry, warnings, and whether an earlier attempt at the job left the prompt there."""
        client.follow(prompt_id)
        ended = False
        warnings: list[str] = []
        try:
            found = await _already_there(client, prompt_id, workflow)
            if not found:
                submit = client.submit(workflow, prompt_id, request.extra_data)
                # To the end: a prompt that arrives after it was withdrawn would run for nobody.
                node_errors = await to_the_end(submit, self.tidy.clear)
                warnings = [left_out(node_id, entry) for node_id, entry in node_errors.items()]
            entry = await follow_prompt(
                client,
                prompt_id,
                workflow,
                timeout_s=request.timeout_s or self._config.execution_timeout_s,
                report=poster.report,
                still_alive=self._still_alive,
                found=found,
            )
            ended = True
            return entry, warnings, found
        except JobError as error:
            ended = error.code in _NOT_IN_COMFYUI or not self._still_alive()
            raise
        finally:
            try:
                if not ended:
                    self.tidy.clear()
                    await to_the_end(_withdraw(client, prompt_id))
            finally:
                client.unfollow(prompt_id)

    async def _ready_client(self) -> ComfyClient:
        config = self._config
        if self._client is None:
            self._client = ComfyClient(config.attach_url or (self._own.url if self._own else ""))
        if self._delivered:
            delivered, self._delivered = self._delivered, []
            await asyncio.to_thread(outputs.remove_old, delivered)
        patience = config.start_timeout_s if self._own is not None else config.answer_timeout_s
        await self._client.wait_ready(patience)
        await self._client.connect()
        return self._client

    def _still_alive(self) -> bool:
        return self._own is None or self._own.alive

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return self._session

    def _take_note(self, job_id: str, client_job_id: str | None) -> None:
        """Write on the volume that we have this job: a client whose submit got no answer finds it there."""
        if self._config.volume is None or client_job_id is None:
            return
        marker = taken_marker(self._config.volume, client_job_id)
        note = {"id": job_id, "worker": self._config.worker_id, "taken_at": time.time()}
        try:
            marker.parent.mkdir(parents=True, exist_ok=True)
            aside = marker.with_name(f"job.{uuid.uuid4().hex}.part")
            aside.write_text(json.dumps(note), encoding="utf-8")
            aside.replace(marker)
        except OSError as error:
            log.warning("The note of job %s could not be written; it runs all the same: %s", job_id, error)


async def _already_there(client: ComfyClient, prompt_id: str, workflow: Mapping[str, Any]) -> bool:
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


async def _withdraw(client: ComfyClient, prompt_id: str) -> None:
    """Take the prompt out of ComfyUI and see it ended, so that nothing of it disturbs the next job."""
    try:
        async with asyncio.timeout(_CANCEL_CONFIRM_S):
            await client.withdraw(prompt_id)
    except (ComfyUnavailable, TimeoutError) as error:
        log.warning("Prompt %s could not be stopped: %s", prompt_id, error)


def _provenance(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Of what ComfyUI said of itself when the job began: asking again could fail a job that is done."""
    system, devices = stats.get("system"), stats.get("devices")
    system = system if isinstance(system, Mapping) else {}
    first = devices[0] if isinstance(devices, list) and devices and isinstance(devices[0], dict) else {}
    return {
        "worker": _own_version(),
        "image": os.environ.get("COMFY_RUNPOD_IMAGE"),
        "comfyui": {"version": system.get("comfyui_version")},
        "python": system.get("python_version"),
        "torch": system.get("pytorch_version"),
        "gpu": first.get("name"),
    }


def _own_version() -> str:
    try:
        return version("comfy-runpod")
    except PackageNotFoundError:
        return "unknown"
