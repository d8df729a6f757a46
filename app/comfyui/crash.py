"""Why a ComfyUI ended by itself: what its exit code and its last words mean, and what helps."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Cause = Literal[
    "port_in_use",
    "comfyui_there",
    "missing_module",
    "out_of_memory",
    "cuda",
    "disk_full",
    "bad_argument",
    "killed",
    "unknown",
]
#: Exit codes of processes that the system killed for their memory, as Python and shells tell them.
_KILLED = (-9, 137)
_LONGEST, _LAST_WORDS = 300, 5


@dataclass(frozen=True, slots=True)
class Crash:
    """An end that nobody wanted.

    Attributes:
        title: 2 to 5 words. text: what happened and why, in one or two sentences. hint: what to do.
        code: the exit code; negative: the signal that ended it; None when nobody could see it.
        log: its last lines.
    """

    cause: Cause
    title: str
    text: str
    hint: str = ""
    code: int | None = None
    log: tuple[str, ...] = ()

    @property
    def signal_name(self) -> str:
        """Of the signal that ended it; empty when none did."""
        if self.code is None or self.code >= 0:
            return ""
        try:
            return signal.Signals(-self.code).name
        except ValueError:
            return f"signal {-self.code}"


@dataclass(frozen=True, slots=True)
class _Sign:
    pattern: re.Pattern[str]
    cause: Cause
    title: str
    hint: str


def _sign(pattern: str, cause: Cause, title: str, hint: str) -> _Sign:
    return _Sign(re.compile(pattern), cause, title, hint)


#: What is looked for in its last words, from the last one up; the first that fits is it.
_SIGNS = (
    _sign(
        r"(?i)address already in use|\[Errno (?:98|48)\]|WinError 10048|only one usage of each socket",
        "port_in_use", "Port is in use", "Choose another port, or end the program that has it.",
    ),
    _sign(
        r"ModuleNotFoundError: No module named|ImportError: (?:cannot import name|DLL load failed)",
        "missing_module", "A Python package is missing",
        "Install ComfyUI's requirements, or those of the custom node that wants it.",
    ),
    _sign(
        r"(?i)torch\.(?:cuda\.)?OutOfMemoryError|CUDA(?: error:)? out of memory|HIP out of memory|"
        r"DefaultCPUAllocator: (?:can't|not enough)|MemoryError\b|MPS backend out of memory",
        "out_of_memory", "Out of memory", "Use smaller models or pictures, or the argument --lowvram.",
    ),
    _sign(
        r"(?i)not compiled with CUDA enabled|NVIDIA driver on your system is too old|"
        r"driver version is insufficient|no kernel image is available|Found no NVIDIA driver|"
        r"no CUDA-capable device|No HIP GPUs are available",
        "cuda", "PyTorch does not fit the GPU",
        "Install the PyTorch that fits the GPU and its driver, or add the argument --cpu.",
    ),
    _sign(r"No space left on device|\[Errno 28\]|WinError 112", "disk_full", "The disk is full",
          "Make room on it."),
    _sign(r"error: (?:unrecognized arguments|argument [\w-]+:|the following arguments)", "bad_argument",
          "An argument is not understood", "Correct the arguments of ComfyUI."),
)  # fmt: skip


def crash_of(code: int | None, lines: Sequence[str], *, starting: bool = False) -> Crash:
    """Understand an end. ``starting``: it was not up yet."""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    how = _how(code, starting=starting)
    # Further up stand complaints that did not end it, as those of a custom node that is not loaded.
    words = [line for line in lines if line.strip()][-_LAST_WORDS:] if code not in _KILLED else []
    for line in reversed(words):
        sign = next((sign for sign in _SIGNS if sign.pattern.search(line)), None)
        if sign is not None:
            said = line.strip()[:_LONGEST]
            return Crash(sign.cause, sign.title, f"{how} {_full(said)}", sign.hint, code, tuple(lines))
    if code in _KILLED:
        text = f"{how} Systems do that when the memory is used up."
        hint = "Use smaller models or pictures, or close other programs."
        return Crash("out_of_memory", "Out of memory", text, hint, code, tuple(lines))
    cause: Cause = "killed" if code is not None and code < 0 else "unknown"
    title = "ComfyUI does not start" if starting else "ComfyUI stopped by itself"
    text = f"{how} {_full(last[:_LONGEST])}" if last else how
    return Crash(cause, title, text.strip(), "The log says more.", code, tuple(lines))


def _how(code: int | None, *, starting: bool) -> str:
    when = "while it started" if starting else "by itself"
    if code is None:
        return f"ComfyUI ended {when}."
    if code < 0:
        return f"ComfyUI was ended by {Crash('killed', '', '', code=code).signal_name}."
    return f"ComfyUI ended {when} with exit code {code}."


def _full(text: str) -> str:
    """As a sentence's end."""
    return text if text.endswith((".", "!", "?")) else f"{text}."
