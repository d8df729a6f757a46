"""Numbers as people read them: durations, ages, sizes, places, and a job's own times."""

from __future__ import annotations

import time
from datetime import date
from typing import Final

from .model import Job

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
#: Seconds are shown as such up to here.
_MOST_SECONDS = 99


def duration(seconds: float) -> str:
    """How long something took or takes: ``72 s`` up to 99 s, then ``3:05``, ``1:02:07``."""
    whole = max(int(seconds), 0)
    if whole <= _MOST_SECONDS:
        return f"{whole} s"
    minutes, rest = divmod(whole, _MINUTE)
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def span(seconds: float) -> str:
    """A time in one unit, for sentences: ``40 s``, ``2 min``, ``3 h``, ``5 days``."""
    whole = max(int(seconds), 0)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    return f"{whole // _HOUR} h" if whole < 2 * _DAY else f"{whole // _DAY} days"


def ago(then: float, now: float) -> str:
    """When something was: ``just now``, ``2 min ago``, ``3 h ago``, then ``12 May`` or ``12 May 2023``."""
    passed = now - then
    if passed < _MINUTE:
        return "just now"
    if passed < _DAY:
        return f"{span(passed)} ago"
    day, today = day_of(then), day_of(now)
    return f"{day.day} {_MONTHS[day.month - 1]}{f' {day.year}' if day.year != today.year else ''}"


def day_of(when: float) -> date:
    """The local calendar day."""
    local = time.localtime(when)
    return date(local.tm_year, local.tm_mon, local.tm_mday)


def size(n: int) -> str:
    """Bytes in decimal units, with a decimal below 100: ``7.4 MB``, ``343 MB``, ``34.5 GB``."""
    if n < 1000:
        return f"{n} B"
    value = float(n)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        text = f"{value:.1f}" if round(value, 1) < 100 else f"{value:.0f}"
        if float(text) < 1000:
            return f"{text} {unit}"
    return f"{text} TB"


def ordinal(n: int) -> str:
    """``1st``, ``2nd``, ``11th``."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def ended_at(job: Job) -> float:
    """When an ended job ended; of one that ended before that was noted, when it last changed."""
    return job.ended_at if job.ended_at is not None else job.changed_at


def waited_s(job: Job, now: float) -> float | None:
    """How long a job waited, or has waited so far, before it ran; None when that is not known.

    Of an ended job the platform's own figure, of one under way what was seen from here.
    """
    if job.is_final and job.delay_ms is not None:
        return job.delay_ms / 1000
    if job.started_at is not None:
        return max(job.started_at - job.created_at, 0.0)
    if job.execution_ms is not None:
        # It ran between two looks, so nobody has seen it begin.
        return None if job.delay_ms is None else job.delay_ms / 1000
    return max((ended_at(job) if job.is_final else now) - job.created_at, 0.0)


def ran_s(job: Job, now: float) -> float | None:
    """How long a job ran, or has run so far; None when it has not, or it is not known."""
    if job.execution_ms is not None:
        return job.execution_ms / 1000
    if job.started_at is None:
        return None
    return max((ended_at(job) if job.is_final else now) - job.started_at, 0.0)
