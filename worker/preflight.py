"""Workflows examined with what the ComfyUI at hand says of itself, before it gets them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from .catalogue import Catalogue
from .comfyui import ComfyClient
from .config import Config
from .errors import ComfyUnavailable, JobError
from .examine import Verdict, examined
from .models import Models
from .object_info import ObjectInfo
from .places import Folders, annotated
from .problems import refusal_of

_MAY_HAVE_CHANGED = {"unknown_node", "missing_model", "missing_input_file", "bad_option"}


class Preflight:
    """Looks at workflows with what the ComfyUI at hand says of itself, asked anew before it refuses one."""

    def __init__(self, catalogue: Catalogue, models: Models, config: Config) -> None:
        self._catalogue = catalogue
        self._models = models
        self._folders = Folders(config.input_dir, config.output_dir, config.previews_dir)

    async def verdict(
        self,
        client: ComfyClient,
        workflow: Mapping[str, Any],
        patience_s: float | None = None,
        *,
        brought: Iterable[str] = (),
    ) -> Verdict | None:
        """None when ComfyUI does not tell its types within ``patience_s``: then it judges alone.

        ``brought`` are the names of input files that will be there.
        """
        there = frozenset(each for name in brought for each in (name, f"{name} [input]"))
        folders = replace(self._folders, there=there)
        try:
            info = await self._catalogue.current(client, patience_s)
            verdict = await self._examined(workflow, info, folders)
            if verdict.refused or verdict.partial:
                verdict = await self._confirmed(client, workflow, verdict, folders)
        except (TimeoutError, ComfyUnavailable):
            return None
        return verdict

    async def explained(
        self, client: ComfyClient, workflow: Mapping[str, Any], refused: JobError
    ) -> JobError:
        """ComfyUI's own refusal with everything that can be found wrong; unchanged when nothing is."""
        try:
            info = await self._catalogue.current(client)
            verdict = await self._examined(workflow, info, self._folders)
            verdict = await self._confirmed(client, workflow, verdict, self._folders)
        except ComfyUnavailable:
            return refused
        if not verdict.problems:
            return refused
        return refusal_of(verdict.problems, node_errors=refused.node_errors)

    async def _confirmed(
        self, client: ComfyClient, workflow: Mapping[str, Any], verdict: Verdict, folders: Folders
    ) -> Verdict:
        """The verdict after a new look: models, files and types may have come since ComfyUI was asked."""
        types = [problem.class_type for problem in verdict.problems if problem.kind in _MAY_HAVE_CHANGED]
        if not types:
            return verdict
        info = await self._catalogue.refreshed(client, filter(None, types))
        verdict = await self._examined(workflow, info, folders)
        lacking = {p.wanted: p.folder for p in verdict.problems if p.kind == "missing_input_file"}
        asked = [client.lacks_file(annotated(value)[0], folder) for value, folder in lacking.items()]
        answers = await asyncio.gather(*asked)
        there = frozenset(value for value, lacks in zip(lacking, answers, strict=True) if not lacks)
        if there:  # its folder is another one than we take it for
            verdict = await self._examined(workflow, info, replace(folders, there=there | folders.there))
        return verdict

    async def _examined(self, workflow: Mapping[str, Any], info: ObjectInfo, folders: Folders) -> Verdict:
        return await asyncio.to_thread(examined, workflow, info, folders, self._models.names)
