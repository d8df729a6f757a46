"""Sending a batch with `runpodctl send`: started, followed, judged, and ended when its task is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import BadInput, ComfyRunPodError, ProcessFailed
from ...threads import to_its_end, unbroken
from . import record
from .child import Child
from .model import Batch, OnState, Phase, SendState, Sent, Unit
from .program import environment
from .tracker import Tracker

_POLL_S = 0.1
#: After runpodctl has ended, something that it started may hold its pipes open.
_DRAIN_S = 5.0


class Sender:
    """Sends batches, one call of runpodctl for each.

    Args:
        program: the command; more than one word only in tests.
        on_state: told of each change on the loop, at most ten times a second.
        stall_s: so many seconds without progress are told as a stall. Nothing is ended for it: to start
            again, cancel the task and send the batch anew; the pod keeps what it has.
        env: the whole environment of runpodctl in place of ours without secrets.
    """

    def __init__(
        self,
        program: Path | Sequence[str],
        *,
        on_state: OnState | None = None,
        stall_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._program = [str(program)] if isinstance(program, Path) else list(program)
        self._on_state = on_state
        self._stall_s = stall_s
        self._clock = clock
        self._env = env
        self._told: SendState | None = None

    async def send(self, batch: Batch) -> Sent:
        """Send one batch; ends when runpodctl does. What was sent is then to be checked on the pod.

        Raises:
            BadInput: what was staged is gone or changed.
            ProcessFailed: runpodctl did not start, or did not send everything.
        """
        try:
            return await self._send(batch)
        except ComfyRunPodError as error:
            state = self._told or SendState(Phase.FAILED, total_bytes=batch.total_bytes)
            self._tell(
                replace(
                    state,
                    phase=Phase.FAILED,
                    batch=batch.number,
                    batches=batch.of,
                    commands=None,
                    rate=None,
                    message=error.sentence,
                )
            )
            raise
        finally:
            self._told = None

    async def _send(self, batch: Batch) -> Sent:
        sent = await asyncio.to_thread(_looked_at, batch)
        before = frozenset(unit.name for unit in batch.units if _key(unit) in sent)
        tracker = Tracker(batch, before=before, stall_s=self._stall_s, clock=self._clock)
        self._tell(tracker.state())
        try:
            await self._run(batch, tracker)
        finally:
            finished = tracker.finished
            # Only new files of a batch are a change worth a write.
            if keys := {_key(unit) for unit in batch.units if unit.name in finished} - sent:
                with contextlib.suppress(OSError):
                    await to_its_end(lambda: record.note_sent(batch.folder, sent | keys))
        if tracker.code is None or tracker.commands is None:
            raise ProcessFailed("runpodctl gave no code.", hint="Start again.")
        skipped = tuple(unit.name for unit in batch.units if unit.name not in finished)
        message = "Sent, not yet verified: the script on the pod checks every file."
        state = replace(tracker.state(), phase=Phase.SENT, done_bytes=batch.total_bytes, rate=None)
        self._tell(replace(state, message=message))
        return Sent(batch, tracker.code, tracker.commands, skipped)

    async def _run(self, batch: Batch, tracker: Tracker) -> None:
        argv = [*self._program, "send", *(unit.name for unit in batch.units)]
        env = environment() if self._env is None else self._env

        def start() -> Child:
            return Child(argv, env=env, cwd=batch.folder, on_bytes=tracker.feed)

        starting = asyncio.ensure_future(asyncio.to_thread(start))
        try:
            child = await unbroken(starting)
        except asyncio.CancelledError:
            if not starting.cancelled() and starting.exception() is None:
                await to_its_end(starting.result().stop)
            raise
        except OSError as error:
            reason = error.strerror or str(error)
            raise ProcessFailed(
                f"runpodctl cannot be started: {reason}.", hint="Install it again."
            ) from error
        try:
            await self._follow(child, tracker)
        finally:
            # Also after it has ended by itself: what it started goes with it.
            await to_its_end(child.stop)
        tracker.finish()
        tracker.judge(child.exit_code)

    async def _follow(self, child: Child, tracker: Tracker) -> None:
        exited_at: float | None = None
        while not child.ended:
            self._tell(tracker.state())
            if child.exited:
                exited_at = exited_at or time.monotonic()
                if time.monotonic() - exited_at > _DRAIN_S:
                    return
            await asyncio.sleep(_POLL_S)

    def _tell(self, state: SendState) -> None:
        if state != self._told:
            self._told = state
            if self._on_state is not None:
                self._on_state(state)


def _key(unit: Unit) -> str:
    return f"{unit.content} {unit.name}"


def _looked_at(batch: Batch) -> frozenset[str]:
    """The contents that were sent before; raises BadInput when something staged is not as it was."""
    for unit in batch.units:
        path = batch.folder / unit.name
        try:
            right = path.is_file() and not path.is_symlink() and path.stat().st_size == unit.size
        except OSError:
            right = False
        if not right:
            name = unit.entries[0].path if len(unit.entries) == 1 else unit.name
            raise BadInput(
                f"{name} is not as it was staged.", hint="Stage the files again.", folder=os.fspath(path)
            )
    return record.sent_from(batch.folder)
