"""The window joined to the services: who tells whom. Made once, by ``app.main``."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .account_desk import AccountDesk
from .chips import Around, Chips
from .comfy import Comfy
from .comfy_nodes import CustomNodes
from .comfy_setup import ComfySetup
from .comfy_switch import Ties as ComfyTies
from .comfyui.find import describe, find_installations
from .desk import Desk, Outlook
from .errors import BadInput
from .image_door import OF_IMAGE, Images
from .jobs.model import FROM_COMFYUI, Job, JobEvent, JobSpec
from .jobs.states import State
from .jobs.targets import DEMO, LOCAL, is_remote
from .jobs.words import duration, makes, ran_s, second_line
from .models import OF_MODELS, Models, ModelTies
from .settings import OF_COMFYUI, Secret, Settings, from_environment, save_settings
from .tuner import Ties as TunerTies
from .tuner import Tuner
from .ui.collector import GuiCollector
from .ui.comfyui.page import ComfyPage
from .ui.desktop import announce, open_path
from .ui.frame.places import chosen_place, other_place, places_of
from .ui.frame.window import Window, app_icon
from .ui.image.page import ImagePage
from .ui.models.page import ModelsPage
from .ui.notices import Notice, Notices
from .ui.queue.actions import Actions
from .ui.queue.delegate import is_picture
from .ui.queue.feed import Feed
from .ui.queue.launch import Surroundings
from .ui.queue.model import JobModel
from .ui.queue.page import QueuePage
from .ui.queue.pictures import PictureStore
from .ui.queue.recent import RecentWorkflows
from .ui.queue.recent_list import RecentActs, RecentPopover
from .ui.queue.viewer import Viewer
from .ui.settings.page import SettingsPage
from .ui.state import WindowState
from .ui.tasks import TaskScope
from .ui.theme import Theme
from .ui.tray import Tray
from .ui.welcome.page import WelcomePage
from .ui.widgets.floating import Question
from .ui.widgets.motion import Motion
from .vault import NAMES, with_keys
from .workflows.collect import PICTURES

if TYPE_CHECKING:
    from .preflight.intake import Intake
    from .preflight.report import Report
    from .preflight.sources import Sources

_PAGE = 200
_LOOK_EVERY_S = 3.0
_GROUP_ABOVE, _GATHER_S = 3, 0.5


class Panel:
    """Everything of one running program. :meth:`run` opens the window and returns when all is closed.

    Args:
        on_end: called once, when the end begins.
    """

    def __init__(
        self, theme: Theme, settings: Settings, *, on_end: Callable[[], None] = lambda: None
    ) -> None:
        self._on_end = on_end
        self.settings = settings
        self._theme = theme
        self._ended = asyncio.Event()
        self._asking = False
        self._counts = (0, 0)
        self._finished: list[JobEvent] = []
        self._sources: Sources | None = None
        self.notices = Notices()
        self.scope = TaskScope("panel", self.notices.problem)
        self.state = WindowState(settings.data_dir / "window.ini")
        self.recents = RecentWorkflows(self.state)
        self.model = JobModel()
        self.pictures = PictureStore(settings.data_dir / "thumbnails")
        self.motion = Motion()
        self._collector = GuiCollector()
        self.feed = Feed(self.model, self.pictures, self._job_ended)
        self.desk = Desk(
            settings, on_event=self.feed.take, on_window=self._window_wanted, on_reset=self._read_again
        )
        around = Surroundings(
            window=lambda: self.window,
            select=lambda job_id: self.window.queue.select(job_id),
            settings=lambda: self.settings,
            target=lambda: chosen_place(self.settings),
            name=lambda target: self.chips.name(target),
            price=lambda target: self.chips.price(target),
            other_target=lambda target: other_place(self.settings, target),
            intake=self._intake,
            offer_picture=self._offer_picture,
            tune=lambda spec: self.tuner.open(spec),
            ask_worker=self._ask_worker,
            upload=lambda lacks: self.models.upload(lacks),
            show_words=lambda words: self.window.queue.head.show_words(words),
            ran=lambda paths: self.recents.ran(paths, time.time()),
        )
        self.actions = Actions(theme, self.desk, self.model, self.notices, self.state, self.scope, around)
        self.window = self._make_window(theme)
        looked_at = Around(
            settings=lambda: self.settings,
            jobs=lambda: [entry.job for entry in self.model.jobs.values()],
            cancel=self.actions.cancel,
            places_changed=self._show_places,
        )
        self.chips = Chips(theme, self.window, self.desk, self.notices, self.scope, looked_at, settings)
        self.comfy = Comfy(
            theme, self.window, self.desk, self.notices, self.state, self.scope,
            ComfyTies(
                lambda: self.settings, self._change, self._show_welcome, self.chips.name, self._running_here
            ),
        )  # fmt: skip
        ties = self.comfy.ties
        self.comfy_setup = ComfySetup(self.window, self.comfy, self.notices, self.scope, ties)
        self.custom_nodes = CustomNodes(theme, self.window, self.notices, self.scope, ties)
        self.models = Models(
            self.window, self.notices, self.state, self.scope,
            ModelTies(
                lambda: self.settings, self._change, self._show_volume_settings, self.actions.models_arrived
            ),
        )  # fmt: skip
        self.images = Images(
            *(self.window, self.notices, self.state, self.scope),
            settings=lambda: self.settings, local_url=self._local_url, running=self._running_on,
        )  # fmt: skip
        self.tuner = Tuner(
            theme, self.window, self.actions.launch, self.state, self.scope,
            TunerTies(lambda: self.settings, lambda: chosen_place(self.settings), self.chips.name),
        )  # fmt: skip
        self.tray = Tray(
            self.window,
            app_icon(),
            self.notices,
            self.window.bring_to_front,
            self.window.close_wanted.emit,
        )
        self.tray.use(icon=settings.tray, tells=settings.system_notices)
        theme.style()
        self._bind()
        self._show_places()

    async def run(self, files: Sequence[Path]) -> None:
        """Show the window, then the jobs; ends when the user has closed it."""
        window = self.window
        if not self.settings.welcomed and not files:
            window.show_welcome()
            self.scope.start(self._find_comfyui(), "find-comfyui")
        window.show()
        try:
            # In a thread, and before anybody asks for it: the servers and clients come only now.
            await asyncio.to_thread(importlib.import_module, "app.services")
            try:
                await self.desk.open()
            except BadInput as error:
                # Said in the window, which stays: what else there is can still be looked at.
                self.notices.problem(error.problem, "The list of jobs cannot be used")
                await self._ended.wait()
                return
            self.scope.start(self.desk.run(), "desk")
            self.chips.start()
            if _misses_keys(self.settings):
                self.scope.start(self._take_keys(), "keys")
            self.scope.start(self._keep_looking(), "look")
            self.comfy.start()
            self.models.start()
            self.images.start()
            if files:
                self.actions.run_files(files)
            await self._ended.wait()
        finally:
            await self._close()

    def end(self) -> None:
        """Begin to end, without a question."""
        if not self._ended.is_set():
            self._ended.set()
            self._on_end()

    def _intake(self) -> Intake:
        """Takes workflows in, with what is known of the places to run."""
        from .preflight.intake import Intake
        from .services import make_sources

        if self._sources is None:
            self._sources = make_sources(
                lambda: self.settings, local_url=self._local_url, name=self.chips.name
            )
        return Intake(self._sources)

    async def _ask_worker(self, spec: JobSpec) -> Report:
        from .services import ask_worker

        return await ask_worker(self.settings, spec.target, spec.prompt, spec.files)

    async def _local_url(self) -> str | None:
        """The address of this computer's ComfyUI while it runs."""
        services = self.desk.services
        return None if services is None else await services.local_url()

    # The window.

    def _make_window(self, theme: Theme) -> Window:
        queue = QueuePage(
            theme, self.desk, self.model, self.pictures, self.actions, self.state, self.scope, self.motion
        )
        settings = SettingsPage(
            theme, lambda: self.settings, self._change, self.scope, from_environment(), self._describe_here,
            AccountDesk(lambda: self.settings, self._use_key),
        )  # fmt: skip
        welcome = WelcomePage(theme, self.scope)
        comfyui = ComfyPage(theme, self.motion)
        return Window(
            theme, self.notices, self.state, queue, settings, welcome, comfyui,
            ModelsPage(theme, self.motion), ImagePage(theme, self.motion), self.motion,
            lambda area: Viewer(theme, self.pictures, area),
        )  # fmt: skip

    def _bind(self) -> None:
        window, bar = self.window, self.window.topbar
        window.files_dropped.connect(self._files_dropped)
        window.close_wanted.connect(lambda: self.scope.start(self._ask_to_close(), "close"))
        window.look_wanted.connect(lambda: self.scope.start(self.comfy.look(), "look-now"))
        window.open_files = self.actions.choose_files
        window.queue.recent_wanted.connect(self._open_recents)
        self.recents.saved_anew.connect(self._offer_again)
        window.viewer.reveal_wanted.connect(self.actions.reveal)
        bar.target_chosen.connect(self._choose_target)
        window.welcome.folder_chosen.connect(
            lambda path: self.scope.start(self._use_folder(path), "use-folder")
        )
        window.welcome.install_wanted.connect(self._install_comfyui)
        window.welcome.demo_chosen.connect(lambda: self._leave_welcome({"target": DEMO}))
        window.welcome.skipped.connect(lambda: self._leave_welcome({}))
        window.settings.welcome_wanted.connect(self._show_welcome)
        window.settings.account_wanted.connect(self.chips.account.look_now)
        self.model.counted.connect(self._show_counts)

    def _show_places(self) -> None:
        self.chips.show_places()
        self.window.settings.show_account(self.chips.account.status)
        key = chosen_place(self.settings)
        demo = key == DEMO and LOCAL not in [place.key for place in places_of(self.settings)]
        self.window.queue.show_hint(
            "Pictures are samples. Set up ComfyUI to run real workflows." if demo else "",
            "Set up ComfyUI",
            self._show_welcome,
        )

    def _show_counts(self, runs: int, waits: int) -> None:
        if (runs, waits) == self._counts:
            return
        self._counts = (runs, waits)
        self.tray.show_counts(runs, waits)
        self.window.rail.set_count("queue", str(runs + waits) if runs + waits else "")
        self.chips.health.set_busy(busy=bool(runs + waits))
        if not is_remote(chosen_place(self.settings)):
            # Our own endpoint may be asked as often as there is news; RunPod has a pace.
            self.chips.health.look_now()

    def _choose_target(self, key: str) -> None:
        """An endpoint that is chosen is the one that the command line and Settings mean, too."""
        self._start_change({"target": key, **({"runpod_endpoint_id": key} if is_remote(key) else {})})

    def _files_dropped(self, paths: list[Path]) -> None:
        if not self.tuner.page.isVisible() or not all(path.suffix.lower() in PICTURES for path in paths):
            self.window.show_page("queue")
        self.actions.run_files(paths)

    def _window_wanted(self, paths: list[Path]) -> None:
        """Another start of the program hands over."""
        self.window.bring_to_front()
        if paths:
            self._files_dropped(paths)

    async def _offer_picture(self, path: Path) -> bool:
        """A picture without a workflow becomes the input of the one that is being changed, or is selected."""
        if self.tuner.page.isVisible():
            return self.tuner.use_picture(path)
        job_id = self.window.queue.inspector.job_id if self.window.queue.inspector.isVisible() else ""
        return bool(job_id) and await self.tuner.open(await self.desk.store.spec(job_id), picture=path)

    def _open_recents(self) -> None:
        acts = RecentActs(lambda path: self.actions.run_files([path]), self.actions.tune_file)
        head = self.window.queue.head
        RecentPopover(self._theme, self.pictures, self.recents, acts).open_under(head.recent, right=True)

    def _offer_again(self, path: str) -> None:
        """A workflow that ran was saved again."""
        name = Path(path).name
        self.notices.tell(
            Notice(
                f"{name} was changed",
                "It is another one since it ran last.",
                "info",
                "Run it again",
                lambda: self._files_dropped([Path(path)]),
            )
        )

    # Jobs.

    def _read_again(self) -> None:
        self.scope.start(self._read_jobs(), "read-jobs")

    async def _read_jobs(self) -> None:
        """All jobs there are, the newest first, page by page, so that the window stays quick meanwhile."""
        first, before = True, None
        while page := await self.desk.store.page(before, _PAGE):
            if first:
                known = {job.id for job in page}
                unfinished = [job for job in await self.desk.store.unfinished() if job.id not in known]
                self.model.refresh([*page, *unfinished])
                self.window.queue.jobs_read()
                first = False
            else:
                self.model.load(page)
            before = page[-1].seq
            await asyncio.sleep(0.01)
        self.window.queue.jobs_read()

    def _job_ended(self, event: JobEvent) -> None:
        window = self.window
        if is_remote(event.job.target):
            self.chips.read_spend()
        picture = next((each.path for each in event.job.outputs if is_picture(each.path)), "")
        if event.job.source and picture:
            self.recents.made(event.job.source, picture)
        if text := self.model.spoken(event.job.id):
            announce(window.queue.list, text, urgent=event.job.state is State.FAILED)
        if event.job.origin == FROM_COMFYUI and event.job.state is State.DONE:
            self._open_result(event.job)
        in_sight = window.isActiveWindow() and window.pages.currentWidget() is window.queue
        if in_sight or event.job.state is State.CANCELLED:
            return
        self._finished.append(event)
        if len(self._finished) == 1:
            self.scope.start(self._tell_ended(), "tell-ended")

    def _open_result(self, job: Job) -> None:
        """What ComfyUI's own Queue button made, if the user wants it opened."""
        first = next((output.path for output in job.outputs if not output.shown), "")
        match self.settings.open_results:
            case "viewer" if first:
                open_path(Path(first))
            case "panel":
                self.window.show_page("queue")
                self.window.queue.select(job.id)
                self.window.bring_to_front()
                self.window.queue.open_viewer(0)

    async def _tell_ended(self) -> None:
        """One notice for each job that ended while nobody looked; above three, one for all."""
        await asyncio.sleep(_GATHER_S)
        events, self._finished = self._finished, []
        if len(events) > _GROUP_ABOVE:
            failed = sum(event.job.state is not State.DONE for event in events)
            text = f"{failed} of them failed." if failed else "All went well."
            self.notices.tell(Notice(f"{len(events)} jobs finished", text, "error" if failed else "done"))
            return
        for event in events:
            self._tell_one(event)

    def _tell_one(self, event: JobEvent) -> None:
        job = event.job

        def show() -> None:
            self.window.show_page("queue")
            self.window.queue.select(job.id)

        if job.state is State.DONE:
            ran = ran_s(job, time.time())
            text = " · ".join([job.name, *([] if ran is None else [duration(ran)])])
            self.notices.tell(Notice(f"{makes(job).split(' ·')[0]} saved", text, "done", "Show", show))
        else:
            text = second_line(job, None, None, time.time())
            self.notices.tell(Notice(f"{job.name} failed", text, "error", "Open", show))

    # Settings and first run.

    async def _change(self, values: dict[str, Any]) -> None:
        """Save settings and put them in force.

        Raises:
            BadInput: when a value cannot be used; nothing is changed then.
        """
        await asyncio.to_thread(save_settings, self.settings.config_file, values)
        loaded = await asyncio.to_thread(Settings.load)
        old, self.settings = self.settings, _keeping_keys(loaded, self.settings)
        if self._sources is not None:
            self._sources.forget()
        self.desk.use(self.settings)
        self.chips.use(self.settings)
        if any(getattr(old, name) != getattr(self.settings, name) for name in OF_COMFYUI):
            await self.desk.forget_target(LOCAL)
        self._theme.use(
            appearance=self.settings.appearance,
            text_size=self.settings.text_size,
            reduced_motion=self.settings.motion == "reduced",
        )
        self.tray.use(icon=self.settings.tray, tells=self.settings.system_notices)
        self._show_places()
        self.window.settings.show_settings()
        if any(getattr(old, name) != getattr(self.settings, name) for name in OF_MODELS):
            self.models.settings_changed()
        if any(getattr(old, name) != getattr(self.settings, name) for name in OF_IMAGE):
            self.images.settings_changed()
        await self.comfy.look()

    async def _take_keys(self) -> None:
        """Put the keys in force that only the keyring has. A locked one asks its user first, for a while."""
        found = await asyncio.to_thread(with_keys, self.settings)
        # Other settings may have changed meanwhile.
        self.settings = _keeping_keys(self.settings, found)
        self.desk.use(self.settings)
        self.chips.use(self.settings)
        self._show_places()
        self.window.settings.keys_changed()
        self.images.settings_changed()

    def _use_key(self, name: str, secret: Secret) -> None:
        """Put a key in force at once; an empty one: there is none any more."""
        key: dict[str, Any] = {name: secret}
        self.settings = replace(self.settings, **key)
        self.desk.use(self.settings)
        self.chips.use(self.settings)
        self._show_places()
        self.models.settings_changed()
        self.images.settings_changed()
        if self.settings.runpod_endpoint_id:
            # What is made with the old key is made anew; with unfinished jobs it stays until they have ended.
            forgetting = self.desk.forget_target(self.settings.runpod_endpoint_id)
            self.scope.start(forgetting, "forget-target")

    def _show_volume_settings(self) -> None:
        self.window.show_page("settings")

    def _start_change(self, values: dict[str, Any]) -> None:
        self.scope.start(self._change(values), "change")

    async def _describe_here(self, path: Path) -> str:
        """What is wrong with a ComfyUI folder, or an empty text."""
        return (await asyncio.to_thread(describe, path)).problem

    async def _find_comfyui(self) -> None:
        found = await asyncio.to_thread(find_installations)
        usable = [each for each in found if not each.problem]
        self.window.welcome.show_found(next(iter([*usable, *found]), None))

    async def _use_folder(self, path: Path) -> None:
        found = await asyncio.to_thread(describe, path)
        if found.problem:
            self.window.welcome.show_problem(found.problem)
            return
        await self._change({"comfyui_dir": str(path), "target": LOCAL, "welcomed": True})
        self.window.show_page("queue")

    def _leave_welcome(self, values: dict[str, Any]) -> None:
        self.window.show_page("queue")
        self._start_change({**values, "welcomed": True})

    def _install_comfyui(self) -> None:
        """Its form stands on ComfyUI's page; what was begun goes on there while other pages are used."""
        self._start_change({"welcomed": True})
        self.window.show_page("comfyui")
        self.window.comfyui.open_install_form()

    def _show_welcome(self) -> None:
        self.window.show_welcome()
        self.scope.start(self._find_comfyui(), "find-comfyui")

    # ComfyUI and the endpoint.

    async def _keep_looking(self) -> None:
        while True:
            self.chips.set_shown(shown=self.window.isVisible() and not self.window.isMinimized())
            await asyncio.sleep(_LOOK_EVERY_S)

    def _running_here(self) -> str:
        """The name of a job that runs on this computer's ComfyUI; empty when none does."""
        running = (
            entry.job.name
            for entry in self.model.jobs.values()
            if entry.job.target == LOCAL and entry.job.state is State.RUNNING
        )
        return next(running, "")

    def _running_on(self, endpoint_id: str) -> int:
        """How many jobs run on an endpoint: ours, or all of them where its chip knows."""
        ours = sum(
            entry.job.target == endpoint_id and entry.job.state is State.RUNNING
            for entry in self.model.jobs.values()
        )
        chip = self.chips.health.status if chosen_place(self.settings) == endpoint_id else None
        return max(ours, chip.in_progress if chip is not None else 0)

    # The end.

    async def _ask_to_close(self) -> None:
        """Say which jobs go on, and end. Nothing of it waits for a job."""
        if self._asking:
            return
        self._asking = True
        try:
            outlook = await self.desk.outlook()
            if outlook.remote or outlook.local or outlook.unsent:
                title, text = farewell(outlook)
                if not await Question(
                    self._theme, self.window, title, text, "Stay", "Quit", destroys=False
                ).ask():
                    return
        finally:
            self._asking = False
        self.end()

    async def _close(self) -> None:
        self.window.close_now()
        self.tray.close()
        self.feed.stop()
        await self.scope.close()
        await self.models.close()
        await self.desk.close()
        self.pictures.close()
        self.motion.want(self.window.queue, wanted=False)
        self._collector.close()


