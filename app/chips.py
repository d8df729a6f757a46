"""The top bar's places and its chips of endpoint and money: who tells them, and what opens under them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import shiboken6

from .account_watch import AccountStatus, AccountWatch
from .desk import Desk
from .details import EndpointDetails, Ties, roll_out_line
from .errors import ComfyRunPodError
from .health import EndpointStatus, HealthWatch
from .jobs.costs import cost_of, money
from .jobs.figures import day_of, duration, ended_at
from .jobs.model import Job
from .jobs.money import by_day, by_target, by_workflow, midnight, spent
from .jobs.runs import Run
from .jobs.states import UNSENT, State
from .jobs.targets import is_remote
from .jobs.times import percentiles
from .jobs.words import target_name
from .settings import Settings
from .ui.frame.endpoint_form import EndpointForm
from .ui.frame.places import chosen_place, places_of
from .ui.frame.popovers import EndpointView, endpoint_popover, health_pill
from .ui.frame.run_bars import RunBar
from .ui.frame.spend import SpendView, spend_popover
from .ui.frame.window import Window
from .ui.notices import Notice, Notices
from .ui.tasks import TaskScope
from .ui.theme import Theme
from .ui.widgets.basics import Wrapped

_DAYS, _NEARLY, _BARS = 7, 0.8, 24
_COUNT_EVERY_S = 3.0
#: Workers that an endpoint gets back which RunPod has switched off: RunPod's own default.
_REPAIRED = 3
_ROLE = {"amber": "amber", "red": "red"}
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class Around:
    """What the chips need of the panel."""

    settings: Callable[[], Settings]
    jobs: Callable[[], Iterable[Job]]
    cancel: Callable[[Sequence[str]], None]
    places_changed: Callable[[], None]


class Chips:
    """Args: ``around`` is asked whenever something is shown; nothing of it is kept."""

    def __init__(
        self,
        theme: Theme,
        window: Window,
        desk: Desk,
        notices: Notices,
        scope: TaskScope,
        around: Around,
        settings: Settings,
    ) -> None:
        self._theme, self._window, self._desk = theme, window, desk
        self._notices, self._scope, self._around = notices, scope, around
        self.health = HealthWatch(settings)
        self.account = AccountWatch(settings)
        self._now: Callable[[], float] = time.time
        self._count_every_s = _COUNT_EVERY_S
        self._status: EndpointStatus | None = None
        self._runs: list[Run] = []
        ties = Ties(around.settings, self.name, self._start_change, self._clear)
        self.details = EndpointDetails(
            theme, window, self.account, desk.store, scope, ties, self.health.look_now
        )
        bar = window.topbar
        bar.endpoint.clicked.connect(self._open_endpoint)
        bar.spend.clicked.connect(self._open_spend)
        bar.refresh_wanted.connect(self.account.look_now)
        self.health.watch(self.show_endpoint)
        self.account.watch(self._account_looked)

    def start(self) -> None:
        """Begin to look."""
        self._scope.start(self.health.run(), "health")
        self._scope.start(self.account.run(), "account")
        self._scope.start(self._keep_counting(), "spend")
        self.read_spend()

    def use(self, settings: Settings) -> None:
        """Ask with these settings from now on."""
        self.health.use(settings)
        self.account.use(settings)
        self._show_spend()

    def set_shown(self, *, shown: bool) -> None:
        """Whether the window can be seen: RunPod is asked seldom else."""
        self.health.set_shown(shown=shown)
        self.account.set_shown(shown=shown)

    def show_places(self) -> None:
        settings, bar = self._around.settings(), self._window.topbar
        key = chosen_place(settings)
        bar.show_places(places_of(settings, self.account.status.endpoints), key)
        self._window.target_name = self.name(key)
        status = self.account.status
        age = f"Last checked {duration(time.time() - status.checked_at)} ago" if status.checked_at else ""
        bar.show_refresh((status.problem or age or "Not checked yet") if settings.runpod_api_key else "")
        self.health.look_at(key)
        if self.details.key:
            self.details.use_place(key)
        self._show_spend()

    def read_spend(self) -> None:
        """Read anew what was spent."""
        self._scope.start(self._read_spend(), "read-spend")

    # The endpoint.

    def name(self, key: str) -> str:
        """A target as people call it: an endpoint by its name, when the account has told it."""
        listed = self.account.status.endpoints.get(key)
        return (listed.endpoint.name if listed is not None else "") or target_name(key)

    def price(self, key: str) -> str:
        """What a worker of a target costs, in words; empty when that is not known."""
        listed = self.account.status.endpoints.get(key)
        return str(listed.price) if listed is not None and listed.price is not None else ""

    def _account_looked(self, status: AccountStatus) -> None:
        self._around.places_changed()

    def show_endpoint(self, status: EndpointStatus) -> None:
        strong, _, rest = status.text.partition(" · ")
        role = _ROLE.get(status.tone, "text")
        listed = self.account.status.endpoints.get(chosen_place(self._around.settings()))
        if listed is not None and listed.is_off:
            strong, rest, role = "Switched off", f"{status.in_queue} in queue", "amber"
        short = None
        if status.reachable and not status.tone and not (listed is not None and listed.is_off):
            busy = status.running + status.starting
            short = f"{busy} / {busy + status.idle}", f"·  {status.in_queue} queued"
        rest = f"·  {rest.replace(' · ', '  ·  ')}" if rest else ""
        self._window.topbar.endpoint.show_state(strong, rest, role=role, short=short)
        self._status = status
        self._show_details()

    def _show_details(self) -> None:
        """The same figures on the endpoint's page, with what it costs and runs."""
        status, key = self._status, self.details.key
        if status is None or not key:
            return
        listed = self.account.status.endpoints.get(key)
        facts, most = [status.text], None
        if listed is not None:
            most = listed.endpoint.workers_max
            facts += [f"{listed.price} per worker"] if listed.price is not None else []
            facts += [listed.endpoint.image] if listed.endpoint.image else []
        pill, can_clear = health_pill(status, most), bool(self._cancellable(key))
        self.details.show_state(pill, " · ".join(facts), can_clear=can_clear)

    def _open_endpoint(self) -> None:
        if self._status is None:
            return
        key = chosen_place(self._around.settings())
        view = self._view(key, self._status)
        popover, later = endpoint_popover(self._theme, view, self._status)
        popover.open_under(self._window.topbar.endpoint, right=True)
        if key in self.account.status.endpoints:
            self._scope.start(self._tell_roll_out(key, later), "roll-out")

    def _view(self, key: str, status: EndpointStatus) -> EndpointView:
        now, settings = self._now(), self._around.settings()
        jobs = [job for job in self._around.jobs() if job.target == key]
        waiting = [job.created_at for job in jobs if job.state is State.WAITING]
        queue = f"{status.in_queue} jobs" if status.in_queue != 1 else "1 job"
        if waiting:
            queue += f", oldest {duration(now - min(waiting))}"
        today = [job for job in jobs if job.is_final and day_of(ended_at(job)) == day_of(now)]
        done = sum(job.state is State.DONE for job in today)
        failed = sum(job.state in (State.FAILED, State.TIMED_OUT) for job in today)
        lines = [("In queue", queue), ("Today", f"{done} done, {failed} failed")]
        acts: list[tuple[str, Callable[[], object]]] = [("Open details", lambda: self._open_details(key))]
        if self._cancellable(key):
            acts.append(("Clear queue…", lambda: self._clear(key)))
        runs = [run for run in self._runs if run.target == key][-_BARS:]
        bars = [RunBar(0.0 if r.cold else r.waited_s, r.waited_s if r.cold else 0.0, r.run_s) for r in runs]
        shown = EndpointView(self.name(key), None, lines, None, acts, bars, _typical(runs))
        if not is_remote(key):
            return shown
        usd = spent(run for run in self._runs if run.target == key and run.at >= midnight(now)).total
        of = f" of {money(settings.daily_limit_usd)}" if settings.daily_limit_usd is not None else ""
        lines.append(("Spend", f"{money(usd)}{of}"))
        listed = self.account.status.endpoints.get(key)
        if listed is None:
            return shown
        endpoint = listed.endpoint
        if listed.price is not None:
            lines.append(("Price", f"{listed.price} per worker"))
        lines.append(("Image", endpoint.image or "not named"))
        acts.append(("Change…", lambda: self._start_change(key)))
        repair = None
        if listed.is_off:
            why = (
                "Its workers are set to 0, so no job runs. RunPod does that after 7 days without a request, "
                "or when workers keep failing."
            )
            mend = partial(self.account.change, key, workers_max=_REPAIRED)
            repair = why, f"Allow {_REPAIRED} workers", lambda: self._scope.start(mend(), "repair")
        return replace(shown, most=endpoint.workers_max, repair=repair)

    async def _tell_roll_out(self, key: str, later: Wrapped) -> None:
        try:
            workers, roll_out = await self.account.workers(key)
        except ComfyRunPodError as error:
            told = error.summary
        else:
            told = roll_out_line(workers, roll_out)
        if told and shiboken6.isValid(later):
            later.setText(told)
            later.show()
            later.window().adjustSize()

    def _open_details(self, key: str) -> None:
        self.details.open(key)
        self._show_details()

    def _cancellable(self, key: str) -> list[str]:
        """Only what was sent from here: a purge would take other people's jobs along."""
        states = (*UNSENT, State.WAITING, State.STARTING)
        return [job.id for job in self._around.jobs() if job.target == key and job.state in states]

    def _clear(self, key: str) -> None:
        self._around.cancel(self._cancellable(key))

    def _start_change(self, key: str) -> None:
        self._scope.start(self._change(key), "change-endpoint")

    async def _change(self, key: str) -> None:
        listed = self.account.status.endpoints.get(key)
        if listed is None:
            return
        running = sum(job.target == key and job.state is State.RUNNING for job in self._around.jobs())
        changes = await EndpointForm(self._theme, self._window, listed, running).ask()
        if changes:
            await self.account.change(key, **changes)
            name = listed.endpoint.name or key
            self._notices.tell(Notice(f"{name} changed", "Workers follow within a minute.", "done"))

    # Money.

    async def _read_spend(self) -> None:
        self._runs = await self._desk.store.runs_between(midnight(self._now(), _DAYS - 1))
        self._show_spend()

    async def _keep_counting(self) -> None:
        """What runs costs more by the second; a chip that says so with every second is no help."""
        while True:
            await asyncio.sleep(self._count_every_s)
            if any(not job.is_final and job.rate is not None for job in self._around.jobs()):
                self._show_spend()

    def _today(self) -> float:
        now = self._now()
        known = {run.id for run in self._runs}
        running = [job for job in self._around.jobs() if not job.is_final and job.id not in known]
        so_far = [paid.total for job in running if (paid := cost_of(job, now)) is not None]
        return spent(run for run in self._runs if run.at >= midnight(now)).total + sum(so_far)

    def _show_spend(self) -> None:
        settings, chip = self._around.settings(), self._window.topbar.spend
        today, limit = self._today(), settings.daily_limit_usd
        role = "text"
        if limit is not None and today >= limit:
            role = "red"
        elif limit is not None and today >= limit * _NEARLY:
            role = "amber"
        chip.show_state(money(today) if today >= 0.0005 else "$0", "today", role=role)
        chip.setVisible(bool(settings.runpod_endpoint_id or any(is_remote(run.target) for run in self._runs)))

    def _open_spend(self) -> None:
        now, settings = self._now(), self._around.settings()
        days = by_day(self._runs)
        last = [day_of(midnight(now, ago)) for ago in reversed(range(_DAYS))]
        bars = [
            (_WEEKDAYS[day.weekday()], days[key].total if (key := day.isoformat()) in days else 0.0)
            for day in last
        ]
        whole = spent(self._runs)
        ended = spent(run for run in self._runs if run.at >= midnight(now)).total
        view = SpendView(
            self._today(),
            whole.total + self._today() - ended,
            settings.daily_limit_usd,
            bars,
            [(name, some.total) for name, some in by_workflow(self._runs).items()],
            [(self.name(name), some.total) for name, some in by_target(self._runs).items()],
            whole.unpriced,
        )
        popover = spend_popover(
            self._theme,
            view,
            check=lambda said: self._scope.start(self._compare(said), "compare"),
            limit=lambda: self._window.show_page("settings"),
        )
        popover.open_under(self._window.topbar.spend, right=True)

    async def _compare(self, said: Wrapped) -> None:
        """Our figures beside RunPod's bill, in one sentence; today is not billed to its end yet."""
        try:
            told = await self.account.compared(await self._desk.store.runs_between(0.0), _DAYS)
        except ComfyRunPodError as error:
            told = error.summary
        if shiboken6.isValid(said):
            said.setText(told)
            said.window().adjustSize()


def _typical(runs: Sequence[Run]) -> str:
    """The medians in one line: how long these waited, started a worker, and ran."""
    told = [
        ("wait", percentiles(run.waited_s for run in runs if not run.cold)),
        ("cold start", percentiles(run.waited_s for run in runs if run.cold)),
        ("run", percentiles(run.run_s for run in runs)),
    ]
    parts = [f"{word} {duration(some.p50)}" for word, some in told if some is not None]
    return f"Half of the last {len(runs)} at most: {', '.join(parts)}" if parts else ""
