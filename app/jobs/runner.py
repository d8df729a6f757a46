"""The one runner of a user's jobs. It owns a lane per target and takes up what an earlier run left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from worker.contract import checked_job_id

from ..errors import BadInput, ComfyRunPodError
from ..workflows.parameters import Expected, expected
from .ending import ended_within
from .lane import Lane
from .model import Job, JobEvent, JobSpec, new_job_id
from .money import FreeOfCharge, Purse
from .pauses import Pauses
from .request import drop_inputs, drop_shown, drop_stray_inputs, keep_inputs
from .store import JobStore
from .targets import Target

log = logging.getLogger(__name__)

Watcher = Callable[[JobEvent], None]
#: Of a limited close: the shares for jobs being taken on, and for answers to requests under way.
_TAKING_ON, _ANSWERS = 0.15, 0.5


@dataclass(frozen=True, slots=True)
class _Held:
    """A target with its lane, and the task that works it."""

    target: Target
    lane: Lane
    task: asyncio.Task[None]


class Runner:
    """Runs jobs until closed.

    Args:
        make_target: gives the target of a name, or raises BadInput for a name it does not know.
        inputs_dir: where the jobs' input files are kept.
        pauses: shorter ones are for tests.
        purse: prices, and whether a job may be paid for; without one nothing costs anything.
    """

    def __init__(
        self,
        store: JobStore,
        make_target: Callable[[str], Target],
        inputs_dir: Path,
        *,
        pauses: Pauses | None = None,
        purse: Purse | None = None,
    ) -> None:
        self._store = store
        self._inputs_dir = inputs_dir
        self._make_target = make_target
        self._pauses = pauses or Pauses()
        self._purse = purse or FreeOfCharge()
        self._held: dict[str, _Held] = {}
        self._watchers: list[Watcher] = []
        self._planning = asyncio.Lock()
        self._one_by_one = asyncio.Lock()
        self._taking_on: set[asyncio.Task[Job]] = set()
        #: Targets that are being let go of, by name; the next one of that name begins after them.
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._closing = False
        #: Done with an exception when a lane ended by a mistake of ours: nothing can be relied on then.
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def store(self) -> JobStore:
        return self._store

    async def start(self) -> None:
        """Take up every job that is not finished. Inputs that a crash left without a job go."""
        known = await self._store.ids()
        # Before any job can be taken on: its inputs are kept before it is noted.
        await asyncio.to_thread(drop_stray_inputs, self._inputs_dir, known)
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
        self._lane(spec.target)
        task = asyncio.create_task(self._take_on(spec), name=f"take-on-{spec.id}")
        self._taking_on.add(task)
        task.add_done_callback(self._taking_on.discard)
        return await asyncio.shield(task)

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job; one that has ended stays as it is. Its end is told to the watchers."""
        job = await self._store.get(job_id)
        return job if job.is_final else await self._lane(job.target).cancel(job)

    async def retry(self, job_id: str, *, new_id: str | None = None) -> Job:
        """Run an ended job again, as a new job; one that waits for the user's word goes on as it is."""
        job = await self._store.get(job_id)
        if job.is_stuck:
            return await self._lane(job.target).send_again(job)
        return await self.run_again(job.id, new_id=new_id)

    async def run_again(self, job_id: str, target: str | None = None, *, new_id: str | None = None) -> Job:
        """Run an ended job again as a new job, with the inputs that were kept for it.

        Args:
            target: where, when it shall run elsewhere.
            new_id: the new job's id; the same one twice is one job.

        Raises:
            BadInput: when the job has not ended, or its inputs are no longer there.
        """
        job = await self._store.get(job_id)
        if not job.is_final:
            raise BadInput(f"Job {job.id[:8]} is still {job.state}.", hint="Cancel it first.")
        spec = await self._store.spec(job.id)
        again = replace(spec, id=new_id or new_job_id(), retry_of=job.id, target=target or spec.target)
        # What it lacked may be there by now; ComfyUI itself has the last word.
        anyway = spec.anyway or spec.lacks is not None
        if again.shown_dir:
            again = replace(again, shown_dir=str(Path(again.shown_dir).with_name(again.id)))
        return await self.submit(replace(again, lacks=None, anyway=anyway))

    async def remove(self, ids: Collection[str]) -> list[Job]:
        """Forget ended jobs and the inputs that were kept for them; those not there count as removed.

        All or none. Result files stay where they are.

        Raises:
            BadInput: naming a job that has not ended.
        """
        removed = await self._store.remove(ids)
        for job in removed:
            self._publish(JobEvent(job, removed=True))
        await asyncio.to_thread(drop_inputs, self._inputs_dir, [job.id for job in removed])
        await asyncio.to_thread(drop_shown, removed)
        return removed

    async def forget_target(self, name: str) -> bool:
        """Let go of a target, so that the next job makes it anew; False while it has unfinished jobs."""
        held = self._held.get(name)
        if held is not None and not held.lane.is_empty:
            return False
        if held is not None:
            del self._held[name]
            leaving = asyncio.create_task(self._leave(held, None), name=f"leave-{name}")
            self._leaving[name] = leaving
            leaving.add_done_callback(lambda task: self._left(name, task))
        if name in self._leaving:
            await asyncio.wait([self._leaving[name]])
        return True

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Have every event from now on; the returned call ends it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    async def close(self, *, limit_s: float | None = None) -> None:
        """Stop. Jobs that the platforms have go on there and are taken up at the next start.

        Args:
            limit_s: what has not ended after so many seconds is logged and left. A request whose answer is
                not awaited is asked about at the next start.
        """
        self._closing = True
        begun = asyncio.get_running_loop().time()
        await ended_within(self._taking_on, None if limit_s is None else limit_s * _TAKING_ON)
        grace_s = None if limit_s is None else limit_s * _ANSWERS
        closing = [
            asyncio.create_task(self._leave(held, grace_s), name=f"leave-{name}")
            for name, held in self._held.items()
        ]
        left_s = None if limit_s is None else begun + limit_s - asyncio.get_running_loop().time()
        await ended_within([*closing, *self._leaving.values()], left_s)
        self.broken.cancel()
        for task in closing:
            if task.done() and not task.cancelled():
                task.result()

    async def _take_on(self, spec: JobSpec) -> Job:
        # One after the other: jobs begin in the order they came, and the same one twice is seen.
        async with self._one_by_one:
            job = await self._store.find(spec.id)
            if job is not None:
                return job
            spec, makes = await asyncio.to_thread(_prepared, spec, self._inputs_dir)
            job = await self._store.add(spec, expected=makes)
            # Asked for only now: the one there was may have been forgotten meanwhile.
            self._lane(spec.target).add(job)
        self._publish(JobEvent(job))
        return job

    def _lane(self, name: str) -> Lane:
        if name not in self._held:
            target = self._make_target(name)
            lane = Lane(target, self._store, self._publish, self._planning, self._pauses, self._purse)
            work = _after(self._leaving.get(name), lane)
            task = asyncio.create_task(work, name=f"lane-{name}")
            task.add_done_callback(self._lane_ended)
            self._held[name] = _Held(target, lane, task)
        return self._held[name].lane

    async def _leave(self, held: _Held, grace_s: float | None) -> None:
        """End a lane, then let go of its target."""
        await held.lane.finish_submission(grace_s)
        held.task.cancel()
        await asyncio.gather(held.task, return_exceptions=True)
        try:
            await held.target.close()
        except (ComfyRunPodError, OSError) as error:
            log.warning("%s: %s", held.target.name, error)

    def _left(self, name: str, task: asyncio.Task[None]) -> None:
        if self._leaving.get(name) is task:
            del self._leaving[name]

    def _publish(self, event: JobEvent) -> None:
        for watcher in tuple(self._watchers):
            watcher(event)

    def _lane_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s ended by a mistake of ours.", task.get_name(), exc_info=error)
            if not self.broken.done():
                self.broken.set_exception(error)


async def _after(leaving: asyncio.Task[None] | None, lane: Lane) -> None:
    """Work a lane as soon as the target that had its name before is gone: the two share a folder."""
    if leaving is not None:
        await asyncio.wait([leaving])
    await lane.run()


def _prepared(spec: JobSpec, inputs_dir: Path) -> tuple[JobSpec, Expected | None]:
    """The specification with its inputs kept, and what it will make. Blocks."""
    return keep_inputs(spec, inputs_dir), expected(spec.prompt)
