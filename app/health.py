"""How the endpoint of the target in force is (provisional)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from .settings import Settings


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    kind: str = "demo"
    reachable: bool | None = None
    running: int = 0
    starting: int = 0
    idle: int = 0
    throttled: int = 0
    in_queue: int = 0
    in_progress: int = 0
    text: str = "No warm worker · 0 in queue"
    tone: str = ""
    checked_at: float = 0.0


class HealthWatch:
    def __init__(self, settings: Settings) -> None:
        self._watchers: list[Callable[[EndpointStatus], None]] = []

    def watch(self, watcher: Callable[[EndpointStatus], None]) -> None:
        self._watchers.append(watcher)

    def look_at(self, target: str) -> None: ...
    def set_busy(self, *, busy: bool) -> None: ...
    def look_now(self) -> None: ...

    async def run(self) -> None:
        for watcher in self._watchers:
            watcher(EndpointStatus())
        await asyncio.Event().wait()
