"""How the endpoint of the chosen target is, for the chip in the top bar. Wakes and starts nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from .endpoint.model import Health
from .errors import ComfyRunPodError, Refused
from .jobs.targets import DEMO, LOCAL, is_remote
from .settings import Settings

if TYPE_CHECKING:
    from .endpoint.client import JobClient

Kind = Literal["local", "demo", "runpod"]
Watcher = Callable[["EndpointStatus"], None]
_TIMEOUT_S = 15.0
_REFUSED = {401: "API key not accepted", 403: "API key not accepted", 404: "Endpoint not found"}


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """The figures of one look.

    Attributes:
        reachable: None when it was not asked, or the local endpoint does not run at the moment.
        starting: workers that RunPod calls initializing.
        text: as the chip says it.
        tone: empty, ``amber`` or ``red``.
        checked_at: seconds since 1970; 0 when it was not asked yet.
    """

    kind: Kind = "demo"
    reachable: bool | None = None
    running: int = 0
    starting: int = 0
    idle: int = 0
    throttled: int = 0
    unhealthy: int = 0
    in_queue: int = 0
    in_progress: int = 0
    text: str = "No warm worker · 0 in queue"
    tone: str = ""
    checked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Pauses between looks, in seconds: while jobs run (None: as the settings say), else, unseen, and after
    failures at most.
    """

    busy_s: float | None = None
    idle_s: float = 60.0
    hidden_s: float = 180.0
    longest_s: float = 300.0


class HealthWatch:
    """Looks at one endpoint after the other, while :meth:`run` runs.

    All methods belong to the loop of :meth:`run`. What the watchers get first after :meth:`look_at` has no
    figures yet.
    """

    def __init__(self, settings: Settings, *, pace: Pace | None = None) -> None:
        self._settings = settings
        self._pace = pace or Pace()
        self._watchers: list[Watcher] = []
        self._target: str | None = None
        self._busy = False
        self._shown = True
        self._failures = 0
        self._client: JobClient | None = None
        self._way = ("", "", "")
        self._wanted = asyncio.Event()
        self.status = EndpointStatus()

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call ``watcher`` after each look; returns what ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    def use(self, settings: Settings) -> None:
        """Ask with these settings from now on."""
        self._settings = settings
        self._wanted.set()

    def look_at(self, target: str) -> None:
        """Watch the endpoint of this target from now on."""
        if target != self._target:
            self._target = target
            self._failures = 0
            self._tell(self._blank(target))
            self._wanted.set()

    def set_busy(self, *, busy: bool) -> None:
        """Whether there are unfinished jobs: then the looks come more often."""
        if busy != self._busy:
            self._busy = busy
            self._wanted.set()

    def set_shown(self, *, shown: bool) -> None:
        """Whether somebody sees the figures: unseen, the looks come seldom even while jobs run."""
        if shown and not self._shown:
            self._wanted.set()
        self._shown = shown

    def look_now(self) -> None:
        """Look without waiting for the next time."""
        self._wanted.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        try:
            while True:
                self._wanted.clear()
                pause_s = await self._look()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._wanted.wait()
        finally:
            await self._forget_client()

    async def _look(self) -> float | None:
        """One look; how long to wait for the next one, None: until something changes."""
        target, settings = self._target, self._settings
        if target is None:
            return None
        if not is_remote(target):
            # Here, since this brings all services with it, and the window shows itself before them.
            from .services import EndpointTarget

            health = await EndpointTarget(target, settings).peek()
            status = _status(self._blank(target), health)
        elif settings.runpod_api_key:
            status = await self._ask(target)
        else:
            status = replace(self._blank(target), text="Not connected")
        if target != self._target or settings is not self._settings:
            return 0.0  # these figures are of another one by now
        self._failures = self._failures + 1 if status.reachable is False else 0
        self._tell(status)
        return None if status.text == "Not connected" else self._pause_s(target)

    async def _ask(self, target: str) -> EndpointStatus:
        blank = self._blank(target)
        try:
            return _status(blank, await (await self._client_of(target)).health())
        except Refused as error:
            text = _REFUSED.get(error.status, "Endpoint unreachable")
        except ComfyRunPodError:
            text = "Endpoint unreachable"
        return replace(blank, reachable=False, text=text, tone="red", checked_at=time.time())

    async def _client_of(self, target: str) -> JobClient:
        from .endpoint.client import JobClient

        settings = self._settings
        way = (settings.runpod_base_url, target, settings.runpod_api_key.reveal())
        if self._client is None or way != self._way:
            await self._forget_client()
            # Asked again soon anyway: one attempt, so that a failure is seen at once.
            self._client, self._way = JobClient(*way, timeout_s=_TIMEOUT_S, attempts=1), way
        return self._client

    async def _forget_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _pause_s(self, target: str) -> float:
        pace = self._pace
        busy_s = self._settings.health_interval_s if pace.busy_s is None else pace.busy_s
        if not is_remote(target):
            return busy_s  # a look at our own endpoint costs nothing and is charged by nobody
        pause_s = pace.hidden_s if not self._shown else busy_s if self._busy else pace.idle_s
        return min(pause_s * (1 << min(self._failures, 10)), max(pace.longest_s, pause_s))

    def _blank(self, target: str) -> EndpointStatus:
        return EndpointStatus(kind="demo" if target == DEMO else "local" if target == LOCAL else "runpod")

    def _tell(self, status: EndpointStatus) -> None:
        self.status = status
        for watcher in tuple(self._watchers):
            watcher(status)


def _status(blank: EndpointStatus, health: Health | None) -> EndpointStatus:
    if health is None:
        return replace(blank, checked_at=time.time())
    workers, jobs = health.workers, health.jobs
    status = replace(
        blank,
        reachable=True,
        running=workers.get("running", 0),
        starting=workers.get("initializing", 0),
        idle=workers.get("idle", 0),
        throttled=workers.get("throttled", 0),
        unhealthy=workers.get("unhealthy", 0),
        in_queue=jobs.get("inQueue", 0),
        in_progress=jobs.get("inProgress", 0),
        checked_at=time.time(),
    )
    return replace(status, text=_text(status), tone=_tone(status))


def _text(status: EndpointStatus) -> str:
    parts = [
        f"{count} {word}"
        for count, word in (
            (status.running, "running"),
            (status.starting, "starting"),
            (status.throttled, "throttled"),
            (status.unhealthy, "unhealthy"),
        )
        if count
    ]
    if not parts:
        parts = [f"{status.idle} idle" if status.idle else "No warm worker"]
    return " · ".join([*parts, f"{status.in_queue} in queue"])


def _tone(status: EndpointStatus) -> str:
    """Amber when nothing can take the waiting jobs."""
    stuck = status.throttled or status.unhealthy
    return "amber" if stuck and not (status.running or status.starting or status.idle) else ""
