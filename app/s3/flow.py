"""What a transfer is given from outside: when to stop, when to rest, and whom to tell."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from ..threads import Stopped
from .body import Limit
from .patience import Waiting

T = TypeVar("T")


@dataclass(slots=True)
class Flow:
    """One file's transfer, as its owner sees and holds it.

    Attributes:
        count: told bytes that went, and a negative number for those that did not arrive.
        had: told bytes that need not go, as they went earlier; negative: they must after all.
        tell: told of waits before trying again, and with None when one is over.
        rest: while it is set nothing new begins.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    rest: threading.Event = field(default_factory=threading.Event)
    limit: Limit = field(default_factory=Limit)
    count: Callable[[int], None] = lambda _: None
    had: Callable[[int], None] = lambda _: None
    tell: Callable[[Waiting | None], None] = lambda _: None

    def go(self) -> None:
        """Wait while there is rest. Raises Stopped."""
        while self.rest.is_set() and not self.stop.is_set():
            self.stop.wait(0.05)
        if self.stop.is_set():
            raise Stopped


class Slots:
    """How many requests with bodies are under way at once, over all files."""

    def __init__(self, count: int) -> None:
        self._most, self._used = count, 0
        self._changed = threading.Condition()

    @property
    def most(self) -> int:
        return self._most

    def narrow(self) -> None:
        """Half as many, but one: the server does not keep up."""
        with self._changed:
            self._most = max(1, self._most // 2)

    @contextmanager
    def one(self, stop: threading.Event) -> Iterator[None]:
        """Raises Stopped."""
        self.take(stop)
        try:
            yield
        finally:
            self.give_back()

    def take(self, stop: threading.Event) -> None:
        with self._changed:
            while self._used >= self._most:
                self._changed.wait(0.05)
                if stop.is_set():
                    raise Stopped
            self._used += 1

    def give_back(self) -> None:
        with self._changed:
            self._used -= 1
            self._changed.notify()


class Crew:
    """Threads that nobody waits for at the end of the program: one may hang on a connection for minutes."""

    def __init__(self, name: str, count: int) -> None:
        self._name, self._most = name, count
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Have it done by the next free thread."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 (whoever waits for the value gets it)
                future.set_exception(error)

        self._work.put(run)
        if len(self._threads) < self._most:
            thread = threading.Thread(
                target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        return future

    def close(self) -> None:
        """Each thread ends after what it is at."""
        for _ in self._threads:
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()
