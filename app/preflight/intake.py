"""From a file that somebody handed over to a job: converted, its inputs found, held against its place."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..jobs.model import JobSpec
from ..workflows.collect import Dropped
from ..workflows.convert import NodeCatalogue
from ..workflows.edit import set_values
from ..workflows.inputs import ComfyFolders, gathered, inputs_from
from ..workflows.read import Found, MissingNodes, Workflow
from .catalogue import Catalogue
from .judging import Here, Place, judged, packs_named
from .report import Lack, Report
from .sources import Sources


@dataclass(frozen=True, slots=True)
class Wishes:
    """What shall be other than the file says.

    Attributes:
        changes: ``NODE.INPUT=VALUE``. images: ``NAME=PATH`` and folders, as the command line has them.
    """

    changes: Sequence[str] = ()
    images: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """A workflow that can run, with what it lacks at its place.

    Attributes:
        ui: the browser's form that belongs to ``prompt``; None when that was changed.
        files: the inputs that travel with it, by the names it uses.
    """

    path: Path
    name: str
    prompt: dict[str, dict[str, Any]]
    ui: dict[str, Any] | None
    files: Mapping[str, Path]
    report: Report
    warnings: tuple[str, ...] = field(default=())

    def spec(self, output_dir: str, *, anyway: bool = False) -> JobSpec:
        """The job; on hold from its beginning when something is missing, unless it shall run ``anyway``."""
        return JobSpec(
            name=self.name,
            target=self.report.target,
            prompt=self.prompt,
            output_dir=output_dir,
            files={name: str(path.absolute()) for name, path in self.files.items()},
            ui_workflow=self.ui,
            lacks=None if anyway else self.report.hold,
            anyway=anyway and not self.report.is_ready,
            source=str(self.path.absolute()),
        )


class Intake:
    """Takes workflows in for one target after the other; what is known of a target is asked for once."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._folders: ComfyFolders | None = None

    async def converted(self, found: Found, target: str) -> Workflow:
        """The workflow in the API form, by the node types of the target, of this computer, or of ComfyUI.

        Raises:
            MissingNodes: when none of them has all its nodes; of the first, with the nodes that none has.
            NotAWorkflow: when it cannot be converted, or nothing in it would run.
        """
        if not found.is_ui_only:
            return Workflow(found.name, found.prompt or {}, found.ui)
        return await asyncio.to_thread(_converted, found, await self._sources.converting(target))

    async def take(self, dropped: Dropped, target: str, wishes: Wishes | None = None) -> Taken:
        """Convert, change, find the inputs, and judge.

        Raises:
            MissingNodes, NotAWorkflow: as :meth:`converted`.
            BadInput: for a change or an input that cannot be.
        """
        workflow = await self.converted(dropped.found, target)
        place, here = await self._sources.place(target), await self._sources.here()
        folders = await self.folders()
        return await asyncio.to_thread(_taken, dropped, workflow, wishes or Wishes(), place, here, folders)

    async def folders(self) -> ComfyFolders:
        """The folders of this computer's ComfyUI, asked for once."""
        if self._folders is None:
            self._folders = await self._sources.folders()
        return self._folders

    async def judge(self, spec: JobSpec, target: str, *, anew: bool = False) -> Report:
        """What a job of earlier lacks at a place; ``anew``: what was known of places is asked for again."""
        if anew:
            self._sources.forget()
        place, here = await self._sources.place(target), await self._sources.here()
        files = {name: Path(path) for name, path in spec.files.items()}
        return await asyncio.to_thread(judged, spec.prompt, place, here, files=files, ui=spec.ui_workflow)

    async def catalogue(self, target: str) -> NodeCatalogue | None:
        """What the nodes of a target may hold; where it is not known, what those of this computer may."""
        own, here = await self._sources.place(target), await self._sources.here()
        known = own.catalogue or here.catalogue
        return None if known is None else known.nodes

    async def lacking(self, dropped: Dropped, target: str, error: MissingNodes) -> Report:
        """What to say of a workflow that could not be converted for its nodes."""
        place, here = await self._sources.place(target), await self._sources.here()
        packs = {
            **packs_named(dropped.found.ui or {}),
            **({} if here.catalogue is None else here.catalogue.packs),
        }
        lacks = []
        for note in {note.node_type: note for note in error.notes}.values():
            pack = packs.get(note.node_type, "")
            text = f"No ComfyUI known here has the node type {note.node_type}"
            text += f" (from {pack})." if pack else "."
            lacks.append(Lack("node", text, note.node_type, note.node_id, pack=pack))
        about = "" if place.catalogue is None else place.catalogue.about
        return Report(target, about, tuple(lacks))


def _converted(found: Found, catalogues: Sequence[Catalogue]) -> Workflow:
    errors: list[MissingNodes] = []
    for catalogue in catalogues:
        try:
            return found.converted(catalogue.nodes)
        except MissingNodes as error:
            errors.append(error)
    everywhere = set.intersection(*(set(error.types) for error in errors))
    notes = tuple(note for note in errors[0].notes if note.node_type in everywhere)
    raise MissingNodes(found.file_name, notes or errors[0].notes)


def _taken(
    dropped: Dropped, workflow: Workflow, wishes: Wishes, place: Place, here: Here, folders: ComfyFolders
) -> Taken:
    prompt = set_values(workflow.prompt, wishes.changes)
    files = inputs_from(wishes.images, prompt)
    prompt, found = gathered(prompt, given=dropped.given, folders=folders, roots=dropped.roots)
    # A file that holds the workflow is its own input only when the user says so.
    files = {**{name: path for name, path in found.items() if path != dropped.path}, **files}
    warnings = tuple(note.text for note in workflow.warnings)
    report = judged(prompt, place, here, files=files, ui=workflow.ui, warnings=warnings)
    ui = None if wishes.changes else workflow.ui
    return Taken(dropped.path, workflow.name, prompt, ui, files, report, warnings)
