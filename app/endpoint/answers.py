"""What an endpoint's answer or silence means, as typed errors without secrets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from ..errors import ComfyRunPodError, Refused, Unreachable
from .errors import KeyRefused, RateLimited, TooLarge, UnknownEndpoint, UnknownJob

_EXCERPT = 200
_SIZE_WORDS = ("too large", "too big", "payload", "exceed", "size limit", "maximum size", "max size")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    body: bytes
    retry_after: str | None = None

    @property
    def excerpt(self) -> str:
        """The beginning of the body as one line, for a person."""
        text = " ".join(self.body[: _EXCERPT * 4].decode("utf-8", "replace").split())
        return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"

    def json(self) -> Any:
        """The body as JSON; None when it is not."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def reason(self) -> str:
        """What the endpoint itself says about an error, or an excerpt."""
        data = self.json()
        for name in ("error", "message", "detail"):
            if isinstance(data, dict) and isinstance(data.get(name), str):
                return str(data[name])[:_EXCERPT]
        return self.excerpt


def parse_object(answer: Answer, path: str) -> dict[str, Any]:
    """The JSON object of an answer, else Refused with an excerpt."""
    data = answer.json()
    if not isinstance(data, dict):
        raise Refused(
            f"The endpoint's answer to {_name(path)} is not a JSON object: {answer.excerpt or 'it is empty'}",
            status=answer.status,
            hint="A proxy or sign-in page may stand in between.",
            answer=answer.excerpt,
        )
    return data


def failure(answer: Answer, path: str, *, of_job: bool) -> ComfyRunPodError:
    """The error for a status that is not success; ``of_job``: the path names a job."""
    status, reason = answer.status, answer.reason
    if status == 401:
        return KeyRefused(
            "The API key was refused.", status=status, hint="Check the key in Settings.", answer=reason
        )
    if status == 404 and of_job:
        return UnknownJob("The endpoint does not know this job, or no longer.", status=status, answer=reason)
    if status == 404:
        return UnknownEndpoint(
            "There is no such endpoint.", status=status, hint="Check the endpoint's id.", answer=reason
        )
    if status == 413 or (status == 400 and any(word in reason.lower() for word in _SIZE_WORDS)):
        return TooLarge(
            f"The endpoint found the request too large: {reason}", hint="Send big inputs through the volume."
        )
    if status == 429:
        return RateLimited(
            "The endpoint is asked too often.", status=status, hint="Try again in a minute.", answer=reason
        )
    return Refused(f"The endpoint refused {_name(path)} ({status}): {reason}", status=status, answer=reason)


def is_opening_failure(error: BaseException) -> bool:
    """Whether the connection was never opened, so that nothing was sent."""
    return isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))


def lost_contact(path: str, error: BaseException, kind: type[Unreachable]) -> Unreachable:
    """The error for a connection that failed. The library's own text may hold an address with its query."""
    cause = error.os_error.strerror if isinstance(error, aiohttp.ClientConnectorError) else None
    if isinstance(error, TimeoutError):
        cause = "no answer in time"
    what = f"{cause or 'the connection broke'} ({type(error).__name__})"
    if is_opening_failure(error):
        return kind(f"The endpoint cannot be reached: {what}.", hint="Check the connection.")
    return kind(f"The endpoint did not answer {_name(path)}: {what}.", hint="Check the connection.")


def _name(path: str) -> str:
    return path.split("/", 1)[0]
