"""What is on its way now, and the syncs of before."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QWidget

from ..theme import Theme
from ..widgets.basics import Elided, Icon, Text, column, row
from ..widgets.small import Bar
from .shown import EarlierShown, LaneShown
from .words import of_size, percent, rate, short_name

_MOST_EARLIER = 5


class LaneSection(QWidget):
    """A name, a bar and figures for each file on its way; hidden while there is none."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.lanes: list[_Lane] = []
        self._title, self._slots = (
            Text(theme, "", "caption_strong", "text2"),
            Text(theme, "", "caption", "text2"),
        )
        self._column = column(gap=8)
        self._column.addLayout(row(self._title, None, self._slots))
        self.setLayout(self._column)
        self.hide()

    def show_lanes(self, lanes: Sequence[LaneShown], slots: int) -> None:
        """``slots``: how many files may be on their way at once; 0: it is not said."""
        while len(self.lanes) < len(lanes):
            self.lanes.append(_Lane(self._theme))
            self._column.addWidget(self.lanes[-1])
        for number, lane in enumerate(self.lanes):
            lane.setVisible(number < len(lanes))
            if number < len(lanes):
                lane.show_lane(lanes[number])
        self.setVisible(bool(lanes))
        ways = {lane.is_down for lane in lanes}
        one = "Downloading now" if True in ways else "Uploading now"
        self._title.setText(one if len(ways) < 2 else "On their way now")
        self._slots.setText(f"{len(lanes)} of {slots} slots" if slots else "")


class _Lane(QWidget):
    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._path = ""
        self._name, self._percent = Elided(theme, "", "caption", "text"), Text(theme, "", "pill", "text")
        self.bar = Bar(theme)
        self._sizes, self._rate = Text(theme, "", "caption", "text2"), Text(theme, "", "caption", "text2")
        head = row(gap=8)
        head.addWidget(self._name, 1)
        head.addWidget(self._percent)
        layout = column(gap=3)
        layout.addLayout(head)
        layout.addWidget(self.bar)
        layout.addLayout(row(self._sizes, None, self._rate))
        self.setLayout(layout)

    def show_lane(self, lane: LaneShown) -> None:
        anew, self._path = lane.path != self._path, lane.path
        name = short_name(lane.path)
        self._name.setText(name)
        self.bar.setAccessibleName(name)
        self.bar.set_part(lane.done / lane.total if lane.total > 0 else 0.0, anew=anew)
        self._percent.setText(percent(lane.done, lane.total))
        self._sizes.setText(of_size(lane.done, lane.total) if lane.total > 0 else "")
        self._rate.setText(rate(lane.rate) if lane.rate is not None else "")


class EarlierSection(QWidget):
    """The latest syncs; hidden while there was none."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._lines = [_EarlierLine(theme) for _ in range(_MOST_EARLIER)]
        self.setLayout(column(Text(theme, "Earlier syncs", "caption_strong", "text2"), *self._lines, gap=6))
        self.hide()

    def show_earlier(self, earlier: Sequence[EarlierShown]) -> None:
        """The latest first."""
        self.setVisible(bool(earlier))
        for number, line in enumerate(self._lines):
            line.setVisible(number < len(earlier))
            if number < len(earlier):
                line.show_line(earlier[number])


class _EarlierLine(QWidget):
    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._icon = Icon(theme, "check", "green", 14)
        self._text, self._when = Elided(theme, "", "caption", "text"), Text(theme, "", "caption", "text2")
        line = row(self._icon, gap=8)
        line.addWidget(self._text, 1)
        line.addWidget(self._when)
        self.setLayout(line)

    def show_line(self, earlier: EarlierShown) -> None:
        self._icon.set_icon("check" if earlier.ok else "circle-x", "green" if earlier.ok else "red")
        self._icon.setAccessibleName("done" if earlier.ok else "not finished")
        self._text.setText(earlier.text)
        self._when.setText(earlier.when)
