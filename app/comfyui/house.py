"""The one owner of this computer's ComfyUI: what its state is, and having it run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..errors import NeedsSetup, ProcessFailed, Unreachable
from .installation import Installation
from .ports import PortTaken
from .status import ComfyState, ComfyStatus, system_stats, with_stats
from .supervisor import NotStarted, StoppedMeanwhile, Supervisor
from .surroundings import Surroundings

__all__ = ["ComfyState", "ComfyStatus", "House"]

Watcher = Callable[[ComfyStatus], None]


class House:
    """Starts, adopts, watches and stops ComfyUI. All methods belong to one loop.

    Args:
        url: one that the user runs; it is neither started nor stopped.
        installation: gives the one to run, or raises NeedsSetup; it may block. Ignored when ``url`` is given.
        state_dir: where process id, port and log are kept.
        around: what ComfyUI is started with beside its own.
        before: the house of earlier settings. Its ComfyUI is stopped unless a target still uses it.

    Attributes:
        in_use: a target has given its address to a worker.
    """

    def __init__(
        self,
        url: str | None,
        installation: Callable[[], Installation] | None,
        state_dir: Path,
        *,
        around: Surroundings | None = None,
        before: House | None = None,
    ) -> None:
        self._url = url
        self._installation = installation
        self._state_dir = state_dir
        self._around = around
        self._before = before
        self._supervisor: Supervisor | None = None
        self._watchers: list[Watcher] = []
        self._ensuring = asyncio.Lock()
        self._stopping = 0
        #: We have seen it run, or may have started it.
        self._seen = self._begun = False
        self.in_use = False
        known = url is not None or installation is not None
        self.status = ComfyStatus(ComfyState.STOPPED if known else ComfyState.NOT_SET_UP, url)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call ``watcher`` with each new status, on the loop; returns what ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    async def ensure(self) -> str:
        """Have ComfyUI running; its URL. One at an address of the user's is only asked.

        Raises:
            NeedsSetup: when none is known.
            ProcessFailed: when it does not start, as soon as its process ends.
            Unreachable: when the user's own does not answer.
        """
        if self._url is not None:
            if (await self.look()).state is not ComfyState.RUNNING:
                raise Unreachable(
                    f"ComfyUI at {self._url} is not answering.", hint="Start ComfyUI, or correct COMFYUI_URL."
                )
            return self._url
        async with self._ensuring:
            await self._leave_former()
            supervisor = await self._known()
            url = await supervisor.find()
            if self.status.state is not ComfyState.RUNNING or url is None:
                if url is None:
                    await self._tell_if_crashed(supervisor)
                self._tell(ComfyStatus(ComfyState.STARTING, url))
            self._begun = True
            return await self._started(supervisor)

    async def stop(self) -> None:
        """End ComfyUI, also while it starts. The user's own is left alone."""
        if self._url is not None or (supervisor := self._supervisor) is None:
            return
        self._stopping += 1
        try:
            await supervisor.find()
            await supervisor.stop()
        finally:
            self._stopping -= 1
        self._seen = self._begun = False
        self._tell(ComfyStatus(ComfyState.STOPPED))

    async def look(self) -> ComfyStatus:
        """See how ComfyUI is, within 2 s or so; starts nothing. One that an earlier run left is found."""
        if self._url is not None:
            stats = await system_stats(self._url)
            state = ComfyState.STOPPED if stats is None else ComfyState.RUNNING
            self._tell(with_stats(ComfyStatus(state, self._url), stats))
        elif self._installation is not None and not self._ensuring.locked() and not self._stopping:
            await self._leave_former()
            try:
                await self._look_at(await self._known())
            except NeedsSetup as error:
                self._tell(ComfyStatus(ComfyState.NOT_SET_UP, detail=error.summary))
        return self.status

    def tail(self) -> list[str]:
        """The last lines of its log, empty for the user's own. Blocks."""
        return self._supervisor.tail() if self._supervisor is not None else []

    async def leave_running(self) -> None:
        """Have it stay when we end."""
        if self._supervisor is not None:
            await asyncio.to_thread(self._supervisor.leave)

    async def end(self) -> None:
        """Stop it, unless it was started to stay."""
        supervisor = self._supervisor
        if supervisor is None or not await asyncio.to_thread(lambda: supervisor.stays):
            await self.stop()

    async def close(self) -> None:
        """End what was started or adopted here and is used by no target."""
        await self._leave_former()
        if (self._seen or self._begun) and not self.in_use:
            await self.end()

    async def _started(self, supervisor: Supervisor) -> str:
        try:
            url = await supervisor.ensure()
        except StoppedMeanwhile:
            raise
        except ProcessFailed as error:
            crash = error.crash if isinstance(error, NotStarted | PortTaken) else None
            self._tell(ComfyStatus(ComfyState.CRASHED, detail=error.summary, crash=crash))
            raise
        self._seen = True
        if self.status.state is not ComfyState.RUNNING or self.status.since != supervisor.born:
            stats = await system_stats(url)
            self._tell(with_stats(ComfyStatus(ComfyState.RUNNING, url, supervisor.born), stats))
        return url

    async def _look_at(self, supervisor: Supervisor) -> None:
        url = await supervisor.find()
        if url is None:
            await self._tell_if_crashed(supervisor)
            return
        self._seen = True
        stats = await system_stats(url)
        if self._ensuring.locked() or self._stopping:
            return  # meanwhile somebody else tells what becomes of it
        if stats is not None:
            self._tell(with_stats(ComfyStatus(ComfyState.RUNNING, url, supervisor.born), stats))
        elif self.status.state is ComfyState.RUNNING:
            self._tell(replace(self.status, detail="ComfyUI is busy and does not answer."))
        else:
            self._tell(ComfyStatus(ComfyState.STARTING, url, supervisor.born))

    async def _tell_if_crashed(self, supervisor: Supervisor) -> None:
        """Nothing runs: say so, and why when we have seen it run and nobody stopped it."""
        if self.status.state is ComfyState.CRASHED:
            return
        if not self._seen:
            self._tell(ComfyStatus(ComfyState.STOPPED))
            return
        crash = await asyncio.to_thread(supervisor.crash)
        last = next((line.strip() for line in reversed(crash.log) if line.strip()), "")
        self._seen = False
        detail = f"ComfyUI stopped by itself{f': {last}' if last else '.'}"
        self._tell(ComfyStatus(ComfyState.CRASHED, detail=detail, crash=crash))

    async def _known(self) -> Supervisor:
        """The supervisor of the installation as it is now."""
        if self._installation is None:
            raise NeedsSetup(
                "No ComfyUI is known on this computer.",
                hint="Set COMFYUI_URL to one that runs, or COMFYUI_DIR to the folder of its main.py.",
            )
        if self._supervisor is None:
            installation = await asyncio.to_thread(self._installation)
            self._supervisor = self._supervisor or Supervisor(installation, self._state_dir, self._around)
        return self._supervisor

    async def _leave_former(self) -> None:
        """Stop the ComfyUI of earlier settings; one in use goes with its target."""
        if self._before is not None:
            before, self._before = self._before, None
            await before.close()

    def _tell(self, status: ComfyStatus) -> None:
        if status == self.status:
            return
        self.status = status
        for watcher in tuple(self._watchers):
            watcher(status)
