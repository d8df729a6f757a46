"""``comfy-runpod run``: workflows in, pictures out."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import BadInput
from ..jobs.costs import money
from ..jobs.model import Job, JobSpec
from ..jobs.money import Money
from ..jobs.states import State
from ..jobs.store import JobStore
from ..jobs.targets import is_remote
from ..preflight.intake import Intake, Taken, Wishes
from ..settings import Settings
from ..workflows.fingerprint import fingerprint
from .check import keyed, report_lines
from .display import Display, job_line
from .follow import Following
from .intake import handed_over, make_intake, target_of


async def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Queue the workflows, follow them, and print where the results are.

    Nothing is sent when one of them lacks something where it would run, unless they shall run anyway.
    """
    target = target_of(arguments.target, settings)
    output = await asyncio.to_thread(_checked, arguments, settings)
    intake = make_intake(await keyed(settings, target))
    taken = [await _take(intake, name, target, arguments) for name in arguments.workflows]
    if not arguments.anyway and any(not each.report.is_ready for each in taken):
        _tell_lacks(taken, as_json=arguments.json)
        return 1
    specs = [_spec(each, output, arguments) for each in taken for _ in range(arguments.count)]
    await _tell_estimate(specs, settings)
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
    for each in taken:
        if each.report.is_ready:
            continue
        sys.stderr.writelines(f"{line}\n" for line in report_lines(str(each.path), each.report))
        if as_json:
            sys.stdout.write(json.dumps({"file": str(each.path), **each.report.to_json()}) + "\n")
    sys.stderr.write("Nothing was sent. With --anyway it is.\n")


async def _tell_estimate(specs: list[JobSpec], settings: Settings) -> None:
    """Before a batch on RunPod what it may cost, when earlier runs tell."""
    if not is_remote(specs[0].target):
        return
    store = JobStore(settings.data_dir / "jobs.sqlite")
    await store.open()
    try:
        usd = await Money(store).estimate([(fingerprint(spec.prompt), spec.target) for spec in specs])
    finally:
        await store.close()
    if usd is not None:
        sys.stderr.write(f"About {money(usd)}, by earlier runs of the same.\n")


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
