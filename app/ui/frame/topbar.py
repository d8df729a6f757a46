"""The bar at the top: where dropped workflows run, and how ComfyUI and the endpoint are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QLayout, QSizePolicy, QWidget

from ..notices import Notices
from ..theme import Theme
from ..theme.tokens import TOP_BAR_H
from ..widgets.basics import Button, Icon, Text, hairline, row
from ..widgets.floating import Popover
from ..widgets.motion import Motion
from ..widgets.paint import paint_icon, paint_pill, paint_text, pill_height, pill_width, text_width
from ..widgets.small import Dot
from .notices import notice_row
from .routing import RoutingSwitch


@dataclass(frozen=True, slots=True)
class Place:
    """A target as the selector shows it.

    ``key`` is the target's name for the job runner, ``pill`` a word for one that is not well.
    """

    key: str
    title: str
    note: str = ""
    icon: str = "monitor"
    tone: str = "teal"
    pill: str = ""


_TARGET_LEAST_W = 176
_SHORTEST = 2
_OTHER = "ComfyUI's own Queue button goes where its switch says."
_MANAGE = Place("", "Manage places…", "Settings", "settings", "text3")


class TargetButton(Button):
    """ "Run on …": the target in force; a click opens the menu."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, kind="target", tip="Where dropped workflows run", keys="Ctrl+T")
        self.setToolTip(f"{self.toolTip()}\n{_OTHER}")
        self._place: Place | None = None
        self._short = False
        # In a tight bar its name is the one that can be cut.
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)

    def show_place(self, place: Place | None, *, short: bool) -> None:
        self._place, self._short = place, short
        self.setAccessibleName(f"Run on {place.title}" if place else "Choose where workflows run")
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        words = 0 if self._short else text_width(self._theme, "Run on", "body") + 6
        width = words + text_width(self._theme, self._title(), "strong") + 12 + 16 + 8 + 28 + 12
        return QSize(min(max(width, _TARGET_LEAST_W if self._short else 228), 360), 32)

    def minimumSizeHint(self) -> QSize:
        return QSize(_TARGET_LEAST_W, 32)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        theme, box = self._theme, self.rect()
        icon, tone = (self._place.icon, self._place.tone) if self._place else ("monitor", "text3")
        paint_icon(painter, theme, icon, tone, box.adjusted(12, 8, 28 - box.width(), -8))
        left = 36
        if not self._short:
            paint_text(painter, theme, box.adjusted(left, 0, 0, 0), "Run on", "body", "text2")
            left += text_width(theme, "Run on", "body") + 6
        paint_text(painter, theme, box.adjusted(left, 0, -32, 0), self._title(), "strong")
        paint_icon(painter, theme, "chevron-down", "text3", box.adjusted(box.width() - 26, 9, -12, -9))

    def _title(self) -> str:
        return self._place.title if self._place else "Choose…"


class _ChipButton(Button):
    """As wide as what is laid out in it, which a button by itself is not."""

    def sizeHint(self) -> QSize:
        layout = self.layout()
        return QSize(layout.totalSizeHint().width(), 32) if layout is not None else super().sizeHint()

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()


