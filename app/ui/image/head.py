"""The head of the Image page: the image, its tag and manifest, and the button that runs it all."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QPoint, QRect, Qt, Signal
from PySide6.QtGui import QKeySequence, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QMenu, QWidget

from ..theme import Theme
from ..theme.tokens import MARGIN, PAGE_HEAD_H
from ..widgets.basics import Button, Elided, Text, row
from ..widgets.busy import BusyButton
from ..widgets.menus import menu
from ..widgets.paint import paint_icon
from .shown import ImageShown, Stage, WorkShown
from .tags import TagButton

_GAP, _ARROW_W, _ARROW = 12, 28, 14
_KEYS: Final = "Ctrl+B"
_TIPS: Final[dict[Stage, str]] = {
    Stage.BUILD: "Build only", Stage.TEST: "Test only", Stage.PUSH: "Push only", Stage.DEPLOY: "Deploy…"
}  # fmt: skip


class _Arrow(Button):
    """The right half of the main button: opens what else there is to run."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, "", "primary", tip="Run one stage")
        self.setFixedWidth(_ARROW_W)
        self.setProperty("snug", True)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        box = QRect(0, 0, _ARROW, _ARROW)
        box.moveCenter(self.rect().center())
        role = "on_accent" if self.isEnabled() else "ctl"
        paint_icon(QPainter(self), self._theme, "chevron-down", role, box)


class ImageHead(QWidget):
    """Signals: as of the page."""

    run_wanted = Signal(object, bool)
    stop_wanted = Signal()
    open_wanted = Signal()
    match_wanted = Signal()
    lock_wanted = Signal()
    side_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._work = WorkShown()
        self._narrow = False
        self.title, self.name = Text(theme, "Image", "title"), Elided(theme, "", "body", "text2")
        self.tag = TagButton(theme)
        self.manifest = Button(theme, "Manifest…", icon="file-text", tip="Open, match or lock the manifest")
        self.build = Button(theme, "Build", "primary", icon="play")
        self.more = _Arrow(theme)
        self.stop = BusyButton(theme, "Stop", "danger", icon="square")
        self.side = Button(theme, kind="icon", icon="info", tip="Manifest and details")
        self.no_cache = False
        self.setFixedHeight(PAGE_HEAD_H)
        line = row(self.title, gap=_GAP, margins=(MARGIN, 0, MARGIN, 0))
        line.addWidget(self.name, 1)
        for part in (self.tag, self.manifest):
            line.addWidget(part)
        line.addLayout(row(self.build, self.more, gap=2))
        line.addWidget(self.stop)
        line.addWidget(self.side)
        self.setLayout(line)
        self.build.clicked.connect(self.run_all)
        self.more.clicked.connect(self._open_more)
        self.manifest.clicked.connect(self._open_manifest)
        self.stop.clicked.connect(self.stop_wanted)
        self.side.clicked.connect(self.side_wanted)
        self.set_narrow(narrow=False)
        self.show_work(self._work)

    def show_image(self, image: ImageShown) -> None:
        self.name.setText(image.name)
        self.tag.show_image(image)
        self._fit()

    def show_work(self, work: WorkShown) -> None:
        self._work = work
        goes_on = work.state != "idle"
        for part in (self.build, self.more):
            part.setVisible(not goes_on)
        self.stop.setVisible(goes_on)
        self.stop.set_busy(busy=work.state == "stopping", why="It ends what it has begun.")
        can_build = Stage.BUILD in work.can_run
        self.build.setEnabled(can_build)
        self.more.setEnabled(bool(work.can_run))
        keys = QKeySequence(_KEYS).toString(QKeySequence.SequenceFormat.NativeText)
        self.build.setToolTip(
            f"Build, test, push and deploy ({keys})" if can_build else work.why_not or "Nothing can be built."
        )
        self._fit()

    def run_all(self) -> None:
        """What the main button does, when it can."""
        if self._work.state == "idle" and Stage.BUILD in self._work.can_run:
            self.run_wanted.emit(tuple(Stage), self.no_cache)

    def set_narrow(self, *, narrow: bool) -> None:
        """In a narrow window the panel lies over the page, and a button here opens it."""
        self._narrow = narrow
        self.side.setVisible(narrow)
        self._fit()

    @property
    def moves(self) -> bool:
        return self.stop.is_busy

    def tick(self) -> None:
        self.stop.tick()

    def more_menu(self) -> QMenu:
        """Each stage by itself, and building without the cache."""
        made = QMenu(self)
        made.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for stage in Stage:
            action = made.addAction(_TIPS[stage])
            action.setEnabled(stage in self._work.can_run)
            action.triggered.connect(lambda _=False, stage=stage: self._run(stage))
        made.addSeparator()
        cache = made.addAction("No cache")
        cache.setCheckable(True)
        cache.setChecked(self.no_cache)
        cache.toggled.connect(self._set_no_cache)
        return made

    def manifest_menu(self) -> QMenu:
        return menu(
            self,
            (
                ("Open the file", self.open_wanted.emit, True),
                ("Match this computer…", self.match_wanted.emit, True),
                ("Lock versions", self.lock_wanted.emit, self._work.state == "idle"),
            ),
        )

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _run(self, stage: Stage) -> None:
        self.run_wanted.emit((stage,), self.no_cache)

    def _set_no_cache(self, on: bool) -> None:
        self.no_cache = on

    def _open_more(self) -> None:
        made = self.more_menu()
        width = made.sizeHint().width()
        made.popup(self.more.mapToGlobal(QPoint(self.more.width() - width, self.more.height() + 4)))

    def _open_manifest(self) -> None:
        self.manifest_menu().popup(self.manifest.mapToGlobal(QPoint(0, self.manifest.height() + 4)))

    def _fit(self) -> None:
        """The word on the button of the manifest gives way where there is little room."""
        name = self.title.sizeHint().width() + 80
        parts: list[QWidget] = [self.tag, self.stop if self._work.state != "idle" else self.build]
        parts += [self.side] if self._narrow else []
        needed = name + sum(part.sizeHint().width() + _GAP for part in parts) + 2 * MARGIN + _ARROW_W + _GAP
        full = needed + 130 * self.manifest.fontMetrics().height() // 16 <= self.width()
        self.manifest.set_label("Manifest…" if full else "")
        self.manifest.setAccessibleName("Manifest…")
