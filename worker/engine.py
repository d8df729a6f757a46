"""ComfyUI as jobs use it: had ready, given a prompt, followed to its end, freed of it again.

In *own* mode the process may be lost at any time; in *attach* mode it belongs to somebody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import outputs, upkeep
from .comfyui import ComfyClient
from .config import Config
from .errors import ComfyLost, ComfyUnavailable, JobError
from .falls import Fall
from .monitor import Patience, ProgressSink, already_there, follow_prompt
from .refusal import left_out, partly_refused
from .supervisor import OwnComfy
from .tasks import to_the_end

log = logging.getLogger(__name__)

#: How long ComfyUI may take to confirm that a cancelled prompt has ended, in seconds.
_CANCEL_CONFIRM_S = 10.0
#: How long the watcher may take to say how ComfyUI was lost, in seconds.
_VERDICT_S = 3.0
#: How long a process may take to be gone after it broke off a connection, in seconds.
_DYING_S = 1.0
#: Failures after which ComfyUI has nothing of the prompt any more.
_NOT_IN_COMFYUI = {"validation_failed", "comfyui_error", "prompt_lost", "comfyui_died"}
#: A process that does not answer is given so many times the limit for one that does nothing either.
_BUSY_PATIENCE = 12


@dataclass(frozen=True, slots=True)
class Ran:
    """A prompt that ended. ``found``: an earlier attempt at the job had left it in ComfyUI."""

    entry: dict[str, Any]
    warnings: list[str]
    found: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """What a job wants of ComfyUI: ``timeout_s`` in seconds, and whether a part of the workflow will do."""

    extra_data: Mapping[str, Any]
    timeout_s: float
    allow_partial: bool = False


class Engine:
    """One ComfyUI, over the worker's life. Used inside one event loop; :meth:`close` ends its connections."""

    def __init__(self, config: Config, own: OwnComfy | None) -> None:
        self._config = config
        self._own = own
        self._client: ComfyClient | None = None
        #: Set while no cancelled job is being taken out of ComfyUI and its inputs away.
        self.tidy = threading.Event()
        self.tidy.set()
        #: The prompts that this process of our own ComfyUI was given by us, and the number of that process.
        self._given: set[str] = set()
        self._given_to = 0

    @property
    def client(self) -> ComfyClient | None:
        """The connection, once there was a need for one."""
        return self._client

    @property
    def stats(self) -> dict[str, Any]:
        """What ComfyUI last said of itself."""
        return self._client.stats if self._client is not None else {}

    @property
    def generation(self) -> int:
        """Another number is another process, as far as we know."""
        return self._own.generation if self._own is not None else 0

    @property
    def wants_recycling(self) -> bool:
        """Whether a new worker is a better choice than another start of ComfyUI."""
        return self._own is not None and self._own.unlucky

    def log_tail(self) -> list[str] | None:
        """The last lines of our own ComfyUI; None when it is not ours."""
        return self._own.tail() if self._own is not None else None

    async def ready(self) -> ComfyClient:
        """Have ComfyUI answer.

        Raises:
            ComfyUnavailable: when it does not in the time there is, or cannot be started.
        """
        client, own = self.connection(), self._own
        if client.connected and client.stats and await client.is_answering():
            return client
        await asyncio.to_thread(upkeep.remove_undelivered, self._config)
        if own is None:
            await client.wait_ready(self._config.answer_timeout_s)
        else:
            await client.wait_ready(self._config.start_timeout_s, lambda: _cannot_start(own.hopeless))
        await client.connect()
        return client

    def connection(self) -> ComfyClient:
        """The connection, whether ComfyUI answers or not."""
        if self._client is None:
            heard = self._own.heard if self._own is not None else lambda: None
            url = self._config.attach_url or (self._own.url if self._own else "")
            self._client = ComfyClient(url, on_sign=heard, local_key=self._config.attach_key)
        return self._client

    async def run(self, prompt_id: str, workflow: dict[str, Any], wish: Wish, report: ProgressSink) -> Ran:
        """Run a prompt to its end, whatever end that is.

        Raises:
            JobError: ``validation_failed``, ``execution_timeout``, ``prompt_lost``.
            ComfyLost: when ComfyUI was lost meanwhile, with what is known of it.
        """
        client, generation = self.connection(), self.generation
        client.follow(prompt_id)
        ended = False
        warnings: list[str] = []
        try:
            found = not self._is_new(prompt_id, generation) and await already_there(
                client, prompt_id, workflow
            )
            if not found:
                submit = client.submit(workflow, prompt_id, wish.extra_data)
                # To the end: a prompt that arrives after it was withdrawn would run for nobody.
                node_errors = await to_the_end(submit, self.tidy.clear)
                if node_errors and not wish.allow_partial:
                    await to_the_end(self._withdraw(client, prompt_id))
                    # Else a second try would find it done, and know nothing of the part that is missing.
                    await to_the_end(client.forget_history(prompt_id))
                    raise partly_refused(node_errors)
                warnings = [left_out(node_id, entry) for node_id, entry in node_errors.items()]
            entry = await follow_prompt(
                client,
                prompt_id,
                workflow,
                patience=self._patience(wish.timeout_s),
                report=report,
                still_alive=lambda: self._is_alive(generation),
                found=found,
            )
            ended = True
            return Ran(entry, warnings, found)
        except JobError as error:
            alive = await self._is_alive_after(error, generation)
            ended = error.code in _NOT_IN_COMFYUI or not alive
            if not ended:
                # Not as below: what it has made so far is handed over.
                self.tidy.clear()
                error.entry = await to_the_end(self._withdraw(client, prompt_id, keep=True))
                ended = True
            if not alive and isinstance(error, ComfyUnavailable):
                error = await self._with_verdict(error, generation)
            raise error from None
        finally:
            try:
                if not ended:
                    self.tidy.clear()
                    await to_the_end(self._withdraw(client, prompt_id))
            finally:
                client.unfollow(prompt_id)

    async def discard(self, ran: Ran) -> None:
        """Delete what a prompt wrote, where the folder is ours."""
        if self._config.owns_comfyui:
            with contextlib.suppress(JobError):
                written = outputs.collect(ran.entry, {}, self._config.output_dir).on_disk()
                await asyncio.to_thread(upkeep.remove_old, written)

    async def after(self, error: JobError | None) -> None:
        """Have the next job find a ComfyUI that works: one whose GPU is lost is started anew."""
        if self._own is None:
            return
        if error is None:
            self._own.succeeded()
        said = str(error.details) if error is not None else ""
        if self._own.is_poisoned(said):
            await asyncio.to_thread(self._own.renew_if_poisoned, said)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _is_new(self, prompt_id: str, generation: int) -> bool:
        """Whether our own ComfyUI cannot know the prompt: it has only what we gave this process of it."""
        if self._own is None:
            return False
        if generation != self._given_to:
            self._given, self._given_to = set(), generation
        new = prompt_id not in self._given
        self._given.add(prompt_id)
        return new

    def _patience(self, timeout_s: float) -> Patience:
        watch = self._config.supervision
        return Patience(timeout_s, watch.silence_s, unanswered_s=_BUSY_PATIENCE * watch.freeze_s)

    def _is_alive(self, generation: int) -> bool:
        return self._own is None or (self._own.alive and self._own.generation == generation)

    async def _is_alive_after(self, error: JobError, generation: int) -> bool:
        """A process that broke off a connection may be dying; whether it does shows in a moment."""
        if self._own is not None and isinstance(error, ComfyUnavailable):
            deadline = time.monotonic() + _DYING_S
            while self._is_alive(generation) and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
        return self._is_alive(generation)

    async def _with_verdict(self, error: ComfyUnavailable, generation: int) -> ComfyLost:
        """The same failure, with what the watcher knows of the loss."""
        lost = error if isinstance(error, ComfyLost) else ComfyLost()
        deadline = time.monotonic() + _VERDICT_S
        fall = None
        # Only a process of our own is ever lost.
        while self._own is not None and (fall := self._own.fall_of(generation)) is None:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.05)
        if fall is None:
            return lost
        told = ComfyLost(f"{fall.sentence} It was running this workflow.", hint=fall.hint, fall=fall)
        told.produced = lost.produced
        return told

    async def _withdraw(
        self, client: ComfyClient, prompt_id: str, *, keep: bool = False
    ) -> dict[str, Any] | None:
        """Take the prompt out of ComfyUI and see it ended, so that nothing of it disturbs the next job.

        The history entry of what it had made by then, with ``keep``; else that is removed where it is ours.
        """
        try:
            async with asyncio.timeout(_CANCEL_CONFIRM_S):
                await client.withdraw(prompt_id)
                entry = await client.history(prompt_id)
        except (ComfyUnavailable, TimeoutError) as error:
            log.warning("Prompt %s could not be stopped: %s", prompt_id, error)
            return None
        if keep or entry is None:
            return entry
        await self.discard(Ran(entry, [], found=False))
        return None


def _cannot_start(fall: Fall | None) -> ComfyUnavailable | None:
    if fall is None:
        return None
    return ComfyUnavailable(f"ComfyUI cannot be started. {fall.sentence}", hint=fall.hint)
