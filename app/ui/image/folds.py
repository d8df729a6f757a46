"""The head of something that folds: a section of the log, a step of the build."""

from __future__ import annotations

from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QSizePolicy

from ..theme import Theme
from ..widgets.paint import TURNS, paint_icon, paint_text, text_width
from .words import Look

STAGE_H, STEP_H = 36, 30
_CHEVRON, _ICON, _GAP = 14, 14, 8


class FoldHead(QAbstractButton):
    """Checked while it is open. Its name, and what is said of it, stand beside the icon of its state.

    Args:
        inset: how far in it begins.
        is_step: it is a lesser one, of a step.
    """

    def __init__(self, theme: Theme, inset: int = 12, *, is_step: bool = False) -> None:
        super().__init__()
        self._theme, self._inset, self._is_step = theme, inset, is_step
        self._look = Look("", "grey", "circle-dashed")
        self._summary = self._right = ""
        self.setCheckable(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.updateGeometry)

    def show_texts(self, look: Look, title: str, summary: str, right: str) -> None:
        texts = (look, title, summary, right)
        if texts == (self._look, self.text(), self._summary, self._right):
            return
        self._look, self._summary, self._right = look, summary, right
        self.setText(title)
        said = (title, look.text.lower(), summary, right)
        self.setAccessibleName(", ".join(part for part in said if part))
        self.setToolTip(title if self._is_step else "")
        self.update()

    @property
    def moves(self) -> bool:
        return self._look.icon == TURNS

    def sizeHint(self) -> QSize:
        return QSize(160, round((STEP_H if self._is_step else STAGE_H) * self._theme.text_scale))

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, theme = QPainter(self), self._theme
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.underMouse():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("bg3"))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(4, 2, -4, -2), 6, 6)
        box = self.rect().adjusted(self._inset, 0, -12, 0)
        arrow = "chevron-down" if self.isChecked() else "chevron-right"
        paint_icon(painter, theme, arrow, "text3", _place(box, _CHEVRON))
        box.adjust(_CHEVRON + _GAP, 0, 0, 0)
        tone = "text3" if self._look.tone == "grey" else self._look.tone
        paint_icon(painter, theme, self._look.icon, tone, _place(box, _ICON))
        box.adjust(_ICON + _GAP, 0, 0, 0)
        if self._right:
            right = Qt.AlignmentFlag.AlignRight
            paint_text(painter, theme, box, self._right, "caption", "text2", right)
            box.adjust(0, 0, -text_width(theme, self._right, "caption") - 12, 0)
        kind = "mono" if self._is_step else "row"
        role = "text2" if self._look.icon == "circle-dashed" or self._is_step else "text"
        if self._look.tone == "red":
            role = "red"
        said = min(text_width(theme, self._summary, "caption"), box.width() // 2) if self._summary else 0
        name = min(text_width(theme, self.text(), kind) + 2, max(box.width() - said - _GAP, 0))
        paint_text(painter, theme, QRect(box.left(), 0, name, box.height()), self.text(), kind, role)
        box.adjust(name + _GAP, 0, 0, 0)
        paint_text(painter, theme, box, self._summary, "caption", "text2")


def _place(box: QRect, size: int) -> QRect:
    return QRect(box.left(), box.top() + (box.height() - size) // 2, size, size)
