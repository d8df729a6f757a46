"""From a job's specification to the request that the worker understands."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from worker.contract import checked_job_id

from ..endpoint.model import Policy
from ..errors import BadInput
from .carriers.base import Parcel, sha256_of, unreadable
from .model import Job, JobSpec

#: Up to which a job with its inputs in base64 is one request. RunPod takes 10 MB; the rest is for surprises.
INLINE_BYTES = 7_000_000

#: What the platform grants a job beside the execution that the worker limits itself.
OVERHEAD_MS = 120_000
_DAY_MS, _SHORTEST_TTL_MS = 86_400_000, 10_000
_LONGEST_MS = 7 * _DAY_MS


def parcels_of(spec: JobSpec) -> tuple[Parcel, ...]:
    """The inputs that are too much for the request and go over the volume, the largest ones. Blocks: hashes.

    Raises:
        BadInput: when an input file cannot be read any more.
    """
    sizes = {name: _size(Path(path)) for name, path in spec.files.items()}
    total = sum(map(_encoded, sizes.values()))
    if total:
        total += len(json.dumps(_request(spec)))
    big: list[str] = []
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if total <= INLINE_BYTES:
            break
        big.append(name)
        total -= _encoded(sizes[name])
    return tuple(_parcel(name, Path(spec.files[name]), sizes[name]) for name in spec.files if name in big)


def request_of(spec: JobSpec, parcels: Sequence[Parcel] = ()) -> dict[str, Any]:
    """The ``input`` of the job; ``parcels`` are on the volume. Blocks: reads the other input files.

    Raises:
        BadInput: when an input file cannot be read any more.
    """
    request = _request(spec)
    carried = {parcel.name for parcel in parcels}
    inline = {name: path for name, path in spec.files.items() if name not in carried}
    if inline:
        request["images"] = [{"name": name, "image": _base64(Path(path))} for name, path in inline.items()]
    if parcels:
        request["files"] = [{"name": parcel.name, "sha256": parcel.sha256} for parcel in parcels]
    return request


def _request(spec: JobSpec) -> dict[str, Any]:
    """All but the files."""
    request: dict[str, Any] = {"workflow": spec.prompt, "client_job_id": spec.id}
    if spec.ui_workflow is not None:
        request["extra_pnginfo"] = {"workflow": spec.ui_workflow}
    if spec.anyway or spec.lacks is not None:
        # Held for what it lacks it was sent by the user's word: as from the browser, what can run of it runs.
        request["allow_partial"] = True
    if spec.shown_dir:
        request["output"] = {"previews": True}
    if spec.timeout_s is not None:
        request["timeout"] = spec.timeout_s
    return request


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a job may take, in seconds.

    Attributes:
        timeout_s: of execution.
        ttl_s: from the request on, waiting and execution together. The platform forgets the job then, a
            running one too.
    """

    timeout_s: float
    ttl_s: float


def limited(spec: JobSpec, limits: Limits | None) -> JobSpec:
    """The specification with these limits where it has none of its own."""
    if limits is None:
        return spec
    timeout_s = limits.timeout_s if spec.timeout_s is None else spec.timeout_s
    # A job that may run for long needs time to wait, too.
    ttl_s = max(limits.ttl_s, 2 * timeout_s) if spec.ttl_s is None else spec.ttl_s
    return replace(spec, timeout_s=timeout_s, ttl_s=ttl_s)


def ttl_of(spec: JobSpec) -> float:
    """How long the platform knows the job at most, in seconds; without a word of ours that is its default."""
    policy = policy_of(spec)
    return _DAY_MS / 1000 if policy is None or policy.ttl_ms is None else policy.ttl_ms / 1000


def policy_of(spec: JobSpec) -> Policy | None:
    """The platform's limits for a job with limits of its own: a little longer, so that the worker ends it.

    The platform's limit is the endpoint's else, and a job that may take longer would be stopped by it.
    """
    if spec.timeout_s is None and spec.ttl_s is None:
        return None
    limit_ms = ttl_ms = None
    if spec.timeout_s is not None:
        limit_ms = min(int(spec.timeout_s * 1000) + OVERHEAD_MS, _LONGEST_MS)
    if spec.ttl_s is not None:
        ttl_ms = min(max(int(spec.ttl_s * 1000), _SHORTEST_TTL_MS), _LONGEST_MS)
    elif limit_ms is not None and limit_ms > _DAY_MS // 2:
        ttl_ms = _LONGEST_MS
    return Policy(execution_timeout_ms=limit_ms, ttl_ms=ttl_ms)


def keep_inputs(spec: JobSpec, folder: Path) -> JobSpec:
    """Copy the input files below ``folder``, so that the job runs with what it was given. Blocks.

    Raises:
        BadInput: when a file cannot be read or written.
    """
    kept: dict[str, str] = {}
    for number, (name, path) in enumerate(spec.files.items()):
        target = folder / spec.id / f"{number:03d}{Path(name).suffix}"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        except OSError as error:
            raise BadInput(f"The input file {path} cannot be kept for the job: {error.strerror}.") from error
        kept[name] = str(target)
    return replace(spec, files=kept)


def drop_inputs(folder: Path, ids: Iterable[str]) -> None:
    """Delete what :func:`keep_inputs` kept for these jobs. Blocks; what cannot be deleted stays."""
    for job_id in ids:
        shutil.rmtree(folder / checked_job_id(job_id), ignore_errors=True)


def drop_shown(jobs: Iterable[Job]) -> None:
    """Delete what these jobs' nodes only showed. Blocks; what cannot be deleted stays."""
    for job in jobs:
        if job.shown_dir and Path(job.shown_dir).name == job.id:
            shutil.rmtree(job.shown_dir, ignore_errors=True)


def drop_stray_inputs(folder: Path, known: Collection[str]) -> None:
    """Delete kept inputs of jobs that are not among ``known``: a crash left them. Blocks."""
    try:
        strays = [path for path in folder.iterdir() if path.name not in known]
    except OSError:
        return
    for path in strays:
        shutil.rmtree(path, ignore_errors=True)


def _encoded(size: int) -> int:
    """Of so many bytes as base64."""
    return (size + 2) // 3 * 4


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error


def _parcel(name: str, path: Path, size: int) -> Parcel:
    try:
        return Parcel(name, path, sha256_of(path), size)
    except OSError as error:
        raise unreadable(path, error) from error


def _base64(path: Path) -> str:
    try:
        return base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise unreadable(path, error) from error
