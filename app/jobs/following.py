"""Following the jobs that a target has: one poll scheduler, and what each answer means."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from worker.contract import Progress

from ..endpoint.errors import RateLimited, UnknownJob
from ..endpoint.model import JobReply
from ..errors import ComfyRunPodError
from .answers import CANCELLED_ELSEWHERE, JOB_UNKNOWN, RESULT_LOST, ask, error_of, lacks_input
from .book import Book
from .carriers.base import ResultDamaged
from .fetching import Fetcher
from .model import Job, JobEvent
from .pauses import Pauses
from .states import IllegalMove, State
from .targets import Target
from .traces import kept_answer

log = logging.getLogger(__name__)

#: Waiting jobs looked at in every round; those further down the queue are looked at rarely.
_FRONT = 3
#: Seconds after a change in which the target is looked at often, and how much longer the pauses are then.
_YOUNG_S, _OLD = 2.0, 3.0
#: Of the rarely seen, so many in one round.
_RARE = 20
_CAN_GO_BACK = (State.WAITING, State.STARTING, State.RUNNING)


class Follower:
    """One task's work: :meth:`run`."""

    def __init__(self, target: Target, book: Book, fetcher: Fetcher, pauses: Pauses) -> None:
        self._target = target
        self._book = book
        self._fetcher = fetcher
        self._pauses = pauses
        self._looked_at: dict[str, float] = {}
        #: How often in a row the endpoint did not know a job, by job and request.
        self._unknown: Counter[tuple[str, str]] = Counter()

    async def run(self) -> None:
        """Follow until cancelled."""
        failures = 0
        while True:
            self._book.to_follow.clear()
            if not self._book.remote:
                self._looked_at.clear()
                self._unknown.clear()
                await self._book.to_follow.wait()
            elif await self._look():
                failures = 0
                await asyncio.sleep(self._pause())
            else:
                await asyncio.sleep(self._pauses.after(failures))
                failures += 1

    async def ask_to_cancel(self, job: Job) -> None:
        """Ask the platform to cancel; when that fails, it is asked again at the next look."""
        wanted = self._book.cancel_wanted
        wanted.discard(job.id)
        try:
            client = await self._target.client()
            await client.cancel(job.remote_id or "")
        except UnknownJob:
            await self._gone(job, "cancel")
        except ComfyRunPodError as error:
            log.warning("Job %s: cancelling is tried again: %s", job.id, error)
            wanted.add(job.id)
        except asyncio.CancelledError:
            wanted.add(job.id)
            raise

    async def _look(self) -> bool:
        """Ask for the jobs that are due; False when it is better to wait longer before the next time."""
        remote = self._book.remote
        try:
            client = await self._target.client()
        except ComfyRunPodError as error:
            # The target cannot be had at all. The jobs are still there: they are asked for again.
            log.warning("%s: %s", self._target.name, error)
            await self._note_lost_contact(remote, error)
            return False
        due = self._due()
        lost: dict[str, ComfyRunPodError] = {}
        answers = await asyncio.gather(*(ask(client, job) for job in due))
        for job, answer in zip(due, answers, strict=True):
            if isinstance(answer, ComfyRunPodError):
                lost[job.id] = answer
                continue
            try:
                await self._take_in(job, answer)
            except IllegalMove:
                log.info("Job %s moved on while it was asked for.", job.id)
        all_lost = bool(lost) and len(lost) == len(due)
        for job_id, why in lost.items():
            await self._note_lost_contact(remote if all_lost else [job_id], why)
        return not all_lost and not any(isinstance(why, RateLimited) for why in lost.values())

    def _pause(self) -> float:
        """Short while something has just changed, since the next change is near then."""
        newest = max((job.changed_at for job in self._book.remote.values()), default=0.0)
        young = time.time() - newest < _YOUNG_S
        return self._target.poll_s if young else self._target.poll_s * _OLD

    def _due(self) -> list[Job]:
        now = time.monotonic()
        in_hand = self._fetcher.in_hand
        jobs = sorted((j for j in self._book.remote.values() if j.id not in in_hand), key=lambda j: j.seq)
        running = [job for job in jobs if job.state is not State.WAITING]
        waiting = [job for job in jobs if job.state is State.WAITING]
        rare_s, never = self._pauses.rare_s, float("-inf")
        rare = [j for j in waiting[_FRONT:] if now - self._looked_at.get(j.id, never) > rare_s]
        due = sorted([*running, *waiting[:_FRONT], *rare[:_RARE]], key=lambda j: j.seq)
        for job in due:
            self._looked_at[job.id] = now
        return due

    async def _take_in(self, job: Job, reply: JobReply | None) -> None:
        job = self._book.remote.get(job.id, job)
        if job.id not in self._book.remote or job.id in self._fetcher.in_hand:
            return
        if reply is None:
            await self._gone(job)
            return
        del self._unknown[job.id, "status"]
        seen: dict[str, Any] = {
            "remote_word": reply.status,
            "worker_id": reply.worker_id or job.worker_id,
            "retries": reply.retries,
            "lost_contact_since": None,
        }
        if reply.is_final:
            seen |= {"delay_ms": reply.delay_ms, "execution_ms": reply.execution_ms}
            await self._take_in_end(job, reply, seen)
            return
        free = job.state not in (State.CANCELLING, State.DOWNLOADING)
        if free and reply.status == "IN_QUEUE":
            seen["state"] = State.WAITING
        elif free and reply.status in ("IN_PROGRESS", "RUNNING"):
            seen["state"] = State.RUNNING
        # A word that nobody has documented is shown, and the job goes on being followed.
        job = await self._book.change(job, **seen)
        if job.state is State.RUNNING and (progress := Progress.parse(reply.output)) is not None:
            self._book.publish(JobEvent(job, progress))
        if job.state is State.CANCELLING and job.id in self._book.cancel_wanted:
            await self.ask_to_cancel(job)

    async def _take_in_end(self, job: Job, reply: JobReply, seen: dict[str, Any]) -> None:
        end = self._book.end
        match reply.status:
            case "COMPLETED" if reply.has_output and reply.output is not None:
                self._fetcher.take(
                    await self._book.change(job, state=State.DOWNLOADING, **seen), reply.output
                )
            case "COMPLETED":
                await self._take_in_kept(job, RESULT_LOST, "The platform dropped its answer", seen)
            case "FAILED" if lacks_input(reply) and not job.resent and job.state in _CAN_GO_BACK:
                await self._book.send_anew(job, "The worker lacks an input, which is sent again")
            case "FAILED":
                await end(job, State.FAILED, error=error_of(reply), **seen)
            case _ if job.state is State.DOWNLOADING:
                # It had a result once, before an earlier run of ours was ended.
                await end(job, State.FAILED, error=JOB_UNKNOWN, **seen)
            case "TIMED_OUT":
                await end(job, State.TIMED_OUT, error=error_of(reply), **seen)
            case _ if job.state is State.CANCELLING:
                await end(job, State.CANCELLED, **seen)
            case _:
                await end(job, State.CANCELLED, error=CANCELLED_ELSEWHERE, **seen)

    async def _gone(self, job: Job, asked: str = "status") -> None:
        """The endpoint says that it does not know the job: once may be a mistake, and the job be running."""
        self._unknown[job.id, asked] += 1
        if self._unknown[job.id, asked] < self._pauses.unknown_looks:
            if job.state is State.CANCELLING:
                self._book.cancel_wanted.add(job.id)
            if job.lost_contact_since is None:
                note = "The endpoint does not know the job; it is asked again"
                await self._book.change(job, lost_contact_since=time.time(), note=note)
            return
        del self._unknown[job.id, asked]
        if job.state is State.CANCELLING:
            await self._book.end(job, State.CANCELLED, note="The endpoint no longer knows the job")
        elif job.state is not State.DOWNLOADING or not self._fetcher.take_from_volume(job):
            await self._take_in_kept(job, JOB_UNKNOWN, "The endpoint no longer has its answer", {})

    async def _take_in_kept(
        self, job: Job, lost: Mapping[str, Any], why: str, seen: Mapping[str, Any]
    ) -> None:
        """The platform does not have the job's answer: it may lie on the volume, where workers keep it."""
        try:
            answer = await kept_answer(self._target.carrier, job)
        except ResultDamaged as error:
            log.warning("Job %s: %s", job.id, error)
            answer = None
        except ComfyRunPodError as error:
            await self._note_lost_contact([job.id], error)
            return
        if answer is None:
            await self._book.end(job, State.FAILED, error=dict(lost), **seen)
        else:
            note = f"{why}; it was on the volume"
            self._fetcher.take(
                await self._book.change(job, state=State.DOWNLOADING, note=note, **seen), answer
            )

    async def _note_lost_contact(self, ids: Iterable[str], error: ComfyRunPodError) -> None:
        now = time.time()
        for job_id in tuple(ids):
            job = self._book.remote.get(job_id)
            if job is None or job.lost_contact_since is not None or job_id in self._fetcher.in_hand:
                continue
            await self._book.change(job, lost_contact_since=now, note=f"Lost contact: {error.summary}")
