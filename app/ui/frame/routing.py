"""The switch in the top bar: where ComfyUI's own Queue button sends its workflows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QButtonGroup, QSizePolicy, QWidget

from ..theme import Theme
from ..widgets.basics import Button, Icon, Text, Wrapped, frame, row
from ..widgets.busy import spinner_icon
from ..widgets.floating import Popover
from ..widgets.motion import Motion

Mode = Literal["local", "runpod"]
CAPTION = "ComfyUI Queue button"
NO_NODE = "The interception node is not installed. Install it on the ComfyUI page."
KEYS = "Ctrl+Shift+R"
_DIVIDER_H = 24
#: Text sizes above that leave no room for words in the bar of the smallest window.
_MOST_SHORT_SCALE = 1.05
#: Text, icon and colour of each, and what it says of itself.
_SEGMENTS: Final[dict[Mode, tuple[str, str, str, str]]] = {
    "local": ("Local", "monitor", "teal", "Queue in ComfyUI runs on this computer"),
    "runpod": ("RunPod", "cloud", "violet", "Queue in ComfyUI runs on RunPod"),
}
_OTHER = 'Workflows dropped here go where "Run on …" says, whatever this switch says.'


class _Segment(Button):
    """A place. Its icon has the place's colour while it is in force, and turns while it comes into force."""

    def __init__(self, theme: Theme, mode: Mode) -> None:
        text, icon, colour, about = _SEGMENTS[mode]
        super().__init__(theme, text, "segment", icon=icon, role="text3", tip=about, keys=KEYS)
        self._icon, self._colour = icon, colour
        self.about = f"{self.toolTip()}\n{_OTHER}"
        self.pending = False
        self.setCheckable(True)
        self.setAccessibleName(f"{text}: {about}")
        self.toggled.connect(self.show_look)

    def show_look(self) -> None:
        if self.pending:
            self.setIcon(spinner_icon(self._theme, "text2", self.iconSize().width(), self.devicePixelRatio()))
        else:
            self.set_icon(self._icon, self._colour if self.isChecked() else "text3")

    def _restyle(self) -> None:
        super()._restyle()
        if getattr(self, "pending", False):
            self.show_look()


class RoutingSwitch(QWidget):
    """Local or RunPod, with its caption, set apart from the target by a line.

    Signals:
        wanted: ``local`` or ``runpod``; :meth:`show_mode` then says what has come of it.
    """

    wanted = Signal(str)

    def __init__(self, theme: Theme, motion: Motion) -> None:
        super().__init__()
        self._theme, self._motion = theme, motion
        self.mode: Mode = "local"
        self._pending = self._short = False
        divider = frame("divider")
        divider.setFixedHeight(_DIVIDER_H)
        self._caption, self._icon = Text(theme, CAPTION, "body", "text2"), Icon(theme, "waypoints")
        self._caption.setToolTip(_OTHER)
        self._icon.setToolTip(f"{CAPTION}\n{_OTHER}")
        self._icon.setAccessibleName(CAPTION)
        self._track = frame("segments")
        self._track.setAccessibleName(CAPTION)
        self._track.setFixedHeight(32)
        self._group = QButtonGroup(self)
        self.segments: dict[Mode, _Segment] = {}
        for mode in _SEGMENTS:
            segment = _Segment(theme, mode)
            segment.clicked.connect(lambda _=False, mode=mode: self._want(mode))
            self._group.addButton(segment)
            self.segments[mode] = segment
        self._track.setLayout(row(*self.segments.values(), gap=2, margins=(2, 2, 2, 2)))
        self.setLayout(row(divider, self._caption, self._icon, self._track, gap=12))
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        motion.ticked.connect(self._tick)
        theme.changed.connect(self._fit)
        self._fit()
        self.show_mode("local", pending=False, enabled=False, tip=NO_NODE)

    def show_mode(self, mode: Mode, *, pending: bool, enabled: bool, tip: str = "") -> None:
        """The mode in force, or on its way there.

        Args:
            pending: the node has not answered yet.
            tip: why it is not enabled, or what else there is to know of it.
        """
        self.mode, self._pending = mode, pending
        for each, segment in self.segments.items():
            segment.pending = pending and each == mode
            segment.setEnabled(enabled)
            segment.setToolTip(tip or segment.about)
            segment.setAccessibleDescription("changing" if segment.pending else tip)
        self.segments[mode].setChecked(True)
        for segment in self.segments.values():
            segment.show_look()
        self._want_motion()

    def set_short(self, short: bool) -> None:
        """In a narrow window an icon stands for the caption; with larger texts the places are icons, too."""
        self._short = short
        self._fit()

    def toggle(self) -> None:
        """The other one, as its shortcut does."""
        other: Mode = "local" if self.mode == "runpod" else "runpod"
        if self.segments[other].isEnabled() and not self._pending:
            self.segments[other].click()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._want_motion()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._motion.want(self, wanted=False)

    def _fit(self) -> None:
        self._caption.setVisible(not self._short)
        self._icon.setVisible(self._short)
        for mode, segment in self.segments.items():
            words = not self._short or self._theme.text_scale <= _MOST_SHORT_SCALE
            segment.set_label(_SEGMENTS[mode][0] if words else "")

    def _want(self, mode: Mode) -> None:
        if mode != self.mode:
            self.mode = mode
            self.wanted.emit(mode)

    def _want_motion(self) -> None:
        moves = self._pending and self.isVisible() and not self._theme.reduced_motion
        self._motion.want(self, wanted=moves)

    def _tick(self) -> None:
        if self._pending and self.isVisible():
            self.segments[self.mode].show_look()


def first_time_popover(theme: Theme, place: str, *, undo: Callable[[], object]) -> Popover:
    """Said once, when the Queue button begins to cost money. Closing it in any way but Undo is to agree.

    Args:
        place: the name of the endpoint.
    """
    popover = Popover(theme, 320)
    text = f"From now on, Queue in ComfyUI runs on {place} and costs money while it runs."
    popover.body.addWidget(Wrapped(theme, text))
    popover.body.addSpacing(4)
    agree, back = Button(theme, "Got it", "primary", size="small"), Button(theme, "Undo", size="small")
    for button in (agree, back):
        button.clicked.connect(popover.close)
    back.clicked.connect(undo)
    popover.body.addLayout(row(None, back, agree))
    agree.setFocus(Qt.FocusReason.PopupFocusReason)
    return popover
