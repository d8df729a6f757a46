"""How a ComfyUI is lost: what its end, its silence or its words mean, in one sentence."""

from __future__ import annotations

import contextlib
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

Kind = Literal["ended", "killed", "out_of_memory", "memory_limit", "frozen", "gpu"]

#: After these a process can use its GPU no more, whatever it goes on to do. Out of memory is none of them.
_POISON = re.compile(
    r"CUDA error: (?!out of memory)|device-side assert|illegal memory access|CUBLAS_STATUS_(?!ALLOC_FAILED)|"
    r"CUDNN_STATUS_(?:EXECUTION|INTERNAL)|HIP error: (?!out of memory)|uncorrectable ECC error|"
    r"CUDA driver error|GPU has fallen off the bus",
)
_CGROUP_EVENTS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
_OOM_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fall:
    """One loss. ``sentence`` says what happened; ``hint`` what helps."""

    kind: Kind
    sentence: str
    hint: str = "The last log lines say more."

    @property
    def may_pass(self) -> bool:
        """Whether the same work may well succeed the next time."""
        return self.kind in ("ended", "killed")


def fall_of(code: int, oom_kills: int) -> Fall:
    """What an exit code means. ``oom_kills`` is how often the system ended processes of ours meanwhile."""
    if code in (-9, 137):
        hint = "Use a worker with more memory, or smaller models and pictures."
        if oom_kills > 0:
            return Fall("out_of_memory", "ComfyUI was ended by the system: the memory was used up.", hint)
        sentence = "ComfyUI was killed (signal 9), which systems do when the memory is used up."
        return Fall("killed", sentence, hint)
    if code < 0:
        return Fall("killed", f"ComfyUI was ended by signal {-code} ({_name(-code)}).")
    return Fall("ended", f"ComfyUI ended by itself with exit code {code}.")


def too_much_memory(used: int, limit: int) -> Fall:
    return Fall(
        "memory_limit",
        f"ComfyUI used {used / 1e9:.2f} GB of memory, more than the {limit / 1e9:.2f} GB it may have.",
        "Raise MAX_COMFYUI_MEMORY, or use smaller models and pictures.",
    )


def frozen(silent_s: float) -> Fall:
    return Fall("frozen", f"ComfyUI was stuck: no answer and no event for {silent_s:.0f} s.")


def never_up(waited_s: float) -> Fall:
    return Fall("frozen", f"ComfyUI did not come up within {waited_s:.0f} s.")


def gpu_lost(line: str) -> Fall:
    return Fall("gpu", f"ComfyUI lost its GPU: {line.strip()[:300]}", "It is started anew for the next job.")


def poisons(text: str) -> bool:
    """Whether a log line or an error's message says that the process has lost its GPU."""
    return _POISON.search(text) is not None


def oom_kills() -> int:
    """How often the system has ended processes of this container for lack of memory; 0 if nobody tells."""
    for path in _CGROUP_EVENTS:
        with contextlib.suppress(OSError):
            found = _OOM_KILLS.search(path.read_text("ascii"))
            if found is not None:
                return int(found.group(1))
    return 0


@dataclass(frozen=True, slots=True)
class Activity:
    """What a process and its children have done so far: seconds on the CPU, bytes read and written."""

    cpu_s: float = 0.0
    io_bytes: int = 0
    memory: int = 0
    waits_for_disk: bool = False

    def is_idle_since(self, before: Activity, seconds: float) -> bool:
        """Whether nothing worth the name was done since ``before``, that long ago."""
        worked = self.cpu_s - before.cpu_s > 0.01 * seconds or self.io_bytes != before.io_bytes
        return not worked and not self.waits_for_disk


def activity_of(pid: int) -> Activity:
    """Look at a process and its children; one that is gone did nothing."""
    cpu_s, io_bytes, memory, waits = 0.0, 0, 0, False
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            cpu_s += times.user + times.system
            memory += process.memory_info().rss
            waits = waits or process.status() == psutil.STATUS_DISK_SLEEP
        with contextlib.suppress(psutil.Error, AttributeError):  # macOS counts no input and output
            counters = process.io_counters()
            io_bytes += counters.read_bytes + counters.write_bytes
    return Activity(cpu_s, io_bytes, memory, waits)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
