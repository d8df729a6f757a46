"""What a person sees while jobs run: one bar on a terminal, a line per change elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from worker.contract import Progress

from ..jobs.model import Job, JobEvent
from ..jobs.states import State
from ..jobs.words import PILLS


def job_line(job: Job) -> str:
    """A job in one line: what it is, its state, and why when something is wrong."""
    line = f"{job.id[:8]}  {PILLS[job.state].text.lower():<15} {job.target:<8} {job.name}"
    if job.error is not None:
        hint = job.error.get("hint")
        line += f": {job.error.get('summary')}{' ' + str(hint) if hint else ''}"
    elif job.lost_contact_since is not None and not job.is_final:
        line += ": lost contact, still asking"
    return line


class Display:
    """Shows the progress of ``total`` jobs on stderr; use as a context manager."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._parts: dict[str, float] = {}
        self._states: dict[str, State] = {}
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            layout = "{l_bar}{bar}| {n:.1f}/{total} {elapsed} {postfix}"
            self._bar = tqdm(total=self._total, unit="job", file=sys.stderr, bar_format=layout, leave=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, event: JobEvent) -> None:
        """Take in one event; the bar never goes back."""
        job = event.job
        changed = self._states.get(job.id) is not job.state
        self._states[job.id] = job.state
        if self._bar is None:
            if changed and not job.is_final:
                sys.stderr.write(job_line(job) + "\n")
            return
        part = 1.0 if job.is_final else event.progress.fraction if event.progress is not None else 0.0
        self._parts[job.id] = max(part, self._parts.get(job.id, 0.0))
        self._bar.n = sum(self._parts.values())
        self._bar.set_postfix_str(_what(job, event.progress))


def _what(job: Job, progress: Progress | None) -> str:
    if progress is None or not progress.class_type:
        return f"{job.name}: {PILLS[job.state].text.lower()}"
    steps = f" {progress.step}/{progress.steps}" if progress.steps > 1 else ""
    return f"{job.name}: {progress.class_type}{steps}"
