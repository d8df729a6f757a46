"""What is made of ComfyUI's last words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comfyui.crash import Cause, crash_of

_KNOWN: list[tuple[int | None, str, Cause, str]] = [
    (1, "OSError: [Errno 98] error while attempting to bind on address ('127.0.0.1', 8188): address already "
        "in use", "port_in_use", "exit code 1"),
    (1, "OSError: [WinError 10048] Only one usage of each socket address is normally permitted",
     "port_in_use", "exit code 1"),
    (1, "ModuleNotFoundError: No module named 'torchsde'", "missing_module", "torchsde"),
    (1, "ImportError: DLL load failed while importing _C", "missing_module", "DLL load failed"),
    (1, "torch.OutOfMemoryError: CUDA out of memory. Tried 2.00 GiB", "out_of_memory", "2.00 GiB"),
    (1, "RuntimeError: [enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory",
     "out_of_memory", "exit code 1"),
    (-9, "got prompt", "out_of_memory", "SIGKILL"),
    (137, "got prompt", "out_of_memory", "137"),
    (1, "AssertionError: Torch not compiled with CUDA enabled", "cuda", "CUDA"),
    (1, "RuntimeError: The NVIDIA driver on your system is too old (11040).", "cuda", "too old"),
    (1, "RuntimeError: CUDA error: no kernel image is available for execution", "cuda", "kernel"),
    (1, "OSError: [Errno 28] No space left on device", "disk_full", "space"),
    (2, "main.py: error: unrecognized arguments: --lowram", "bad_argument", "--lowram"),
    (-11, "got prompt", "killed", "SIGSEGV"),
    (3, "", "unknown", "exit code 3"),
    (None, "got prompt", "unknown", "got prompt"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "line", "cause", "said"), _KNOWN)
def test_a_cause_that_is_known_is_named(code: int | None, line: str, cause: Cause, said: str) -> None:
    crash = crash_of(code, ["Starting server", line, "", "  "])
    assert (crash.cause, crash.code) == (cause, code)
    assert said in crash.text
    assert crash.text.endswith((".", "!", "?"))
    assert 2 <= len(crash.title.split()) <= 6
    assert crash.hint


def test_the_last_word_counts() -> None:
    lines = [
        "ModuleNotFoundError: No module named 'a_custom_node_s'",
        "OSError: [Errno 28] No space left on device",
    ]
    assert crash_of(1, lines).cause == "disk_full"
    assert crash_of(3, [*lines, *["one more line"] * 6]).cause == "unknown"
    assert crash_of(-9, lines).cause == "out_of_memory"


@given(st.none() | st.integers(-200, 300), st.lists(st.text(max_size=400), max_size=60), st.booleans())
def test_any_end_is_understood(code: int | None, lines: list[str], starting: bool) -> None:
    crash = crash_of(code, lines, starting=starting)
    assert crash.log == tuple(lines)
    assert len(crash.text) < 700
