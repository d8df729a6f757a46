"""One runner per user: the lock that makes it so, and the loopback socket by which others speak to it.

The socket is HTTP on 127.0.0.1 with a token from a file that only the user can read.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from filelock import FileLock, Timeout

from ..errors import BadInput, ComfyRunPodError
from ..files import write_private
from .control_client import ALL, TOKEN_HEADER, ControlClient, NoWindow, RunnerGone
from .model import JobEvent, JobSpec
from .runner import Runner

__all__ = ["ControlClient", "ControlServer", "RunnerGone", "RunnerLock", "events_of"]

_MAX_BODY = 256 * 1024 * 1024
#: Of a request's first line in bytes, which names the jobs to follow: some ten thousand.
_MAX_LINE = 512 * 1024
#: Events that a slow reader may be behind; beyond that it misses progress, never a change.
_MOST_BEHIND = 500


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
    """The runner's side of the control socket.

    Args:
        on_window: shows the window and takes files that another process was started with; None: no window.
    """

    def __init__(
        self, runner: Runner, data_dir: Path, *, on_window: Callable[[list[Path]], None] | None = None
    ) -> None:
        self._runner = runner
        self._on_window = on_window
        self._file = data_dir / "control.json"
        self._token = secrets.token_urlsafe(32)
        self._web: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=_MAX_BODY, middlewares=[self._checked])
        app.add_routes(
            [
                web.post("/jobs", self._submit),
                web.post("/jobs/remove", self._remove),
                web.post("/jobs/{id}/{action:cancel|retry|run_again}", self._act),
                web.post("/window", self._window),
                web.get("/events", self._events),
            ]
        )
        self._web = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, max_line_size=_MAX_LINE)
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
        given = request.headers.get(TOKEN_HEADER, "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._token.encode()):
            return web.json_response({"summary": "The token is missing or wrong."}, status=401)
        try:
            response: web.StreamResponse = await handler(request)
        except ComfyRunPodError as error:
            problem = error.problem
            body = {"summary": problem.summary, "hint": problem.hint, "code": problem.code}
            return web.json_response(body, status=409 if isinstance(error, NoWindow) else 400)
        return response

    async def _submit(self, request: web.Request) -> web.Response:
        # Its workflow may be large, so not on the loop.
        job = await self._runner.submit(await asyncio.to_thread(_spec_from, await request.read()))
        return web.json_response(job.to_json())

    async def _act(self, request: web.Request) -> web.Response:
        job_id, body = request.match_info["id"], await _object(request)
        target, new_id = (_text_or_none(body, key) for key in ("target", "new_id"))
        match request.match_info["action"]:
            case "cancel":
                job = await self._runner.cancel(job_id)
            case "retry":
                job = await self._runner.retry(job_id, new_id=new_id)
            case _:
                job = await self._runner.run_again(job_id, target, new_id=new_id)
        return web.json_response(job.to_json())

    async def _remove(self, request: web.Request) -> web.Response:
        removed = await self._runner.remove(_texts(await _object(request), "ids"))
        return web.json_response([job.to_json() for job in removed])

    async def _window(self, request: web.Request) -> web.Response:
        files = [Path(text) for text in _texts(await _object(request), "files")]
        if self._on_window is None:
            raise NoWindow("The program that runs the jobs has no window.")
        self._on_window(files)
        return web.json_response({})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """One JSON object a line: the jobs in ``?ids=a,b`` as they are, then every event of theirs.

        With ``?ids=*`` every event of all jobs from now on.
        """
        ids = request.query.get("ids", "")
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        with _subscribed(self._runner, None if ids == ALL else ids.split(",")) as events:
            # Only now: who has the answer's head misses nothing from then on.
            await response.prepare(request)
            async with aclosing(events) as stream:
                async for event in stream:
                    await response.write(json.dumps(event.to_json()).encode() + b"\n")
        return response


async def events_of(runner: Runner, ids: Collection[str]) -> AsyncGenerator[JobEvent, None]:
    """The jobs as they are, then each event of theirs as it happens. Ends only with its consumer.

    Raises:
        RunnerGone: when the runner is closed.
    """
    with _subscribed(runner, ids) as events:
        async with aclosing(events) as stream:
            async for event in stream:
                yield event


@contextmanager
def _subscribed(runner: Runner, ids: Collection[str] | None) -> Iterator[AsyncGenerator[JobEvent, None]]:
    """Events from now on: of the jobs named, as they are first; with None those of all jobs."""
    queue: asyncio.Queue[JobEvent | None] = asyncio.Queue()

    def ended(_: asyncio.Future[None]) -> None:
        queue.put_nowait(None)

    def note(event: JobEvent) -> None:
        if ids is not None and event.job.id not in ids:
            return
        if event.progress is None or queue.qsize() < _MOST_BEHIND:
            queue.put_nowait(event)

    runner.broken.add_done_callback(ended)
    stop = runner.watch(note)
    try:
        yield _events(runner, ids or (), queue)
    finally:
        stop()
        runner.broken.remove_done_callback(ended)


async def _events(
    runner: Runner, first: Collection[str], queue: asyncio.Queue[JobEvent | None]
) -> AsyncGenerator[JobEvent, None]:
    for job_id in first:
        job = await runner.store.find(job_id)
        if job is not None:
            yield JobEvent(job)
    while (event := await queue.get()) is not None:
        yield event
    if runner.broken.cancelled():
        raise RunnerGone("The runner has ended.")
    runner.broken.result()


def _spec_from(body: bytes) -> JobSpec:
    """Raises BadInput when it is none, as from another version of this program."""
    try:
        return JobSpec.from_json(json.loads(body))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(f"That is no job for this version of the program: {error}.") from error


async def _object(request: web.Request) -> dict[str, Any]:
    """The request's body. Raises BadInput when it is no JSON object."""
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise BadInput("That is no request for this version of the program.")
    return body


def _text_or_none(body: dict[str, Any], key: str) -> str | None:
    value = body.get(key)
    if not isinstance(value, str | None):
        raise BadInput(f"{key!r} of the request is no text.")
    return value


def _texts(body: dict[str, Any], key: str) -> list[str]:
    value = body.get(key)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise BadInput(f"{key!r} of the request is no list of texts.")
    return value
