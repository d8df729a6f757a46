"""One runner per user: the lock that makes it so, and the loopback socket by which others speak to it.

The socket is HTTP on 127.0.0.1 with a token from a file that only the user can read.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import secrets
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from filelock import FileLock, Timeout

from worker.contract import Progress

from ..errors import BadInput, ComfyRunPodError, Refused, Unreachable
from ..files import write_private
from .model import Job, JobEvent, JobSpec
from .runner import Runner

_MAX_BODY = 256 * 1024 * 1024
#: A job with its texts and the diagnostics of its error is one line.
_LONGEST_LINE = 1 << 25
_TOKEN_HEADER = "X-Comfy-RunPod-Token"


class RunnerGone(Unreachable):
    """The runner ended; whoever asked can become the runner."""

    code = "runner_gone"


class RunnerLock:
    """Held by the one process that runs the jobs of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir
        # Not by thread: it is taken in one thread, so as not to block the loop, and let go in another.
        self._lock = FileLock(data_dir / "runner.lock", thread_local=False)

    def acquire(self) -> bool:
        """Take the lock if it is free; never waits. Blocks for the disk.

        Raises:
            BadInput: when the folder cannot be written to.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            raise BadInput(
                f"The data folder {self._folder} cannot be used: {error.strerror}.",
                hint="Set COMFY_RUNPOD_DATA to a folder that can be written to.",
            ) from error
        return True

    def release(self) -> None:
        self._lock.release()


class ControlServer:
    """The runner's side of the control socket."""

    def __init__(self, runner: Runner, data_dir: Path) -> None:
        self._runner = runner
        self._file = data_dir / "control.json"
        self._token = secrets.token_urlsafe(32)
        self._web: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=_MAX_BODY, middlewares=[self._checked])
        app.add_routes(
            [
                web.post("/jobs", self._submit),
                web.post("/jobs/{id}/{action:cancel|retry}", self._act),
                web.get("/events", self._events),
            ]
        )
        self._web = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._web.setup()
        site = web.TCPSite(self._web, "127.0.0.1", 0)
        await site.start()
        port = self._web.addresses[0][1]
        state = json.dumps({"port": port, "token": self._token})
        await asyncio.to_thread(write_private, self._file, state)

    async def close(self) -> None:
        if self._web is not None:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._file.unlink, missing_ok=True)
            await self._web.cleanup()

    @web.middleware
    async def _checked(self, request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.headers.get(_TOKEN_HEADER, "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._token.encode()):
            return web.json_response({"summary": "The token is missing or wrong."}, status=401)
        try:
            response: web.StreamResponse = await handler(request)
        except ComfyRunPodError as error:
            problem = error.problem
            body = {"summary": problem.summary, "hint": problem.hint, "code": problem.code}
            return web.json_response(body, status=400)
        return response

    async def _submit(self, request: web.Request) -> web.Response:
        # Its workflow may be large, so not on the loop.
        job = await self._runner.submit(await asyncio.to_thread(_spec_from, await request.read()))
        return web.json_response(job.to_json())

    async def _act(self, request: web.Request) -> web.Response:
        act = {"cancel": self._runner.cancel, "retry": self._runner.retry}[request.match_info["action"]]
        job = await act(request.match_info["id"])
        return web.json_response(job.to_json())

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """The jobs in ``?ids=a,b`` as they are, then every event of theirs, one JSON object a line."""
        ids = request.query.get("ids", "").split(",")
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        async with aclosing(events_of(self._runner, ids)) as events:
            async for event in events:
                line: dict[str, Any] = {"job": event.job.to_json()}
                if event.progress is not None:
                    line |= event.progress.to_json()
                await response.write(json.dumps(line).encode() + b"\n")
        return response


async def events_of(runner: Runner, ids: Collection[str]) -> AsyncGenerator[JobEvent, None]:
    """The jobs as they are, then each event of theirs as it happens. Ends only with its consumer.

    Raises:
        RunnerGone: when the runner is closed.
    """
    queue: asyncio.Queue[JobEvent | None] = asyncio.Queue()

    def ended(_: asyncio.Future[None]) -> None:
        queue.put_nowait(None)

    runner.broken.add_done_callback(ended)
    stop = runner.watch(lambda event: queue.put_nowait(event) if event.job.id in ids else None)
    try:
        for job_id in ids:
            job = await runner.store.find(job_id)
            if job is not None:
                yield JobEvent(job)
        while (event := await queue.get()) is not None:
            yield event
        if runner.broken.cancelled():
            raise RunnerGone("The runner has ended.")
        runner.broken.result()
    finally:
        stop()
        runner.broken.remove_done_callback(ended)


def _spec_from(body: bytes) -> JobSpec:
    """Raises BadInput when it is none, as from another version of this program."""
    try:
        return JobSpec.from_json(json.loads(body))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"That is no job for this version of the program: {error}.") from error


class ControlClient:
    """Speaks to the runner of another process.

    Every method raises RunnerGone when there is none or it ended, BadInput when it refused, and Refused when
    it failed: asking again would not help then.
    """

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / "control.json"

    async def submit(self, spec: JobSpec) -> Job:
        return Job.from_json(await self._post("/jobs", spec.to_json()))

    async def cancel(self, job_id: str) -> Job:
        return Job.from_json(await self._post(f"/jobs/{job_id}/cancel", {}))

    async def retry(self, job_id: str) -> Job:
        return Job.from_json(await self._post(f"/jobs/{job_id}/retry", {}))

    async def events(self, ids: Collection[str]) -> AsyncGenerator[JobEvent, None]:
        base, headers = self._where()
        try:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
            async with (
                aiohttp.ClientSession(
                    timeout=timeout, headers=headers, read_bufsize=_LONGEST_LINE
                ) as session,
                session.get(f"{base}/events", params={"ids": ",".join(ids)}) as response,
            ):
                response.raise_for_status()
                async for line in response.content:
                    raw = json.loads(line)
                    yield JobEvent(Job.from_json(raw["job"]), Progress.parse(raw))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise RunnerGone("The running panel ended.") from error
        raise RunnerGone("The running panel ended.")

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        base, headers = self._where()
        try:
            timeout = aiohttp.ClientTimeout(total=60, sock_connect=5)
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.post(base + path, json=body) as response,
            ):
                if response.status >= 500:
                    raise Refused("The running panel failed to do that.", status=response.status)
                answer = await response.json()
                if response.status == 400 and isinstance(answer, Mapping):
                    raise BadInput(str(answer.get("summary")), hint=str(answer.get("hint") or ""))
                response.raise_for_status()
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise RunnerGone("The running panel does not answer.") from error

    def _where(self) -> tuple[str, dict[str, str]]:
        try:
            raw = json.loads(self._file.read_text("utf-8"))
            return f"http://127.0.0.1:{int(raw['port'])}", {_TOKEN_HEADER: str(raw["token"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunnerGone("No panel is running.") from error
