"""What one job may use: looked at before it begins, and again where the size is known only then."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import psutil

from .config import Config, Limits
from .errors import JobError
from .given import InputFile
from .outputs import OutputFile

_CGROUP = Path("/sys/fs/cgroup")


def check_inputs(files: Sequence[InputFile], limits: Limits) -> None:
    """What a request brings along.

    Raises:
        JobError: ``input_too_large``.
    """
    if 0 < limits.input_files < len(files):
        raise JobError(
            "input_too_large",
            f"The job brings {len(files)} files; at most {limits.input_files} are taken.",
            hint="Send fewer, or raise MAX_INPUT_FILES.",
        )
    check_input_bytes(sum(len(file.content or b"") for file in files), limits)


def check_input_bytes(total: int, limits: Limits) -> None:
    """The same for what is downloaded or copied, as it comes in.

    Raises:
        JobError: ``input_too_large``.
    """
    if 0 < limits.input_bytes < total:
        raise JobError(
            "input_too_large",
            f"The job's files have {_mb(total)} so far; at most {_mb(limits.input_bytes)} are taken.",
            hint="Send less, or raise MAX_INPUT_BYTES.",
        )


def check_room(config: Config) -> None:
    """Whether there is disk and memory enough to begin. Blocks.

    Raises:
        JobError: ``disk_full``, ``memory_low``.
    """
    limits = config.limits
    for folder, what in ((config.output_dir, "output"), (config.input_dir, "input")):
        free = _free_disk(folder)
        if free is not None and free < limits.free_disk:
            raise JobError(
                "disk_full",
                f"Only {_mb(free)} are free on the disk of ComfyUI's {what} folder; "
                f"a job needs {_mb(limits.free_disk)}.",
                hint="Give the worker a larger disk, make room on it, or lower MIN_FREE_DISK.",
            )
    free_memory = free_memory_bytes()
    if free_memory < limits.free_memory:
        raise JobError(
            "memory_low",
            f"Only {_mb(free_memory)} of memory are free; a job needs {_mb(limits.free_memory)}.",
            hint="Use a worker with more memory, or lower MIN_FREE_MEMORY.",
        )


def check_outputs(files: Sequence[OutputFile], limits: Limits) -> None:
    """Blocks.

    Raises:
        JobError: ``output_too_large``; the files stay where they are.
    """
    total = sum(file.size for file in files)
    if 0 < limits.output_bytes < total:
        raise JobError(
            "output_too_large",
            f"The workflow made {_mb(total)}; at most {_mb(limits.output_bytes)} are handed over.",
            hint="Raise MAX_OUTPUT_BYTES. The files are still in ComfyUI's output folder.",
            details=[file.filename for file in files],
        )


def free_memory_bytes() -> int:
    """What is free on this machine and in this container."""
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # no such limit, or another system
        limit = int((_CGROUP / "memory.max").read_text("ascii"))
        used = int((_CGROUP / "memory.current").read_text("ascii"))
        rows = (line.split() for line in (_CGROUP / "memory.stat").read_text("ascii").splitlines())
        # The page cache counts as used there, and is given back when it is needed.
        cache = next((int(row[1]) for row in rows if row[0] == "inactive_file"), 0)
        free = min(free, max(limit - used + cache, 0))
    return free


def _free_disk(folder: Path) -> int | None:
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free
    return None


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
