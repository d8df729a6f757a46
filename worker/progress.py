"""Progress of one job, posted in order and done before the result.

The SDK's ``progress_update`` starts a thread and a session per call and orders nothing, so that a late
progress can overwrite a result. Here one task per job posts the latest value only, one at a time.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from dataclasses import replace
from types import TracebackType

import aiohttp

from .contract import Progress

_INTERVAL_S = 0.25
_POST_TIMEOUT_S = 2.0
_MAX_PREVIEW = 64 * 1024


class ProgressPoster:
    """Use as ``async with``; leaving it waits for the post under way and posts nothing afterwards.

    Args:
        url: RUNPOD_WEBHOOK_POST_OUTPUT with ``$RUNPOD_POD_ID`` and ``$ID`` in it; None posts nothing.
    """

    def __init__(
        self, session: aiohttp.ClientSession, url: str | None, *, key: str, worker_id: str, job_id: str
    ) -> None:
        self._session = session
        self._url = None
        if url:
            filled = url.replace("$RUNPOD_POD_ID", worker_id).replace("$ID", job_id)
            self._url = f"{filled}&isStream=false"
        self._headers = {"Authorization": key, "Content-Type": "application/x-www-form-urlencoded"}
        self._latest: Progress | None = None
        self._preview: str | None = None
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def report(self, progress: Progress, preview: bytes | None = None) -> None:
        """Note the newest progress; it replaces one that was not posted yet. Never blocks."""
        if preview is not None and len(preview) <= _MAX_PREVIEW:
            self._preview = base64.b64encode(preview).decode("ascii")
        self._latest = replace(progress, preview=self._preview)
        self._changed.set()

    async def __aenter__(self) -> ProgressPoster:
        if self._url is not None:
            self._task = asyncio.create_task(self._post_all(self._url), name="progress")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._changed.set()
        if self._task is not None:
            await self._task

    async def _post_all(self, url: str) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._closing.is_set():
                return
            latest, self._preview = self._latest, None
            if latest is None:
                continue
            body = json.dumps({"status": "IN_PROGRESS", "output": latest.to_json()})
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                # A progress that gets lost is not worth a job.
                async with self._session.post(
                    url,
                    data=body,
                    headers=self._headers,
                    timeout=aiohttp.ClientTimeout(total=_POST_TIMEOUT_S),
                ) as response:
                    await response.read()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL_S):
                    await self._closing.wait()
