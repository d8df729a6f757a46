"""The prompts that wait, the one that runs, and what came of those that ended. Safe from any thread."""

from __future__ import annotations

import copy
import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_LONGEST_HISTORY = 10_000
_SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")


@dataclass(frozen=True)
class QueueItem:
    """One prompt on its way; smallest ``number`` first."""

    number: float
    prompt_id: str
    prompt: dict[str, Any]
    extra_data: dict[str, Any]
    outputs: list[str]

    @property
    def client_id(self) -> str | None:
        return self.extra_data.get("client_id")

    def as_list(self) -> list[Any]:
        return [self.number, self.prompt_id, self.prompt, self.extra_data, self.outputs]


@dataclass(frozen=True)
class PromptResult:
    """What an execution leaves for the history."""

    success: bool
    messages: list[tuple[str, dict[str, Any]]]
    outputs: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


class PromptQueue:
    """Owns the order of prompts and the history.

    Args:
        changed: called after each change of the number of prompts, with that number, under the lock.
        started: called when a prompt is taken, under the lock: an interrupt after that is meant for it.
    """

    def __init__(self, changed: Callable[[int], None], started: Callable[[], None]) -> None:
        self._changed = changed
        self._started = started
        self._wake = threading.Condition(threading.RLock())
        self._heap: list[tuple[float, str, int, QueueItem]] = []
        self._put = 0
        self._running: QueueItem | None = None
        #: Those that run elsewhere and are shown as running here.
        self._elsewhere: list[QueueItem] = []
        self._history: dict[str, dict[str, Any]] = {}
        self._flags: dict[str, bool] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def put(self, item: QueueItem) -> None:
        with self._wake:
            self._put += 1
            heapq.heappush(self._heap, (item.number, item.prompt_id, self._put, item))
            self._tell()
            self._wake.notify()

    def take(self) -> QueueItem | None:
        """Wait for the next prompt; None when there are flags to look at or the queue was closed."""
        with self._wake:
            if not self._heap and not self._flags and not self._closed:
                self._wake.wait()
            if self._closed or not self._heap:
                return None
            # A copy: what the client posted is shown as it was taken, whatever the nodes do to it.
            self._running = copy.deepcopy(heapq.heappop(self._heap)[3])
            self._started()
            self._tell()
            return self._running

    def enter(self, item: QueueItem) -> None:
        """Show a prompt as running that is not run here; it ends by :meth:`done`."""
        with self._wake:
            self._elsewhere.append(item)
            self._tell()

    def done(self, item: QueueItem, result: PromptResult) -> None:
        for secret in _SECRETS:
            item.extra_data.pop(secret, None)
        with self._wake:
            if item in self._elsewhere:
                self._elsewhere.remove(item)
            else:
                self._running = None
            if len(self._history) > _LONGEST_HISTORY:
                self._history.pop(next(iter(self._history)))
            self._history[item.prompt_id] = {
                "prompt": item.as_list(),
                "outputs": result.outputs,
                "status": {
                    "status_str": "success" if result.success else "error",
                    "completed": result.success,
                    "messages": [list(message) for message in result.messages],
                },
                "meta": result.meta,
            }
            self._tell()

    def close(self) -> None:
        """Wake the worker thread for good."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()

    def remaining(self) -> int:
        with self._wake:
            return len(self._heap) + len(self._elsewhere) + (self._running is not None)

    def running_and_pending(self) -> tuple[list[QueueItem], list[QueueItem]]:
        with self._wake:
            running = [] if self._running is None else [self._running]
            return running + self._elsewhere, [entry[3] for entry in self._heap]

    def clear(self) -> None:
        with self._wake:
            self._heap.clear()
            self._tell()

    def delete(self, prompt_id: str) -> None:
        """Take a waiting prompt out; any other id is ignored. The last one counts as a change and a clear."""
        with self._wake:
            kept = [entry for entry in self._heap if entry[1] != prompt_id]
            if len(kept) == len(self._heap):
                return
            self._heap = kept
            heapq.heapify(self._heap)
            if not kept:
                self._tell()
            self._tell()

    def set_flag(self, name: str) -> None:
        with self._wake:
            self._flags[name] = True
            self._wake.notify()

    def take_flags(self) -> dict[str, bool]:
        with self._wake:
            flags, self._flags = self._flags, {}
            return flags

    def history(self, max_items: int | None = None, offset: int = -1) -> dict[str, Any]:
        """The entries by id, oldest first: the last ``max_items``, or from ``offset`` on."""
        with self._wake:
            if max_items is None:
                start, end = max(0, offset), None
            else:
                start = len(self._history) - max_items if offset < 0 else offset
                start = max(0, start)
                end = start + max(1, max_items)
            return dict(list(self._history.items())[start:end])

    def history_entry(self, prompt_id: str) -> dict[str, Any]:
        with self._wake:
            return {prompt_id: self._history[prompt_id]} if prompt_id in self._history else {}

    def clear_history(self) -> None:
        with self._wake:
            self._history = {}

    def forget(self, prompt_id: str) -> None:
        with self._wake:
            self._history.pop(prompt_id, None)

    def _tell(self) -> None:
        self._changed(self.remaining())
