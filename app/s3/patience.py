"""Trying again: how often, how long after, and what is told of the wait."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ..threads import Stopped
from .errors import Busy, Damaged, Offline

T = TypeVar("T")
_PROXY_GAVE_UP = 524


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something failed and is tried again at ``until`` (monotonic seconds)."""

    why: str
    until: float


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a call is tried: without a connection for ever, with a server that is busy ``tries`` times.

    Args:
        base_s: the first wait in seconds, doubled each time.
        most_s: the longest one.
        offline_tries: give up without a connection too, after so many.
    """

    tries: int = 8
    base_s: float = 1.0
    most_s: float = 60.0
    offline_tries: int | None = None

    def attempt(
        self,
        call: Callable[[], T],
        stop: threading.Event,
        tell: Callable[[Waiting | None], None] = lambda _: None,
    ) -> T:
        """What the call gives, sooner or later.

        Args:
            tell: told of each wait, and with None when it is over.

        Raises:
            Stopped: when asked to stop.
            ComfyRunPodError: what the call raised, when trying again would not help or has not helped.
        """
        answered = offline = 0
        while True:
            if stop.is_set():
                raise Stopped
            try:
                return call()
            except (Busy, Damaged) as error:
                answered += 1
                if answered >= self.tries:
                    raise
                failure: Exception = error
            except Offline as error:
                offline += 1
                if self.offline_tries is not None and offline >= self.offline_tries:
                    raise
                failure = error
            self.wait(answered + offline, str(failure), stop, tell)

    def wait(
        self, time_no: int, why: str, stop: threading.Event, tell: Callable[[Waiting | None], None]
    ) -> None:
        """Wait before trying for the ``time_no``-th time again. Raises Stopped."""
        pause = min(self.most_s, self.base_s * 2.0 ** min(time_no - 1, 10)) * random.uniform(0.75, 1.25)
        tell(Waiting(why, time.monotonic() + pause))
        try:
            if stop.wait(pause):
                raise Stopped
        finally:
            tell(None)


USUAL = Patience()


def proxy_gave_up(error: Exception) -> bool:
    """Whether the proxy in front of the server did not wait for its answer."""
    return isinstance(error, Busy) and error.status == _PROXY_GAVE_UP
