"""What the window speaks to, whoever runs the jobs: this process, or another one that is followed. No Qt."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .jobs.control_client import ControlClient, RunnerGone
from .jobs.model import Job, JobEvent, JobSpec, new_job_id
from .jobs.states import REMOTE
from .jobs.store import JobStore
from .jobs.targets import is_remote
from .settings import Settings

if TYPE_CHECKING:
    from .jobs.control import RunnerLock
    from .jobs.runner import Runner
    from .services import Services

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Between looks whether the jobs of a runner that has ended can be taken over, in seconds.
_LOOK_AGAIN_S = 0.1
#: How long a wish waits for somebody who runs the jobs, in seconds.
_PATIENCE_S = 5.0
#: What the runner may take to close, and all together, in seconds.
_CLOSE_S, _AT_MOST_S = 6.0, 9.0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What becomes of the unfinished jobs when this program ends. Nothing of it is lost.

    Attributes:
        remote: RunPod has them. They go on there, and are followed and fetched at the next start. RunPod
            keeps results for 30 minutes.
        local: the endpoint on this computer has them (the demo engine, or a worker with ComfyUI). It is a
            process of its own that stays while it is busy, with the ComfyUI it uses: they go on too, and
            are fetched at the next start. It keeps results for 30 minutes as well and ends when it has had
            nothing to do for 30 s.
        unsent: only on our list so far; they are sent at the next start.
    """

    remote: int = 0
    local: int = 0
    unsent: int = 0


class Desk:
    """The jobs as a window needs them: a list to read, their events, and what can be done with them.

    Wishes (:meth:`submit` to :meth:`remove`) go to whoever runs the jobs and wait some seconds when nobody
    does. They raise BadInput when they cannot be fulfilled, RunnerGone when nobody takes the jobs on, and
    Refused when the other process failed.

    Args:
        on_event: called on the loop with every event of every job.
        on_window: called when another process wants the window, with files for it.
        on_reset: called when events may have been missed: what is shown must be read again.

    Attributes:
        store: for reading; it is open from :meth:`open` to :meth:`close`.
        services: while this process runs the jobs.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_event: Callable[[JobEvent], None],
        on_window: Callable[[list[Path]], None],
        on_reset: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._on_event = on_event
        self._on_window = on_window
        self._on_reset = on_reset
        self._client = ControlClient(settings.data_dir)
        self._lock: RunnerLock | None = None
        self._closed = False
        self._closing = asyncio.Lock()
        self.store = JobStore(settings.data_dir / "jobs.sqlite")
        self.services: Services | None = None

    @property
    def is_runner(self) -> bool:
        """Whether this process runs the jobs."""
        return self.services is not None

    async def open(self) -> None:
        """Make the list of jobs readable.

        Raises:
            BadInput: when it cannot be used.
        """
        await self.store.open()

    async def run(self) -> None:
        """Run the jobs when nobody does, else follow who does and take over after it. Until cancelled.

        Raises:
            BadInput: when the data folder cannot be used. A mistake of ours in the runner is raised too.
        """
        # In a thread: this brings servers and clients with it, and the window is in sight already.
        services = await asyncio.to_thread(importlib.import_module, "app.services")
        while True:
            became = await services.become_runner(self._settings, on_window=self._on_window)
            if self._closed:
                if became is not None:
                    await self._end(*became)
                return
            if became is None:
                await self._follow()
            else:
                await self._lead(*became)

    async def submit(self, spec: JobSpec) -> Job:
        return await self._asked(lambda place: place.submit(spec))

    async def cancel(self, job_id: str) -> Job:
        return await self._asked(lambda place: place.cancel(job_id))

    async def retry(self, job_id: str) -> Job:
        """Run an ended job again, as a new job; one that waits for the user's word goes on as it is."""
        # Chosen here: asked for twice, because an answer was lost, it is still one job.
        new_id = new_job_id()
        return await self._asked(lambda place: place.retry(job_id, new_id=new_id))

    async def run_again(self, job_id: str, target: str | None = None) -> Job:
        """Run an ended job again as a new job, on another target when one is given."""
        new_id = new_job_id()
        return await self._asked(lambda place: place.run_again(job_id, target, new_id=new_id))

    async def remove(self, ids: Collection[str]) -> list[Job]:
        """Take ended jobs off the list, all or none. Their result files stay."""
        return await self._asked(lambda place: place.remove(ids))

    async def forget_target(self, name: str) -> bool:
        """Have a target made anew for its next job; False when the present one must stay for now.

        It must while it has unfinished jobs, and while another process runs the jobs.
        """
        return self.services is not None and await self.services.runner.forget_target(name)

    def use(self, settings: Settings) -> None:
        """Make targets with these settings from now on; the data folder stays what it was.

        A target that is there already keeps its settings until :meth:`forget_target`.
        """
        self._settings = settings
        if self.services is not None:
            self.services.use(settings)

    async def outlook(self) -> Outlook:
        """What becomes of the unfinished jobs when this program ends."""
        jobs = await self.store.unfinished()
        sent = [job for job in jobs if job.state in REMOTE]
        remote = sum(is_remote(job.target) for job in sent)
        return Outlook(remote, len(sent) - remote, len(jobs) - len(sent))

    async def close(self) -> None:
        """Let go of everything, within 10 s whatever happens. Safe to call twice."""
        self._closed = True
        async with self._closing:
            services, self.services = self.services, None
            lock, self._lock = self._lock, None
            try:
                async with asyncio.timeout(_AT_MOST_S):
                    if services is not None and lock is not None:
                        await self._end(lock, services)
                    await self.store.close()
            except TimeoutError:
                log.warning("Closing took longer than %g s; the rest is left.", _AT_MOST_S)

    async def _lead(self, lock: RunnerLock, services: Services) -> None:
        self._lock, self.services = lock, services
        services.use(self._settings)
        broken = services.runner.broken
        stop = services.runner.watch(self._on_event)
        try:
            self._on_reset()
            await asyncio.wait([broken])
        finally:
            stop()
        if not broken.cancelled():
            broken.result()

    async def _follow(self) -> None:
        try:
            async with self._client.all_events() as events:
                self._on_reset()
                async for event in events:
                    self._on_event(event)
        except RunnerGone:
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _end(self, lock: RunnerLock, services: Services) -> None:
        try:
            await services.close(limit_s=_CLOSE_S)
        finally:
            lock.release()

    async def _asked(self, wish: Callable[[Runner | ControlClient], Awaitable[T]]) -> T:
        """Ask whoever runs the jobs, again while they change hands."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE_S
        while True:
            try:
                return await wish(self._client if self.services is None else self.services.runner)
            except RunnerGone:
                if self._closed or loop.time() > deadline:
                    raise
            await asyncio.sleep(_LOOK_AGAIN_S)
