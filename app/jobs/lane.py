"""All jobs of one target: sent one after the other in their order, followed, and their results fetched.

Three tasks with one owner (:meth:`Lane.run`): *send*, *follow* and *fetch*. The store is written before
anything is done and after every change, so that each task can be begun anew from what is on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker.contract import Progress, taken_marker

from ..endpoint.client import JobClient
from ..endpoint.errors import RateLimited, SubmitUnanswered, UnknownJob
from ..endpoint.model import JobReply
from ..errors import ComfyRunPodError, Unreachable
from . import outputs
from .model import Job, JobEvent
from .request import request_of
from .states import REMOTE, Hold, IllegalMove, State
from .store import JobStore
from .targets import Target

log = logging.getLogger(__name__)

#: Waiting jobs looked at in every round; those further down the queue are looked at rarely.
_FRONT = 3
_RARE_S = 5.0
_PAUSES_S = (0.5, 1, 2, 5, 10, 30)
_FETCH_TRIES = 3
#: A request that died with its sender may still arrive; only after this long is "not there" believed.
_SETTLE_S = 2.0


class Lane:
    """The jobs of one target.

    Args:
        publish: called on the loop with every change and every progress.
    """

    def __init__(self, target: Target, store: JobStore, publish: Callable[[JobEvent], None]) -> None:
        self._target = target
        self._store = store
        self._publish = publish
        self._unsent: dict[str, Job] = {}
        self._remote: dict[str, Job] = {}
        self._looked_at: dict[str, float] = {}
        self._cancel_wanted: set[str] = set()
        self._to_send = asyncio.Event()
        self._to_follow = asyncio.Event()
        self._to_fetch: asyncio.Queue[tuple[Job, Any]] = asyncio.Queue()
        self._settled = asyncio.Event()
        self._settled.set()
        self._closing = False

    # -- what the runner calls ------------------------------------------------------------------------

    def add(self, job: Job) -> None:
        """Take on a job in whatever state it is."""
        if job.state in REMOTE:
            self._remote[job.id] = job
            self._to_follow.set()
            if job.state is State.CANCELLING:
                self._cancel_wanted.add(job.id)
        elif not job.is_final:
            self._unsent[job.id] = job
            self._to_send.set()

    async def cancel(self, job: Job) -> Job:
        """Cancel a job of this lane: at once while it is unsent, else the platform is asked to."""
        if job.state in (State.WAITING, State.STARTING, State.RUNNING):
            job = await self._change(job, state=State.CANCELLING)
            await self._ask_to_cancel(job)
        elif job.state is State.SUBMITTING:
            # Its request is under way, or was once: first it must be known what came of it.
            self._cancel_wanted.add(job.id)
        elif job.id in self._unsent:
            job = await self._drop_unsent(job)
        return job

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_all(), name=f"send-{self._target.name}")
            group.create_task(self._follow_all(), name=f"follow-{self._target.name}")
            group.create_task(self._fetch_all(), name=f"fetch-{self._target.name}")

    async def finish_submission(self, timeout_s: float) -> None:
        """Before closing: send nothing new, and let a request that is under way get its answer."""
        self._closing = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), timeout_s)

    # -- sending --------------------------------------------------------------------------------------

    async def _send_all(self) -> None:
        failures = 0
        while True:
            self._to_send.clear()
            job = next((job for job in self._unsent.values() if not job.is_stuck), None)
            if job is None or self._closing:
                await self._to_send.wait()
                continue
            try:
                await self._send(job)
                failures = 0
            except ComfyRunPodError as error:
                held = self._unsent.get(job.id)
                if held is not None and held.state is not State.SUBMITTING:
                    if not isinstance(error, Unreachable | RateLimited):
                        await self._fail(held, error)
                        continue
                    await self._change(
                        held, state=State.ON_HOLD, hold=Hold.ENGINE_DOWN, error=_problem_json(error)
                    )
                await asyncio.sleep(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
                failures += 1

    async def _send(self, job: Job) -> None:
        if job.state is State.SUBMITTING:
            # It was sent once and no answer was noted: we were ended in between, or the answer got lost.
            if self._target.volume is None:
                await self._change(job, state=State.ON_HOLD, hold=Hold.MAYBE_SENT)
                return
            if await self._was_sent(job):
                return
            job = await self._change(job, state=State.PREPARING, note="Was not received; it is sent again")
        if job.id in self._cancel_wanted:
            await self._drop_unsent(job)
            return
        request = await asyncio.to_thread(request_of, await self._store.spec(job.id))
        client = await self._target.client()
        if job.id not in self._unsent or self._closing:
            return
        # Until the answer is noted, closing waits: it says under which name the job runs.
        self._settled.clear()
        try:
            job = await self._change(job, state=State.SUBMITTING)
            reply = await client.run(request)
        except SubmitUnanswered as error:
            log.warning("Job %s: %s", job.id, error)
            if self._target.volume is None:
                problem = _problem_json(error)
                await self._change(job, state=State.ON_HOLD, hold=Hold.MAYBE_SENT, error=problem)
        except ComfyRunPodError:
            await self._change(job, state=State.PREPARING, note="Was not sent")
            raise
        else:
            await self._sent(job, reply.id, reply.status)
        finally:
            self._settled.set()

    async def _sent(self, job: Job, remote_id: str, word: str | None) -> None:
        self._unsent.pop(job.id, None)
        job = await self._change(job, state=State.WAITING, remote_id=remote_id, remote_word=word, error=None)
        self._remote[job.id] = job
        if job.id in self._cancel_wanted:
            self._cancel_wanted.discard(job.id)
            await self.cancel(job)
        self._to_follow.set()

    async def _was_sent(self, job: Job) -> bool:
        """Find out whether a submit without an answer arrived: from the worker's note on the volume.

        The note appears when a worker takes the job. An endpoint that is seen empty without a note having
        appeared never had the job. True when the job is followed now.
        """
        first = time.monotonic()
        while True:
            client = await self._target.client()
            health = await client.health()
            empty = not health.jobs.get("inQueue") and not health.jobs.get("inProgress")
            remote_id = await asyncio.to_thread(_note_of, self._target.volume, job.id)
            if job.id not in self._unsent:
                return True
            if remote_id is not None:
                await self._sent(job, remote_id, None)
                return True
            if empty and time.monotonic() - first > _SETTLE_S:
                return False
            await asyncio.sleep(0.25)

    # -- following ------------------------------------------------------------------------------------

    async def _follow_all(self) -> None:
        failures = 0
        while True:
            self._to_follow.clear()
            due = self._due()
            if not self._remote:
                await self._to_follow.wait()
                continue
            try:
                client = await self._target.client()
                replies = await asyncio.gather(*(_ask(client, job) for job in due))
                failures = 0
            except (Unreachable, RateLimited) as error:
                await self._note_lost_contact(error)
                await asyncio.sleep(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
                failures += 1
                continue
            except ComfyRunPodError as error:
                # The target cannot be had at all. The jobs are still there: they are asked for again.
                log.warning("%s: %s", self._target.name, error)
                await self._note_lost_contact(error)
                await asyncio.sleep(_PAUSES_S[-1])
                continue
            for job, reply in zip(due, replies, strict=True):
                try:
                    await self._take_in(job, reply)
                except IllegalMove:
                    log.info("Job %s moved on while it was asked for.", job.id)
            await asyncio.sleep(self._target.poll_s)

    def _due(self) -> list[Job]:
        now = time.monotonic()
        jobs = sorted(
            (j for j in self._remote.values() if j.state is not State.DOWNLOADING), key=lambda j: j.seq
        )
        running = [job for job in jobs if job.state is not State.WAITING]
        waiting = [job for job in jobs if job.state is State.WAITING]
        rare = [j for j in waiting[_FRONT:] if now - self._looked_at.get(j.id, 0) > _RARE_S]
        due = sorted([*running, *waiting[:_FRONT], *rare[:20]], key=lambda j: j.seq)
        for job in due:
            self._looked_at[job.id] = now
        return due

    async def _take_in(self, job: Job, reply: JobReply | None) -> None:
        job = self._remote.get(job.id, job)
        if job.id not in self._remote or job.state is State.DOWNLOADING:
            return
        if reply is None:
            await self._gone(job)
            return
        seen: dict[str, Any] = {
            "remote_word": reply.status,
            "worker_id": reply.worker_id or job.worker_id,
            "retries": reply.retries,
            "lost_contact_since": None,
        }
        if reply.is_final:
            seen |= {"delay_ms": reply.delay_ms, "execution_ms": reply.execution_ms}
        match reply.status:
            case "IN_QUEUE" if job.state is not State.CANCELLING:
                await self._change(job, state=State.WAITING, **seen)
            case "IN_PROGRESS" | "RUNNING" if job.state is not State.CANCELLING:
                job = await self._change(job, state=State.RUNNING, **seen)
                progress = Progress.parse(reply.output)
                if progress is not None:
                    self._publish(JobEvent(job, progress))
            case "IN_QUEUE" | "IN_PROGRESS" | "RUNNING":
                job = await self._change(job, **seen)
                if job.id in self._cancel_wanted:
                    self._cancel_wanted.discard(job.id)
                    await self._ask_to_cancel(job)
            case "COMPLETED" if reply.has_output and reply.output is not None:
                job = await self._change(job, state=State.DOWNLOADING, **seen)
                self._to_fetch.put_nowait((job, reply.output))
            case "COMPLETED":
                error = {
                    "summary": "The job ran, but its result was lost: RunPod takes none of that size.",
                    "hint": "Attach a network volume, so that large results are kept there.",
                    "code": "result_lost",
                }
                await self._end(job, State.FAILED, error=error, **seen)
            case "FAILED":
                await self._end(job, State.FAILED, error=_error_of(reply), **seen)
            case "TIMED_OUT":
                await self._end(job, State.TIMED_OUT, error=_error_of(reply), **seen)
            case "CANCELLED":
                await self._end(job, State.CANCELLED, **seen)
            case _:
                # A word that nobody has documented is shown, and the job goes on being followed.
                await self._change(job, **seen)

    async def _gone(self, job: Job) -> None:
        if job.state is State.CANCELLING:
            await self._end(job, State.CANCELLED, note="The endpoint no longer knows the job")
            return
        error = {
            "summary": "The endpoint no longer knows this job.",
            "hint": "RunPod keeps results for 30 minutes. Run the job again.",
            "code": "job_unknown",
        }
        await self._end(job, State.FAILED, error=error)

    async def _ask_to_cancel(self, job: Job) -> None:
        try:
            client = await self._target.client()
            await client.cancel(job.remote_id or "")
        except UnknownJob:
            await self._gone(job)
        except ComfyRunPodError as error:
            log.warning("Job %s: cancelling is tried again: %s", job.id, error)
            self._cancel_wanted.add(job.id)

    async def _note_lost_contact(self, error: ComfyRunPodError) -> None:
        now = time.time()
        for job in list(self._remote.values()):
            if job.lost_contact_since is None:
                await self._change(job, lost_contact_since=now, note=f"Lost contact: {error.summary}")

    # -- fetching -------------------------------------------------------------------------------------

    async def _fetch_all(self) -> None:
        while True:
            job, output = await self._to_fetch.get()
            for attempt in range(_FETCH_TRIES):
                try:
                    await self._fetch(job, output)
                    break
                except (ComfyRunPodError, OSError) as error:
                    if attempt + 1 < _FETCH_TRIES and not isinstance(error, outputs.ResultDamaged):
                        await asyncio.sleep(_PAUSES_S[attempt])
                        continue
                    summary = str(error) if isinstance(error, ComfyRunPodError) else _disk_error(error, job)
                    problem = {"summary": summary, "code": "fetch_failed", "hint": "Run the job again."}
                    await self._end(job, State.FAILED, error=problem)
                    break

    async def _fetch(self, job: Job, output: Any) -> None:
        job = self._remote.get(job.id, job)
        volume = self._target.volume
        entries = outputs.entries_of(output)
        if len(job.outputs) != len(entries):
            taken = await self._store.planned_paths()
            planned = await asyncio.to_thread(outputs.plan, entries, Path(job.output_dir), taken)
            job = await self._change(job, outputs=planned)
        for entry, planned_file in zip(entries, job.outputs, strict=True):
            await asyncio.to_thread(outputs.fetch, entry, planned_file, volume)
        texts, warnings = _texts_of(output)
        await self._end(job, State.DONE, texts=texts, warnings=warnings)
        await asyncio.to_thread(outputs.drop_from_volume, entries, volume)

    # -- writing down ---------------------------------------------------------------------------------

    async def _change(self, job: Job, *, note: str = "", **values: Any) -> Job:
        """Write what is new about a job, if anything is, and tell the watchers."""
        if not note and all(getattr(job, key) == value for key, value in values.items()):
            return job
        new = await self._store.change(job.id, note=note, **values)
        for held in (self._unsent, self._remote):
            if job.id in held:
                held[job.id] = new
        self._publish(JobEvent(new))
        return new

    async def _drop_unsent(self, job: Job) -> Job:
        self._unsent.pop(job.id, None)
        self._cancel_wanted.discard(job.id)
        return await self._change(job, state=State.CANCELLED, note="Cancelled before it was sent")

    async def _fail(self, job: Job, error: ComfyRunPodError) -> None:
        del self._unsent[job.id]
        await self._change(job, state=State.FAILED, error=_problem_json(error))

    async def _end(self, job: Job, state: State, **values: Any) -> None:
        await self._change(job, state=state, **values)
        self._remote.pop(job.id, None)
        self._looked_at.pop(job.id, None)


async def _ask(client: JobClient, job: Job) -> JobReply | None:
    """The platform's word on a job; None when it knows no such job."""
    try:
        return await client.status(job.remote_id or "")
    except UnknownJob:
        return None


