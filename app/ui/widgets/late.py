"""Pages that are made late: few are looked at in one run, and each costs a tenth of a second to make."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from PySide6.QtWidgets import QWidget

_P = ParamSpec("_P")
_Page = TypeVar("_Page", bound="LatePage")


class LatePage(QWidget):
    """Makes its parts when it comes in sight first, or when somebody asks for one of them before.

    A subclass makes them in :meth:`build`, with the look that is in force then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] | None = {}

    @property
    def is_built(self) -> bool:
        return self._waiting is None

    def build(self) -> None:
        """Make the parts, once."""
        raise NotImplementedError

    def setVisible(self, visible: bool) -> None:
        # Not in showEvent: there it is too late for the parts to be shown along with the page.
        if visible:
            self._ensure_built()
        super().setVisible(visible)

    def _ensure_built(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.build()
            for name, (args, kwargs) in waiting.items():
                getattr(self, name)(*args, **kwargs)

    if not TYPE_CHECKING:
        # Hidden from the type checker, which would take any name for one of a part.
        def __getattr__(self, name: str) -> Any:
            """Asked for what is not there: a part that is not made yet, if it is anything."""
            if name.startswith("__") or self.__dict__.get("_waiting") is None:
                raise AttributeError(f"{type(self).__name__} has no {name}")
            self._ensure_built()
            return getattr(self, name)


def late(show: Callable[Concatenate[_Page, _P], None]) -> Callable[Concatenate[_Page, _P], None]:
    """For a method that does nothing but show what it is told, each time anew: it waits for the parts.

    Of several calls the last one counts.
    """

    @wraps(show)
    def told(page: _Page, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        waiting = page._waiting
        if waiting is None:
            show(page, *args, **kwargs)
        else:
            # Taken out first: what is told last is shown last.
            waiting.pop(show.__name__, None)
            waiting[show.__name__] = (args, kwargs)

    return told
