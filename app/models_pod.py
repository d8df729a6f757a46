"""Sending models to a running pod with runpodctl, in the window."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from .errors import ComfyRunPodError, NeedsSetup
from .settings import Settings
from .sync.runpodctl.model import Batch, Phase, SendState
from .sync.runpodctl.program import find_runpodctl
from .sync.runpodctl.record import clean_up
from .sync.runpodctl.sending import Sender
from .sync.runpodctl.staging import stage
from .sync.scan import Rules
from .syncing import Syncing, models_folder, staging_folder
from .ui.models.page import ModelsPage
from .ui.models.shown import SendShown
from .ui.tasks import TaskScope

_TITLES: Final = {
    Phase.STAGING: "Getting ready",
    Phase.HASHING: "Computing checksums",
    Phase.WAITING: "Waiting for the pod",
    Phase.SENDING: "Sending to the pod",
    Phase.SENT: "Sent, not yet verified",
    Phase.FAILED: "The transfer stopped",
    Phase.STALLED: "Nothing moves any more",
}


class PodSending:
    """One sending at a time."""

    def __init__(
        self,
        page: ModelsPage,
        scope: TaskScope,
        syncing: Syncing,
        settings: Callable[[], Settings],
    ) -> None:
        self._page, self._scope = page, scope
        self._syncing, self._settings = syncing, settings
        self._sending: asyncio.Task[None] | None = None
        self._only: frozenset[str] | None = None
        page.send_cancel_wanted.connect(self.cancel)
        page.send_restart_wanted.connect(self._restart)

    def begin(self, only: frozenset[str] | None) -> None:
        """Send these paths of the models folder; None: all."""
        if self._sending is None:
            self._only = only
            self._sending = self._scope.start(self._send(), "sync-pod")

    def cancel(self) -> None:
        """End it; what was staged goes too, unless the pod can go on with it."""
        if self._sending is not None:
            self._sending.cancel()
        self._page.show_send(None)

    def _restart(self) -> None:
        self._scope.start(self._again(), "sync-pod-again")

    async def _again(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)
        self._sending = None
        self.begin(self._only)

    async def _send(self) -> None:
        try:
            folder = models_folder(self._settings())
            if folder is None:
                raise NeedsSetup("No models folder is set.", hint="Choose the folder with your models.")
            program = await asyncio.to_thread(find_runpodctl, self._settings().data_dir)
            items = await self._syncing.items(folder, Rules(), self._only)
            staged = staging_folder(folder)
            batches: list[Batch] = await stage(items, staged, on_state=self._show)
            sender = Sender(program, on_state=self._show)
            for batch in batches:
                await sender.send(batch)
            await asyncio.to_thread(clean_up, staged)
        except ComfyRunPodError as error:
            self._page.show_send(SendShown(_TITLES[Phase.FAILED], problem=error.sentence, can_restart=True))
        finally:
            self._sending = None

    def _show(self, state: SendState) -> None:
        failed = state.phase is Phase.FAILED
        commands = state.commands
        note = " ".join(filter(None, (commands.note if commands else "", state.message)))
        self._page.show_send(
            SendShown(
                _TITLES[state.phase],
                state.code or "",
                commands.receive if commands else "",
                commands.extract if commands else "",
                state.done_bytes,
                state.total_bytes,
                state.rate,
                "" if failed else note,
                f"{state.batch} of {state.batches}" if state.batches > 1 else "",
                state.message if failed else "",
                can_restart=state.phase in (Phase.FAILED, Phase.STALLED),
                is_over=state.phase is Phase.SENT and state.batch == state.batches,
            )
        )  # fmt: skip
