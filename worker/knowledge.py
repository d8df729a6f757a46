"""What is known of the ComfyUI at hand, over the worker's life: node types, models, what a workflow lacks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from .catalogue import Catalogue
from .comfyui import ComfyClient
from .config import Config
from .errors import ComfyUnavailable, JobError
from .models import Models, models_used
from .preflight import Preflight
from .problems import refusal_of
from .refusal import ALLOW_PARTIAL

log = logging.getLogger(__name__)

#: How long a job waits for the list of node types, in seconds: ComfyUI judges by itself, too.
_PATIENCE_S = 1.0


class Knowledge:
    """Asked for once per process of ComfyUI, and looked at by each job."""

    def __init__(self, config: Config) -> None:
        self.catalogue = Catalogue(config.volume)
        self.models = Models(config.log_models)
        self.preflight = Preflight(self.catalogue, self.models, config)
        self._generation = 0

    def meets(self, client: ComfyClient, generation: int) -> None:
        """A ComfyUI that answers; one of another number is another process, of which nothing is known."""
        if generation != self._generation:
            self._generation = generation
            self.catalogue.forget()
            self.models.forget()
        self.catalogue.prefetch(client)

    async def check(self, client: ComfyClient, workflow: Mapping[str, Any], *, allow_partial: bool) -> None:
        """Refuse what ComfyUI would refuse, with everything that is wrong at once.

        Before it is sent: a link to a node that is not there ends the thread that runs all prompts.

        Raises:
            JobError: ``validation_failed``.
        """
        verdict = await self.preflight.verdict(client, workflow, patience_s=_PATIENCE_S)
        if verdict is not None and (verdict.refused or (verdict.partial and not allow_partial)):
            refusal = refusal_of(verdict.problems)
            if not verdict.refused:
                refusal.hint += ALLOW_PARTIAL
            raise refusal

    async def explained(self, client: ComfyClient, workflow: Mapping[str, Any], error: JobError) -> JobError:
        """ComfyUI's own refusal, with what else is wrong."""
        if error.code != "validation_failed":
            return error
        return await self.preflight.explained(client, workflow, error)

    async def told(self, client: ComfyClient, workflow: Mapping[str, Any]) -> dict[str, Any]:
        """Log the models there are; what the provenance says of them and of the node types."""
        try:
            listing = await self.models.current(client)
        except ComfyUnavailable as error:
            log.warning("The models are not known: %s", error.summary)
            return {"object_info_sha256": self.catalogue.sha256}
        used = models_used(workflow, self.catalogue.known, listing)
        self.models.note(listing, used)
        models = [model.to_json() for model in used]
        return {"object_info_sha256": self.catalogue.sha256, "models": models}

    async def close(self) -> None:
        await self.catalogue.close()
