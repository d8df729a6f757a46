"""Fetching the results of a target's jobs, one job after the other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from ..errors import ComfyRunPodError
from . import outputs
from .answers import disk_error, texts_of
from .book import Book
from .model import Job
from .pauses import Pauses
from .states import State
from .targets import Target

_TRIES = 3


class Fetcher:
    """One task's work: :meth:`run`.

    Args:
        planning: held while paths are chosen; shared by all lanes, since they may share a folder.
    """

    def __init__(self, target: Target, book: Book, planning: asyncio.Lock, pauses: Pauses) -> None:
        self._target = target
        self._book = book
        self._planning = planning
        self._pauses = pauses
        self._queue: asyncio.Queue[tuple[Job, Any]] = asyncio.Queue()
        #: Jobs whose result is here. A downloading job that is not among them must be asked for again.
        self.in_hand: set[str] = set()

    def take(self, job: Job, output: Any) -> None:
        """Fetch the files that a job's answer names."""
        self.in_hand.add(job.id)
        self._queue.put_nowait((job, output))

    async def run(self) -> None:
        """Fetch until cancelled."""
        while True:
            job, output = await self._queue.get()
            try:
                await self._tried(job, output)
            finally:
                self.in_hand.discard(job.id)

    async def _tried(self, job: Job, output: Any) -> None:
        for attempt in range(_TRIES):
            try:
                await self._fetch(job, output)
                return
            except (ComfyRunPodError, OSError) as error:
                if attempt + 1 == _TRIES or isinstance(error, outputs.ResultDamaged):
                    problem = {"summary": disk_error(error, job), "code": "fetch_failed"}
                    await self._book.end(job, State.FAILED, error={**problem, "hint": "Run the job again."})
                    return
                await asyncio.sleep(self._pauses.after(attempt))

    async def _fetch(self, job: Job, output: Any) -> None:
        job = self._book.remote.get(job.id, job)
        volume = self._target.volume
        entries = await asyncio.to_thread(outputs.entries_of, output)
        if not outputs.is_plan_for(job.outputs, entries):
            async with self._planning:
                taken = await self._book.store.planned_paths()
                planned = await asyncio.to_thread(outputs.plan, entries, Path(job.output_dir), taken)
                job = await self._book.change(job, outputs=planned)
        for entry, planned_file in zip(entries, job.outputs, strict=True):
            await asyncio.to_thread(outputs.fetch, entry, planned_file, volume)
        texts, warnings = texts_of(output)
        await self._book.end(job, State.DONE, texts=texts, warnings=warnings)
        await asyncio.to_thread(outputs.drop_from_volume, entries, volume)
