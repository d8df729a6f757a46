"""``comfy-runpod jobs``: what there is, and acting on it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from ..errors import BadInput
from ..jobs.model import Job, Move
from ..jobs.states import State
from ..jobs.store import JobStore
from ..settings import Settings
from .batch import SHOWN, Batch
from .batch import jobs as jobs_in_words
from .display import Display, job_line
from .follow import Following
from .run import print_ended
from .spend import times

#: The newest jobs that are listed.
_LISTED = 20


async def jobs(arguments: argparse.Namespace, settings: Settings) -> int:
    """List and show read the store beside the runner; cancel, retry and remove go through it."""
    match arguments.action:
        case "list":
            return await _list(arguments, settings)
        case "show":
            return await _show(arguments, settings)
        case "cancel":
            # From the end of the queue, so that none begins meanwhile.
            ids = await _ids(arguments, settings, lambda batch: reversed(batch.unfinished))
            if not ids:
                return 0
            with Display(len(ids)) as display:
                ended = await Following(settings, display.show).cancel(ids)
            _print_lines(ended, arguments)
            return 0 if all(job.state is State.CANCELLED for job in ended) else 1
        case "times":
            return await times(arguments, settings)
        case "remove":
            ids = await _ids(arguments, settings, lambda batch: batch.jobs)
            _print_lines(await Following(settings, lambda _: None).remove(ids), arguments)
            return 0
        case "wait":
            if arguments.ids or arguments.batch is not None:
                ids = await _ids(arguments, settings, lambda batch: batch.latest)
            else:
                ids = await _unfinished(settings)
            with Display(len(ids)) as display:
                return _print_all(await Following(settings, display.show).wait(ids), arguments)
        case _:
            ids = await _ids(arguments, settings, lambda batch: batch.to_retry)
            if not ids:
                return 0
            with Display(len(ids)) as display:
                return _print_all(await Following(settings, display.show).retry(ids), arguments)


def _print_all(ended: list[Job], arguments: argparse.Namespace) -> int:
    for job in ended:
        print_ended(job, as_json=arguments.json)
    return 0 if all(job.state is State.DONE for job in ended) else 1


def _print_lines(found: Iterable[Job], arguments: argparse.Namespace) -> None:
    for job in found:
        sys.stdout.write((json.dumps(job.to_json()) if arguments.json else job_line(job)) + "\n")


@asynccontextmanager
async def _store(settings: Settings) -> AsyncGenerator[JobStore, None]:
    store = JobStore(settings.data_dir / "jobs.sqlite")
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def _list(arguments: argparse.Namespace, settings: Settings) -> int:
    limit = arguments.limit if arguments.limit is None else max(arguments.limit, 0)
    if arguments.batch is not None:
        _print_lines((await _batch(arguments.batch, settings)).jobs[::-1][:limit], arguments)
        return 0
    async with _store(settings) as store:
        found = await store.newest(_LISTED if limit is None else limit)
    if arguments.json:
        _print_lines(found, arguments)
    elif not found:
        sys.stdout.write("No jobs yet.\n")
    else:
        sys.stdout.writelines(f"{_with_batch(job)}\n" for job in found)
    return 0


def _with_batch(job: Job) -> str:
    return job_line(job) + (f"  (batch {job.batch[:SHOWN]})" if job.batch else "")


async def _show(arguments: argparse.Namespace, settings: Settings) -> int:
    _check_named(arguments)
    if arguments.batch is not None:
        batch, now = await _batch(arguments.batch, settings), time.time()
        text = json.dumps(batch.to_json(now)) + "\n" if arguments.json else batch.described(now)
        sys.stdout.write(text)
        return 0
    async with _store(settings) as store:
        for job_id in arguments.ids:
            job = await store.get(job_id)
            moves = await store.timeline(job.id)
            if arguments.json:
                line: dict[str, Any] = job.to_json()
                line["timeline"] = [{"at": m.at, "state": m.state, "note": m.note} for m in moves]
                sys.stdout.write(json.dumps(line) + "\n")
            else:
                sys.stdout.write(_described(job, moves))
    return 0


async def _ids(
    arguments: argparse.Namespace, settings: Settings, of_batch: Callable[[Batch], Iterable[Job]]
) -> list[str]:
    """The ids of the jobs that are named, or of those that are meant of a batch; how many is said then."""
    _check_named(arguments)
    if arguments.batch is None:
        async with _store(settings) as store:
            return [(await store.get(job_id)).id for job_id in arguments.ids]
    batch = await _batch(arguments.batch, settings)
    ids = [job.id for job in of_batch(batch)]
    count = jobs_in_words(len(ids)) if ids else "No job"
    sys.stderr.write(f"{count} of {batch.name} to {arguments.action}.\n")
    return ids


def _check_named(arguments: argparse.Namespace) -> None:
    """Raises BadInput unless there are ids or a batch."""
    if arguments.ids and arguments.batch is not None:
        raise BadInput("Name jobs or a batch, not both.")
    if not arguments.ids and arguments.batch is None:
        raise BadInput("No job is named.", hint="Give ids of jobs, or a batch with --batch.")


async def _batch(batch_id: str, settings: Settings) -> Batch:
    async with _store(settings) as store:
        return Batch(tuple(await store.batch(batch_id)))


async def _unfinished(settings: Settings) -> list[str]:
    async with _store(settings) as store:
        return [job.id for job in await store.unfinished()]


def _described(job: Job, moves: list[Move]) -> str:
    lines = [job_line(job), f"  id         {job.id}"]
    if job.batch:
        lines.append(f"  batch      {job.batch}")
    if job.remote_id:
        lines.append(f"  endpoint   job {job.remote_id}, {job.remote_word}, worker {job.worker_id or '-'}")
    if job.execution_ms is not None:
        lines.append(f"  times      waited {job.delay_ms or 0} ms, ran {job.execution_ms} ms")
    if job.retries:
        lines.append(f"  retries    {job.retries}")
    lines += [f"  result     {output.path}" for output in job.outputs]
    for move in moves:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(move.at))
        lines.append(f"  {at}  {move.state}{'  ' + move.note if move.note else ''}")
    lines += _error_lines(job)
    return "\n".join(lines) + "\n"


def _error_lines(job: Job) -> list[str]:
    details = (job.error or {}).get("details")
    if not isinstance(details, dict):
        return []
    lines: list[str] = []
    node = details.get("node")
    if isinstance(node, dict):
        lines.append(f"  node       {node.get('id')} ({node.get('class_type')})")
    info = details.get("diagnostic_info")
    log = info.get("last_log_lines") if isinstance(info, dict) else None
    if isinstance(log, list):
        lines += ["  ComfyUI's last log lines:", *(f"    | {line}" for line in log)]
    return lines
