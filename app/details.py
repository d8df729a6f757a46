"""The page of an endpoint: what it is told, and by whom. It asks RunPod only while it is in sight."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .account_watch import AccountWatch, account_of
from .endpoint.rates import is_managed
from .errors import BadInput, ComfyRunPodError, NeedsSetup, Refused
from .jobs.store import JobStore
from .jobs.targets import is_remote
from .jobs.times import times_of
from .log_lines import LineReader
from .settings import Settings
from .ui.endpoint.page import EndpointPage
from .ui.frame.window import Window
from .ui.tasks import TaskScope
from .ui.theme import Theme

if TYPE_CHECKING:
    from .endpoint.account_model import LiveWorkers, RollOut
    from .endpoint.log_stream import LogLine, LogStream
    from .endpoint.worker_logs import WorkerLogs

PAGE = "endpoint"
_LOOK_EVERY_S, _TIMES_EVERY_S = 10.0, 30.0
_DAYS, _MOST_WORKFLOWS = 30, 50
_TAIL = 500
#: What is there already is gathered and put in order, until nothing came for so long.
_QUIET_S, _GATHER_S = 0.4, 2.5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Ties:
    """What the page needs of the panel.

    Attributes:
        name: of the endpoint with this key.
        change, clear: what its buttons do, with the endpoint's key.
    """

    settings: Callable[[], Settings]
    name: Callable[[str], str]
    change: Callable[[str], object]
    clear: Callable[[str], object]


class EndpointDetails:
    """Args:
    check: looks at the endpoint's figures anew.
    """

    def __init__(
        self,
        theme: Theme,
        window: Window,
        account: AccountWatch,
        store: JobStore,
        scope: TaskScope,
        ties: Ties,
        check: Callable[[], object],
    ) -> None:
        self._window, self._account, self._store = window, account, store
        self._scope, self._ties, self._check = scope, ties, check
        self.page = EndpointPage(theme)
        self.key = ""
        self.look_every_s = _LOOK_EVERY_S
        self._days_s = _DAYS * 86_400.0
        self._ids: tuple[str, ...] = ()
        self._known = asyncio.Event()
        self._wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._reader: asyncio.Task[None] | None = None
        self._readers: dict[str, LineReader] = {}
        self._logs: _RemoteLogs | None = None
        window.add_page(PAGE, self.page)
        page = self.page
        page.appeared.connect(self._begin)
        page.vanished.connect(self._stop)
        page.worker_chosen.connect(self._read_other)
        page.check_wanted.connect(self.look_now)
        page.change_wanted.connect(lambda: ties.change(self.key))
        page.clear_wanted.connect(lambda: ties.clear(self.key))
        window.look_wanted.connect(self._wanted.set)

    def open(self, key: str) -> None:
        """Show the page of this endpoint."""
        self.use_place(key)
        self._window.show_page(PAGE)

    def use_place(self, key: str) -> None:
        """Show another endpoint from now on, when it is another one."""
        if key == self.key:
            return
        shown = self.page.isVisible()
        self._stop()
        self.key, self._ids, self._logs = key, (), None
        self._known.clear()
        self.page.show_endpoint(self._ties.name(key), managed=is_remote(key))
        if shown:
            self._begin()

    def look_now(self) -> None:
        self._check()
        self._wanted.set()

    def show_state(self, pill: tuple[str, str, str], facts: str, *, can_clear: bool) -> None:
        """How the endpoint is, in a word and in a line; ``can_clear``: jobs of ours wait there."""
        self.page.show_state(pill, facts)
        self.page.show_clear(can=can_clear)

    # While it is in sight.

    def _begin(self) -> None:
        if not self.key or self._tasks:
            return
        for work, name in ((self._keep_looking(), "workers"), (self._keep_counting(), "times")):
            task = self._scope.start(work, f"details-{name}")
            if task is not None:
                self._tasks.append(task)
        self._read_log()

    def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None

    async def _keep_looking(self) -> None:
        key = self.key
        while True:
            self._wanted.clear()
            await (self._look(key) if is_remote(key) else self._look_here(key))
            try:
                async with asyncio.timeout(self.look_every_s):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def _look(self, key: str) -> None:
        try:
            _check_reachable(self._ties.settings())
            live, roll_out = await self._account.workers(key)
        except ComfyRunPodError as error:
            self.page.say_of_workers(error.sentence, "amber")
            return
        self._ids = tuple(each.id for each in live.workers if each.id)
        self._known.set()
        self.page.show_workers(live.workers, roll_out_line(live, roll_out))
        self.page.show_ids(self._ids)
        self.page.say_of_workers(
            "" if live.workers else "No worker is up. One starts with the next job, and nothing is charged."
        )

    async def _look_here(self, key: str) -> None:
        from .endpoint.local_logs import local_workers

        ids = await asyncio.to_thread(local_workers, self._folder(key))
        self.page.show_ids(ids)
        self.page.say_of_workers(
            "Workers here are processes of this computer. They start with a job and end by themselves "
            "when nothing is left to do; nothing is charged."
        )

    async def _keep_counting(self) -> None:
        key = self.key
        while True:
            runs = await self._store.runs_between(time.time() - self._days_s)
            # In a thread: there may be many.
            times = await asyncio.to_thread(times_of, [run for run in runs if run.target == key])
            self.page.show_times(times[:_MOST_WORKFLOWS], f"Last {_DAYS} days")
            await asyncio.sleep(_TIMES_EVERY_S)

    # The log.

    def _read_other(self) -> None:
        self._logs = None
        self._read_log()

    def _read_log(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
        self._readers = {}
        self.page.log.show_empty(*_empty(self.key, self.page.worker))
        self._reader = self._scope.start(self._keep_reading(self.page.worker), "details-log")

    async def _keep_reading(self, worker: str) -> None:
        """Read until the log ends; what may pass is waited for, with growing pauses."""
        log, pause_s = self.page.log, _FIRST_PAUSE_S
        while True:
            try:
                async with self._stream(worker) as stream:
                    log.show_note("")
                    for line in await stream.backlog(_QUIET_S, _GATHER_S):
                        self._feed(line, worker)
                    async for line in stream:
                        pause_s = _FIRST_PAUSE_S
                        self._feed(line, worker)
                log.show_note(f"{worker} has gone, and its log with it." if worker else "")
                return
            except ComfyRunPodError as error:
                if isinstance(error, NeedsSetup):
                    log.show_empty(
                        "Not connected to RunPod",
                        "Local runs work without an account.",
                        "Add API key",
                        lambda: self._window.show_page("settings"),
                    )
                    return
                if not _may_pass(error):
                    log.show_note(error.sentence, "red")
                    return
                log.show_note(f"{error.summary} Trying again in {pause_s:.0f} s.", "amber")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    @asynccontextmanager
    async def _stream(self, worker: str) -> AsyncIterator[LogStream]:
        key = self.key
        if not is_remote(key):
            from .endpoint.local_logs import local_logs

            opened: AbstractAsyncContextManager[LogStream] = local_logs(self._folder(key), worker or None)
        else:
            settings = self._ties.settings()
            _check_reachable(settings)
            if self._logs is None or not self._logs.fits(settings):
                self._logs = await _RemoteLogs.make(settings)
            opened = self._logs.open(key, worker, self._there)
        async with opened as stream:
            yield stream

    async def _there(self) -> tuple[str, ...]:
        """The workers that the last look found: it is not asked twice."""
        await self._known.wait()
        return self._ids

    def _feed(self, line: LogLine, worker: str) -> None:
        reader = self._readers.get(line.worker)
        if reader is None:
            reader = self._readers[line.worker] = LineReader("" if worker else line.worker)
        self.page.log.feed(reader.read(line.text, line.at, replaces=line.replaces))

    def _folder(self, key: str) -> Path:
        return self._ties.settings().data_dir / "endpoints" / key


class _RemoteLogs:
    """The reader of RunPod's logs. It is kept while the page is out of sight: it knows how far it was."""

    def __init__(self, settings: Settings, logs: WorkerLogs) -> None:
        self._settings, self._logs = settings, logs

    @classmethod
    async def make(cls, settings: Settings) -> _RemoteLogs:
        # In a thread: it brings HTTP libraries with it.
        module = await asyncio.to_thread(importlib.import_module, "app.endpoint.worker_logs")
        return cls(settings, module.WorkerLogs(settings.runpod_api_url, settings.runpod_api_key))

    def fits(self, settings: Settings) -> bool:
        return account_of(self._settings) == account_of(settings)

    def open(
        self, key: str, worker: str, there: Callable[[], Awaitable[Collection[str]]]
    ) -> AbstractAsyncContextManager[LogStream]:
        if worker:
            return self._logs.of_one(key, worker, tail=_TAIL)
        return self._logs.of_all(key, there, tail=_TAIL, look_every_s=1.0)


