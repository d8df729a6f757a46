"""A page with a panel at its right: beside what the page is about or, in a narrow window, over it."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter, QWidget

from ..theme import Theme
from ..theme.tokens import FOLD_BELOW_W, INSPECTOR_MAX_W, INSPECTOR_MIN_W
from .basics import column

#: Beside the panel there must be so much room for the rest, at 100 % text size.
_MAIN_LEAST_W = 620


class Panel(QWidget):
    """What stands at the right."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("region", "inspector")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setMinimumWidth(INSPECTOR_MIN_W)
        self.setMaximumWidth(INSPECTOR_MAX_W)

    def set_over(self, *, over: bool) -> None:
        """Over the page, from now on, or beside what it is about."""


class Sides(QWidget):
    """Args:
        usual_w: the panel's width until the user takes another one.

    Signals:
        narrowed: whether the panel lies over the page from now on.

    The panel is never given another parent, which would cost it its fonts; it stands over a blank part of the
    splitter.
    """

    narrowed = Signal(bool)

    def __init__(self, theme: Theme, main: QWidget, side: Panel, usual_w: int) -> None:
        super().__init__()
        self._theme, self._side = theme, side
        self._usual_w = self._side_w = usual_w
        self._is_narrow = False
        self._place = QWidget()
        self._place.setMinimumWidth(INSPECTOR_MIN_W)
        self._place.setMaximumWidth(INSPECTOR_MAX_W)
        self._place.installEventFilter(self)
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setHandleWidth(0)
        self.splitter.setChildrenCollapsible(False)
        self.setLayout(column(self.splitter))
        for number, part in enumerate((main, self._place)):
            self.splitter.addWidget(part)
            self.splitter.setStretchFactor(number, 1 - number)
        side.setParent(self)
        self.splitter.splitterMoved.connect(self._splitter_moved)
        theme.changed.connect(self._arrange)

    @property
    def is_over(self) -> bool:
        """Whether the panel lies over the page now."""
        return self._is_narrow and not self._side.isHidden()

    @property
    def side_w(self) -> int:
        return self._side_w

    def show_side_w(self, width: int) -> None:
        self._side_w = min(max(width, INSPECTOR_MIN_W), INSPECTOR_MAX_W)
        self._arrange()

    def set_over(self, *, over: bool) -> None:
        """In a narrow window: open the panel over the page, or close it."""
        if self._is_narrow:
            self._side.setVisible(over)
            self._arrange()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Resize, QEvent.Type.Move) and not self._is_narrow:
            self._fit_side()
        return False

    def _arrange(self) -> None:
        least = round(_MAIN_LEAST_W * self._theme.text_scale)
        narrow = self.window().width() < FOLD_BELOW_W or self.width() < least + INSPECTOR_MIN_W
        if narrow != self._is_narrow:
            self._is_narrow = narrow
            self._place.setVisible(not narrow)
            self._side.set_over(over=narrow)
            self._side.setVisible(not narrow)
            self.narrowed.emit(narrow)
        if not narrow:
            width = max(min(self._side_w, self.width() - least), INSPECTOR_MIN_W)
            self.splitter.setSizes([self.width() - width, width])
        self._fit_side()

    def _fit_side(self) -> None:
        side = self._side
        if self._is_narrow:
            width = min(max(self._usual_w, side.minimumSizeHint().width()), self.width())
            side.setGeometry(self.width() - width, 0, width, self.height())
        else:
            side.setGeometry(QRect(self._place.mapTo(self, QPoint(0, 0)), self._place.size()))
        side.raise_()

    def _splitter_moved(self) -> None:
        self._side_w = self._place.width()
