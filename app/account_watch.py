"""The account in the background: its endpoints with their prices, and changes to them. Knows no Qt.

Asking it wakes no worker. It is asked seldom: endpoints change when somebody changes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .endpoint.rates import is_managed
from .errors import ComfyRunPodError
from .jobs.costs import money
from .settings import Settings

if TYPE_CHECKING:
    from .endpoint.account import AccountClient
    from .endpoint.account_model import Endpoint, LiveWorkers, RollOut
    from .endpoint.prices import Price, Rate
    from .jobs.runs import Run

Watcher = Callable[["AccountStatus"], None]


@dataclass(frozen=True, slots=True)
class Listed:
    """An endpoint of the account with what one of its workers costs, where RunPod says that."""

    endpoint: Endpoint
    price: Price | None = None
    rate: Rate | None = None

    @property
    def is_off(self) -> bool:
        """No job runs on it: RunPod sets its workers to 0 after a week without a request."""
        return self.endpoint.workers_max == 0


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """The endpoints that jobs can be sent to, by id.

    Attributes:
        problem: why they are not known, or not known anew; empty when all is well.
        hint: what can be done about it.
        checked_at: seconds since 1970 of the last good answer; 0 when there was none.
    """

    endpoints: dict[str, Listed] = field(default_factory=dict)
    problem: str = ""
    checked_at: float = 0.0
    hint: str = ""


@dataclass(frozen=True, slots=True)
class AccountPace:
    """Pauses between looks, in seconds: in general, while nobody looks at the window, after a failure."""

    shown_s: float = 600.0
    hidden_s: float = 3600.0
    failed_s: float = 120.0


class AccountWatch:
    """Looks at the account while :meth:`run` runs. All methods belong to the loop of :meth:`run`."""

    def __init__(self, settings: Settings, *, pace: AccountPace | None = None) -> None:
        self._settings = settings
        self._pace = pace or AccountPace()
        self._watchers: list[Watcher] = []
        self._wanted = asyncio.Event()
        self._shown = True
        self.status = AccountStatus()

    def watch(self, watcher: Watcher) -> None:
        """Call ``watcher`` after each look."""
        self._watchers.append(watcher)

    def use(self, settings: Settings) -> None:
        """Ask with these settings from now on; with another key it is another account."""
        old, self._settings = self._settings, settings
        if account_of(old) != account_of(settings):
            self.status = AccountStatus()
            self._wanted.set()

    def set_shown(self, *, shown: bool) -> None:
        """Whether somebody looks at the window."""
        self._shown = shown

    def look_now(self) -> None:
        self._wanted.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self._wanted.clear()
            pause_s = await self._look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wanted.wait()

    async def workers(self, endpoint_id: str) -> tuple[LiveWorkers, RollOut]:
        """The endpoint's workers as they are now, and how far its newest version is."""
        client = await self._client()
        workers, roll_out = await asyncio.gather(client.workers(endpoint_id), client.roll_out(endpoint_id))
        return workers, roll_out

    async def change(
        self,
        endpoint_id: str,
        *,
        workers_min: int | None = None,
        workers_max: int | None = None,
        idle_timeout_s: int | None = None,
        image: str | None = None,
    ) -> None:
        """Change an endpoint, and look at it anew. Raises what RunPod has against it."""
        client = await self._client()
        await client.change(
            endpoint_id,
            workers_min=workers_min,
            workers_max=workers_max,
            idle_timeout_s=idle_timeout_s,
            image=image,
        )
        self._wanted.set()

    async def compared(self, runs: Sequence[Run], days: int) -> str:
        """The book of runs beside RunPod's bill for so many days of UTC, in one sentence."""
        from .jobs.billing import checked

        charges = await (await self._client()).charges(days=days)
        since = datetime.fromtimestamp(time.time() - (days - 1) * 86_400, UTC).date().isoformat()
        found = [each for each in checked(charges, runs) if each.day >= since]
        ours, billed = sum(each.ours for each in found), sum(each.billed for each in found)
        more = "more" if billed >= ours else "less"
        return (
            f"RunPod billed {money(billed)} for {days} days, here it is {money(ours)}: "
            f"{money(abs(billed - ours))} {more}. "
            "What others sent is in the bill, and the last hour may not be."
        )

    async def _look(self) -> float | None:
        """One look; how long to wait for the next one, None: until something changes."""
        settings = self._settings
        if not settings.runpod_api_key or not is_managed(settings):
            return None
        try:
            endpoints = await self._listed()
        except ComfyRunPodError as error:
            old = self.status
            status = AccountStatus(old.endpoints, error.summary, old.checked_at, error.hint)
        else:
            status = AccountStatus(endpoints, "", time.time())
        if settings is not self._settings and account_of(settings) != account_of(self._settings):
            return 0.0
        self.status = status
        for watcher in tuple(self._watchers):
            watcher(status)
        if status.problem:
            return self._pace.failed_s
        return self._pace.shown_s if self._shown else self._pace.hidden_s

    async def _listed(self) -> dict[str, Listed]:
        from .endpoint.prices import price_of, rate_of

        client = await self._client()
        endpoints, gpus = await asyncio.gather(client.endpoints(), client.gpu_types())
        return {
            each.id: Listed(each, price_of(each, gpus), rate_of(each, gpus))
            for each in endpoints
            if each.type != "LOAD_BALANCER"
        }

    async def _client(self) -> AccountClient:
        # In a thread: it brings an HTTP library with it, and the window is in sight already.
        module = await asyncio.to_thread(importlib.import_module, "app.endpoint.account")
        client: AccountClient = module.AccountClient(
            self._settings.runpod_api_url, self._settings.runpod_api_key
        )
        return client


def account_of(settings: Settings) -> tuple[str, str]:
    """What tells one account from another; not to be shown, since the key is in it."""
    return settings.runpod_api_url, settings.runpod_api_key.reveal()
