"""Fetching the results of a target's jobs, one job after the other."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from ..errors import ComfyRunPodError
from . import outputs
from .answers import disk_error, texts_of
from .book import Book
from .carriers.base import CannotCarry, ResultDamaged
from .model import Job
from .pauses import Pauses
from .states import State
from .targets import Target

log = logging.getLogger(__name__)

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
        self._queue: asyncio.Queue[tuple[Job, Any, int]] = asyncio.Queue()
        #: Those that could not be fetched, until it is tried again.
        self._later: set[asyncio.TimerHandle] = set()
        #: Jobs whose result is here. A downloading job that is not among them must be asked for again.
        self.in_hand: set[str] = set()

    def take(self, job: Job, output: Any) -> None:
        """Fetch the files that a job's answer names."""
        self.in_hand.add(job.id)
        self._queue.put_nowait((job, output, 0))

    def take_from_volume(self, job: Job) -> bool:
        """Fetch a job whose answer the platform forgot; False when its files are not all on the volume."""
        output = outputs.answer_of(job)
        if output is None:
            return False
        self.take(job, output)
        return True

    async def run(self) -> None:
        """Fetch until cancelled."""
        try:
            while True:
                job, output, failures = await self._queue.get()
                if await self._tried(job, output, failures):
                    self.in_hand.discard(job.id)
        finally:
            for handle in self._later:
                handle.cancel()

    async def _tried(self, job: Job, output: Any, failures: int) -> bool:
        """Whether it came to an end; else it is tried again later, and others come before it."""
        for attempt in range(_TRIES):
            try:
                await self._fetch(job, output)
                return True
            except (ResultDamaged, CannotCarry) as error:
                await self._lost(job, error)
                return True
            except ComfyRunPodError as error:
                await self._wait(job, output, failures, error)
                return False
            except OSError as error:
                if attempt + 1 == _TRIES:
                    await self._lost(job, error)
                    return True
                await asyncio.sleep(self._pauses.after(attempt))
        raise AssertionError("unreachable")

    async def _lost(self, job: Job, error: ComfyRunPodError | OSError) -> None:
        hint = error.hint if isinstance(error, CannotCarry) else ""
        problem = {"summary": disk_error(error, job), "code": "fetch_failed"}
        await self._book.end(job, State.FAILED, error={**problem, "hint": hint or "Run the job again."})

    async def _wait(self, job: Job, output: Any, failures: int, error: ComfyRunPodError) -> None:
        """The files are not here and not lost: they stay where they are until they can be fetched."""
        held = self._book.remote.get(job.id, job)
        if held.lost_contact_since is None:
            log.warning("Job %s: %s", job.id, error)
            note = f"The results stay where they are and are fetched later: {error.summary}"
            job = await self._book.change(held, lost_contact_since=time.time(), note=note)

        def again() -> None:
            self._later.discard(handle)
            self._queue.put_nowait((job, output, failures + 1))

        handle = asyncio.get_running_loop().call_later(self._pauses.after(failures), again)
        self._later.add(handle)

    async def _fetch(self, job: Job, output: Any) -> None:
        job = self._book.remote.get(job.id, job)
        carrier = self._target.carrier
        texts, text_nodes, warnings = texts_of(output)
        entries = await asyncio.to_thread(outputs.entries_of, output)
        if not outputs.is_plan_for(job.outputs, entries):
            async with self._planning:
                taken = await self._book.store.planned_paths()
                planned = await asyncio.to_thread(outputs.plan, entries, job, taken)
                # With it all that must be known when the platform forgets the answer.
                note = carrier.cost if any(entry.type == "volume" for entry in entries) else ""
                more = {"texts": texts, "text_nodes": text_nodes, "warnings": warnings}
                job = await self._book.change(job, outputs=planned, note=note, **more)
        for entry, planned_file in zip(entries, job.outputs, strict=True):
            await outputs.fetch(entry, planned_file, carrier)
        try:
            # Before the end is noted: when that is all that was waited for, we may be ended at once.
            await carrier.drop(entries)
        except ComfyRunPodError as error:
            log.info("Job %s: its results stay on the volume for some days: %s", job.id, error)
        told = {"texts": texts, "text_nodes": text_nodes, "warnings": warnings}
        await self._book.end(job, State.DONE, **told)
