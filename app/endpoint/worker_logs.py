"""What workers on RunPod print, as it comes: their logs over the management API, REST v2.

A log is a stream of events; after a lost connection the next one goes on where it was. Container logs vanish
soon after their worker; reading them starts no worker and keeps none.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import Literal

import aiohttp
import requests

from .. import __version__
from ..errors import BadInput, ComfyRunPodError, NeedsSetup, Refused, Unreachable
from ..settings import RUNPOD_MANAGEMENT_API, Secret
from .account_http import failure
from .account_model import text
from .answers import Answer
from .errors import KeyRefused
from .events import EventReader
from .log_stream import MOST_TAIL, Cursor, LogLine, LogStream
from .outgoing import checked_id, seconds

__all__ = ["MOST_TAIL", "LogLine", "LogStream", "Source", "UnknownWorker", "WorkerLogs"]

Source = Literal["container", "system"]
_MOST_ANSWER = 64_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
#: A worker that is listed but has no log yet is asked for it again after so long.
_LOG_LATER_S = 10.0


class UnknownWorker(Refused):
    """404 or 410: there is no such worker, or it has gone, and its log with it."""

    code = "unknown_worker"


class WorkerLogs:
    """Reads logs of one account's workers. Knows how far it has read: asked again, it goes on from there.

    Args:
        attempts: how often in a row a connection may fail, before the failure is raised.
        silence_s: silence after which a connection counts as dead, and a new one is made.
    """

    def __init__(
        self,
        base_url: str = RUNPOD_MANAGEMENT_API,
        api_key: Secret = Secret(""),  # noqa: B008 - a value that never changes
        *,
        timeout_s: float = 20.0,
        silence_s: float = 90.0,
        attempts: int = 5,
        backoff_s: float = _FIRST_PAUSE_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._url = base_url.rstrip("/")
        self._key = api_key
        self._timeout_s, self._silence_s = timeout_s, silence_s
        self._attempts = max(1, attempts)
        self._backoff_s = backoff_s
        self._sleep = sleep
        self._cursors: dict[tuple[str, str, str], Cursor] = {}

    async def follow(
        self, endpoint_id: str, worker_id: str, *, source: Source | None = None, tail: int = 100
    ) -> AsyncGenerator[LogLine, None]:
        """The last ``tail`` lines of a worker and what it prints from now on, until the worker has gone.

        Raises:
            UnknownWorker: when it was not there in the first place.
            KeyRefused, Unreachable, Refused: when the log cannot be had, or no more.
        """
        if not self._key:
            raise NeedsSetup("No RunPod API key is set.", hint="Set RUNPOD_API_KEY, or enter it in Settings.")
        if not 0 <= tail <= MOST_TAIL:
            raise BadInput(f"The number of earlier lines must be from 0 to {MOST_TAIL}.")
        endpoint, worker = checked_id(endpoint_id, "an endpoint's"), checked_id(worker_id, "a worker's")
        url = f"{self._url}/serverless/{endpoint}/workers/{worker}/logs"
        query = {"tail": str(tail), **({"source": source} if source else {})}
        cursor = self._cursors.setdefault((endpoint, worker, source or ""), Cursor())
        failures = in_vain = 0
        async with aiohttp.ClientSession() as session:
            while True:
                pause_s = 0.0
                try:
                    async with aclosing(self._read(session, url, query, cursor)) as lines:
                        async for line in lines:
                            in_vain = 0
                            yield replace(line, worker=worker)
                    failures = 0
                except UnknownWorker:
                    if cursor.was_there:
                        return
                    raise
                except _Broken as broken:
                    failures = 1 if cursor.is_connected else failures + 1
                    if failures >= self._attempts or not broken.may_pass:
                        raise broken.error from None
                    pause_s = broken.pause_s
                # Also after a stream that the server ended: it may end each of them at once.
                in_vain += 1
                await self._sleep(max(pause_s, cursor.retry_s, self._pause_s(in_vain)))

    @asynccontextmanager
    async def of_one(
        self, endpoint_id: str, worker_id: str, *, source: Source | None = None, tail: int = 100
    ) -> AsyncIterator[LogStream]:
        """What :meth:`follow` gives, as a stream that can be waited for with a limit."""
        stream = LogStream()

        async def read() -> None:
            async for line in self.follow(endpoint_id, worker_id, source=source, tail=tail):
                await stream.put(line)
            await stream.end()

        stream.start(read())
        try:
            yield stream
        finally:
            await stream.close()

    @asynccontextmanager
    async def of_all(
        self,
        endpoint_id: str,
        look: Callable[[], Awaitable[Collection[str]]],
        *,
        source: Source | None = None,
        tail: int = 100,
        look_every_s: float = 10.0,
        once: bool = False,
    ) -> AsyncIterator[LogStream]:
        """The lines of all workers: new ones join, gone ones leave.

        Args:
            look: the ids of the workers there are now.
            once: look once only; the stream ends when these have gone.
        """
        stream = LogStream()

        async def read(worker_id: str) -> None:
            async for line in self.follow(endpoint_id, worker_id, source=source, tail=tail):
                await stream.put(line)

        stream.start(_Crowd(read, stream).keep(look, look_every_s, once=once))
        try:
            yield stream
        finally:
            await stream.close()

    async def _read(
        self, session: aiohttp.ClientSession, url: str, query: Mapping[str, str], cursor: Cursor
    ) -> AsyncGenerator[LogLine, None]:
        """The lines of one connection, until it ends or was silent for long."""
        cursor.reconnect()
        reader = EventReader()
        async with await self._connect(session, url, query, cursor.id) as response:
            cursor.is_connected = cursor.was_there = True
            while piece := await self._piece(response):
                for event in reader.feed(piece):
                    if (line := cursor.take(event)) is not None:
                        yield line
                cursor.retry_s = min((reader.retry_ms or 0) / 1000, _LONGEST_PAUSE_S)

    async def _connect(
        self, session: aiohttp.ClientSession, url: str, query: Mapping[str, str], last_id: str
    ) -> aiohttp.ClientResponse:
        headers = {
            "Authorization": f"Bearer {self._key.reveal()}",
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "User-Agent": f"comfy-runpod/{__version__}",
            **({"Last-Event-ID": last_id} if last_id else {}),
        }
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await session.get(
                    url,
                    params=query,
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=None),
                    allow_redirects=False,
                    proxy=_proxy_for(url),
                )
                if response.status == 200 and response.content_type == "text/event-stream":
                    return response
                async with response:
                    raw = await response.content.read(_MOST_ANSWER)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _Broken(_lost(error)) from None
        raise _refusal(response, raw, self._key)

    async def _piece(self, response: aiohttp.ClientResponse) -> bytes:
        """What arrives next; nothing at the end, and when nothing came for long."""
        try:
            async with asyncio.timeout(self._silence_s):
                return await response.content.readany()
        except TimeoutError:
            return b""
        except (aiohttp.ClientError, OSError) as error:
            raise _Broken(_lost(error)) from None

    def _pause_s(self, in_vain: int) -> float:
        pause_s = self._backoff_s * float(2 ** min(in_vain - 1, 10))
        return min(pause_s, _LONGEST_PAUSE_S) * random.uniform(0.75, 1.25)


class _Crowd:
    """The readers of all workers of an endpoint."""

    def __init__(self, read: Callable[[str], Awaitable[None]], stream: LogStream) -> None:
        self._read, self._stream = read, stream
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}
        self._missed: Counter[str] = Counter()

    async def keep(
        self, look: Callable[[], Awaitable[Collection[str]]], every_s: float, *, once: bool
    ) -> None:
        """Have a reader for each worker there is."""
        looked = False
        while True:
            try:
                ids = await look()
            except ComfyRunPodError:
                # Later the readers themselves see what is wrong.
                if not looked:
                    raise
            else:
                looked = True
                self._update(frozenset(ids))
            if once:
                await asyncio.gather(*self._readers.values())
                await self._stream.end()
                return
            await asyncio.sleep(every_s)

    def _update(self, ids: frozenset[str]) -> None:
        for worker_id in ids:
            self._missed[worker_id] = 0
            reader = self._readers.get(worker_id)
            is_due = time.monotonic() >= self._not_before.get(worker_id, 0.0)
            if is_due and (reader is None or reader.done()):
                self._readers[worker_id] = self._stream.start(self._follow(worker_id))
        for worker_id in self._readers.keys() - ids:
            # Not at the first look without it: its last lines may be on their way.
            self._missed[worker_id] += 1
            if self._missed[worker_id] > 1:
                self._readers.pop(worker_id).cancel()

    async def _follow(self, worker_id: str) -> None:
        # One that starts has no log yet; one that goes has none any more.
        with suppress(UnknownWorker, BadInput):
            await self._read(worker_id)
        self._not_before[worker_id] = time.monotonic() + _LOG_LATER_S


class _Broken(Exception):
    """A connection that failed: why, and whether trying again may help, after how long."""

    def __init__(self, error: ComfyRunPodError, *, may_pass: bool = True, pause_s: float = 0.0) -> None:
        super().__init__(str(error))
        self.error, self.may_pass, self.pause_s = error, may_pass, pause_s


def _refusal(response: aiohttp.ClientResponse, raw: bytes, key: Secret) -> Exception:
    """What an answer means that is no stream."""
    shown = key.reveal().encode("utf-8", "replace")
    raw = raw.replace(shown, b"***") if len(shown) > 7 else raw
    answer = Answer(response.status, raw, response.headers.get("Retry-After"))
    status = answer.status
    if status in (404, 410):
        return UnknownWorker(
            "There is no such worker, or it has gone, and its log with it.",
            status=status,
            hint="`comfy-runpod endpoint workers` lists those there are.",
        )
    error: ComfyRunPodError
    if status == 401:
        hint = "It may be mistyped or revoked: enter it again in Settings, or with `comfy-runpod key set`."
        error = KeyRefused("RunPod does not accept the API key.", status=status, hint=hint)
    elif 200 <= status < 300:
        hint = "A proxy or sign-in page may stand in between."
        error = Refused(
            "RunPod's answer is not a log.", status=status, hint=hint, answer=text(answer.excerpt)
        )
    else:
        error = failure(answer, of_endpoint=True)
    asked_s = seconds(answer.retry_after) if answer.retry_after else 0.0
    may_pass = status == 429 or status >= 500
    return _Broken(error, may_pass=may_pass, pause_s=min(asked_s, 2 * _LONGEST_PAUSE_S))


def _lost(error: BaseException) -> Unreachable:
    """The library's own text may hold an address, or a header."""
    cause = f"the connection failed ({type(error).__name__})"
    if isinstance(error, TimeoutError):
        cause = "no answer in time"
    elif isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = "its certificate is not accepted"
    elif isinstance(error, ValueError):
        cause = "the API key or the address has characters that cannot be sent"
    return Unreachable(f"RunPod cannot be reached: {cause}.", hint="Check the connection.")


def _proxy_for(url: str) -> str | None:
    """The proxy of the environment that all else to RunPod takes, too."""
    proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"
