"""Work that a cancelled job must not leave half done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def to_the_end(work: Awaitable[T], on_cancel: Callable[[], object] = lambda: None) -> T:
    """Await ``work`` to its end although we are cancelled meanwhile; only then the cancellation goes on.

    For what cannot be stopped (a thread, a request on its way) and whose effect has to be known before it
    can be undone. ``on_cancel`` is called at once when the cancellation comes.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
            on_cancel()
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # looked at, or asyncio complains: the cancellation is what matters now
    raise cancelled
