"""A page by itself, as large as its place in the window: cheaper than the window around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from app.ui.theme import Theme
from app.ui.widgets.floating import Question
from app.ui.widgets.motion import Motion
from tests.gui.harness import settle

P = TypeVar("P", bound=QWidget)

#: What a page gets of a window of 1440 × 900, and of one of 1024 × 640.
FULL, SMALL = (1248, 844), (968, 584)


class PageFrame(QWidget, Generic[P]):
    """``said`` is what the page has sent by the signals that are named."""

    def __init__(self, theme: Theme, make: Callable[[Theme, Motion], P], signals: Sequence[str]) -> None:
        super().__init__()
        self.motion = Motion(self)
        self.page = make(theme, self.motion)
        self.page.setParent(self)
        self.said: list[tuple[Any, ...]] = []
        for name in signals:
            getattr(self.page, name).connect(lambda *values, name=name: self.said.append((name, *values)))
        self.fit(FULL)

    def fit(self, size: tuple[int, int]) -> None:
        self.resize(*size)
        self.page.resize(*size)


@contextmanager
def framed(
    app: QApplication, theme: Theme, make: Callable[[Theme, Motion], P], signals: Sequence[str]
) -> Iterator[PageFrame[P]]:
    """The page in sight and active; what it has opened is closed in the end."""
    made = PageFrame(theme, make, signals)
    made.show()
    activate(made)
    settle(app)
    made.said.clear()
    yield made
    while (popup := app.activePopupWidget()) is not None:
        popup.close()
    for question in questions():
        question.reject()
    made.close()
    made.deleteLater()


def activate(window: QWidget) -> None:
    """The window system says when: before that nothing has the focus."""
    window.activateWindow()
    QTest.qWaitForWindowActive(window, 5000)


def questions() -> list[Question]:
    """Those that are asked now."""
    return [w for w in QApplication.topLevelWidgets() if isinstance(w, Question) and w.isVisible()]
