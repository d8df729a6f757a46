"""What is known of the image while its page is in use: engine, manifest, tags, endpoints. Knows no Qt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from .docker.engine import Engine
from .endpoint.account_model import Endpoint
from .errors import NeedsSetup
from .image.history import Event, What
from .image.model import Manifest
from .image_past import is_given_once, live_on, tag_of
from .imaging import Imaging, built_tags
from .settings import Settings
from .ui.image.shown import RefusedFile


@dataclass(frozen=True, slots=True)
class ImageTies:
    """What the image needs of the panel.

    Attributes:
        local_url: of this computer's ComfyUI while it runs.
        running: how many jobs run on an endpoint now, as far as that is known.
        show_page: brings the Image page in sight.
    """

    settings: Callable[[], Settings]
    local_url: Callable[[], Awaitable[str | None]]
    running: Callable[[str], int]
    show_page: Callable[[], object]


@dataclass(slots=True)
class ImageBoard:
    """Shared by those who look, who run stages, and who do what the page asks for.

    Attributes:
        engine: the Docker found last; None with why in ``problem``, or before the first look.
        manifest: None with why in ``broken``, or before the first look.
        events: what was done, the newest first.
        proposal: a tag for the next build.
        chosen: the tag that the user chose; empty: none.
        endpoint_note: why the endpoints are not known, in a sentence.
        picked: the id of the endpoint that the user chose to deploy to.
        back: the deployment that can be undone.
        refused: the files for which the last build was refused.
    """

    imaging: Imaging
    settings: Callable[[], Settings]
    engine: Engine | None = None
    problem: NeedsSetup | None = None
    manifest: Manifest | None = None
    broken: str = ""
    events: list[Event] = field(default_factory=list)
    proposal: str = ""
    chosen: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    endpoint_note: str = ""
    picked: str = ""
    back: Event | None = None
    refused: tuple[RefusedFile, ...] = ()

    @property
    def base(self) -> str:
        """Registry and image."""
        return self.imaging.name("x").rpartition(":")[0]

    @property
    def tag(self) -> str:
        """The one in hand: chosen, else built last, else proposed."""
        if self.chosen:
            return self.chosen
        last = next(iter(built_tags(self.events, self.base)), None)
        return tag_of(last.image) if last is not None else self.proposal or self.settings().docker_tag

    @property
    def image(self) -> str:
        """The whole name of the image in hand."""
        return self.imaging.name(self.tag)

    def tag_to_build(self) -> str:
        """The chosen tag; empty, when there is none or it names a build that there is: then a new one."""
        taken = {tag_of(each.image) for each in built_tags(self.events, self.base)}
        return "" if is_given_once(self.chosen) and self.chosen in taken else self.chosen

    @property
    def endpoint(self) -> str:
        """The id of the endpoint to deploy to; empty: it must be chosen."""
        ids = [each.id for each in self.endpoints]
        usual = self.settings().runpod_endpoint_id or ""
        for wanted in (self.picked, usual):
            if wanted and (wanted in ids or not ids):
                return wanted
        return ids[0] if len(ids) == 1 else ""

    @property
    def live(self) -> Event | None:
        """The deployment that the endpoint runs."""
        return live_on(self.events, self.endpoint, self.endpoints)

    def name_of(self, endpoint_id: str) -> str:
        """An endpoint as people call it."""
        found = next((each.name for each in self.endpoints if each.id == endpoint_id), "")
        return found or endpoint_id

    def was_pushed(self, image: str) -> bool:
        return any(each.what is What.PUSHED and each.image == image for each in self.events)

    async def read_events(self) -> None:
        """Read anew what was done, and what follows from it. The proposal stays when there is no manifest."""
        self.events = await asyncio.to_thread(self.imaging.history.events)
        self.back = await self.imaging.back(self.endpoint) if self.endpoint else None
        if self.manifest is not None:
            self.proposal = await self.imaging.propose_tag()
