"""One job, start to finish.

    read the request → note that we have it → have ComfyUI ready → stage inputs → run → pack outputs

A cancelled job stops its own prompt and no other, and takes its staged files away.
"""

from __future__ import annotations

import asyncio
import dataclasses
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

from . import inputs, limits, outputs, upkeep
from .answer import answer_of, finished_before, is_usable, provenance_of, result_key
from .commands import Context, run_command
from .config import Config
from .delivery import Delivery
from .diagnostics import failure, without
from .download import Downloader
from .engine import Engine, Wish
from .errors import ComfyLost, JobError
from .knowledge import Knowledge
from .ledger import Ledger
from .logs import current_job
from .monitor import cached_nodes, raise_for_verdict
from .progress import ProgressPoster
from .sources import Sources
from .supervisor import OwnComfy
from .tasks import to_the_end
from .validation import Request, bucket_of, loaded, parse_request

log = logging.getLogger(__name__)

#: Runs of one workflow: from the cache, from the cache that was not forgotten in time, in earnest, and once
#: more when ComfyUI was lost.
_ATTEMPTS = 4
#: How long a result waits for what is told of the models beside it, in seconds.
_TELLING_S = 2.0


class Answer(dict[str, Any]):
    """An answer that shows little of itself: the SDK makes a text of each one for its log, wanted or not."""

    def __repr__(self) -> str:
        return f"<answer: {', '.join(self)}>"


