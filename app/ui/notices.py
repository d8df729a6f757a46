"""What the user is told: each notice once as it comes, and all of them in a list."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from PySide6.QtCore import QObject, Signal

from ..errors import Problem

Kind = Literal["done", "info", "error"]
_KEPT = 200


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing told: one line of title, one of detail, at most one action."""

    title: str
    text: str = ""
    kind: Kind = "info"
    action: str = ""
    act: Callable[[], None] | None = None
    details: str = ""
    at: float = field(default_factory=time.time)


class Notices(QObject):
    """Everything that was told since the start, newest last.

    Signals:
        told: a new notice.
    """

    told = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.all: list[Notice] = []
        self.unseen = 0

    def tell(self, notice: Notice) -> None:
        self.all = [*self.all[-_KEPT + 1 :], notice]
        self.unseen += 1
        self.told.emit(notice)

    def problem(self, problem: Problem, title: str = "") -> None:
        """Tell about an error: its sentence, its hint, and what is behind it to copy."""
        details = "\n".join(
            [problem.summary, problem.hint, *(f"{k}: {v}" for k, v in problem.details.items())]
        )
        if title:
            self.tell(Notice(title, problem.summary, "error", details=details))
        else:
            self.tell(Notice(problem.summary, problem.hint, "error", details=details))