class Chip(QFrame):
    """A state in a few words, 32 high. A click opens its popover.

    Signals:
        clicked: the chip itself.
        linked: its link, as Start or Connect.
    """

    clicked = Signal()
    linked = Signal()

    def __init__(self, theme: Theme, name: str, icon: str = "", *, bare: bool = False) -> None:
        super().__init__()
        self._name = name
        self._button = _ChipButton(theme, kind="chip", tip=name)
        self._dot = Dot(theme) if not icon and not bare else None
        self._icon = Icon(theme, icon, "text3") if icon else None
        self._words = [Text(theme, "", "row"), Text(theme, "", "body", "text2")]
        self._all = self._few = ("", "")
        self._short = False
        self._link = Button(theme, "", "link")
        self._link.clicked.connect(self.linked)
        self._button.clicked.connect(self.clicked)
        self.setFixedHeight(32)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setLayout(row(self._button))
        lead: list[QWidget] = [part for part in (self._dot, self._icon) if part is not None]
        for part in (*lead, *self._words):
            part.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            part.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._button.setLayout(row(*lead, *self._words, self._link, margins=(12, 0, 12, 0)))

    @property
    def button(self) -> Button:
        return self._button

    def show_state(
        self,
        strong: str,
        rest: str = "",
        *,
        role: str = "text",
        dot: str = "ctl",
        link: str = "",
        short: tuple[str, str] | None = None,
    ) -> None:
        """``strong`` words, then ``rest`` in a lighter colour; ``dot``, the role of the spot before them.

        ``short``: the words of both where there is little room.
        """
        self._all, self._few = (strong, rest), short or (strong, rest)
        first, _ = self._words
        first.set_role(role)
        self._show_words()
        self._link.setText(link)
        self._link.setVisible(bool(link))
        if self._dot is not None:
            self._dot.set_role(dot)
        self._button.setAccessibleName(f"{self._name}: {strong} {rest}".strip())

    def set_short(self, short: bool) -> None:
        self._short = short
        self._show_words()

    def _show_words(self) -> None:
        for label, words in zip(self._words, self._few if self._short else self._all, strict=True):
            label.setText(words)
        self._words[1].setVisible(bool(self._words[1].text()))

    @property
    def words(self) -> tuple[tuple[str, str], str]:
        """All it would say where there is room."""
        return self._all, self._link.text()

    @property
    def text(self) -> str:
        return " ".join(words.text() for words in self._words if words.text())


