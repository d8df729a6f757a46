"""A batch looked at as one: its jobs' states, results and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..jobs.costs import cost_of, money
from ..jobs.model import Job
from ..jobs.states import State
from ..jobs.targets import is_remote
from ..jobs.words import PILLS
from .display import job_line

SHOWN = 8
_TO_RETRY = frozenset({State.FAILED, State.CANCELLED, State.TIMED_OUT})


@dataclass(frozen=True, slots=True)
class Batch:
    """The jobs of one batch, oldest first; there is at least one.

    Those that were run again stay in it beside the jobs that repeat them.
    """

    jobs: tuple[Job, ...]

    @property
    def id(self) -> str:
        return self.jobs[0].batch

    @property
    def name(self) -> str:
        """As sentences say it: ``batch 1a2b3c4d``."""
        return f"batch {self.id[:SHOWN]}"

    @property
    def latest(self) -> tuple[Job, ...]:
        """The jobs that no other one of the batch repeats."""
        repeated = {job.retry_of for job in self.jobs}
        return tuple(job for job in self.jobs if job.id not in repeated)

    @property
    def unfinished(self) -> tuple[Job, ...]:
        return tuple(job for job in self.jobs if not job.is_final)

    @property
    def to_retry(self) -> tuple[Job, ...]:
        """Those that failed, timed out or were cancelled, and were not run again."""
        return tuple(job for job in self.latest if job.state in _TO_RETRY)

    @property
    def counts(self) -> dict[State, int]:
        """How many of the latest jobs are in each state that one of them is in."""
        found = Counter(job.state for job in self.latest)
        return {state: found[state] for state in State if state in found}

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the results of jobs that are done."""
        return tuple(output.path for job in self.jobs if job.state is State.DONE for output in job.outputs)

    @property
    def unpriced(self) -> int:
        """How many jobs ran, or run, on RunPod at a price that is not known."""
        ran = (job for job in self.jobs if job.started_at is not None or job.execution_ms is not None)
        return sum(is_remote(job.target) and job.rate is None for job in ran)

    def usd(self, now: float) -> float | None:
        """What its jobs have cost so far, all tries together; None when that of none is known."""
        known = [cost.total for job in self.jobs if (cost := cost_of(job, now)) is not None]
        return sum(known) if known else None

    def to_json(self, now: float) -> dict[str, Any]:
        """``cost`` is in USD, null when it is not known; ``states`` counts the latest try of each job."""
        return {
            "batch": self.id,
            "targets": _distinct([job.target for job in self.jobs]),
            "states": {str(state): count for state, count in self.counts.items()},
            "run_again": len(self.jobs) - len(self.latest),
            "files": list(self.files),
            "cost": self.usd(now),
            "unpriced": self.unpriced,
            "jobs": [job.to_json() for job in self.jobs],
        }

    def described(self, now: float) -> str:
        """For people: a line of counts, what there is of results and cost, and each job's line."""
        states = ", ".join(f"{count} {PILLS[state].text.lower()}" for state, count in self.counts.items())
        targets = ", ".join(_distinct([job.target for job in self.jobs]))
        lines = [f"{self.name}  {jobs(len(self.latest))} on {targets}: {states}", f"  id         {self.id}"]
        if self.files:
            folders = _distinct([str(Path(path).parent) for path in self.files])
            where = folders[0] if len(folders) == 1 else f"{len(folders)} folders"
            lines.append(f"  results    {_number(len(self.files), 'file')} in {where}")
        lines += self._cost_lines(now)
        latest = {job.id for job in self.latest}
        lines += [f"  {job_line(job)}{'' if job.id in latest else ' (run again)'}" for job in self.jobs]
        return "\n".join(lines) + "\n"

    def _cost_lines(self, now: float) -> list[str]:
        usd = self.usd(now)
        if usd is None:
            return ["  cost       not known"] if self.unpriced else []
        so_far = " so far" if self.unfinished else ""
        without = f", without {jobs(self.unpriced)} at an unknown price" if self.unpriced else ""
        return [f"  cost       {money(usd)}{so_far}{without}"]


def jobs(count: int) -> str:
    """``1 job``, ``12 jobs``."""
    return _number(count, "job")


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _distinct(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(texts))
