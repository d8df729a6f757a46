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
from .diagnostics import failure
from .errors import ComfyUnavailable, JobError
from .monitor import follow_prompt, verdict
from .progress import ProgressPoster
from .supervisor import OwnComfy
from .validation import Request, parse_request

log = logging.getLogger(__name__)

#: How long ComfyUI may take to confirm that a cancelled prompt has ended, in seconds.
_CANCEL_CONFIRM_S = 10.0


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
        try:
            return await self._run(str(job["id"]), parse_request(job.get("input")))
        except JobError as error:
            problem = error
        except Exception as error:
            # A bug of ours must reach the user as a failed job too.
            log.exception("Job %s failed inside the worker.", job.get("id"))
            problem = JobError(
                "worker_error",
                f"The worker failed: {type(error).__name__}: {error}",
                hint="This is a fault of the worker. Please report it with the diagnostics.",
                traceback=traceback.format_exception(error),
            )
        finally:
            self.tidy.set()
        own_log = self._own.tail() if self._own is not None else None
        return await failure(problem, self._client, own_log, self._config.output_dir)

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
        answer["provenance"] = await self._provenance(client)
        return answer

    @asynccontextmanager
    async def _staged(self, request: Request, job_id: str) -> AsyncGenerator[dict[str, Any], None]:
        """The workflow with its inputs in place, which are taken away afterwards whatever happens."""
        config = self._config
        work = asyncio.ensure_future(
            asyncio.to_thread(
                inputs.stage,
                request.files,
                request.workflow,
                config.input_dir,
                job_id,
                own=config.owns_comfyui,
            )
        )
        try:
            yield (await asyncio.shield(work)).workflow
        finally:
            self.tidy.clear()
            staged = await work
            await asyncio.shield(asyncio.to_thread(staged.remove))

    async def _execute(
        self,
        client: ComfyClient,
        job_id: str,
        workflow: dict[str, Any],
        request: Request,
        poster: ProgressPoster,
    ) -> tuple[outputs.Collected, list[str]]:
        """Run the prompt; once more when ComfyUI answered from its cache and the cached files are gone."""
        for attempt in (0, 1):
            prompt_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"comfy-runpod:{job_id}:{attempt}"))
            entry, warnings = await self._run_prompt(client, prompt_id, workflow, request, poster)
            _raise_for_verdict(entry, workflow)
            collected = outputs.collect(entry, workflow, self._config.output_dir)
            missing = await asyncio.to_thread(collected.missing)
            if not missing:
                return collected, warnings
            await client.forget_cache()
        raise JobError(
            "outputs_missing",
            f"ComfyUI says it wrote {missing[0]!r}, but the file is not in its output folder.",
            hint="Is the worker's output folder the one that ComfyUI uses?",
            details={"missing": missing, "output_dir": str(self._config.output_dir)},
        )

    async def _run_prompt(
        self,
        client: ComfyClient,
        prompt_id: str,
        workflow: dict[str, Any],
        request: Request,
        poster: ProgressPoster,
    ) -> tuple[dict[str, Any], list[str]]:
        client.follow(prompt_id)
        ended = False
        warnings: list[str] = []
        try:
            if not await _already_there(client, prompt_id, workflow):
                try:
                    node_errors = await client.submit(workflow, prompt_id, request.extra_data)
                except JobError:
                    ended = True
                    raise
                warnings = [_partial_warning(node_id, entry) for node_id, entry in node_errors.items()]
            entry = await follow_prompt(
                client,
                prompt_id,
                workflow,
                timeout_s=request.timeout_s or self._config.execution_timeout_s,
                report=poster.report,
                still_alive=self._still_alive,
            )
            ended = True
            return entry, warnings
        except ComfyUnavailable:
            ended = self._own is not None
            raise
        finally:
            if not ended:
                self.tidy.clear()
                await asyncio.shield(_withdraw(client, prompt_id))
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
        marker.parent.mkdir(parents=True, exist_ok=True)
        aside = marker.with_name(f"job.{os.getpid()}.part")
        note = {"id": job_id, "worker": self._config.worker_id, "taken_at": time.time()}
        aside.write_text(json.dumps(note), encoding="utf-8")
        aside.replace(marker)

    async def _provenance(self, client: ComfyClient) -> dict[str, Any]:
        stats = await client.system_stats()
        system = stats.get("system") if isinstance(stats.get("system"), dict) else {}
        devices = stats.get("devices")
        first = devices[0] if isinstance(devices, list) and devices and isinstance(devices[0], dict) else {}
        return {
            "worker": _own_version(),
            "image": os.environ.get("COMFY_RUNPOD_IMAGE"),
            "comfyui": {"version": (system or {}).get("comfyui_version")},
            "python": (system or {}).get("python_version"),
            "torch": (system or {}).get("pytorch_version"),
            "gpu": first.get("name"),
        }


async def _already_there(client: ComfyClient, prompt_id: str, workflow: Mapping[str, Any]) -> bool:
    """Whether an earlier attempt at this job left its prompt in ComfyUI, so that it need not run twice."""
    entry = await client.history(prompt_id)
    if entry is not None:
        prompt = entry.get("prompt")
        same = isinstance(prompt, list) and len(prompt) > 2 and prompt[2] == workflow
        return same and verdict(entry)[0] == "success"
    return await client.where(prompt_id) is not None


async def _withdraw(client: ComfyClient, prompt_id: str) -> None:
    """Take the prompt out of ComfyUI and see it ended, so that nothing of it disturbs the next job."""
    try:
        async with asyncio.timeout(_CANCEL_CONFIRM_S):
            await client.withdraw(prompt_id)
            await client.wait_gone(prompt_id)
    except (ComfyUnavailable, TimeoutError) as error:
        log.warning("Prompt %s could not be stopped: %s", prompt_id, error)


def _raise_for_verdict(entry: Mapping[str, Any], workflow: Mapping[str, Any]) -> None:
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
    lines = data.get("traceback")
    raise JobError(
        "execution_failed",
        f"Node {node_id} ({class_type}) failed: {message}",
        hint="The traceback and the last log lines show the cause.",
        details={"exception_type": data.get("exception_type"), "exception_message": message},
        node={"id": node_id, "class_type": class_type, "input": _shortened(data.get("current_inputs"))},
        traceback=[str(line) for line in lines] if isinstance(lines, list) else None,
    )


def _shortened(values: object) -> dict[str, str]:
    if not isinstance(values, Mapping):
        return {}
    return {str(key): str(value)[:300] for key, value in values.items()}


def _partial_warning(node_id: str, entry: object) -> str:
    errors = entry.get("errors") if isinstance(entry, Mapping) else None
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], Mapping) else {}
    said = ": ".join(str(first[k]) for k in ("message", "details") if first.get(k))
    return f"Outputs that depend on node {node_id} were left out. {said}"


def _own_version() -> str:
    try:
        return version("comfy-runpod")
    except PackageNotFoundError:
        return "unknown"
