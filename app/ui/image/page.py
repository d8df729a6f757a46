"""The Image page: the four stages and their log, and beside them the manifest compared with this computer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QHideEvent, QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import QStackedWidget, QWidget

from ...log_lines import Line
from ..desktop import announce
from ..theme import Theme
from ..theme.tokens import MARGIN
from ..widgets.basics import column
from ..widgets.empty import Empty
from ..widgets.late import LatePage, late
from ..widgets.motion import Motion
from ..widgets.scrolling import ScrollBox
from ..widgets.sides import Sides
from .head import ImageHead
from .log import LogCard
from .notes import FailureCard, LiveCard, SignInNote
from .pipeline import Pipeline
from .questions import deploy_question, match_question
from .shown import (
    DeployQuestion,
    DeployShown,
    EmptyAct,
    FailureShown,
    FindingsShown,
    ImageShown,
    LayersShown,
    ManifestShown,
    MatchQuestion,
    ParityShown,
    PastRun,
    PushedLayer,
    RegistryShown,
    ResultShown,
    SideView,
    Stage,
    StageShown,
    StageState,
    StepShown,
    WorkShown,
)
from .side import SIDE_W, SidePanel
from .words import spoken, work

_GAP, _LOG_LEAST_H = 16, 380


class ImagePage(LatePage):
    """Shows what it is told, and says what the user wants. All of it on the GUI thread.

    Signals:
        appeared, vanished: it came in sight, or went out of it.
        run_wanted: stages to run, a tuple of :class:`.shown.Stage`, and whether without the cache.
        stop_wanted: what goes on shall end.
        retry_wanted: begin again with a :class:`.shown.Stage`.
        tag_wanted: use this tag; tag_typed: what stands in the field now, see :meth:`show_tag_problem`.
        open_manifest_wanted, lock_wanted: of the manifest.
        match_wanted: take over the local versions; True: and build right after. Nothing was asked yet.
        endpoint_chosen: the id of an endpoint to deploy to.
        back_wanted: the version before shall be live again.
        check_wanted: look for Docker, manifest and local nodes again.
        picture_wanted: the path of a picture that the test made, to be opened.
        finding_wanted: the address of a finding's description.
        view_opened: a :data:`.shown.SideView` of the panel came in sight.
        log_save_wanted: all of the log, to be saved in a file that the user chooses.
        worked: what goes on, and how much of it is done, for the rail: ``Pushing image``, ``62 %``.
    """

    appeared = Signal()
    vanished = Signal()
    run_wanted = Signal(object, bool)
    stop_wanted = Signal()
    retry_wanted = Signal(object)
    tag_wanted = Signal(str)
    tag_typed = Signal(str)
    open_manifest_wanted = Signal()
    lock_wanted = Signal()
    match_wanted = Signal(bool)
    endpoint_chosen = Signal(str)
    back_wanted = Signal()
    check_wanted = Signal()
    picture_wanted = Signal(str)
    finding_wanted = Signal(str)
    view_opened = Signal(str)
    log_save_wanted = Signal(str)
    worked = Signal(str, str)

    def __init__(self, theme: Theme, motion: Motion) -> None:
        super().__init__()
        self._theme, self._motion = theme, motion
        self.setProperty("region", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._states = dict.fromkeys(Stage, StageState.TO_COME)
        self._told = ("", "")
        self._empty_act: EmptyAct = "check"
        self._side_w = SIDE_W

    def build(self) -> None:
        theme = self._theme
        self.head, self.pipeline, self.log = ImageHead(theme), Pipeline(theme), LogCard(theme)
        self.failure, self.sign_in = FailureCard(theme, self.log.text_of), SignInNote(theme)
        self.live, self.side = LiveCard(theme), SidePanel(theme)
        self._arrange()
        self._bind()
        self._fit_log()

    # What is shown.

    def show_image(self, image: ImageShown) -> None:
        """The image and the tags to choose. With another tag in force the field for one closes."""
        self.head.show_image(image)

    def show_tag_problem(self, text: str) -> None:
        """Why the tag that is being typed cannot be used; empty: it can."""
        self.head.tag.show_problem(text)

    def show_work(self, shown: WorkShown) -> None:
        """Whether anything goes on, and what can be run."""
        self.head.show_work(shown)
        self._want_motion()

    def show_registry(self, registry: RegistryShown) -> None:
        self.sign_in.show_registry(registry)
        self.log.push.show_registry(registry)

    def show_stages(self, stages: Sequence[StageShown]) -> None:
        """All of them, or those that have changed; at most ten times a second."""
        self.pipeline.show_stages(stages)
        self.log.show_stages(stages)
        for shown in stages:
            before, self._states[shown.stage] = self._states[shown.stage], shown.state
            if shown.state is StageState.DONE and before is StageState.RUNNING:
                announce(self, spoken(shown), urgent=False)
        self._tell_work()
        self._want_motion()

    def show_steps(self, steps: Sequence[StepShown]) -> None:
        """All steps of the build in their order, or those that have changed."""
        self.log.show_steps(steps)
        self._want_motion()

    def show_pushed(self, layers: Sequence[PushedLayer]) -> None:
        """All layers of the push, or those that have changed."""
        self.log.show_layers(layers)

    def feed(self, stage: Stage, lines: Iterable[Line], step_id: str = "") -> None:
        """Lines of a stage; of the build with the id of the step that says them."""
        self.log.feed(stage, lines, step_id)

    def clear_log(self, stages: Iterable[Stage] = tuple(Stage)) -> None:
        """Forget the lines of stages that begin anew."""
        self.log.clear_lines(stages)

    def show_failure(self, failure: FailureShown | None) -> None:
        """Why a stage failed; None: nothing has failed."""
        self.failure.show_failure(failure)
        if failure is not None:
            announce(self, f"{failure.title}. {failure.text}", urgent=True)

    def show_result(self, result: ResultShown | None) -> None:
        """What came of the test; None: there was none of this image."""
        self.log.test.result.show_result(result)

    def show_manifest(self, manifest: ManifestShown | None) -> None:
        """None: there is no manifest yet."""
        self.side.show_manifest(manifest)

    def show_parity(self, parity: ParityShown | None) -> None:
        self.side.show_parity(parity)

    def show_findings(self, findings: FindingsShown) -> None:
        self.side.show_findings(findings)

    def show_layers(self, layers: LayersShown) -> None:
        """The layers of the built image."""
        self.side.show_layers(layers)

    def show_history(self, runs: Sequence[PastRun]) -> None:
        """Builds and deployments, the latest first."""
        self.side.show_history(runs)

    def show_deploy(self, deploy: DeployShown) -> None:
        """Where it is deployed to, what is live, and the way back."""
        self.log.deploy.strip.show_deploy(deploy)
        self.live.show_live(deploy.live, deploy.back)
        self.side.show_back(deploy.back)

    def show_empty(self, title: str, text: str = "", button: str = "", act: EmptyAct = "check") -> None:
        """Why nothing can be built, in place of stages and log; an empty title: it can again."""
        self._empty_act = act
        self._empty.show_text(title, text, button)
        self._whole.setCurrentIndex(1 if title else 0)

    def show_view(self, view: SideView) -> None:
        """Bring a view of the panel in sight."""
        self.side.show_view(view)
        self.sides.set_over(over=True)

    def side_width(self) -> int:
        """The width of the panel at the right, to be remembered."""
        return self.sides.side_w if self.is_built else self._side_w

    def show_side_width(self, width: int) -> None:
        self._side_w = width
        self._give_side(width)

    @late
    def _give_side(self, width: int) -> None:
        self.sides.show_side_w(width)

    # What is asked.

    async def ask_deploy(self, asked: DeployQuestion) -> bool:
        return await deploy_question(self._theme, self.window(), asked).ask()

    async def ask_match(self, asked: MatchQuestion) -> bool:
        """Whether the manifest shall be as this computer is, with what would change."""
        return await match_question(self._theme, self.window(), asked).ask()

    # What the window calls.

    def escape(self) -> None:
        """Close the panel where it lies over the page, else end a search."""
        if self.sides.is_over:
            self.close_side()
        else:
            self.log.escape()

    def open_search(self) -> None:
        if self._whole.currentIndex() == 0:
            self.log.open_search()

    def look_again(self) -> None:
        """What F5 does here."""
        self.check_wanted.emit()

    def close_side(self) -> None:
        self.sides.set_over(over=False)
        self.head.side.setFocus(Qt.FocusReason.OtherFocusReason)

    def right_edge(self) -> int:
        """How much of the right the panel takes."""
        return self.side.width() if self.side.isVisible() else 0

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._want_motion()
        self.appeared.emit()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._motion.want(self, wanted=False)
        self.vanished.emit()

    # How it is built.

    def _arrange(self) -> None:
        parts = (self.sign_in, self.pipeline, self.failure, self.live)
        inner = column(*parts, gap=_GAP, margins=(MARGIN, 0, MARGIN, MARGIN))
        inner.addWidget(self.log, 1)
        content = QWidget()
        content.setLayout(inner)
        self._empty = Empty(self._theme, "container")
        self._whole = QStackedWidget()
        self._whole.addWidget(ScrollBox(content, "Stages and log"))
        self._whole.addWidget(self._empty)
        main = QWidget()
        whole = column(self.head)
        whole.addWidget(self._whole, 1)
        main.setLayout(whole)
        self.main = main
        self.sides = Sides(self._theme, main, self.side, SIDE_W)
        self.setLayout(column(self.sides))

    def _bind(self) -> None:
        head, log, side = self.head, self.log, self.side
        head.run_wanted.connect(self.run_wanted)
        head.stop_wanted.connect(self.stop_wanted)
        head.open_wanted.connect(self.open_manifest_wanted)
        head.lock_wanted.connect(self.lock_wanted)
        head.match_wanted.connect(lambda: self.match_wanted.emit(False))
        head.side_wanted.connect(lambda: self.sides.set_over(over=True))
        head.tag.tag_wanted.connect(self.tag_wanted)
        head.tag.tag_typed.connect(self.tag_typed)
        self.pipeline.opened.connect(log.open_stage)
        self.failure.retry_wanted.connect(self.retry_wanted)
        self.live.back_wanted.connect(self.back_wanted)
        log.save_wanted.connect(self.log_save_wanted)
        log.test.result.picture_wanted.connect(self.picture_wanted)
        log.test.result.report_wanted.connect(lambda: self.show_view("parity"))
        log.deploy.strip.endpoint_chosen.connect(self.endpoint_chosen)
        side.closed.connect(self.close_side)
        side.match_wanted.connect(lambda: self.match_wanted.emit(True))
        side.back_wanted.connect(self.back_wanted)
        side.finding_wanted.connect(self.finding_wanted)
        side.view_opened.connect(self.view_opened)
        self._empty.pressed.connect(self._press_empty)
        self.sides.narrowed.connect(lambda narrow: head.set_narrow(narrow=narrow))
        self._motion.ticked.connect(self._tick)
        self._theme.changed.connect(self._fit_log)
        QShortcut(QKeySequence("Ctrl+B"), self).activated.connect(head.run_all)

    def _press_empty(self) -> None:
        if self._empty_act == "check":
            self.check_wanted.emit()
        else:
            self.match_wanted.emit(False)

    def _fit_log(self) -> None:
        self.log.setMinimumHeight(round(_LOG_LEAST_H * self._theme.text_scale))

    def _tell_work(self) -> None:
        """For the rail: what goes on, and how much of it is done."""
        running = self.pipeline.running
        told = work(running) if running is not None else ("", "")
        if told != self._told:
            self._told = told
            self.worked.emit(*told)

    # What moves.

    def _want_motion(self) -> None:
        moves = self.head.moves or self.log.moves or self.pipeline.running is not None
        self._motion.want(self, wanted=moves and self.isVisible() and not self._theme.reduced_motion)

    def _tick(self) -> None:
        if self.isVisible():
            self.head.tick()
            self.pipeline.tick()
            self.log.tick()
