"""Following one routed prompt: what the panel tells of it, until it has ended, wherever the panel goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from .host import Json
from .panel import NotReached, NotSent, Panel
from .playback import Playback

log = logging.getLogger(__name__)

_AGAIN_S = 0.5


class Run:
    """Owns the task that follows."""

    def __init__(self, panel: Panel, playback: Playback) -> None:
        self._panel = panel
        self._playback = playback
        self._ended = False
        self._wants_cancel = False
        self._noted = ""
        self.prompt_id = playback.prompt_id
        self.task = asyncio.create_task(self._follow(), name=f"comfy-runpod-{self.prompt_id}")

    async def cancel(self) -> None:
        """Have it cancelled; while the panel is away, as soon as it is back."""
        self._wants_cancel = True
        try:
            await self._ask_to_cancel()
        except NotReached as error:
            log.warning("Prompt %s is cancelled later: %s.", self.prompt_id, error)

    async def _ask_to_cancel(self) -> None:
        try:
            await self._panel.ask("POST", f"/v1/prompts/{self.prompt_id}/cancel")
        except NotSent as error:
            log.warning("Prompt %s cannot be cancelled: %s", self.prompt_id, error)
        self._wants_cancel = False

    async def _follow(self) -> None:
        try:
            while not self._ended:
                try:
                    async with self._panel.lines(f"/v1/prompts/{self.prompt_id}/events") as lines:
                        if self._wants_cancel:
                            await self._ask_to_cancel()
                        async for told in lines:
                            await self._take(told)
                except NotReached:
                    # It goes on at RunPod. The panel takes it up again at its next start, and so do we.
                    pass
                except NotSent as error:
                    self._fail(str(error))
                if not self._ended:
                    await asyncio.sleep(_AGAIN_S)
        except Exception as error:
            # Whatever it is: the entry must not stay for ever.
            log.exception("Prompt %s cannot be shown.", self.prompt_id)
            self._fail(f"It cannot be shown here: {error}")

    async def _take(self, told: Json) -> None:
        if self._ended:
            return
        progress, end = told.get("progress"), told.get("end")
        note = told.get("note")
        if isinstance(note, str) and note != self._noted:
            self._noted = note
            self._playback.note(note)
        if told.get("state") == "running":
            self._playback.begin()
        if isinstance(progress, dict):
            self._playback.progress(progress)
        if not isinstance(end, dict):
            return
        match end.get("state"):
            case "done":
                await self._playback.done(end.get("files") or [], end.get("texts") or [])
                self._ended = True
            case "cancelled":
                self._end(self._playback.cancelled)
            case _:
                self._end(lambda: self._playback.failed(end.get("error") or {}))

    def _fail(self, summary: str) -> None:
        self._end(lambda: self._playback.failed({"summary": summary}))

    def _end(self, show: Callable[[], None]) -> None:
        if not self._ended:
            self._ended = True
            show()
