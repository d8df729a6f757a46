"""What the job API says, read tolerantly: unknown words and missing keys are shown, never an exception."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FINAL_STATES = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})


@dataclass(frozen=True, slots=True)
class JobReply:
    """One job as the endpoint reports it.

    Attributes:
        status: RunPod's own word, unchanged.
        output: the result, or the latest progress while the job runs.
        delay_ms: the wait before the last attempt.
        execution_ms: how long it ran; RunPod documents it on completion.
        retries: 0 unless the job was run again.
        has_output: tells ``output: null`` from no output at all.
    """

    id: str
    status: str
    output: Any | None = None
    error: str | None = None
    delay_ms: int | None = None
    execution_ms: int | None = None
    worker_id: str | None = None
    retries: int = 0
    has_output: bool = False

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> JobReply:
        """Read a reply; a value of an unexpected type counts as missing, a structured error becomes JSON."""
        worker = data.get("workerId")
        return cls(
            id=_text(data.get("id")) or "",
            status=_text(data.get("status")) or "",
            output=data.get("output"),
            error=_text(data.get("error")),
            delay_ms=_whole(data.get("delayTime")),
            execution_ms=_whole(data.get("executionTime")),
            worker_id=worker if isinstance(worker, str) else None,
            retries=_whole(data.get("retries")) or 0,
            has_output="output" in data,
        )

    @property
    def is_final(self) -> bool:
        """Whether the endpoint will not change this job again by itself."""
        return self.status in FINAL_STATES

    @property
    def error_message(self) -> str | None:
        """The error as one text.

        When a handler raises, the SDK puts a JSON document with ``error_message`` inside the error string.
        """
        if self.error is None:
            return None
        try:
            inner = json.loads(self.error)
        except ValueError:
            return self.error
        if isinstance(inner, dict) and isinstance(inner.get("error_message"), str):
            return str(inner["error_message"])
        return self.error


@dataclass(frozen=True, slots=True)
class Health:
    """Counts of jobs and workers by RunPod's own names; every name is optional."""

    jobs: Mapping[str, int]
    workers: Mapping[str, int]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Health:
        return cls(jobs=_counts(data.get("jobs")), workers=_counts(data.get("workers")))


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits for one job; what is None is left to the endpoint.

    RunPod documents ``execution_timeout_ms`` of 5 s to 7 days and ``ttl_ms`` of 10 s to 7 days. The ttl
    counts from submission and is hard: a job that is still running then is removed.
    """

    execution_timeout_ms: int | None = None
    ttl_ms: int | None = None
    low_priority: bool | None = None

    def to_json(self) -> dict[str, Any]:
        named = {
            "executionTimeout": self.execution_timeout_ms,
            "ttl": self.ttl_ms,
            "lowPriority": self.low_priority,
        }
        return {name: value for name, value in named.items() if value is not None}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return int(value)
    except (OverflowError, ValueError):
        return None


def _counts(value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        return {}
    numbers = {str(name): _whole(count) for name, count in value.items()}
    return {name: count for name, count in numbers.items() if count is not None}
