"""The custom nodes: how each was imported, what is known of it, and adding another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QPersistentModelIndex,
    QRect,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor, QFocusEvent, QKeyEvent, QPainter, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from ..theme import Theme
from ..widgets.basics import Button, Text, Wrapped, column, row
from ..widgets.paint import TURNS, paint_icon, paint_text, text_width
from .parts import Field, line_field, title_row
from .shown import PackRow, PackState

ROW_H, _ICON, _GAP, ROW_INSET = 28, 16, 8, 6
_FIRST, _SNUG = 6, 5
_INDEX = QModelIndex | QPersistentModelIndex
#: Icon, colour and the word for screen readers.
STATES: Final[dict[PackState, tuple[str, str, str]]] = {
    "loaded": ("check", "green", "loaded"),
    "slow": ("clock", "amber", "slow"),
    "failed": ("circle-x", "red", "failed"),
    "disabled": ("ban", "text3", "disabled"),
    "busy": (TURNS, "blue", "changing"),
    "unknown": ("", "text3", ""),
}


class PackModel(QAbstractListModel):
    """The rows shown."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[PackRow] = []

    def show_rows(self, rows: Sequence[PackRow]) -> None:
        """Change what changed; the same custom nodes keep their rows, and with them the focus."""
        if [row.name for row in rows] != [row.name for row in self.rows]:
            self.beginResetModel()
            self.rows = list(rows)
            self.endResetModel()
        elif list(rows) != self.rows:
            self.rows = list(rows)
            self.dataChanged.emit(self.index(0), self.index(len(self.rows) - 1))

    def rowCount(self, parent: _INDEX | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def data(self, index: _INDEX, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        pack = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return pack.name
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return ", ".join(part for part in (pack.name, STATES[pack.state][2], pack.note) if part)
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join(part for part in (pack.name, pack.note) if part)
        return None


class PackDelegate(QStyledItemDelegate):
    """Draws a row: state, name, and what there is to say of it at the right."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme

    def sizeHint(self, option: QStyleOptionViewItem, index: _INDEX) -> QSize:
        return QSize(0, row_height(self._theme))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _INDEX) -> None:
        theme, pack = self._theme, index.model().rows[index.row()]  # type: ignore[attr-defined]
        state: QStyle.StateFlag = option.state
        view: QWidget = option.widget
        whole: QRect = option.rect
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ground = QRectF(whole).adjusted(1, 1, -1, -1)
        if state & QStyle.StateFlag.State_MouseOver:
            colour = QColor(theme.color("bg3"))
            colour.setAlphaF(0.5)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawRoundedRect(ground, 6, 6)
        if state & QStyle.StateFlag.State_HasFocus and view.window().testAttribute(
            Qt.WidgetAttribute.WA_KeyboardFocusChange
        ):
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme.color("ring"), 2))
            painter.drawRoundedRect(ground, 6, 6)
        box = whole.adjusted(ROW_INSET, 0, -ROW_INSET, 0)
        icon, tone, _ = STATES[pack.state]
        if icon:
            place = QRect(box.left(), box.top() + (box.height() - _ICON) // 2, _ICON, _ICON)
            paint_icon(painter, theme, icon, tone, place)
        noted = min(text_width(theme, pack.note, "caption") + 2, box.width() // 2)
        name = box.adjusted(_ICON + _GAP, 0, -noted - _GAP, 0)
        paint_text(painter, theme, name, pack.name, "row", "text3" if pack.state == "disabled" else "text")
        note = box.adjusted(box.width() - noted, 0, 0, 0)
        paint_text(painter, theme, note, pack.note, "caption", "text2", Qt.AlignmentFlag.AlignRight)
        painter.restore()


class PackList(QListView):
    """As high as its rows: the column around it scrolls.

    Signals:
        opened: the row of the custom node that the user wants to know more of.
    """

    opened = Signal(object)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.packs = PackModel()
        self._delegate = PackDelegate(theme)
        self.setModel(self.packs)
        self.setItemDelegate(self._delegate)
        self.setAccessibleName("Custom nodes")
        self.setMouseTracking(True)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        #: Stands over the row that was opened, for a popover to open under.
        self.anchor = QWidget(self.viewport())
        self.anchor.setFocusProxy(self)
        self.anchor.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.clicked.connect(self._open)
        theme.changed.connect(self._fit)

    def show_rows(self, rows: Sequence[PackRow]) -> None:
        self.packs.show_rows(rows)
        self._fit()

    @property
    def moves(self) -> bool:
        return any(pack.state == "busy" for pack in self.packs.rows)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self._open(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        if not self.currentIndex().isValid() and self.packs.rows:
            self.setCurrentIndex(self.packs.index(0))

    def _open(self, index: QModelIndex) -> None:
        if index.isValid():
            self.anchor.setGeometry(self.visualRect(index))
            self.opened.emit(self.packs.rows[index.row()])

    def _fit(self) -> None:
        self.setFixedHeight(len(self.packs.rows) * row_height(self._theme))


class AddForm(QWidget):
    """Signals: ``wanted`` with a git address and a commit, which may be empty; ``left`` without."""

    wanted = Signal(str, str)
    left = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.address = Field(theme, "Git address", line_field("https://github.com/owner/name"))
        self.commit = Field(theme, "Commit", line_field("newest"))
        self.leave = Button(theme, "Cancel", size="small")
        self.leave.clicked.connect(self.left)
        self.install = Button(theme, "Install", "primary", icon="download", size="small")
        self.install.clicked.connect(self._install)
        layout = column(self.address, self.commit, gap=12)
        layout.addLayout(row(None, self.leave, self.install))
        self.setLayout(layout)
        for field in (self.address, self.commit):
            field.control.returnPressed.connect(self._install)  # type: ignore[attr-defined]

    def empty(self) -> None:
        for field in (self.address, self.commit):
            field.control.setText("")  # type: ignore[attr-defined]
            field.show_wrong("")

    def _install(self) -> None:
        address, commit = (
            field.control.text().strip()  # type: ignore[attr-defined]
            for field in (self.address, self.commit)
        )
        self.wanted.emit(address, commit)


class PackSection(QWidget):
    """Title and count, the first few rows or all of them, and a form to add one.

    Signals:
        opened: as of :class:`PackList`.
    """

    opened = Signal(object)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._all: tuple[PackRow, ...] = ()
        self._summary, self._none = (
            Text(theme, "", "caption", "text2"),
            Wrapped(theme, "", "caption", "text2"),
        )
        self.list = PackList(theme)
        self.list.opened.connect(self.opened)
        self.more = Button(theme, "", "ghost", size="small")
        self.more.setProperty("snug", True)
        self.more.setCheckable(True)
        self.more.toggled.connect(self._show)
        self.add = Button(theme, "Add…", "link", size="small")
        self.add.setAccessibleName("Add a custom node…")
        self.add.clicked.connect(lambda: self.set_adding(adding=True))
        self.form = AddForm(theme)
        self.form.left.connect(lambda: self.set_adding(adding=False))
        title, foot = title_row(theme, "Custom nodes", self._summary), row(self.more, None, self.add)
        layout = column(gap=6)
        for part in (title, row(self._none), self.list, foot, row(self.form)):
            if isinstance(part, QWidget):
                layout.addWidget(part)
            else:
                part.setContentsMargins(ROW_INSET, 0, ROW_INSET, 0)
                layout.addLayout(part)
        # The text of the flat button, and not its invisible border, stands under the others.
        foot.setContentsMargins(ROW_INSET - _SNUG, 0, ROW_INSET, 0)
        self.setLayout(layout)
        self.form.hide()
        self.show_packs((), "", "")

    @property
    def is_adding(self) -> bool:
        return not self.form.isHidden()

    def show_packs(self, packs: Sequence[PackRow], summary: str, none: str) -> None:
        """All of them, a count such as ``23 loaded, 1 failed``, and a sentence for when there is none."""
        self._all = tuple(packs)
        self._summary.setText(summary)
        self._none.setText(none)
        self._none.setVisible(not packs and bool(none))
        self._show()

    def set_adding(self, *, adding: bool) -> None:
        if adding != self.is_adding:
            self.form.empty()
            self.form.setVisible(adding)
            self.add.setVisible(not adding)
            if adding:
                self.form.address.control.setFocus()

    def _show(self) -> None:
        every = self.more.isChecked() or len(self._all) <= _FIRST
        self.list.show_rows(self._all if every else self._all[:_FIRST])
        self.list.setVisible(bool(self._all))
        self.more.setText("Show fewer" if self.more.isChecked() else f"Show all {len(self._all)}")
        self.more.setVisible(len(self._all) > _FIRST)


def row_height(theme: Theme) -> int:
    return round(ROW_H * theme.text_scale)
