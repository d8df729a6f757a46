"""Figures as markdown tables, and how much the machine itself scatters."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Sequence


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print it; the first column is text, the others are figures."""
    print(f"\n**{title}**\n")
    print("| " + " | ".join(head) + " |")
    print("| --- |" + " ---: |" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def p90(values: Sequence[float]) -> float:
    return sorted(values)[min(len(values) * 9 // 10, len(values) - 1)]


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f}"


def both(values: Sequence[float]) -> str:
    """Median and p90, in milliseconds."""
    return f"{ms(median(values))} ({ms(p90(values))})"


def ratios(values: Sequence[float], floor: Sequence[float]) -> str:
    """How many times the floor: of the medians, and of the p90."""
    return f"{median(values) / median(floor):.2f}× ({p90(values) / p90(floor):.2f}×)"


def scatter(values: Sequence[float]) -> str:
    """The same thing measured twice: every other value against the rest."""
    return f"{median(values[::2]) / median(values[1::2]):.2f}×"


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
