"""All jobs of one target: sent one after the other in their order, followed, and their results fetched.

Four tasks with one owner (:meth:`Lane.run`): *send*, *follow*, *fetch* and *seek*. The store is written
before anything is done and after every change, so that each task can be begun anew from what is on disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from .answers import maybe_sent
from .book import Book
from .fetching import Fetcher
from .following import Follower
from .model import Job, JobEvent
from .money import Purse
from .pauses import Pauses
from .sending import Sender
from .states import REMOTE, Hold, IllegalMove, State
from .store import JobStore
from .targets import Target
from .traces import Seeker

log = logging.getLogger(__name__)


class Lane:
    """The jobs of one target.

    Args:
        publish: called on the loop with every change and every progress.
        planning: held while paths for results are chosen; shared by all lanes.
        purse: prices, and whether a job may be paid for.
    """

    def __init__(
        self,
        target: Target,
        store: JobStore,
        publish: Callable[[JobEvent], None],
        planning: asyncio.Lock,
        pauses: Pauses,
        purse: Purse,
    ) -> None:
        self._name = target.name
        self._book = Book(store, publish)
        self._sender = Sender(target, self._book, pauses, purse)
        self._fetcher = Fetcher(target, self._book, planning, pauses)
        self._follower = Follower(target, self._book, self._fetcher, pauses)
        self._seeker = Seeker(target, self._book, pauses)

    @property
    def is_empty(self) -> bool:
        """Whether it has no unfinished job."""
        return not self._book.unsent and not self._book.remote

    def add(self, job: Job) -> None:
        """Take on a job in whatever state it is; one that is here already stays as it is."""
        book = self._book
        if job.is_final or job.id in book.unsent or job.id in book.remote:
            return
        if job.state in REMOTE:
            book.remote[job.id] = job
            book.to_follow.set()
            if job.state is State.CANCELLING:
                book.cancel_wanted.add(job.id)
        else:
            book.unsent[job.id] = job
            book.to_send.set()
            if job.hold is Hold.MAYBE_SENT:
                book.to_seek.set()

    async def cancel(self, job: Job) -> Job:
        """Cancel a job of this lane: at once while it is unsent, else the platform is asked to."""
        # What the lane knows is newer than what the caller has read from the store.
        held = self._book.unsent.get(job.id) or self._book.remote.get(job.id)
        try:
            if held is not None:
                await self._cancel(held)
        except IllegalMove:
            log.info("Job %s moved on while it was being cancelled.", job.id)
        return await self._book.store.get(job.id)

    async def send_again(self, job: Job) -> Job:
        """Go on with a job that was on hold until the user decided."""
        job = await self._book.change(
            job, state=State.PREPARING, error=None, note="Sent again at the user's wish"
        )
        self._book.to_send.set()
        return job

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sender.run(), name=f"send-{self._name}")
            group.create_task(self._follower.run(), name=f"follow-{self._name}")
            group.create_task(self._fetcher.run(), name=f"fetch-{self._name}")
            group.create_task(self._seeker.run(), name=f"seek-{self._name}")

    async def finish_submission(self, limit_s: float | None = None) -> None:
        """Before closing: send nothing new, and let a request that is under way get its answer.

        ``limit_s``: wait for it no longer than so many seconds.
        """
        await self._sender.finish(limit_s)

    async def _cancel(self, job: Job) -> None:
        if job.state in (State.WAITING, State.STARTING, State.RUNNING):
            job = await self._book.change(job, state=State.CANCELLING)
            await self._follower.ask_to_cancel(job)
        elif self._sender.may_be_under_way(job):
            # First it must be known what came of it.
            self._book.cancel_wanted.add(job.id)
        elif job.id in self._book.unsent:
            unsure = job.hold is Hold.MAYBE_SENT
            await self._book.drop_unsent(job, error=maybe_sent(job, None) if unsure else None)
            self._sender.stop_carrying(job.id)
