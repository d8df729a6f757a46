"""A log with its head: filters by level, search, wrapping, copying, clearing. Knows nothing of who speaks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent
from PySide6.QtWidgets import QFrame, QStackedWidget, QWidget

from ...log_lines import Line
from ..theme import Theme
from .basics import Button, Elided, Icon, Text, column, hairline, row
from .fields import SearchField
from .log_jump import LogJump
from .log_pane import MOST_HITS, MOST_LINES, LogPane
from .scrolling import OverlayBar
from .small import Segments

_BATCH_MS, _MOST_A_BATCH = 50, 2_000
_SEARCH_AFTER_MS = 150
_FILTERS = (("all", "All"), ("info", "Info"), ("warning", "Warnings"), ("error", "Errors"))


class LogView(QFrame):
    """Feed it lines with :meth:`feed`; it shows them at most every 50 ms.

    Args:
        name: what it is the log of, for screen readers.

    Signals:
        cleared: the user has emptied it.
    """

    cleared = Signal()

    def __init__(self, theme: Theme, title: str = "Log", name: str = "Log") -> None:
        super().__init__()
        self.setProperty("kind", "card")
        self._theme = theme
        self._waiting: deque[Line] = deque(maxlen=MOST_LINES)
        self._empty_act: Callable[[], object] = lambda: None
        self.pane = LogPane(theme, name)
        self._bar = OverlayBar(self.pane)
        self._build(theme, title)
        self._due = _timer(self, _BATCH_MS, self._flush)
        self._typed = _timer(self, _SEARCH_AFTER_MS, self._search)
        self._bind()
        self.show_empty("No output yet", "")
        self._show_counts()

    # What comes and goes.

    def feed(self, lines: Iterable[Line]) -> None:
        """Append lines, in a moment, with what comes until then."""
        self._waiting.extend(lines)
        if self._waiting and not self._due.isActive():
            self._due.start()

    def clear_lines(self) -> None:
        """Forget all lines, those that wait too."""
        self._waiting.clear()
        self._due.stop()
        self.pane.clear_lines()

    def show_empty(
        self, title: str, text: str, button: str = "", act: Callable[[], object] = lambda: None
    ) -> None:
        """What stands there while there are no lines, and what a click does about it."""
        self._empty_title.setText(title)
        self._empty_text.setText(text)
        self._empty_text.setVisible(bool(text))
        self._empty_act = act
        self.empty_button.set_label(button)
        self.empty_button.setVisible(bool(button))

    def show_note(self, text: str, role: str = "text2") -> None:
        """One sentence between head and lines, as why nothing comes; empty: none."""
        self._note.setText(text)
        self._note.set_role(role)
        self._note_box.setVisible(bool(text))

    def note(self) -> str:
        return self._note.text()

    def add_control(self, control: QWidget) -> None:
        """A control beside the title, as one that chooses whose log it is."""
        self._controls.addWidget(control)

    def open_search(self) -> None:
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()

    def escape(self) -> bool:
        """End a search; whether there was one."""
        if not self.search.text():
            return False
        self.search.clear()
        self._search()
        self.pane.setFocus(Qt.FocusReason.OtherFocusReason)
        return True

    def copy(self) -> None:
        """What is selected, else all lines that are shown."""
        selected = self.pane.textCursor().selection().toPlainText()
        QGuiApplication.clipboard().setText(selected or self.pane.visible_text())

    def _flush(self) -> None:
        self._due.stop()
        count = min(len(self._waiting), _MOST_A_BATCH)
        self.pane.add([self._waiting.popleft() for _ in range(count)])
        if self._waiting:
            self._due.start()

    # How it is built.

    def _build(self, theme: Theme, title: str) -> None:
        self.filters = Segments(theme, _FILTERS, "Show")
        self.filters.choose("all")
        self.search = SearchField(theme, "Search log", 200)
        self._count = Text(theme, "", "caption", "text3")
        self._count.hide()
        self.wrap = Button(theme, kind="bare", icon="wrap-text", tip="Wrap long lines")
        self.wrap.setCheckable(True)
        self.copy_button = Button(theme, kind="bare", icon="copy", tip="Copy the lines shown")
        self.clear_button = Button(theme, kind="bare", icon="trash-2", tip="Clear")
        self._controls = row(gap=8)
        head = row(Text(theme, title, "section"), gap=10, margins=(16, 8, 10, 8))
        head.addLayout(self._controls)
        head.addWidget(self.filters)
        head.addStretch(1)
        head.addWidget(self._count)
        head.addWidget(self.search, 2)
        tools = row(self.wrap, self.copy_button, self.clear_button, gap=2)
        head.addLayout(tools)
        self._note = Elided(theme, "", "caption", "text2")
        self._note_box = QWidget()
        self._note_box.setLayout(column(self._note, hairline(), margins=(16, 6, 16, 0), gap=6))
        self._note_box.hide()
        self._stack = QStackedWidget()
        self._stack.addWidget(self.pane)
        self._stack.addWidget(self._empty(theme))
        whole = column(margins=(1, 0, 1, 1))
        whole.addLayout(head)
        whole.addWidget(hairline())
        whole.addWidget(self._note_box)
        whole.addWidget(self._stack, 1)
        self.setLayout(whole)
        self.jump = LogJump(theme, self.pane)

    def _empty(self, theme: Theme) -> QWidget:
        self._empty_title, self._empty_text = Text(theme, "", "section"), Text(theme, "", "body", "text2")
        self.empty_button = Button(theme, "")
        self.empty_button.clicked.connect(lambda: self._empty_act())
        page = QFrame()
        page.setProperty("kind", "console")
        layout = column(None)
        icon = Icon(theme, "file-text", "text3", 28)
        for part, gap in ((icon, 10), (self._empty_title, 4), (self._empty_text, 14), (self.empty_button, 0)):
            layout.addWidget(part, alignment=Qt.AlignmentFlag.AlignHCenter)
            layout.addSpacing(gap)
        layout.addStretch(2)
        page.setLayout(layout)
        return page

    def _bind(self) -> None:
        self.filters.chosen.connect(self.pane.set_filter)
        self.search.textChanged.connect(self._typed.start)
        self.search.installEventFilter(self)
        self.wrap.toggled.connect(self._wrap)
        self.copy_button.clicked.connect(self.copy)
        self.clear_button.clicked.connect(self._clear)
        self.pane.counted.connect(self._show_counts)
        self.pane.found.connect(self._show_found)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self.search and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            back = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                if self._typed.isActive():
                    self._search()
                else:
                    self.pane.step(-1 if back else 1)
                return True
        return False

    # What is shown.

    def _search(self) -> None:
        self._typed.stop()
        self.pane.search_for(self.search.text())

    def _wrap(self, wrapped: bool) -> None:
        self.pane.set_wrapped(wrapped=wrapped)
        self.wrap.set_icon("wrap-text", "accent_text" if wrapped else "text2")

    def _clear(self) -> None:
        self.clear_lines()
        self.cleared.emit()

    def _show_counts(self) -> None:
        pane = self.pane
        self._stack.setCurrentIndex(0 if pane.line_count() else 1)
        for key, word in (("warning", "Warnings"), ("error", "Errors")):
            count = pane.counts["warning" if key == "warning" else "error"]
            self.filters.set_text(key, f"{word} {count}" if count else word)
        self.pane.setToolTip(
            f"Only the newest {MOST_LINES:,} lines are kept.".replace(",", " ") if pane.has_overflowed else ""
        )

    def _show_found(self) -> None:
        count = self.pane.hit_count
        of = f"{MOST_HITS:,}+".replace(",", " ") if count >= MOST_HITS else str(count)
        self._count.setText(f"{self.pane.hit_number} of {of}" if count else "No match")
        self._count.setVisible(bool(self.search.text()))


def _timer(owner: QObject, after_ms: int, act: Callable[[], None]) -> QTimer:
    made = QTimer(owner)
    made.setSingleShot(True)
    made.setInterval(after_ms)
    made.timeout.connect(act)
    return made
