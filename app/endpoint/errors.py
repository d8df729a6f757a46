"""What can go wrong between us and an endpoint, by what a caller can do about it."""

from __future__ import annotations

from ..errors import BadInput, Refused, Unreachable


class KeyRefused(Refused):
    """401: the API key is missing, wrong, or not allowed on this endpoint."""

    code = "key_refused"


class UnknownJob(Refused):
    """404 for a job: never there, removed by its ttl, or its result has expired."""

    code = "unknown_job"


class UnknownEndpoint(Refused):
    """404 for the endpoint itself."""

    code = "unknown_endpoint"


class RateLimited(Refused):
    """429 to every attempt."""

    code = "rate_limited"


class TooLarge(BadInput):
    """The request is over what the job API takes; nothing was queued."""

    code = "too_large"


class SubmitUnanswered(Unreachable):
    """A job was sent and no usable answer came: it may have been accepted, so it must not be sent again."""

    code = "submit_unanswered"