def roll_out_line(live: LiveWorkers, roll_out: RollOut) -> str:
    """How far the newest version is, in a few words; empty when there is nothing to tell."""
    version = f"version {roll_out.version}" if roll_out.version is not None else "the newest version"
    told = [f"{roll_out.on_latest} of {roll_out.total} workers on {version}"] if roll_out.total else []
    stale = sum(worker.is_stale for worker in live.workers)
    if stale and not roll_out.in_progress:
        told.append(f"{stale} outdated")
    return ", ".join(told)


def _check_reachable(settings: Settings) -> None:
    """Raise what stands in the way before RunPod is asked."""
    if not settings.runpod_api_key:
        raise NeedsSetup("Enter the API key in Settings to see the workers and their logs.")
    if not is_managed(settings):
        raise BadInput("The job API is not RunPod's own, so its workers cannot be asked for.")


def _may_pass(error: ComfyRunPodError) -> bool:
    if isinstance(error, Refused):
        return error.status == 429 or error.status >= 500
    return not isinstance(error, BadInput)


def _empty(key: str, worker: str) -> tuple[str, str]:
    if worker:
        return "No output yet", f"What {worker} prints appears here."
    if is_remote(key):
        return "No output yet", "What the workers print appears here, from the moment one is up."
    return "No output yet", "What the worker prints appears here. It starts with a job."
