"""Questions before anything is lost. What would be lost is ticked by its name when it is several files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QAbstractItemModel, QEvent, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QListWidget,
    QListWidgetItem,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from ...jobs.figures import size
from ..theme import Theme
from ..widgets.floating import Question
from ..widgets.paint import paint_text, text_width
from ..widgets.scrolling import OverlayBar
from .delegate import paint_box
from .model import AnyIndex
from .shown import Choice, ModelRow, RunShown
from .words import files, short_name, stop_text

_MOST_LIST_H, _LINE_H, _BOX = 234, 28, 16
_SIZE = Qt.ItemDataRole.UserRole + 1
Paths = list[str]


class _Ticks(QStyledItemDelegate):
    """Draws a name behind a tick box; a click anywhere on it ticks, as does Space."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme

    def sizeHint(self, option: QStyleOptionViewItem, index: AnyIndex) -> QSize:
        return QSize(0, round(_LINE_H * self._theme.text_scale))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: AnyIndex) -> None:
        theme, whole = self._theme, QRect(option.rect)
        view: QWidget = option.widget
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        is_current = isinstance(view, QAbstractItemView) and view.currentIndex() == index
        if view.hasFocus() and is_current:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("bg3"))
            painter.drawRoundedRect(QRectF(whole), 6, 6)
        box = QRect(whole.left() + 6, whole.top() + (whole.height() - _BOX) // 2, _BOX, _BOX)
        paint_box(painter, theme, box, index.data(Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Checked)
        line = whole.adjusted(6 + _BOX + 8, 0, -16, 0)
        count = str(index.data(_SIZE))
        paint_text(painter, theme, line, count, "caption", "text2", Qt.AlignmentFlag.AlignRight)
        room = line.adjusted(0, 0, -text_width(theme, count, "caption") - 12, 0)
        paint_text(painter, theme, room, str(index.data()))
        painter.restore()

    def editorEvent(
        self, event: QEvent, model: QAbstractItemModel, option: QStyleOptionViewItem, index: AnyIndex
    ) -> bool:
        clicked = isinstance(event, QMouseEvent) and event.type() == QEvent.Type.MouseButtonRelease
        pressed = isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Space
        if clicked or pressed:
            ticked = index.data(Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Checked
            state = Qt.CheckState.Unchecked if ticked else Qt.CheckState.Checked
            model.setData(index, state, Qt.ItemDataRole.CheckStateRole)
        return clicked or pressed


class NamesQuestion(Question):
    """Asks about several files: only those that are ticked are meant, and at first none is.

    Args:
        verb: as ``Delete``.
    """

    def __init__(
        self,
        theme: Theme,
        parent: QWidget,
        title: str,
        text: str,
        safe: str,
        verb: str,
        rows: Sequence[ModelRow],
    ) -> None:
        super().__init__(theme, parent, title, text, safe, verb)
        self._verb = verb
        self.names = QListWidget()
        self.names.setAccessibleName("Files")
        self.names.setProperty("kind", "ticks")
        self.names.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.names.setUniformItemSizes(True)
        self._ticks = _Ticks(theme)
        self.names.setItemDelegate(self._ticks)
        for row in rows:
            count = row.volume_size if row.volume_size is not None else row.local_size
            item = QListWidgetItem(row.path)
            item.setData(_SIZE, size(count or 0))
            item.setToolTip(row.path)
            item.setData(Qt.ItemDataRole.UserRole, row.path)
            item.setFlags(
                Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsSelectable
            )
            item.setCheckState(Qt.CheckState.Unchecked)
            self.names.addItem(item)
        high = round(_LINE_H * theme.text_scale)
        self.names.setFixedHeight(min(len(rows) * high + 10, _MOST_LIST_H))
        self.insert(self.names)
        OverlayBar(self.names)
        self.names.itemChanged.connect(self._count)
        self._count()

    @property
    def paths(self) -> Paths:
        """Those that are ticked."""
        items = [self.names.item(number) for number in range(self.names.count())]
        ticked = [item for item in items if item.checkState() == Qt.CheckState.Checked]
        return [str(item.data(Qt.ItemDataRole.UserRole)) for item in ticked]

    def _count(self) -> None:
        ticked = len(self.paths)
        self.act_button.setEnabled(ticked > 0)
        self.act_button.set_label(f"{self._verb} {files(ticked)}" if ticked else self._verb)


class Questions:
    """Opens a question over a page; what follows is called when it is answered with yes."""

    def __init__(self, theme: Theme, page: QWidget) -> None:
        self._theme, self._page = theme, page

    def stop(self, run: RunShown, half: int, yes: Callable[[], None]) -> None:
        question = self._made("Stop the sync?", stop_text(run, half), "Keep syncing", "Stop")
        _open(question, yes)

    def discard(self, yes: Callable[[], None]) -> None:
        text = "What was half sent is removed from the volume, and begins anew next time. Whole files stay."
        _open(
            self._made("Stop, and discard what was half sent?", text, "Keep syncing", "Stop and discard"), yes
        )

    def overwrite(
        self, rows: Sequence[ModelRow], yes: Callable[[Paths], None], both: Callable[[Paths], None]
    ) -> None:
        """Before files on the volume are replaced; ``both``: keep the two, where that is possible."""
        if len(rows) > 1:
            text = "Tick those that may be replaced. What is on the volume now cannot be brought back."
            self._ask_names(f"Overwrite {files(len(rows))} on the volume?", text, "Overwrite", rows, yes)
            return
        [row] = rows
        about = row.versus or f"The volume's file has {size(row.volume_size or 0)}."
        text, title = (
            f"{about} It cannot be brought back.",
            f"Overwrite {short_name(row.path)} on the volume?",
        )
        self._ask_one(title, text, "Overwrite", row, yes, both)

    def overwrite_local(
        self, rows: Sequence[ModelRow], yes: Callable[[Paths], None], both: Callable[[Paths], None]
    ) -> None:
        """Before files of this computer are replaced."""
        if len(rows) > 1:
            text = "Tick those that may be replaced. What is here now cannot be brought back."
            self._ask_names(f"Overwrite {files(len(rows))} on this computer?", text, "Overwrite", rows, yes)
            return
        [row] = rows
        about = row.versus_local or f"The file here has {size(row.local_size or 0)}."
        title = f"Overwrite {short_name(row.path)} on this computer?"
        self._ask_one(title, f"{about} It cannot be brought back.", "Overwrite", row, yes, both)

    def delete(self, rows: Sequence[ModelRow], yes: Callable[[Paths], None]) -> None:
        """Before files of the volume are deleted."""
        if len(rows) > 1:
            text = "Tick those to delete. They cannot be brought back; files on this computer stay."
            self._ask_names(f"Delete {files(len(rows))} from the volume?", text, "Delete", rows, yes)
            return
        [row] = rows
        here = "The file on this computer stays." if row.local_size is not None else "There is no copy here."
        text = f"{row.path}, {size(row.volume_size or 0)}. It cannot be brought back. {here}"
        question = self._made(f"Delete {short_name(row.path)} from the volume?", text, "Keep", "Delete")
        _open(question, lambda: yes([row.path]))

    def _ask_one(
        self,
        title: str,
        text: str,
        verb: str,
        row: ModelRow,
        yes: Callable[[Paths], None],
        both: Callable[[Paths], None],
    ) -> None:
        can_keep = Choice.KEEP_BOTH in row.choices
        question = self._made(title, text, "Keep both" if can_keep else "Keep it", verb)
        if can_keep:
            # Esc does nothing at all; only the button keeps both.
            question.safe_button.clicked.connect(lambda: both([row.path]))
        _open(question, lambda: yes([row.path]))

    def _ask_names(
        self, title: str, text: str, verb: str, rows: Sequence[ModelRow], yes: Callable[[Paths], None]
    ) -> None:
        question = NamesQuestion(self._theme, self._page.window(), title, text, "Keep all", verb, rows)
        _open(question, lambda: yes(question.paths))

    def _made(self, title: str, text: str, safe: str, act: str) -> Question:
        return Question(self._theme, self._page.window(), title, text, safe, act)


def _open(question: Question, yes: Callable[[], None]) -> None:
    question.accepted.connect(yes)
    question.finished.connect(question.deleteLater)
    question.open()
