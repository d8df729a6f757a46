"""The many jobs of one ``run``: each workflow with every combination of what shall vary."""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

from worker.examine import MODEL_SUFFIXES

from ..errors import BadInput
from ..preflight.intake import Intake, Taken
from ..preflight.report import Report
from ..workflows import NodeCatalogue, Workflow, inputs_from, set_values
from ..workflows.collect import Dropped
from ..workflows.inputs import ComfyFolders, gathered, referenced
from ..workflows.tuning import Scalar, known
from ..workflows.variations import Axis, Variation, axis, pictures, prompt_lines, seeds, variations
from .intake import handed_over

#: Jobs of one call.
MOST_JOBS = 1_000


@dataclass(frozen=True, slots=True)
class _Read:
    """A workflow with the user's changes in it, and what of it shall vary."""

    dropped: Dropped
    workflow: Workflow
    axes: tuple[Axis, ...]


def is_varied(arguments: argparse.Namespace) -> bool:
    """Whether anything shall vary."""
    wanted = (arguments.seeds, arguments.prompts, arguments.pictures)
    return bool(arguments.vary) or any(value is not None for value in wanted)


def check_count(count: int) -> None:
    """Raises BadInput when one call would make so many jobs."""
    if count > MOST_JOBS:
        raise BadInput(f"That makes {count} jobs; the most is {MOST_JOBS}.")


async def varied(
    intake: Intake, target: str, arguments: argparse.Namespace, folders: ComfyFolders
) -> list[Taken]:
    """Each workflow with every combination; the pictures change last, then prompts and values, seeds first.

    Those are held against the target that have a value for the first time: together they have them all.

    Args:
        folders: this computer's ComfyUI's, where inputs are looked for.

    Raises:
        BadInput: for what cannot vary like that, and for too many jobs.
        MissingNodes, NotAWorkflow: as :meth:`Intake.converted`.
    """
    read = [await _read(intake, name, target, arguments) for name in arguments.workflows]
    check_count(sum(math.prod(len(each.values) for each in one.axes) for one in read) * arguments.count)
    found: list[Taken] = []
    for one in read:
        made = await asyncio.to_thread(_made, one, target, arguments.image, folders)
        for number in first_seen([len(each.values) for each in one.axes]):
            # With the browser's form of the original: it tells where custom nodes come from.
            spec = replace(made[number].spec(""), ui_workflow=one.workflow.ui)
            report = replace(await intake.judge(spec, target), warnings=made[number].warnings)
            made[number] = replace(made[number], report=report)
        found += made
    return found


def first_seen(counts: Sequence[int]) -> Iterator[int]:
    """The places, from 0, of the combinations that have some value for the first time.

    Args:
        counts: how many values each axis has; the first one changes last.
    """
    seen: set[tuple[int, int]] = set()
    for number, values in enumerate(product(*map(range, counts))):
        new = set(enumerate(values)) - seen
        if new or number == 0:
            yield number
        seen |= new


async def _read(intake: Intake, name: str, target: str, arguments: argparse.Namespace) -> _Read:
    dropped = await asyncio.to_thread(handed_over, name)
    workflow = await intake.converted(dropped.found, target)
    # Who sends it anyway is not kept from it by a list that may be old.
    catalogue = None if arguments.anyway else await intake.catalogue(target)
    try:
        changed = replace(workflow, prompt=set_values(workflow.prompt, arguments.set))
        axes = await asyncio.to_thread(_axes, changed, arguments, catalogue)
    except BadInput as error:
        if len(arguments.workflows) == 1:
            raise
        raise BadInput(f"{name}: {error.summary}", hint=error.hint) from error
    ui = None if arguments.set else workflow.ui
    return _Read(dropped, replace(changed, ui=ui), axes)


def _axes(
    workflow: Workflow, arguments: argparse.Namespace, catalogue: NodeCatalogue | None
) -> tuple[Axis, ...]:
    """In the order in which they change, the slowest first. Blocks: reads what the user named."""
    prompt, found = workflow.prompt, []
    if arguments.pictures is not None:
        where, folder = _folder_of(arguments.pictures)
        found.append(pictures(prompt, folder, where=where, catalogue=catalogue))
    if arguments.prompts is not None:
        found.append(prompt_lines(prompt, Path(arguments.prompts)))
    for text in arguments.vary:
        found.append(_axis(prompt, text, catalogue))
    if arguments.seeds is not None:
        found.append(seeds(prompt, arguments.seeds))
    return tuple(found)


def _axis(prompt: Mapping[str, Any], text: str, catalogue: NodeCatalogue | None) -> Axis:
    """An axis with its values looked up. Models are left to the judge, who knows how old their list is."""
    try:
        return axis(prompt, text, catalogue)
    except BadInput as error:
        if catalogue is None:
            raise
        unchecked = axis(prompt, text)
        held = known(prompt, unchecked.places[0], catalogue)
        if held is not None and held.kind == "choice" and _are_models(held.choices or ()):
            return unchecked
        raise BadInput(error.summary, hint=error.hint or "With --anyway it is sent.") from error


def _are_models(choices: Sequence[Scalar]) -> bool:
    names = (PurePosixPath(choice) for choice in choices if isinstance(choice, str))
    return not choices or any(name.suffix.lower() in MODEL_SUFFIXES for name in names)


def _folder_of(given: str) -> tuple[str | None, Path]:
    """``NODE.INPUT`` and the folder, of ``[NODE.INPUT=]DIR``."""
    where, equals, folder = given.partition("=")
    if not equals or Path(given).is_dir():
        return None, Path(given)
    return where, Path(folder)


def _made(read: _Read, target: str, images: Sequence[str], folders: ComfyFolders) -> list[Taken]:
    """All combinations, not judged yet. Blocks: looks for their input files."""
    prompt = read.workflow.prompt
    texts = {value for each in read.axes for value in each.values if isinstance(value, str)}
    named = referenced(prompt) | texts
    # A file that any of them names can be given; with each go those that it names itself.
    given = inputs_from(images, {"": {"inputs": {text: text for text in named}}})
    taken = []
    for variation in variations(prompt, read.axes, most=MOST_JOBS):
        own = referenced(variation.prompt)
        files = {name: path for name, path in given.items() if name in own or name not in named}
        taken.append(_taken(read, variation, target, files, folders))
    return taken


def _taken(
    read: _Read, variation: Variation, target: str, given: dict[str, Path], folders: ComfyFolders
) -> Taken:
    dropped, workflow = read.dropped, read.workflow
    prompt, found = gathered(variation.prompt, given=dropped.given, folders=folders, roots=dropped.roots)
    # A file that holds the workflow is its own input only when the user says so.
    found = {name: path for name, path in found.items() if path != dropped.path}
    warnings = tuple(note.text for note in workflow.warnings)
    return Taken(
        dropped.path,
        f"{workflow.name} · {variation.label}" if variation.label else workflow.name,
        prompt,
        workflow.ui if prompt == workflow.prompt else None,
        {**found, **given, **variation.files},
        Report(target, warnings=warnings),
        warnings,
    )
