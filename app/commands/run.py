"""``comfy-runpod run``: workflows in, pictures out."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from ..errors import BadInput
from ..jobs.costs import money
from ..jobs.model import Job, JobSpec
from ..jobs.money import Money
from ..jobs.states import State
from ..jobs.store import JobStore
from ..jobs.targets import is_remote
from ..preflight.intake import Intake, Taken, Wishes
from ..preflight.report import Report
from ..settings import Settings
from ..workflows.fingerprint import fingerprint
from .batch import SHOWN
from .batch import jobs as jobs_in_words
from .check import keyed, report_lines
from .display import Display, job_line
from .follow import Following
from .intake import handed_over, make_intake, target_of
from .varied import check_count, is_varied, varied

#: More jobs than these are sent to RunPod only with the user's word.
_MOST_UNASKED = 20
#: What the jobs of one workflow lack is said for so many that do not lack the same.
_MOST_LACKS = 10


async def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Queue the workflows, follow them, and print where the results are.

    Nothing is sent when one of them lacks something where it would run, unless they shall run anyway; and of
    many jobs for RunPod nothing without the user's word.
    """
    target = target_of(arguments.target, settings)
    output = await asyncio.to_thread(_checked, arguments, settings)
    intake = make_intake(await keyed(settings, target))
    if is_varied(arguments):
        taken = await varied(intake, target, arguments, await intake.folders())
    else:
        taken = [await _take(intake, name, target, arguments) for name in arguments.workflows]
    if not arguments.anyway and any(not each.report.is_ready for each in taken):
        _tell_lacks(taken, as_json=arguments.json)
        return 1
    notes = dict.fromkeys((each.path, text) for each in taken for text in each.warnings)
    sys.stderr.writelines(f"{path}: {text}\n" for path, text in notes)
    specs = [_spec(each, output, arguments) for each in taken for _ in range(arguments.count)]
    if len(specs) > 1 or is_varied(arguments):
        batch = uuid.uuid4().hex
        specs = [replace(spec, batch=batch) for spec in specs]
    await _tell_beforehand(specs, settings)
    if not _may_send(specs, arguments):
        sys.stderr.write("Nothing was sent.\n")
        return 1
    with Display(len(specs)) as display:
        jobs = await Following(settings, display.show).run(specs)
    for job in jobs:
        print_ended(job, as_json=arguments.json)
    return 0 if all(job.state is State.DONE for job in jobs) else 1


async def _take(intake: Intake, name: str, target: str, arguments: argparse.Namespace) -> Taken:
    dropped = await asyncio.to_thread(handed_over, name)
    return await intake.take(dropped, target, Wishes(arguments.set, arguments.image))


def _tell_lacks(taken: Sequence[Taken], *, as_json: bool) -> None:
    """Why nothing is sent, on stderr; as JSON on stdout."""
    lacking: dict[Path, dict[Report, None]] = {}
    for each in taken:
        if not each.report.is_ready:
            lacking.setdefault(each.path, {})[each.report] = None
    for path, reports in lacking.items():
        for report in islice(reports, _MOST_LACKS):
            sys.stderr.writelines(f"{line}\n" for line in report_lines(str(path), report))
        if len(reports) > _MOST_LACKS:
            sys.stderr.write(f"{path}: {len(reports) - _MOST_LACKS} more jobs lack something else.\n")
        if as_json:
            for report in reports:
                sys.stdout.write(json.dumps({"file": str(path), **report.to_json()}) + "\n")
    sys.stderr.write("Nothing was sent. With --anyway it is.\n")


async def _tell_beforehand(specs: Sequence[JobSpec], settings: Settings) -> None:
    """How many jobs there are when they are a batch, and on RunPod what they may cost."""
    first, told = specs[0], []
    if first.batch:
        told.append(f"{jobs_in_words(len(specs))} in batch {first.batch[:SHOWN]} on {first.target}.")
    if is_remote(first.target):
        usd = await _estimate(specs, settings)
        if usd is not None:
            together = " together" if len(specs) > 1 else ""
            told.append(f"About {money(usd)}{together}, by earlier runs of the same.")
        elif first.batch:
            told.append(
                "What they cost is not known yet." if len(specs) > 1 else "What it costs is not known yet."
            )
    if told:
        sys.stderr.write(" ".join(told) + "\n")


async def _estimate(specs: Sequence[JobSpec], settings: Settings) -> float | None:
    """In USD; None when earlier runs do not tell."""
    store = JobStore(settings.data_dir / "jobs.sqlite")
    await store.open()
    try:
        return await Money(store).estimate([(fingerprint(spec.prompt), spec.target) for spec in specs])
    finally:
        await store.close()


def _may_send(specs: Sequence[JobSpec], arguments: argparse.Namespace) -> bool:
    """The user's word, asked for at a terminal.

    Raises:
        BadInput: when there is nobody to ask.
    """
    if len(specs) <= _MOST_UNASKED or not is_remote(specs[0].target) or arguments.yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise BadInput(
            f"More than {_MOST_UNASKED} jobs are sent to RunPod only with your word. Nothing was sent.",
            hint="Say --yes to send them.",
        )
    # The event loop's own handler would let Ctrl+C wait for the answer.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.stderr.write("Go on? [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().casefold() in ("y", "yes")
    finally:
        signal.signal(signal.SIGINT, before)


def print_ended(job: Job, *, as_json: bool) -> None:
    """An ended job: its files on stdout, what went wrong on stderr."""
    if as_json:
        sys.stdout.write(json.dumps(job.to_json()) + "\n")
        return
    sys.stdout.writelines(f"{output.path}\n" for output in job.outputs if job.state is State.DONE)
    sys.stdout.writelines(f"{text}\n" for text in job.texts)
    sys.stderr.writelines(f"{job.name}: {warning}\n" for warning in job.warnings)
    if job.state is not State.DONE:
        sys.stderr.write(job_line(job) + "\n")


def _checked(arguments: argparse.Namespace, settings: Settings) -> Path:
    """The folder for results. Raises BadInput for options that cannot be."""
    if arguments.count < 1:
        raise BadInput("--count must be at least 1.")
    check_count(arguments.count * len(arguments.workflows))
    if arguments.timeout is not None and not 0 < arguments.timeout <= 7 * 86_400:
        raise BadInput("--timeout must be above 0 and at most 7 days, in seconds.")
    if arguments.ttl is not None and not 10 <= arguments.ttl <= 7 * 86_400:
        raise BadInput("--ttl must be from 10 s to 7 days, in seconds.")
    output = Path(arguments.output or settings.output_dir).absolute()
    _check_writable(output)
    return output


def _spec(taken: Taken, output: Path, arguments: argparse.Namespace) -> JobSpec:
    spec = taken.spec(str(output), anyway=True)
    return replace(spec, timeout_s=arguments.timeout, ttl_s=arguments.ttl)


def _check_writable(folder: Path) -> None:
    """Said before anything is run and paid for; the folder itself is made with the first result."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise BadInput(f"Results cannot be written to {folder}.", hint="Choose another folder with --output.")
