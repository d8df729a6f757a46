"""What goes out to an endpoint, checked before it is sent."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from ..errors import BadInput
from .errors import TooLarge
from .model import Policy

#: RunPod documents 10 MB and 20 MB.
MAX_RUN_BYTES = 10_000_000
MAX_SYNC_BYTES = 20_000_000
_ID = re.compile(r"[A-Za-z0-9._-]+")


def job_body(job_input: Mapping[str, Any], policy: Policy | None, limit: int) -> bytes:
    """The body of a submit. Raises BadInput and TooLarge."""
    if not job_input:
        raise BadInput(
            "A job needs an input that is not empty: RunPod accepts an empty one and then fails it."
        )
    data: dict[str, Any] = {"input": dict(job_input)}
    if policy is not None and policy.to_json():
        data["policy"] = policy.to_json()
    try:
        raw = json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise BadInput(f"The job's input cannot be written as JSON: {error}") from error
    if len(raw) > limit:
        raise TooLarge(
            f"The job is {len(raw) / 1e6:.1f} MB; RunPod takes at most {limit / 1e6:g} MB.",
            hint="Send big inputs through the network volume.",
            size=len(raw),
            limit=limit,
        )
    return raw


def checked_id(text: str, what: str = "a job's") -> str:
    """The id if it can stand in an address as it is."""
    if not _ID.fullmatch(text) or not text.strip("."):
        raise BadInput(f"“{text[:80]}” is not {what} id.")
    return text


def seconds(retry_after: str) -> float:
    """A Retry-After header in seconds: a number, or a date; 0 when it is neither."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(retry_after)
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
