"""The main window: rail, top bar and pages, drops, shortcuts, and closing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QGuiApplication,
    QIcon,
    QKeySequence,
    QPainter,
    QPixmap,
    QResizeEvent,
    QShortcut,
)
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QMainWindow,
    QPlainTextEdit,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from ..comfyui.page import ComfyPage
from ..image.page import ImagePage
from ..models.page import ModelsPage
from ..notices import Notice, Notices
from ..queue.page import QueuePage
from ..queue.viewer import Viewer
from ..settings.page import SettingsPage
from ..state import WindowState
from ..theme import Theme
from ..theme.tokens import FOLD_BELOW_W, WINDOW_DEFAULT, WINDOW_MIN
from ..welcome.page import WelcomePage
from ..widgets.mark import paint_mark
from ..widgets.motion import Motion
from ..widgets.side_page import SidePage
from .drops import paths_of, promise
from .focus import FocusRing
from .keys import KeySheet
from .notices import Toasts
from .rail import Rail
from .topbar import TopBar

_PAGES = (
    ("queue", "Queue", "list-video", "Ctrl+1"),
    ("models", "Models", "boxes", "Ctrl+3"),
    ("image", "Image", "container", "Ctrl+4"),
    ("comfyui", "ComfyUI", "workflow", "Ctrl+5"),
    ("settings", "Settings", "settings", "Ctrl+,"),
)


class Page(Protocol):
    """What the window asks of the page in sight."""

    def escape(self) -> object:
        """Close or clear what is open in the page."""

    def open_search(self) -> None:
        """Begin to search in the page, where that is possible."""


class Window(QMainWindow):
    """Holds the pages and decides nothing.

    Signals:
        files_dropped: paths of files and folders.
        close_wanted: the user wants to end; nothing is closed by it yet.
        look_wanted: the user wants the states of ComfyUI and the endpoint anew.
        folded: the window became narrow, or wide again.
    """

    files_dropped = Signal(list)
    close_wanted = Signal()
    look_wanted = Signal()
    folded = Signal()

    def __init__(
        self,
        theme: Theme,
        notices: Notices,
        state: WindowState,
        queue: QueuePage,
        settings: SettingsPage,
        welcome: WelcomePage,
        comfyui: ComfyPage,
        models: ModelsPage,
        image: ImagePage,
        motion: Motion,
        viewer: Callable[[QWidget], Viewer],
    ) -> None:
        super().__init__()
        self._theme, self._notices, self._state = theme, notices, state
        self.queue, self.settings, self.welcome, self.comfyui = queue, settings, welcome, comfyui
        self.models, self.image = models, image
        self._works: dict[str, tuple[str, str, str]] = {}
        self.target_name = ""
        self._may_close = False
        self._folded = False
        self.setWindowTitle("Comfy RunPod")
        self.setWindowIcon(app_icon())
        self.setMinimumSize(QSize(*WINDOW_MIN))
        self.setAcceptDrops(True)
        self.rail, self.topbar = Rail(theme, _PAGES), TopBar(theme, notices, motion)
        self.pages = QStackedWidget()
        self._named: dict[str, QWidget] = {
            "queue": queue, "models": models, "image": image, "comfyui": comfyui, "settings": settings
        }  # fmt: skip
        for page in self._named.values():
            self.pages.addWidget(page)
        self._before = self._current = "queue"
        panel = QWidget()
        column = QVBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.topbar)
        column.addWidget(self.pages, 1)
        whole = QHBoxLayout(panel)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(self.rail)
        whole.addLayout(column, 1)
        self.outer = QStackedWidget()
        self.outer.addWidget(panel)
        self.outer.addWidget(welcome)
        self.setCentralWidget(self.outer)
        self.viewer = viewer(panel)
        queue.viewer = self.viewer
        self.toasts = Toasts(theme, panel, notices, self._right_edge)
        self.ring = FocusRing(theme, self)
        self._bind()
        self.show_page("queue")
        self._restore()

    def show_page(self, name: str) -> None:
        self.outer.setCurrentIndex(0)
        self.rail.choose(name)
        if not isinstance(self._named[name], SidePage):
            self._before = name
        self.pages.setCurrentWidget(self._named[name])
        self._current = name
        self._fit_work()
        self.toasts.arrange()

    def add_page(self, name: str, page: SidePage) -> None:
        """A page that no item of the rail opens; left, it gives way to the one before it."""
        self._named[name] = page
        self.pages.addWidget(page)
        page.back_wanted.connect(lambda: self.show_page(self._before))

    def show_welcome(self) -> None:
        self.outer.setCurrentWidget(self.welcome)

    def bring_to_front(self) -> None:
        if self.isMinimized():
            self.showNormal()
        self.show()
        self.raise_()
        self.activateWindow()

    def close_now(self) -> None:
        """Close without a question, remembering size and splitters."""
        self._state.put("geometry", self.saveGeometry())
        self._state.put("comfyui_side", str(self.comfyui.side_width()))
        self._state.put("models_side", str(self.models.side_width()))
        self._state.put("image_side", str(self.image.side_width()))
        self.queue.save_state()
        self._state.save()
        self._may_close = True
        self.close()

    def _restore(self) -> None:
        self.resize(QSize(*WINDOW_DEFAULT))
        kept = self._state.bytes("geometry")
        if not kept.isEmpty():
            self.restoreGeometry(kept)
        else:
            screen = QGuiApplication.primaryScreen().availableGeometry().size()
            self.resize(QSize(*WINDOW_DEFAULT).boundedTo(screen))
        self.queue.restore_state()
        sides = (("comfyui_side", self.comfyui), ("models_side", self.models), ("image_side", self.image))
        for key, page in sides:
            side = self._state.text(key)
            if side.isdecimal():
                page.show_side_width(int(side))

    def _bind(self) -> None:
        self.rail.chosen.connect(self.show_page)
        self.topbar.places_wanted.connect(lambda: self.show_page("settings"))
        self.queue.inspector_changed.connect(self.toasts.arrange)
        self.models.worked.connect(partial(self._show_work, "models", "boxes"))
        self.image.worked.connect(partial(self._show_work, "image", "container"))
        self.viewer.closed.connect(lambda: self.queue.list.setFocus(Qt.FocusReason.OtherFocusReason))
        for keys, act in (
            *((keys, partial(self.show_page, name)) for name, _, _, keys in _PAGES),
            ("Ctrl+Shift+R", self.topbar.routing.toggle),
            ("Ctrl+T", self.topbar.open_targets),
            ("Ctrl+O", self._open_files),
            ("Ctrl+Shift+O", self._open_recent),
            ("Ctrl+V", self._paste),
            ("Ctrl+F", self._search),
            ("F1", lambda: KeySheet(self._theme).open_over(self)),
            ("F5", self._look_again),
            ("F6", lambda: self._next_region(1)),
            ("Shift+F6", lambda: self._next_region(-1)),
            ("Esc", self._escape),
            ("Ctrl+Q", self.close_wanted.emit),
        ):
            QShortcut(QKeySequence(keys), self).activated.connect(act)

    open_files: Callable[[], None] = staticmethod(lambda: None)

    def _open_recent(self) -> None:
        self.show_page("queue")
        self.queue.recent_wanted.emit()

    def _open_files(self) -> None:
        self.show_page("queue")
        self.open_files()

    def _paste(self) -> None:
        focus = self.focusWidget()
        if isinstance(focus, QLineEdit | QPlainTextEdit):
            focus.paste()
            return
        data = QGuiApplication.clipboard().mimeData()
        paths = paths_of(data)
        text = data.text().strip()
        if not paths and text and len(text) < 4096 and "\n" not in text and Path(text).suffix:
            paths = [Path(text)]
        if paths:
            self.files_dropped.emit(paths)
        else:
            self._notices.tell(
                Notice("Nothing to open on the clipboard", "Copy a workflow file or its path first.")
            )

    def _look_again(self) -> None:
        self.look_wanted.emit()
        if self.pages.currentWidget() is self.models:
            self.models.rescan()
        elif self.pages.currentWidget() is self.image:
            self.image.look_again()

    def _show_work(self, page: str, icon: str, what: str, share: str) -> None:
        """A page's progress: beside its name, and at the foot of the rail."""
        self.rail.set_count(page, share)
        if what:
            self._works[page] = (icon, what, share)
        else:
            self._works.pop(page, None)
        self._fit_work()

    def _fit_work(self) -> None:
        """At the rail's foot is the work that began last of the pages that are not in sight."""
        others = [page for page in self._works if page != self._current]
        page = others[-1] if others else ""
        self.rail.show_work(page, *(self._works[page] if page else ("", "", "")))

    def _search(self) -> None:
        self._page().open_search()

    def _escape(self) -> None:
        if self.viewer.close_viewer() or self.toasts.close_newest():
            return
        self._page().escape()

    def _page(self) -> Page:
        page: Any = self.pages.currentWidget()
        shown: Page = page
        return shown

    def _next_region(self, step: int) -> None:
        """Rail, top bar, page, inspector: the first control of the next one gets the focus."""
        regions: Sequence[QWidget] = [self.rail, self.topbar, self.queue.left, self.queue.inspector]
        page = self.pages.currentWidget()
        if page is not None and page is not self.queue:
            regions = [self.rail, self.topbar, page]
        if page is self.models and self.models.side.isVisible():
            regions = [self.rail, self.topbar, self.models.files, self.models.side]
        if page is self.image and self.image.side.isVisible():
            regions = [self.rail, self.topbar, self.image.main, self.image.side]
        regions = [region for region in regions if region.isVisible()]
        focus = self.focusWidget()
        now = next((n for n, region in enumerate(regions) if focus and region.isAncestorOf(focus)), -1)
        region = regions[(now + step) % len(regions)]
        if region is self.queue.left and self.queue.list.isVisible():
            self.queue.list.setFocus(Qt.FocusReason.TabFocusReason)
            return
        for child in region.findChildren(QWidget):
            if child.isVisible() and child.isEnabled() and child.focusPolicy() & Qt.FocusPolicy.TabFocus:
                child.setFocus(Qt.FocusReason.TabFocusReason)
                return

    def _right_edge(self) -> int:
        page = self.pages.currentWidget()
        return page.right_edge() if isinstance(page, QueuePage | ModelsPage | ImagePage) else 0

    # Events.

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        folded = self.width() < FOLD_BELOW_W
        if folded != self._folded:
            self._folded = folded
            self.rail.set_folded(folded)
            self.topbar.set_short(folded)
            self.folded.emit()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        text, good = promise(event.mimeData(), self.target_name)
        self.show_page("queue")
        self.queue.show_drag(text, good=good)
        # Accepted even when nothing can be made of it: the release says why.
        event.acceptProposedAction()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self.queue.show_drag("", good=False)

    def dropEvent(self, event: QDropEvent) -> None:
        self.queue.show_drag("", good=False)
        event.acceptProposedAction()
        paths = paths_of(event.mimeData())
        if paths:
            self.files_dropped.emit(paths)
            return
        text, _ = promise(event.mimeData(), self.target_name)
        self._notices.tell(Notice("Not a workflow file", text, "error"))

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.ActivationChange and self.isActiveWindow():
            self.look_wanted.emit()

    def closeEvent(self, event: QCloseEvent) -> None:
        if self._may_close:
            super().closeEvent(event)
            return
        event.ignore()
        self.close_wanted.emit()


def app_icon() -> QIcon:
    """The app's mark in the sizes that desktops ask for."""
    icon = QIcon()
    for size in (16, 24, 32, 48, 64, 128, 256):
        pixmap = QPixmap(size, size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        paint_mark(painter, QRectF(pixmap.rect()))
        painter.end()
        icon.addPixmap(pixmap)
    return icon
