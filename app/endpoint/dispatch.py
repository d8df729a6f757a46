"""Between the queue, the clients and the workers: who waits for what, who was heard when, who must stop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .config import EndpointConfig
from .queue import JobQueue, Verdict
from .states import Job

#: The SDK drops a stop for a job it has fetched but not begun, which it does within 0.1 s.
STOP_AFTER_TAKE_S = 0.5
#: A worker that still reports a job this long after its end is told again, and then started anew.
STOP_AGAIN_S = 10.0
STOP_BY_FORCE_S = 30.0


class Phase(StrEnum):
    """A worker's state by RunPod's names."""

    INITIALIZING = "initializing"
    IDLE = "idle"
    RUNNING = "running"
    UNHEALTHY = "unhealthy"


@dataclass(slots=True)
class Contact:
    """What we know of one worker process. Times are monotonic seconds."""

    heard_at: float | None = None
    took_at: float = float("-inf")
    stops: dict[str, float] = field(default_factory=dict)
    ending: set[str] = field(default_factory=set)
    ghosts: dict[str, float] = field(default_factory=dict)
    told_again: set[str] = field(default_factory=set)
    restart: bool = False


class Pulse:
    """Wakes everybody who waits, once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout_s: float) -> None:
        """Return at the next pulse or after ``timeout_s``."""
        event = self._event
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await event.wait()


