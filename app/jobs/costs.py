"""What a job cost, in USD: RunPod bills a worker from its start to its full stop, by the second.

So a job that woke a worker paid for its start too, and the last one on it for the time it idled. All figures
are estimates from times seen here and list prices: RunPod's bill decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from .figures import ran_s
from .model import Job
from .targets import is_remote


@dataclass(frozen=True, slots=True)
class Cost:
    """The parts of one job's cost, in USD."""

    start: float = 0.0
    run: float = 0.0
    idle: float = 0.0

    @property
    def total(self) -> float:
        return self.start + self.run + self.idle


def cost_of(job: Job, now: float) -> Cost | None:
    """What a job cost, or has cost so far; None while that is not known, or when it costs nothing.

    A start counts with the whole wait of the job that woke the worker: at most that much was billed.
    """
    if job.rate is None or not is_remote(job.target):
        return None
    run_s = ran_s(job, now)
    if run_s is None:
        return Cost() if job.is_final else None
    start_s = (job.delay_ms or 0) / 1000 if job.cold else 0.0
    idle_s = (job.idle_s or 0.0) if job.is_final else 0.0
    return Cost(start_s * job.rate, run_s * job.rate, idle_s * job.rate)


def money(usd: float) -> str:
    """``$0.010``, ``$1.84``, ``$1 234.56``: three decimals below a dollar, else two."""
    if usd < 0.9995:
        return f"${max(usd, 0.0):.3f}"
    return f"${usd:,.2f}".replace(",", "\u202f")
