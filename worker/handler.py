"""One job, start to finish.

    read the request → note that we have it → have ComfyUI ready → stage inputs → run → pack outputs

A cancelled job stops its own prompt and no other, and takes its staged files away.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from . import inputs, outputs, upkeep
from .answer import answer_of, finished_before, is_usable, result_key
from .comfyui import ComfyClient
from .config import Config
from .delivery import Delivery
from .diagnostics import failure, without
from .download import Downloader
from .errors import ComfyUnavailable, JobError
from .ledger import Ledger
from .monitor import already_there, cached_nodes, follow_prompt, raise_for_verdict
from .progress import ProgressPoster
from .refusal import left_out
from .sources import Sources
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
    """Holds what lasts from job to job: the client of ComfyUI and, in *own* mode, its process.

    ``downloader`` is how inputs are fetched from addresses.
    """

    def __init__(self, config: Config, own: OwnComfy | None, *, downloader: Downloader | None = None) -> None:
        self._config = config
        self._own = own
        self._downloader = downloader or Downloader(config.max_download_bytes, config.download_timeout_s)
        self._client: ComfyClient | None = None
        self._session: aiohttp.ClientSession | None = None
        self._delivered: list[Path] = []
        #: Without a volume the jobs are remembered here, for as long as this worker lives.
        self._memory: Path | None = None
        #: Set while no cancelled job is being taken out of ComfyUI and its inputs away.
        self.tidy = threading.Event()
        self.tidy.set()

    async def handle(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The SDK's handler: the answer of one job, as the contract describes it."""
        secrets = self._config.secrets
        try:
            request = await asyncio.to_thread(parse_request, job.get("input"))
            secrets += request.secrets
            return await self._once(str(job["id"]), request)
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
        if self._memory is not None:
            await asyncio.to_thread(shutil.rmtree, self._memory, ignore_errors=True)

    async def _once(self, job_id: str, request: Request) -> dict[str, Any]:
        """Run the job, unless its result is there already or on its way."""
        config, client_job_id = self._config, request.client_job_id
        key = result_key(client_job_id or job_id)
        delivery = Delivery.of(config, job_id, request.output, key)
        if client_job_id is None:
            return await self._run(job_id, request, delivery)

        async def run() -> dict[str, Any]:
            if config.volume is not None:
                await asyncio.to_thread(
                    upkeep.take_note, config.volume, client_job_id, job_id, config.worker_id
                )
            return await self._run(job_id, request, delivery)

        return await Ledger(await asyncio.to_thread(self._jobs), config.worker_id).once(
            client_job_id,
            await asyncio.to_thread(request.digest),
            run,
            patience_s=request.timeout_s or config.execution_timeout_s,
            usable=lambda answer: is_usable(answer, config.volume),
        )

    def _jobs(self) -> Path:
        """Where jobs are remembered. Blocks."""
        if self._config.volume is not None:
            return upkeep.jobs_folder(self._config.volume)
        if self._memory is None:
            self._memory = Path(tempfile.mkdtemp(prefix=upkeep.MEMORY_PREFIX))
        upkeep.prune_jobs(self._memory, self._config.cleanup_age_s)
        return self._memory

    async def _run(self, job_id: str, request: Request, delivery: Delivery) -> dict[str, Any]:
        config, began = self._config, time.monotonic()
        client = await self._ready_client()
        ready = time.monotonic()
        poster = ProgressPoster(
            self._http(), config.result_url, key=config.result_key, worker_id=config.worker_id, job_id=job_id
        )
        async with self._staged(request, job_id) as workflow, poster:
            collected, warnings = await self._execute(client, job_id, workflow, request, poster, delivery)
        executed = time.monotonic()
        timings = {"ready_s": round(ready - began, 3), "execute_s": round(executed - ready, 3)}
        answer = await asyncio.to_thread(
            answer_of, collected, warnings, timings, client.stats, delivery, began=executed
        )
        if config.owns_comfyui:
            self._delivered = collected.on_disk()
        return answer

    @asynccontextmanager
    async def _staged(self, request: Request, job_id: str) -> AsyncGenerator[dict[str, Any], None]:
        """The workflow with its inputs in place, which are taken away afterwards whatever happens."""
        config = self._config
        sources = Sources(config.volume, self._downloader)
        work = asyncio.ensure_future(
            asyncio.to_thread(
                inputs.stage,
                request.files,
                request.workflow,
                config.input_dir,
                job_id,
                own=config.owns_comfyui,
                sources=sources,
            )
        )

        def stop() -> None:
            self.tidy.clear()
            sources.stop.set()

        try:
            yield (await to_the_end(work, stop)).workflow
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
        delivery: Delivery,
    ) -> tuple[outputs.Collected, list[str]]:
        """Run the prompt; again when ComfyUI answered from its cache and the cached files are gone.

        ComfyUI forgets its cache when it is next idle. A prompt that comes first is answered from the cache
        once more, which costs nothing, and the one after that is not.
        """
        for attempt in range(_ATTEMPTS):
            prompt_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"comfy-runpod:{job_id}:{attempt}"))
            entry, warnings, found = await self._run_prompt(client, prompt_id, workflow, request, poster)
            previews = self._config.previews_dir if request.output.previews else None
            try:
                raise_for_verdict(entry, workflow)
            except JobError as error:
                error.finished = await asyncio.to_thread(
                    finished_before, entry, workflow, self._config.output_dir, delivery
                )
                raise
            collected = outputs.collect(entry, workflow, self._config.output_dir, previews)
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
            found = await already_there(client, prompt_id, workflow)
            if not found:
                submit = client.submit(workflow, prompt_id, self._extra_data(request))
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
            await asyncio.to_thread(upkeep.remove_old, delivered)
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

    def _extra_data(self, request: Request) -> dict[str, Any]:
        key = self._config.comfy_org_api_key
        return ({"api_key_comfy_org": key} if key else {}) | dict(request.extra_data)


async def _withdraw(client: ComfyClient, prompt_id: str) -> None:
    """Take the prompt out of ComfyUI and see it ended, so that nothing of it disturbs the next job."""
    try:
        async with asyncio.timeout(_CANCEL_CONFIRM_S):
            await client.withdraw(prompt_id)
    except (ComfyUnavailable, TimeoutError) as error:
        log.warning("Prompt %s could not be stopped: %s", prompt_id, error)