def _note_of(volume: Path | None, job_id: str) -> str | None:
    """The platform's id for a job that a worker has taken, from its note on the volume. Blocks."""
    if volume is None:
        return None
    try:
        note = json.loads(taken_marker(volume, job_id).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    remote_id = note.get("id") if isinstance(note, dict) else None
    return remote_id if isinstance(remote_id, str) else None


def _problem_json(error: ComfyRunPodError) -> dict[str, Any]:
    problem = error.problem
    details = json.loads(json.dumps(dict(problem.details), default=str))
    return {"summary": problem.summary, "hint": problem.hint, "code": problem.code, "details": details}


def _error_of(reply: JobReply) -> dict[str, Any]:
    """A failed job's error: our worker's structured one, or whatever another handler said."""
    output = reply.output if isinstance(reply.output, dict) else {}
    summary = reply.error_message or f"The job ended as {reply.status} without a reason."
    error = {"summary": summary, "hint": str(output.get("hint") or ""), "code": str(output.get("code") or "")}
    error["code"] = error["code"] or reply.status.lower()
    return {**error, "details": output or ({"raw": reply.error} if reply.error != summary else {})}


def _texts_of(output: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not isinstance(output, dict):
        return (), ()
    listed = output.get("text")
    texts = (
        tuple(str(t.get("text", "")) for t in listed if isinstance(t, dict))
        if isinstance(listed, list)
        else ()
    )
    warned = output.get("warnings")
    return texts, tuple(str(w) for w in warned) if isinstance(warned, list) else ()


def _disk_error(error: OSError | ComfyRunPodError, job: Job) -> str:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return f"The results cannot be written to {job.output_dir}: {reason}."
