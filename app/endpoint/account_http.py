"""One request to RunPod's management API, and what its failure means. Blocks: used in threads only.

The key is in no error text and in no ``repr``; whatever the server echoes of it is taken out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import requests
import urllib3

from .. import __version__
from ..errors import ComfyRunPodError, Refused, Unreachable
from ..settings import Secret
from .account_model import text, texts
from .answers import Answer
from .errors import KeyRefused, RateLimited, UnknownEndpoint
from .outgoing import seconds

#: More than this no answer may have.
MAX_ANSWER_BYTES = 20_000_000
_TOTAL_S = 120.0
_PIECE = 1 << 16


class _Bearer(requests.auth.AuthBase):
    """Puts the key on a request. Without an object of our own, requests would prefer a key from ~/.netrc."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key.reveal()}"
        return request


def send(
    method: str,
    url: str,
    key: Secret,
    *,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    timeout_s: float = 20.0,
    max_bytes: int = MAX_ANSWER_BYTES,
) -> Answer:
    """Send a request once; any status is an answer. Redirects are not followed: they could lead the key away.

    Raises:
        Unreachable: when there is no answer, or not a whole one.
        Refused: when the answer is too big.
    """
    try:
        with requests.request(
            method,
            url,
            params=query,
            json=body,
            auth=_Bearer(key),
            headers={"Accept": "application/json", "User-Agent": f"comfy-runpod/{__version__}"},
            timeout=timeout_s,
            allow_redirects=False,
            stream=True,
        ) as response:
            raw = _read(response, max_bytes)
            status, retry_after = response.status_code, response.headers.get("Retry-After")
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        # The library's texts hold addresses, and may hold headers.
        raise Unreachable(
            f"RunPod cannot be reached: {_cause(error)}.", hint="Check the connection."
        ) from None
    shown = key.reveal().encode("utf-8", "replace")
    return Answer(status, raw.replace(shown, b"***") if len(shown) > 7 else raw, retry_after)


def parse(answer: Answer) -> dict[str, Any]:
    """The JSON object of a successful answer."""
    data = answer.json()
    if not isinstance(data, dict):
        raise Refused(
            "RunPod's answer is not what its management API says.",
            status=answer.status,
            hint="A proxy or sign-in page may stand in between.",
            answer=text(answer.excerpt),
        )
    return data


def failure(answer: Answer, *, of_endpoint: bool) -> ComfyRunPodError:
    """The error for a status that is not success; ``of_endpoint``: the path names an endpoint."""
    status, reason = answer.status, _reason(answer)
    if status == 401:
        return KeyRefused(
            "RunPod does not accept the API key.",
            status=status,
            hint="It may be mistyped or revoked.",
            answer=reason,
        )
    if status == 403:
        return KeyRefused(
            "The API key is not allowed to do this.",
            status=status,
            hint="Give it the right in RunPod's console, or use another key.",
            answer=reason,
        )
    if status == 404 and of_endpoint:
        return UnknownEndpoint(
            "There is no such endpoint in this account.",
            status=status,
            hint="Check the endpoint's id.",
            answer=reason,
        )
    if status == 429:
        return RateLimited("RunPod is asked too often.", status=status, hint=_when(answer), answer=reason)
    if 300 <= status < 400:
        return Refused(
            f"RunPod's management API leads elsewhere ({status}), which is not followed.",
            status=status,
            hint="Check RUNPOD_API_BASE_URL.",
        )
    if status >= 500:
        return Refused(
            f"RunPod answered with an error ({status}).",
            status=status,
            hint="Try again in a minute.",
            answer=reason,
        )
    return Refused(f"RunPod refused this ({status}): {reason}", status=status, answer=reason)


def _read(response: requests.Response, max_bytes: int) -> bytes:
    raw, ends = bytearray(), time.monotonic() + _TOTAL_S
    for piece in response.iter_content(_PIECE):
        raw += piece
        if len(raw) > max_bytes:
            raise Refused(
                f"RunPod's answer has more than {max_bytes / 1e6:g} MB.", status=response.status_code
            )
        if time.monotonic() > ends:
            raise requests.Timeout
    return bytes(raw)


def _reason(answer: Answer) -> str:
    """What RunPod says: detail and single errors of an RFC 9457 answer, else the answer's beginning."""
    data = answer.json()
    if isinstance(data, dict):
        parts = [said for name in ("detail", "title", "message") if (said := text(data.get(name)))][:1]
        said = "; ".join([*parts, *texts(data.get("errors"))])
        if said:
            return " ".join(said.split())[:300]
    return (text(answer.excerpt) or "") or "it gave no reason"


def _when(answer: Answer) -> str:
    wait_s = seconds(answer.retry_after) if answer.retry_after else 0.0
    return f"Try again in {wait_s:.0f} s." if 1 <= wait_s < 86_400 else "Try again in a minute."


def _cause(error: BaseException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    if isinstance(error, requests.Timeout | TimeoutError | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not let us through"
    if isinstance(error, requests.exceptions.InvalidHeader | UnicodeError):
        return "the API key or the address has characters that cannot be sent"
    return f"the connection failed ({type(error).__name__})"
