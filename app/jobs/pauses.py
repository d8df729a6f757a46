"""How long the runner waits between looks and tries. One value, so that tests need not wait."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pauses:
    """All but the one in seconds.

    Attributes:
        after_failure_s: the pause after the first, second … failure in a row; the last one goes on.
        settle_s: a request that died with its sender may still arrive; only after this long is "not there"
            believed.
        look_again_s: between looks for a worker's note.
        unknown_looks: how many answers in a row must say that there is no such job (a number).
        rare_s: between looks at a job that is far down the queue.
        limit_look_s: between looks whether the daily limit allows more.
        seek_s: between looks for jobs that may have been sent; the last one goes on.
        submission_grace_s: how long closing waits for the answer to a request that is under way.
    """

    after_failure_s: tuple[float, ...] = (0.5, 1, 2, 5, 10, 30)
    settle_s: float = 2.0
    look_again_s: float = 0.25
    unknown_looks: int = 5
    rare_s: float = 5.0
    limit_look_s: float = 30.0
    submission_grace_s: float = 10.0
    seek_s: tuple[float, ...] = (2, 5, 15, 60)

    def after(self, failures: int) -> float:
        """The pause after this many failures before the last one."""
        return self.after_failure_s[min(failures, len(self.after_failure_s) - 1)]

    def seeking(self, looks: int) -> float:
        """The pause after this many looks for a job that may have been sent."""
        return self.seek_s[min(looks, len(self.seek_s) - 1)]
