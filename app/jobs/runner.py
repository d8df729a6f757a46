"""The one runner of a user's jobs. It owns a lane per target and takes up what an earlier run left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from worker.contract import checked_job_id

from ..errors import BadInput, ComfyRunPodError
from .lane import Lane
from .model import Job, JobEvent, JobSpec, new_job_id
from .pauses import Pauses
from .request import keep_inputs
from .store import JobStore
from .targets import Target

log = logging.getLogger(__name__)

Watcher = Callable[[JobEvent], None]


class Runner:
    """Runs jobs until closed.

    Args:
        make_target: gives the target of a name, or raises BadInput for a name it does not know.
        inputs_dir: where the jobs' input files are kept.
        pauses: shorter ones are for tests.
    """

    def __init__(
        self,
        store: JobStore,
        make_target: Callable[[str], Target],
        inputs_dir: Path,
        *,
        pauses: Pauses | None = None,
    ) -> None:
        self._store = store
        self._inputs_dir = inputs_dir
        self._make_target = make_target
        self._pauses = pauses or Pauses()
        self._targets: dict[str, Target] = {}
        self._lanes: dict[str, Lane] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watchers: list[Watcher] = []
        self._planning = asyncio.Lock()
        self._one_by_one = asyncio.Lock()
        self._taking_on: set[asyncio.Task[Job]] = set()
        self._closing = False
        #: Done with an exception when a lane ended by a mistake of ours: nothing can be relied on then.
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def store(self) -> JobStore:
        return self._store

    async def start(self) -> None:
        """Take up every job that is not finished."""
        for job in await self._store.unfinished():
            try:
                self._lane(job.target).add(job)
            except BadInput as error:
                log.warning("Job %s stays as it is: %s", job.id, error)

    async def submit(self, spec: JobSpec) -> Job:
        """Note a job and begin it. The same specification twice is one job.

        Cancelled, it does all of that or nothing.

        Raises:
            BadInput: for an unknown target or an id that cannot be one; nothing is noted then.
        """
        if self._closing:
            raise BadInput("The program is ending and takes no new jobs.")
        try:
            checked_job_id(spec.id)
        except ValueError as error:
            raise BadInput(str(error)) from error
        lane = self._lane(spec.target)
        task = asyncio.create_task(self._take_on(spec, lane), name=f"take-on-{spec.id}")
        self._taking_on.add(task)
        task.add_done_callback(self._taking_on.discard)
        return await asyncio.shield(task)

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job; one that has ended stays as it is. Its end is told to the watchers."""
        job = await self._store.get(job_id)
        return job if job.is_final else await self._lane(job.target).cancel(job)

    async def retry(self, job_id: str) -> Job:
        """Run an ended job again, as a new job; one that waits for the user's word goes on as it is."""
        job = await self._store.get(job_id)
        if job.is_stuck:
            return await self._lane(job.target).send_again(job)
        if not job.is_final:
            raise BadInput(f"Job {job.id[:8]} is still {job.state}.", hint="Cancel it first.")
        return await self.submit(replace(await self._store.spec(job.id), id=new_job_id()))

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Have every event from now on; the returned call ends it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    async def close(self) -> None:
        """Stop. Jobs that the platforms have go on there and are taken up at the next start."""
        self._closing = True
        await asyncio.gather(*self._taking_on, return_exceptions=True)
        await asyncio.gather(*(lane.finish_submission() for lane in self._lanes.values()))
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for name, target in self._targets.items():
            try:
                await target.close()
            except (ComfyRunPodError, OSError) as error:
                log.warning("%s: %s", name, error)
        self.broken.cancel()

    async def _take_on(self, spec: JobSpec, lane: Lane) -> Job:
        # One after the other: jobs begin in the order they came, and the same one twice is seen.
        async with self._one_by_one:
            job = await self._store.find(spec.id)
            if job is not None:
                return job
            spec = await asyncio.to_thread(keep_inputs, spec, self._inputs_dir)
            job = await self._store.add(spec)
            lane.add(job)
        self._publish(JobEvent(job))
        return job

    def _lane(self, name: str) -> Lane:
        if name not in self._lanes:
            target = self._make_target(name)
            lane = Lane(target, self._store, self._publish, self._planning, self._pauses)
            self._targets[name], self._lanes[name] = target, lane
            task = asyncio.create_task(lane.run(), name=f"lane-{name}")
            task.add_done_callback(self._lane_ended)
            self._tasks[name] = task
        return self._lanes[name]

    def _publish(self, event: JobEvent) -> None:
        for watcher in tuple(self._watchers):
            watcher(event)

    def _lane_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s ended by a mistake of ours.", task.get_name(), exc_info=error)
            if not self.broken.done():
                self.broken.set_exception(error)
