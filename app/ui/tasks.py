"""Tasks with an owner: whoever starts one here has it named, watched and cancelled on close."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from ..errors import ComfyRunPodError, Problem

log = logging.getLogger(__name__)
MISTAKE = "Something in the program itself went wrong."


class TaskScope:
    """The tasks of one view or service.

    Args:
        on_problem: told about every task that failed: a typed error as it is, a mistake of ours as
            one sentence.
    """

    def __init__(self, name: str, on_problem: Callable[[Problem], None]) -> None:
        self._name = name
        self._on_problem = on_problem
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def is_closed(self) -> bool:
        return self._closed

    def start(self, work: Coroutine[Any, Any, Any], name: str = "") -> asyncio.Task[Any] | None:
        """Begin a task of ours; None after closing, when nothing is begun any more."""
        if self._closed:
            work.close()
            return None
        task = asyncio.get_running_loop().create_task(work, name=f"{self._name}-{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """Cancel everything and wait for its end."""
        self._closed = True
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, ComfyRunPodError):
            log.info("%s: %s", task.get_name(), error)
            self._on_problem(error.problem)
            return
        log.error("%s ended by a mistake of ours.", task.get_name(), exc_info=error)
        self._on_problem(Problem(MISTAKE, "The log has the details.", "mistake", {"error": repr(error)}))