class TopBar(QWidget):
    """Signals: ``target_chosen`` with the key of a place; ``places_wanted`` for more places;
    ``refresh_wanted`` for the account's endpoints anew.
    """

    target_chosen = Signal(str)
    places_wanted = Signal()
    refresh_wanted = Signal()

    def __init__(self, theme: Theme, notices: Notices, motion: Motion) -> None:
        super().__init__()
        self._theme, self._notices = theme, notices
        self.setProperty("region", "topbar")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setFixedHeight(TOP_BAR_H)
        self._places: Sequence[Place] = ()
        self._key = ""
        self._short = False
        self._least = 0
        self._fitted: object = None
        self._refresh: Place | None = None
        self.target = TargetButton(theme)
        self.target.clicked.connect(self.open_targets)
        self.routing = RoutingSwitch(theme, motion)
        self.comfy = Chip(theme, "ComfyUI")
        self.endpoint = Chip(theme, "Endpoint", "server")
        self.spend = Chip(theme, "Spend", bare=True)
        self.spend.hide()
        self.bell = Button(theme, kind="icon", icon="bell", tip="Past notices")
        self.bell.clicked.connect(self.open_notices)
        notices.told.connect(self._mark_bell)
        line = row(
            *(self.target, self.routing, None, self.comfy, self.endpoint, self.spend, self.bell),
            gap=12,
            margins=(16, 0, 16, 1),
        )
        # The bar fits itself to the window, and not the window to the bar.
        line.setSizeConstraint(QLayout.SizeConstraint.SetNoConstraint)
        self.setLayout(line)

    def show_refresh(self, note: str) -> None:
        """Offer to ask for the account's endpoints anew; ``note`` says how old they are, empty: no offer."""
        self._refresh = Place("", "Refresh endpoints", note, "refresh-cw", "text3") if note else None

    def show_places(self, places: Sequence[Place], key: str) -> None:
        """The places there are, and which one is in force."""
        self._places, self._key = places, key
        self._show_target()
        self._fit()

    def _show_target(self) -> None:
        chosen = next((place for place in self._places if place.key == self._key), None)
        self.target.show_place(chosen, short=self._short)

    def set_short(self, short: bool) -> None:
        """In a folded window all is as short as it can be."""
        self._least = _SHORTEST if short else 0
        self._fit()

    def event(self, event: QEvent) -> bool:
        done = super().event(event)
        if event.type() == QEvent.Type.LayoutRequest:
            self._fit()
        return done

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Leave words away until all has room: the switch's caption, then those of target and chips."""
        layout = self.layout()
        chips = (self.comfy, self.endpoint, self.spend)
        said = [(chip.words, chip.isHidden()) for chip in chips]
        fitted = (self.width(), self._least, said, self._key, self._places, self._theme.text_scale)
        if layout is None or fitted == self._fitted:
            # What leaving words away has changed is no reason to begin again.
            return
        self._fitted = fitted
        for level in range(self._least, _SHORTEST + 1):
            self.routing.set_short(level > 0)
            self._short = level > 1
            for chip in chips:
                chip.set_short(self._short)
            self._show_target()
            layout.invalidate()
            if layout.sizeHint().width() <= self.width():
                break

    def open_targets(self) -> None:
        popover = Popover(self._theme, 360)
        popover.body.setContentsMargins(8, 12, 8, 8)
        popover.body.setSpacing(2)
        head = Text(self._theme, "Run dropped workflows on", "caption_strong", "text2")
        head.setContentsMargins(10, 0, 0, 4)
        popover.body.addWidget(head)
        for place in self._places:
            item = MenuRow(self._theme, place, checked=place.key == self._key)
            item.clicked.connect(lambda _=False, key=place.key: self.target_chosen.emit(key))
            item.clicked.connect(popover.close)
            popover.body.addWidget(item)
            if place.key == self._key:
                item.setFocus(Qt.FocusReason.PopupFocusReason)
        popover.body.addWidget(hairline())
        for more, wanted in ((self._refresh, self.refresh_wanted), (_MANAGE, self.places_wanted)):
            if more is not None:
                item = MenuRow(self._theme, more)
                item.clicked.connect(wanted)
                item.clicked.connect(popover.close)
                popover.body.addWidget(item)
        popover.open_under(self.target)

    def open_notices(self) -> None:
        self._notices.unseen = 0
        self.bell.set_icon("bell", "text2")
        popover = Popover(self._theme, 440)
        popover.body.addWidget(Text(self._theme, "Past notices", "section"))
        if not self._notices.all:
            popover.body.addWidget(Text(self._theme, "Nothing yet.", "body", "text3"))
        for notice in self._notices.all[-12:][::-1]:
            popover.body.addWidget(notice_row(self._theme, notice))
        popover.open_under(self.bell, right=True)

    def _mark_bell(self) -> None:
        self.bell.set_icon("bell", "accent_text")


class MenuRow(Button):
    """A row of a menu with two lines, an icon in its place's colour, and a check for the one in force."""

    def __init__(self, theme: Theme, place: Place, *, checked: bool = False) -> None:
        super().__init__(theme, kind="menurow")
        self._place, self._checked = place, checked
        told = [place.title, place.note, place.pill, "in force" if checked else ""]
        self.setAccessibleName(", ".join(part for part in told if part))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        # Outside a dialog a button of Qt's takes the space bar only.
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        place, theme = self._place, self._theme
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box, right = self.rect(), 40
        if place.pill:
            width = pill_width(theme, place.pill)
            x = box.width() - width - (36 if self._checked else 14)
            paint_pill(painter, theme, x, (box.height() - pill_height(theme)) // 2, place.pill, "amber")
            right = box.width() - x + 8
        paint_icon(painter, theme, place.icon, place.tone, box.adjusted(12, 16, 28 - box.width(), -16))
        paint_text(painter, theme, box.adjusted(42, 5, -right, -24), place.title, "row")
        paint_text(painter, theme, box.adjusted(42, 24, -right, -5), place.note, "caption", "text3")
        if self._checked:
            paint_icon(painter, theme, "check", "text", box.adjusted(box.width() - 30, 16, -14, -16))
