"""The cards between the stages and the log: what failed, that nobody is signed in, what is live."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame

from ..desktop import copy_text
from ..theme import Theme
from ..widgets.basics import Button, Elided, Icon, Text, Wrapped, column, row
from ..widgets.copying import CopyButton, CopyLine
from .shown import FailureShown, RegistryShown, Stage


class FailureCard(QFrame):
    """Why a stage failed.

    Args:
        log_of: what a stage has said, to be copied.

    Signals:
        retry_wanted: with the :class:`Stage` to begin with again.
    """

    retry_wanted = Signal(object)

    def __init__(self, theme: Theme, log_of: Callable[[Stage], str]) -> None:
        super().__init__()
        self.setProperty("kind", "error")
        self._stage, self._log_of = Stage.BUILD, log_of
        self._title, self._text = Wrapped(theme, "", "section"), Wrapped(theme)
        self._place = Wrapped(theme, "", "mono", "text2", longest=60)
        for label in (self._title, self._text, self._place):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.retry = Button(theme, "Retry from here", icon="rotate-ccw", size="small")
        self.retry.clicked.connect(lambda: self.retry_wanted.emit(self._stage))
        self.copy = CopyButton(theme, "the log of this stage", "Copy log")
        self.copy.clicked.connect(lambda: copy_text(self._log_of(self._stage)))
        head = row(Icon(theme, "circle-alert", "red"), gap=10)
        head.addWidget(self._title, 1)
        head.addWidget(self.retry)
        head.addWidget(self.copy)
        inner = column(margins=(16, 12, 12, 14), gap=4)
        inner.addLayout(head)
        inner.addWidget(self._text)
        inner.addWidget(self._place)
        self.setLayout(inner)
        self.hide()

    def show_failure(self, failure: FailureShown | None) -> None:
        """None: nothing has failed."""
        self.setVisible(failure is not None)
        if failure is None:
            return
        self._stage = failure.stage
        self._title.setText(failure.title)
        self._text.setText(failure.text)
        self._place.setText(failure.place)
        self._place.setVisible(bool(failure.place))
        self.retry.setVisible(failure.can_retry)
        self.setAccessibleName(f"{failure.title}. {failure.text}")


class SignInNote(QFrame):
    """Nobody is signed in to the registry: the command that does it, to copy. Docker keeps the sign-in."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setProperty("kind", "note")
        self.login = CopyLine(theme, "the command that signs in")
        line = row(Icon(theme, "key-round", "amber"), gap=10, margins=(12, 6, 8, 6))
        line.addWidget(Text(theme, "Not signed in:", "row"))
        line.addWidget(self.login, 1)
        self.setLayout(line)
        self.hide()

    def show_registry(self, registry: RegistryShown) -> None:
        self.login.show_text(registry.login)
        self.setVisible(bool(registry.login))
        self.setAccessibleName(f"Not signed in: {registry.login}")


class LiveCard(QFrame):
    """What the endpoint runs now, and the way back. Signals: ``back_wanted``."""

    back_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setProperty("kind", "card")
        self._text = Elided(theme, "", "row")
        self.back = Button(theme, "", icon="rotate-ccw", size="small")
        self.back.clicked.connect(self.back_wanted)
        line = row(Icon(theme, "circle-check", "green"), gap=10, margins=(16, 8, 10, 8))
        line.addWidget(self._text, 1)
        line.addWidget(self.back)
        line.addStrut(28)
        self.setLayout(line)
        self.hide()

    def show_live(self, live: str, back: str) -> None:
        """``live``: a sentence; without it the card goes. ``back``: what the button goes back to."""
        self._text.setText(live)
        self.back.set_label(f"Go back to {back}")
        self.back.setVisible(bool(back))
        self.setVisible(bool(live))
