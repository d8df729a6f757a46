"""``comfy-runpod run``: workflows in, pictures out."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from ..errors import BadInput
from ..jobs.costs import money
from ..jobs.model import Job, JobSpec, new_job_id
from ..jobs.money import Money
from ..jobs.states import State
from ..jobs.store import JobStore
from ..jobs.targets import is_remote
from ..services import make_target
from ..settings import Settings
from ..workflows import inputs_from, read_workflow, set_values
from ..workflows.fingerprint import fingerprint
from .display import Display, job_line
from .follow import Following


async def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Queue the workflows, follow them, and print where the results are."""
    specs = await asyncio.to_thread(_specs, arguments, settings)
    await _tell_estimate(specs, settings)
    with Display(len(specs)) as display:
        jobs = await Following(settings, display.show).run(specs)
    for job in jobs:
        print_ended(job, as_json=arguments.json)
    return 0 if all(job.state is State.DONE for job in jobs) else 1


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


def _specs(arguments: argparse.Namespace, settings: Settings) -> list[JobSpec]:
    target = arguments.target or settings.runpod_endpoint_id
    if not target:
        raise BadInput(
            "No target is given.", hint="Use --target demo, --target local, or a RunPod endpoint's id."
        )
    make_target(target, settings)
    if arguments.count < 1:
        raise BadInput("--count must be at least 1.")
    if arguments.timeout is not None and not 0 < arguments.timeout <= 7 * 86_400:
        raise BadInput("--timeout must be above 0 and at most 7 days, in seconds.")
    if arguments.ttl is not None and not 10 <= arguments.ttl <= 7 * 86_400:
        raise BadInput("--ttl must be from 10 s to 7 days, in seconds.")
    output = Path(arguments.output or settings.output_dir).absolute()
    _check_writable(output)
    specs: list[JobSpec] = []
    for name in arguments.workflows:
        workflow = read_workflow(Path(name))
        prompt = set_values(workflow.prompt, arguments.set)
        files = inputs_from(arguments.image, prompt)
        spec = JobSpec(
            name=workflow.name,
            target=target,
            prompt=prompt,
            output_dir=str(output),
            files={key: str(path.absolute()) for key, path in files.items()},
            ui_workflow=workflow.ui if not arguments.set else None,
            timeout_s=arguments.timeout,
            ttl_s=arguments.ttl,
        )
        specs.extend(replace(spec, id=new_job_id()) for _ in range(arguments.count))
    return specs


def _check_writable(folder: Path) -> None:
    """Said before anything is run and paid for; the folder itself is made with the first result."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise BadInput(f"Results cannot be written to {folder}.", hint="Choose another folder with --output.")
