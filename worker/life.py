"""Telling whether another process still lives, when it ran on this very machine."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

#: In seconds: the system's clock may be set meanwhile.
_TOLERANCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Life:
    """One process: its number means something on its machine and in its container only."""

    machine: str
    pid: int
    born: float

    @classmethod
    def own(cls) -> Life:
        return cls(_machine(), os.getpid(), psutil.Process().create_time())

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Life:
        """Whatever was written; what cannot be read is nobody we know."""
        try:
            return cls(str(raw["machine"]), int(raw["pid"]), float(raw["born"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            return cls("", 0, 0.0)

    def to_json(self) -> dict[str, Any]:
        return {"machine": self.machine, "pid": self.pid, "born": self.born}

    def is_over(self) -> bool:
        """Whether it certainly ended. A process elsewhere cannot be judged from here."""
        if self.machine != _machine() or self.pid <= 0:
            return False
        try:
            process = psutil.Process(self.pid)
            gone = process.status() == psutil.STATUS_ZOMBIE
            return gone or abs(process.create_time() - self.born) > _TOLERANCE_S
        except psutil.NoSuchProcess:
            return True
        except (psutil.AccessDenied, OverflowError):
            return False


def _machine() -> str:
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
    with contextlib.suppress(OSError):
        # Containers of one machine may share its name, and count processes anew.
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return "/".join(parts)
