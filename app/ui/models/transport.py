"""How files are sent, and how much of the line that may take."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import Signal
from PySide6.QtGui import QDoubleValidator
from PySide6.QtWidgets import QButtonGroup, QLineEdit, QWidget

from ..theme import Theme
from ..widgets.basics import Text, Wrapped, column, row
from ..widgets.fields import Choice
from .parts import ChoiceCard, title_row
from .shown import LimitShown, Transport
from .words import rate

_MB = 1_000_000
_CARDS: Final[tuple[tuple[Transport, str, str], ...]] = (
    ("s3", "S3 API", "Resumes after a break, checks every part. Recommended."),
    ("runpodctl", "runpodctl code", "Sends to a running pod with a one-time code."),
)
_LIMITS, _NONE, _CUSTOM = (1, 5, 10, 20, 50), "none", "custom"
_LEAST, _MOST = 0.1, 10_000.0


class TransportSection(QWidget):
    """Signals: ``transport_chosen``: ``s3`` or ``runpodctl``; ``limit_chosen``: bytes a second, or None."""

    transport_chosen = Signal(str)
    limit_chosen = Signal(object)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._limit = LimitShown()
        self.cards: dict[Transport, ChoiceCard] = {}
        self._group = QButtonGroup(self)
        for key, title, text in _CARDS:
            card = ChoiceCard(theme, title, text)
            card.clicked.connect(lambda _=False, key=key: self.transport_chosen.emit(key))
            self._group.addButton(card)
            self.cards[key] = card
        self._note = Wrapped(theme, "", "caption", "text2")
        self.limit = Choice(theme, "Speed limit", 160)
        self.limit.chosen.connect(self._choose)
        self.custom = QLineEdit()
        self.custom.setFixedHeight(32)
        self.custom.setMaximumWidth(96)
        self.custom.setAccessibleName("Speed limit in MB/s")
        self.custom.setValidator(QDoubleValidator(_LEAST, _MOST, 1, self.custom))
        self.custom.returnPressed.connect(self._take_custom)
        self._custom_box = QWidget()
        self._custom_box.setLayout(row(None, self.custom, Text(theme, "MB/s", "caption", "text2")))
        layout = column(gap=8)
        layout.addLayout(title_row(theme, "Transport"))
        for card in self.cards.values():
            layout.addWidget(card)
        layout.addWidget(self._note)
        layout.addSpacing(4)
        layout.addLayout(row(Text(theme, "Speed limit", "caption", "text2"), None, self.limit))
        layout.addWidget(self._custom_box)
        self.setLayout(layout)
        self.show_transport("s3", "")
        self.show_limit(LimitShown())

    def show_transport(self, current: Transport, note: str) -> None:
        """The one in force, and a sentence about it."""
        self.cards[current].setChecked(True)
        self._note.setText(note)
        self._note.setVisible(bool(note))

    def show_limit(self, limit: LimitShown) -> None:
        self._limit = limit
        usual = [(str(value * _MB), f"{value} MB/s") for value in _LIMITS]
        choices = [(_NONE, "No limit"), *usual]
        key = _NONE if limit.rate is None else str(int(limit.rate))
        if limit.rate is not None and key not in dict(choices):
            choices.append((key, rate(limit.rate)))
        self.limit.show_choices([*choices, (_CUSTOM, "Other…")], key)
        self._custom_box.hide()

    def _choose(self, key: str) -> None:
        self._custom_box.setVisible(key == _CUSTOM)
        if key == _CUSTOM:
            self.custom.clear()
            self.custom.setFocus()
        else:
            self.limit_chosen.emit(None if key == _NONE else float(key))

    def _take_custom(self) -> None:
        value, is_number = self.custom.locale().toDouble(self.custom.text())
        if is_number:
            self.limit_chosen.emit(min(max(value, _LEAST), _MOST) * _MB)
