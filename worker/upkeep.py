"""What the worker leaves on disks, and when it goes. Everything here blocks."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from .config import Config
from .contract import INPUTS, OWN_FOLDER, RESULTS, job_note

log = logging.getLogger(__name__)

#: Of the temporary folders in which workers without a volume remember their jobs.
MEMORY_PREFIX = "comfy-runpod-jobs-"


def jobs_folder(volume: Path) -> Path:
    return volume / OWN_FOLDER / "jobs"


def take_note(volume: Path, client_job_id: str, job_id: str, worker_id: str) -> None:
    """Write on the volume that we have this job: a client whose submit got no answer finds it there."""
    marker = volume / job_note(client_job_id)
    note = {"id": job_id, "worker": worker_id, "taken_at": time.time()}
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        aside = marker.with_name(f"job.{uuid.uuid4().hex}.part")
        aside.write_text(json.dumps(note), encoding="utf-8")
        aside.replace(marker)
    except OSError as error:
        log.warning("The note of job %s could not be written; it runs all the same: %s", job_id, error)


def remove_old(files: Iterable[Path]) -> None:
    """Delete files whose answer has been delivered."""
    for path in files:
        with contextlib.suppress(OSError):  # on Windows somebody may be looking at it
            path.unlink(missing_ok=True)


def prune_volume(volume: Path, older_than_s: float, now: float | None = None) -> None:
    """Delete results, stored inputs and jobs on the volume that nobody asked for in that time."""
    limit = (time.time() if now is None else now) - older_than_s
    for room in (RESULTS, INPUTS):
        _prune_files(volume / OWN_FOLDER / room, limit)
    prune_jobs(jobs_folder(volume), older_than_s, now)


def prune_jobs(folder: Path, older_than_s: float, now: float | None = None) -> None:
    """Delete jobs of which nothing was written in that time: a claim's heartbeat is writing too."""
    limit = (time.time() if now is None else now) - older_than_s
    for room in _entries(folder):
        with contextlib.suppress(OSError):  # another worker prunes too, and was faster
            if max(path.stat().st_mtime for path in (room, *_entries(room))) < limit:
                shutil.rmtree(room)


def remove_memories(older_than_s: float) -> None:
    """Delete what killed workers without a volume remembered of their jobs."""
    limit = time.time() - older_than_s
    for folder in Path(tempfile.gettempdir()).glob(f"{MEMORY_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < limit:
                shutil.rmtree(folder)


def remove_undelivered(config: Config) -> None:
    """Delete what an own ComfyUI wrote for jobs of a worker that was killed.

    Not on a volume, which outlives the container and may hold what others want to keep.
    """
    output = config.output_dir.resolve()
    if config.owns_comfyui and not (config.volume and output.is_relative_to(config.volume.resolve())):
        _prune_files(output, time.time() - config.cleanup_age_s)


def _prune_files(folder: Path, limit: float) -> None:
    for path in _entries(folder):
        with contextlib.suppress(OSError):
            old = path.lstat().st_mtime < limit
            if path.is_dir() and not path.is_symlink():
                _prune_files(path, limit)
                if old:
                    path.rmdir()
            elif old:
                path.unlink()


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
