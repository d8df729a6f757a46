"""Blocking work beside the event loop: it can be asked to stop, and keeps nobody waiting for long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """A thread ends since it was asked to; nobody waits for its value."""


def go_on(stop: threading.Event) -> None:
    """Raise :class:`Stopped` in a thread that was asked to stop."""
    if stop.is_set():
        raise Stopped


async def in_thread(work: Callable[[threading.Event], T], *, leave_s: float | None = None) -> T:
    """Run it in a thread of its own; cancelled, the thread is asked to stop, and its end is awaited.

    Args:
        leave_s: for so many seconds only; then it is left to itself, and ends with the program.
    """
    stop = threading.Event()
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work(stop))
        except BaseException as error:  # noqa: BLE001 (whoever awaits it gets it)
            future.set_exception(error)

    threading.Thread(target=run, name="work", daemon=True).start()
    waiting = asyncio.wrap_future(future)
    try:
        return await asyncio.shield(waiting)
    except asyncio.CancelledError:
        stop.set()
        done, _ = await asyncio.wait([waiting], timeout=leave_s)
        if done and not waiting.cancelled():
            waiting.exception()
        else:
            waiting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        raise


async def to_its_end(call: Callable[..., T], *args: Any) -> T:
    """Have a blocking call come to its end in a thread, also when the task is cancelled meanwhile."""
    return await unbroken(asyncio.to_thread(call, *args))


async def unbroken(work: Awaitable[T]) -> T:
    """Have something short come to its end, also when the task is cancelled meanwhile, however often."""
    ending = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not ending.done():
        try:
            await asyncio.wait([ending])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not ending.cancelled():
            ending.exception()  # else asyncio complains that nobody looked at it
        raise cancelled
    return ending.result()