def farewell(outlook: Outlook) -> tuple[str, str]:
    """The question before closing, and what becomes of the jobs."""
    parts = []
    if outlook.remote:
        parts.append(
            f"{_jobs(outlook.remote)} on RunPod: they go on there and are picked up at the next start."
        )
    if outlook.local:
        parts.append(
            f"{_jobs(outlook.local)} on this computer: they go on in the background and are picked up too."
        )
    if outlook.unsent:
        parts.append(f"{_jobs(outlook.unsent)} not sent yet: they are sent at the next start.")
    where = "on RunPod" if outlook.remote else "here"
    title = f"Quit while jobs run {where}?" if outlook.remote or outlook.local else "Quit with jobs waiting?"
    return title, " ".join(parts)


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _misses_keys(settings: Settings) -> bool:
    """Whether the keyring must be asked: an endpoint is set, and a key for it or its volume is not."""
    if not settings.runpod_endpoint_id:
        return False
    return not settings.runpod_api_key or bool(
        settings.runpod_volume_id and not settings.runpod_s3_access_key
    )


def _keeping_keys(settings: Settings, other: Settings) -> Settings:
    """These settings, with the other ones' keys where these have none: no file holds keys."""
    keys = {name: getattr(other, name) for name in NAMES if not getattr(settings, name)}
    return replace(settings, **keys)
