"""How long jobs of a workflow wait, start and run: percentiles, by where they ran."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .runs import Run


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of some times, in seconds: what 50, 90 and 99 in 100 of them are at most."""

    p50: float
    p90: float
    p99: float
    count: int


@dataclass(frozen=True, slots=True)
class Times:
    """One workflow on one target; None where there is none of that kind.

    Attributes:
        waited: waits for a warm worker.
        cold_start: waits of jobs that woke a worker.
    """

    workflow: str
    name: str
    target: str
    run: Percentiles
    waited: Percentiles | None = None
    cold_start: Percentiles | None = None


def percentiles(values: Iterable[float]) -> Percentiles | None:
    """By the nearest rank; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    return Percentiles(_rank(ordered, 50), _rank(ordered, 90), _rank(ordered, 99), len(ordered))


def times_of(runs: Iterable[Run]) -> list[Times]:
    """By workflow and target, the ones that ran last first."""
    groups: defaultdict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.workflow, run.target].append(run)
    latest = sorted(groups.items(), key=lambda item: -max(run.at for run in item[1]))
    return [_times(workflow, target, some) for (workflow, target), some in latest]


def _times(workflow: str, target: str, runs: Sequence[Run]) -> Times:
    ran = percentiles(run.run_s for run in runs)
    assert ran is not None
    return Times(
        workflow,
        max(runs, key=lambda run: run.at).name,
        target,
        ran,
        percentiles(run.waited_s for run in runs if not run.cold),
        percentiles(run.waited_s for run in runs if run.cold),
    )


def _rank(ordered: Sequence[float], percent: int) -> float:
    return ordered[max(-(-len(ordered) * percent // 100) - 1, 0)]
