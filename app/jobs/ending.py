"""Waiting for work to end, with a limit: a program that cannot be closed is the worst fault there is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

log = logging.getLogger(__name__)

#: How long a task that was cancelled is waited for, in seconds.
_CANCELLED_S = 0.5


async def ended_within(tasks: Iterable[asyncio.Task[Any]], limit_s: float | None) -> None:
    """Wait for tasks to end; one that has not after ``limit_s`` seconds is cancelled, logged and left.

    What the tasks raise is not raised here: it is logged unless somebody else asks for it. Cancelled itself,
    it cancels the tasks.
    """
    waiting = set(tasks)
    if not waiting:
        return
    try:
        _, late = await asyncio.wait(waiting, timeout=None if limit_s is None else max(limit_s, 0))
    except asyncio.CancelledError:
        for task in waiting:
            task.cancel()
        raise
    for task in late:
        log.warning("%s did not end in time and is left.", task.get_name())
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=_CANCELLED_S)
