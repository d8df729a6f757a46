"""What our workers leave on the volume of a job: under which name they took it, and its answer.

With it a job is found again whose request got no answer, or whose answer the platform has forgotten.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from worker.contract import job_answer, job_note

from ..errors import ComfyRunPodError
from .answers import never_heard_of
from .book import Book
from .carriers.base import Carrier
from .model import Job
from .pauses import Pauses
from .request import limited, ttl_of
from .states import Hold, IllegalMove, State
from .targets import Target

log = logging.getLogger(__name__)


async def taken_as(carrier: Carrier, job: Job) -> str | None:
    """The platform's id under which a worker took the job, if one has and it can be read.

    That of an earlier request, which the platform gave back, is not meant.

    Raises:
        ComfyRunPodError: for a passing fault.
    """
    note = _object(await carrier.read(job_note(job.id)))
    remote_id = note.get("id")
    return remote_id if isinstance(remote_id, str) and remote_id != job.remote_id else None


async def kept_answer(carrier: Carrier, job: Job) -> Mapping[str, Any] | None:
    """The job's answer as a worker has kept it, if one has and it can be read.

    Raises:
        ComfyRunPodError: for a passing fault.
    """
    answer = _object(await carrier.read(job_answer(job.id))).get("answer")
    return answer if isinstance(answer, Mapping) else None


class Seeker:
    """Looks for jobs that may have been sent. One task's work: :meth:`run`."""

    def __init__(self, target: Target, book: Book, pauses: Pauses) -> None:
        self._target = target
        self._book = book
        self._pauses = pauses

    async def run(self) -> None:
        """Seek until cancelled."""
        looks = 0
        while True:
            self._book.to_seek.clear()
            doubtful = [job for job in self._book.unsent.values() if job.hold is Hold.MAYBE_SENT]
            if not doubtful:
                looks = 0
                await self._book.to_seek.wait()
                continue
            for job in doubtful:
                try:
                    await self._seek(job)
                except IllegalMove:
                    log.info("Job %s moved on while it was sought.", job.id)
                except ComfyRunPodError as error:
                    log.info("Job %s is sought later: %s", job.id, error)
            try:
                # A new doubt is looked into at once: what came of older ones shows sooner or later.
                async with asyncio.timeout(self._pauses.seeking(looks)):
                    await self._book.to_seek.wait()
                looks = 0
            except TimeoutError:
                looks += 1

    async def _seek(self, job: Job) -> None:
        spec = limited(await self._book.store.spec(job.id), self._target.limits)
        # It has not changed since it was put on hold, which was after the request.
        is_over = time.time() - job.changed_at > ttl_of(spec)
        remote_id = await taken_as(self._target.carrier, job)
        held = self._book.unsent.get(job.id)
        if held is None or held.hold is not Hold.MAYBE_SENT:
            return
        if remote_id is not None:
            await self._book.sent(held, remote_id, None)
        elif is_over:
            del self._book.unsent[job.id]
            await self._book.change(held, state=State.FAILED, error=never_heard_of(job, ttl_of(spec)))


def _object(content: bytes | None) -> Mapping[str, Any]:
    """What was written as JSON; empty when it is none, or is just being written."""
    try:
        found = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
