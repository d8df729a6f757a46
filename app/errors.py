"""Typed errors of the panel: what happened, why, what to do, and details to copy.

Each class is one thing a caller can do something about. ``str(error)`` is the one sentence a person reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as a person meets it: one sentence, the next step, and what is behind it."""

    summary: str
    hint: str = ""
    code: str = "error"
    details: Mapping[str, Any] = field(default_factory=dict)


class ComfyRunPodError(Exception):
    """Base of all errors that reach the user.

    Args:
        summary: one sentence: what happened, to what, and why.
        hint: what to do about it.
        details: values for diagnostics. Never a secret.
    """

    code = "error"

    def __init__(self, summary: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(summary)
        self.summary = summary
        self.hint = hint
        self.details = details

    @property
    def sentence(self) -> str:
        """What happened, and what to do about it."""
        return f"{self.summary} {self.hint}".strip()

    @property
    def problem(self) -> Problem:
        return Problem(self.summary, self.hint, self.code, self.details)


class BadInput(ComfyRunPodError):
    """What the user gave cannot be used as it is."""

    code = "bad_input"


class NeedsSetup(ComfyRunPodError):
    """Something must be installed, entered or chosen first."""

    code = "needs_setup"


class Unreachable(ComfyRunPodError):
    """A server did not answer, or its answer was lost."""

    code = "unreachable"


class Refused(ComfyRunPodError):
    """A server answered with an error status (``details['status']``)."""

    code = "refused"

    def __init__(self, summary: str, *, status: int, hint: str = "", **details: Any) -> None:
        super().__init__(summary, hint=hint, status=status, **details)
        self.status = status


class ProcessFailed(ComfyRunPodError):
    """A program of ours did not start or ended by itself; ``details['log']`` holds its last lines."""

    code = "process_failed"
