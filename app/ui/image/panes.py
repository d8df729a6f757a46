"""The lines of one stage or step: a plain log that follows its end, with a scroll bar over its margin."""

from __future__ import annotations

from collections.abc import Callable

from ...log_lines import Line
from ..theme import Theme
from ..widgets.log_jump import LogJump
from ..widgets.log_pane import LogPane
from ..widgets.scrolling import OverlayBar

_LINE_H, _FRAME_H, _MOST_LINES = 18, 14, 12


class StagePane(LogPane):
    """Takes the height that it is given.

    Args:
        role_of: as of :class:`LogPane`.
    """

    def __init__(self, theme: Theme, name: str, role_of: Callable[[Line], str] = lambda _: "") -> None:
        super().__init__(theme, name, plain=True, role_of=role_of)
        self.setProperty("flat", True)
        self._bar = OverlayBar(self)
        self._jump = LogJump(theme, self)


class StepPane(StagePane):
    """As high as its lines, up to a limit."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__(theme, name)
        self.setMinimumHeight(0)
        self._fit()
        self.counted.connect(self._fit)
        theme.changed.connect(self._fit)

    def set_wrapped(self, *, wrapped: bool) -> None:
        super().set_wrapped(wrapped=wrapped)
        self._fit()

    def _fit(self) -> None:
        rows = min(max(self.document().size().toSize().height(), 1), _MOST_LINES)
        line = max(self.fontMetrics().lineSpacing(), round(_LINE_H * self._theme.text_scale))
        height = rows * line + _FRAME_H
        if height != self.maximumHeight():
            self.setFixedHeight(height)
