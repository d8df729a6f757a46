"""How a ComfyUI is lost: what its end, its words and its doing nothing mean."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from worker.falls import Activity, activity_of, fall_of, poisons


@pytest.mark.parametrize(
    "line",
    [
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        "RuntimeError: CUDA error: device-side assert triggered",
        "RuntimeError: CUDA error: unspecified launch failure",
        "RuntimeError: CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`",
        "RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "RuntimeError: HIP error: the operation cannot be performed in the present state",
    ],
)
def test_errors_after_which_the_gpu_is_lost(line: str) -> None:
    assert poisons(line)


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB",
        "RuntimeError: CUDA error: out of memory",
        "RuntimeError: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "Device: cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync",
        "ValueError: the mask has another size",
    ],
)
def test_errors_that_a_process_survives(line: str) -> None:
    assert not poisons(line)


@pytest.mark.parametrize(
    ("code", "oom_kills", "kind", "says"),
    [
        (0, 0, "ended", "ended by itself with exit code 0"),
        (1, 0, "ended", "ended by itself with exit code 1"),
        (-9, 0, "killed", "killed (signal 9)"),
        (-9, 1, "out_of_memory", "the memory was used up"),
        (137, 2, "out_of_memory", "the memory was used up"),
        (-11, 0, "killed", "signal 11 (SIGSEGV)"),
        (-99, 0, "killed", "signal 99 (unknown)"),
    ],
)
def test_what_an_exit_code_means(code: int, oom_kills: int, kind: str, says: str) -> None:
    fall = fall_of(code, oom_kills)
    assert fall.kind == kind
    assert says in fall.sentence
    assert fall.may_pass is (kind != "out_of_memory")


def test_whether_a_process_does_anything() -> None:
    words = "import time\nwhile True: sum(range(10000))"
    busy = subprocess.Popen([sys.executable, "-c", words])
    idle = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        time.sleep(0.5)
        before = {process: activity_of(process.pid) for process in (busy, idle)}
        time.sleep(0.5)
        after = {process: activity_of(process.pid) for process in (busy, idle)}
        assert not after[busy].is_idle_since(before[busy], 0.5)
        assert after[idle].is_idle_since(before[idle], 0.5)
        assert after[idle].memory > 1_000_000
    finally:
        for process in (busy, idle):
            process.kill()
            process.wait()
    assert activity_of(idle.pid) == Activity() or os.name == "nt"


def test_one_that_waits_for_its_disk_is_not_idle() -> None:
    assert not Activity(waits_for_disk=True).is_idle_since(Activity(), 5)