class Dispatcher:
    """Hands jobs to workers and answers to waiting requests. For one event loop."""

    def __init__(
        self, queue: JobQueue, config: EndpointConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.queue = queue
        self.closing = False
        self._config = config
        self._clock = clock
        self._pulse = Pulse()
        self._contacts: dict[str, Contact] = {}

    def changed(self) -> None:
        """Let everybody who waits look again."""
        self._pulse.fire()

    def close(self) -> None:
        """End all polls and take no more jobs."""
        self.closing = True
        self._pulse.fire()

    async def take(
        self, worker_id: str, count: int, *, holds_nothing: bool, gone: Callable[[], bool]
    ) -> list[tuple[str, str]]:
        """The next jobs for a worker, or none after the time a poll is held.

        Args:
            holds_nothing: the worker says so. What we believe to be in its hands was lost then.
            gone: whether the asker has disconnected; it gets nothing any more.
        """
        contact = self.hear(worker_id)
        if holds_nothing:
            contact.ending.clear()
            self.queue.give_back(worker_id)
            self.changed()
        deadline = self._clock() + self._config.poll_hold_s
        while not gone():
            if not (self.closing or contact.restart):
                taken = self.queue.take(worker_id, count)
                if taken:
                    contact.took_at = self._clock()
                    self.changed()
                    return taken
            if await self._pause(deadline):
                break
        return []

    async def stops(self, worker_id: str, *, gone: Callable[[], bool]) -> list[str]:
        """The jobs a worker is to stop, or none after the time a poll is held."""
        contact = self.hear(worker_id)
        deadline = self._clock() + self._config.poll_hold_s
        while not gone():
            now = self._clock()
            due = [job_id for job_id, at in contact.stops.items() if at <= now]
            for job_id in due:
                del contact.stops[job_id]
            if due:
                return due
            soonest = min(contact.stops.values(), default=deadline)
            if await self._pause(deadline, wake_at=soonest):
                break
        return []

    async def wait_final(self, job_id: str, timeout_s: float) -> Job | None:
        """The job when it has ended, or as it is after ``timeout_s``; None when it was removed."""
        deadline = self._clock() + timeout_s
        while (job := self.queue.get(job_id)) is not None and not job.is_final:
            if await self._pause(deadline):
                break
        return job

    def undelivered(self, worker_id: str, job_ids: Collection[str]) -> None:
        """The answer that held these jobs could not be written: nobody has run them."""
        self.queue.give_back(worker_id, counted=False, only=job_ids)
        self.changed()

    def unsent_stops(self, worker_id: str, job_ids: Collection[str]) -> None:
        """The answer that held these stops could not be written."""
        self._contact(worker_id).stops.update(dict.fromkeys(job_ids, self._clock()))
        self.changed()

    def done(self, worker_id: str, job_id: str, body: Mapping[str, Any], size: int) -> Verdict:
        """A worker's post; see :meth:`JobQueue.done`. ``stopPod`` asks for a fresh worker process."""
        contact = self.hear(worker_id)
        verdict = self.queue.done(worker_id, job_id, body, size)
        if body.get("stopPod") is True:
            contact.restart = True
        self.changed()
        return verdict

    def cancel(self, job: Job) -> Job:
        cancelled = self.queue.cancel(job)
        if not job.is_final and job.worker is not None:
            self._stop(job.worker, job.id)
        self.changed()
        return cancelled

    def tick(self) -> None:
        """Apply the queue's deadlines. To be called every second or so."""
        expired = self.queue.expire()
        for worker_id, job_id in expired.to_stop:
            self._stop(worker_id, job_id)
        if expired.changed:
            self.changed()

    def hear(self, worker_id: str, reported: Collection[str] | None = None) -> Contact:
        """A worker spoke; ``reported`` are the jobs that its heartbeat names."""
        contact = self._contact(worker_id)
        now = contact.heard_at = self._clock()
        if reported is not None:
            held = {job.id for job in self.queue.held(worker_id)}
            contact.ending &= set(reported)
            contact.ghosts = {job: contact.ghosts.get(job, now) for job in reported if job not in held}
            for job_id, since in contact.ghosts.items():
                if now - since >= STOP_AGAIN_S and job_id not in contact.told_again:
                    contact.told_again.add(job_id)
                    self._stop(worker_id, job_id)
                contact.restart |= now - since >= STOP_BY_FORCE_S
        return contact

    def hear_all(self) -> None:
        """Begin all silences anew: this computer slept, or we did not run."""
        for contact in self._contacts.values():
            if contact.heard_at is not None:
                contact.heard_at = self._clock()

    def is_lost(self, worker_id: str) -> bool:
        """Whether a worker that has spoken fell silent."""
        heard_at = self._contact(worker_id).heard_at
        return heard_at is not None and self._clock() - heard_at > self._config.worker_lost_after_s

    def wants_restart(self, worker_id: str) -> bool:
        """Whether the worker is to be replaced and has nothing in hand."""
        return self._contact(worker_id).restart and not self.queue.held(worker_id)

    def phase(self, worker_id: str) -> Phase:
        contact = self._contacts.get(worker_id)
        if contact is None or contact.heard_at is None:
            return Phase.INITIALIZING
        return Phase.RUNNING if contact.ending or self.queue.held(worker_id) else Phase.IDLE

    async def wait_ended(self, timeout_s: float) -> None:
        """Wait until no worker is busy with ending a job that it was told to stop."""
        deadline = self._clock() + timeout_s
        while any(contact.ending for contact in self._contacts.values()):
            if await self._pause(deadline):
                break

    def worker_gone(self, worker_id: str) -> None:
        """The worker's process has ended: its jobs go back, except when we are ending ourselves."""
        self._contacts.pop(worker_id, None)
        if not self.closing:
            self.queue.give_back(worker_id)
        self.changed()

    def _contact(self, worker_id: str) -> Contact:
        return self._contacts.setdefault(worker_id, Contact())

    def _stop(self, worker_id: str, job_id: str) -> None:
        contact = self._contact(worker_id)
        contact.stops[job_id] = max(self._clock(), contact.took_at + STOP_AFTER_TAKE_S)
        contact.ending.add(job_id)
        self.changed()

    async def _pause(self, deadline: float, *, wake_at: float | None = None) -> bool:
        """Wait for a pulse, ``wake_at`` or ``deadline``; whether it is time to answer."""
        now = self._clock()
        if self.closing or now >= deadline:
            return True
        await self._pulse.wait(min(deadline, wake_at or deadline) - now)
        return False
