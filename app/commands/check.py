"""``comfy-runpod check`` and ``convert``: what would run, and what it lacks where it would run."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from ..errors import BadInput, ComfyRunPodError
from ..jobs.targets import is_remote
from ..preflight.intake import Intake, Wishes
from ..preflight.report import Report
from ..services import ask_worker
from ..settings import Settings
from ..vault import S3_ACCESS_KEY, S3_SECRET_KEY, with_keys
from ..workflows.read import MissingNodes
from .intake import handed_over, make_intake, target_of


async def check(arguments: argparse.Namespace, settings: Settings) -> int:
    """Hold each file against the target; 0 when nothing is known to be missing for any, else 1."""
    target = target_of(arguments.target, settings)
    intake = make_intake(await keyed(settings, target))
    ask = settings if arguments.ask_worker else None
    if ask is not None and is_remote(target):
        sys.stderr.write(f"A worker of {target} is asked, which is billed.\n")
    ready = True
    for name in arguments.workflows:
        try:
            report = await _report(intake, name, target, Wishes(arguments.set, arguments.image), ask)
        except ComfyRunPodError as error:
            ready = False
            _say_refused(name, error, as_json=arguments.json)
            continue
        ready = ready and report.is_ready
        if arguments.json:
            sys.stdout.write(json.dumps({"file": name, **report.to_json()}) + "\n")
        else:
            sys.stdout.write("\n".join(report_lines(name, report)) + "\n")
    return 0 if ready else 1


async def convert(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write the API form of a workflow, as the browser would post it."""
    target = arguments.target or settings.runpod_endpoint_id or "local"
    intake = make_intake(await keyed(settings, target_of(target, settings)))
    dropped = await asyncio.to_thread(handed_over, arguments.workflow)
    workflow = await intake.converted(dropped.found, target)
    sys.stderr.writelines(f"{arguments.workflow}: {note.text}\n" for note in workflow.warnings)
    text = json.dumps(workflow.prompt, indent=2, ensure_ascii=False) + "\n"
    if arguments.output is None:
        sys.stdout.write(text)
        return 0
    try:
        await asyncio.to_thread(Path(arguments.output).write_text, text, "utf-8")
    except OSError as error:
        raise BadInput(f"{arguments.output} cannot be written: {error.strerror}.") from error
    return 0


async def keyed(settings: Settings, target: str) -> Settings:
    """With the volume's keys from the keyring, when it can be asked for the models it has."""
    if not is_remote(target) or not settings.runpod_volume_id or settings.runpod_s3_access_key:
        return settings
    return await asyncio.to_thread(with_keys, settings, S3_ACCESS_KEY, S3_SECRET_KEY)


def report_lines(name: str, report: Report) -> list[str]:
    """A report for people: the verdict, then one line for each thing that is missing."""
    about = f", by {report.about}" if report.about else ""
    verdict = "ready" if report.is_ready else report.headline
    lines = [f"{name}: {verdict} ({report.target}{about})"]
    for lack in report.lacks:
        where = f"node {lack.node_id}{f' {lack.input}' if lack.input else ''}: " if lack.node_id else ""
        near = f" Closest: {', '.join(lack.closest)}." if lack.closest else ""
        lines.append(f"  {'' if lack.certain else 'perhaps: '}{where}{lack.text}{near}")
    lines += [f"  note: {text}" for text in report.warnings]
    if report.unchecked:
        lines.append(f"  not checked: {', '.join(report.unchecked)}")
    return lines


async def _report(intake: Intake, name: str, target: str, wishes: Wishes, ask: Settings | None) -> Report:
    """``ask``: have a worker say it, with these settings."""
    dropped = await asyncio.to_thread(handed_over, name)
    try:
        taken = await intake.take(dropped, target, wishes)
        return taken.report if ask is None else await ask_worker(ask, target, taken.prompt, taken.files)
    except MissingNodes as error:
        return await intake.lacking(dropped, target, error)


def _say_refused(name: str, error: ComfyRunPodError, *, as_json: bool) -> None:
    problem = error.problem
    if as_json:
        said: dict[str, Any] = {"error": problem.summary, "hint": problem.hint, "code": problem.code}
        sys.stdout.write(json.dumps({"file": name, "ready": False, **said}) + "\n")
    else:
        named = "" if Path(name).name in error.sentence else f"{name}: "
        sys.stderr.write(f"{named}{error.sentence}\n")