class Worker:
    """Holds what lasts from job to job: the connection to ComfyUI and, in *own* mode, its process.

    ``downloader`` is how inputs are fetched from addresses.
    """

    def __init__(self, config: Config, own: OwnComfy | None, *, downloader: Downloader | None = None) -> None:
        self._config = config
        self._engine = Engine(config, own)
        self._knowledge = Knowledge(config)
        self._downloader = downloader or Downloader(config.max_download_bytes, config.download_timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._delivered: list[Path] = []
        #: Without a volume the jobs are remembered here, for as long as this worker lives.
        self._memory: Path | None = None

    @property
    def tidy(self) -> threading.Event:
        """Set while no cancelled job is being taken out of ComfyUI and its inputs away."""
        return self._engine.tidy

    async def handle(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """The SDK's handler: the answer of one job, as the contract describes it."""
        job_id, secrets, problem = str(job["id"]), self._config.secrets, None
        current_job.set(job_id)
        try:
            config = dataclasses.replace(self._config, bucket=bucket_of(job) or self._config.bucket)
            secrets = config.secrets
            given = job.get("input")
            source = await asyncio.to_thread(loaded, given) if isinstance(given, str) else loaded(given)
            if "command" in source:
                return await self._command(job_id, source, config)
            request = await asyncio.to_thread(parse_request, source)
            secrets += request.secrets
            answer = await self._once(job_id, request, config)
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
        if problem is not None:
            log.warning("The job failed (%s): %s", problem.code, without(problem.summary, secrets))
            engine = self._engine
            answer = await failure(problem, engine.client, engine.log_tail(), self._config, secrets)
        await self._engine.after(problem)
        if self._engine.wants_recycling:
            # The platform takes this word out of the answer, and starts a new worker in our place.
            answer = {**answer, "refresh_worker": True}
        return Answer(answer)

    async def close(self) -> None:
        await self._knowledge.close()
        await self._engine.close()
        if self._session is not None:
            await self._session.close()
        if self._memory is not None:
            await asyncio.to_thread(shutil.rmtree, self._memory, ignore_errors=True)

    async def _command(self, job_id: str, source: Mapping[str, Any], config: Config) -> dict[str, Any]:
        async with self._poster(job_id) as poster:
            context = Context(config, self._engine, self._knowledge, self._downloader, poster.report)
            return await run_command(source, context)

    async def _once(self, job_id: str, request: Request, config: Config) -> dict[str, Any]:
        """Run the job, unless its result is there already or on its way."""
        client_job_id = request.client_job_id
        key = result_key(client_job_id or job_id)
        delivery = Delivery.of(config, job_id, request.output, key)
        limits.check_inputs(request.files, config.limits)
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
        began = time.monotonic()
        delivered, self._delivered = self._delivered, []
        await asyncio.to_thread(self._make_room, delivered)
        client = await self._engine.ready()
        self._knowledge.meets(client, self._engine.generation)
        ready = time.monotonic()
        async with self._staged(request, job_id) as workflow, self._poster(job_id) as poster:
            await self._knowledge.check(client, workflow, allow_partial=request.allow_partial)
            # Beside the workflow: the list of models on a slow volume keeps nobody waiting.
            telling = asyncio.create_task(self._knowledge.told(client, request.workflow), name="models")
            try:
                collected, warnings = await self._execute(job_id, workflow, request, poster, delivery)
                known = await _by_now(telling)
            finally:
                telling.cancel()
        executed = time.monotonic()
        timings = {"ready_s": round(ready - began, 3), "execute_s": round(executed - ready, 3)}
        origin = {**provenance_of(self._engine.stats), **known}
        packing = asyncio.to_thread(answer_of, collected, warnings, timings, origin, delivery, began=executed)
        try:
            answer = await to_the_end(packing, delivery.stop.set)
        except asyncio.CancelledError:
            await to_the_end(asyncio.to_thread(self._take_back, collected, delivery))
            raise
        if self._config.owns_comfyui:
            self._delivered = collected.on_disk()
        return answer

    def _make_room(self, delivered: list[Path]) -> None:
        """Blocks: one hop into a thread costs more than what is done there."""
        upkeep.remove_old(delivered)
        limits.check_room(self._config)

    def _missing(self, collected: outputs.Collected) -> list[outputs.OutputFile]:
        """What ComfyUI names and is not there; of what is there, the sizes are checked. Blocks."""
        missing = collected.missing()
        if not missing:
            limits.check_outputs(collected.files, self._config.limits)
        return missing

    def _take_back(self, collected: outputs.Collected, delivery: Delivery) -> None:
        """A cancelled job leaves no result anywhere. Blocks."""
        delivery.take_back()
        if self._config.owns_comfyui:
            upkeep.remove_old(collected.on_disk())

    @asynccontextmanager
    async def _staged(self, request: Request, job_id: str) -> AsyncGenerator[dict[str, Any], None]:
        """The workflow with its inputs in place, which are taken away afterwards whatever happens."""
        if not request.files:
            yield request.workflow
            return
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
                check_total=lambda total: limits.check_input_bytes(total, config.limits),
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
        job_id: str,
        workflow: dict[str, Any],
        request: Request,
        poster: ProgressPoster,
        delivery: Delivery,
    ) -> tuple[outputs.Collected, list[str]]:
        """Run the prompt; again when ComfyUI answered from its cache and the cached files are gone, or died.

        ComfyUI forgets its cache when it is next idle. A prompt that comes first is answered from the cache
        once more, which costs nothing, and the one after that is not.
        """
        config, engine = self._config, self._engine
        previews = config.previews_dir if request.output.previews else None
        wish = self._wish(request)
        retold: list[str] = []
        for attempt in range(_ATTEMPTS):
            prompt_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"comfy-runpod:{job_id}:{attempt}"))
            entry = None
            try:
                ran = await engine.run(prompt_id, workflow, wish, poster.report)
                entry = ran.entry
                raise_for_verdict(entry, workflow)
            except ComfyLost as lost:
                if retold or not lost.may_run_again or not config.supervision.reruns:
                    raise
                retold = [f"{lost.summary} Nothing was made yet, so it was run once more."]
                log.warning(retold[0])
                await engine.ready()
                continue
            except JobError as caught:
                error = await self._knowledge.explained(engine.connection(), workflow, caught)
                entry = error.entry or entry
                if entry is not None:
                    error.finished, files = await asyncio.to_thread(
                        finished_before, entry, workflow, config.output_dir, delivery
                    )
                    if config.owns_comfyui:
                        self._delivered = files
                raise error from None
            collected = outputs.collect(entry, workflow, config.output_dir, previews)
            missing = await asyncio.to_thread(self._missing, collected)
            if not missing:
                return collected, retold + ran.warnings
            if not ran.found and not cached_nodes(entry) & {file.node_id for file in missing}:
                break
            await engine.connection().forget_cache()
        raise JobError(
            "outputs_missing",
            f"ComfyUI says it wrote {missing[0].filename!r}, but the file is not in its output folder.",
            hint="Is the worker's output folder the one that ComfyUI uses?",
            details={"missing": [file.filename for file in missing], "output_dir": str(config.output_dir)},
        )

    def _wish(self, request: Request) -> Wish:
        key = self._config.comfy_org_api_key
        return Wish(
            ({"api_key_comfy_org": key} if key else {}) | dict(request.extra_data),
            request.timeout_s or self._config.execution_timeout_s,
            request.allow_partial,
        )

    def _poster(self, job_id: str) -> ProgressPoster:
        config = self._config
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return ProgressPoster(
            self._session,
            config.result_url,
            key=config.result_key,
            worker_id=config.worker_id,
            job_id=job_id,
        )


async def _by_now(telling: asyncio.Task[dict[str, Any]]) -> dict[str, Any]:
    """What a task has to tell, if it can very soon: a result must not be lost for what is told beside it."""
    await asyncio.wait({telling}, timeout=_TELLING_S)
    if not telling.done():
        return {}
    error = telling.exception()
    if error is not None:
        log.error("The models could not be told.", exc_info=error)
        return {}
    return telling.result()
