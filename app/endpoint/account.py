"""A client for an account on RunPod: the management API, REST v2.

Endpoints, their workers and releases, volumes, the catalogue with its prices, and what was charged. The
account's balance is not in this API. Nothing here starts a worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import BadInput, Unreachable
from ..settings import RUNPOD_MANAGEMENT_API, Secret
from .account_http import MAX_ANSWER_BYTES, failure, parse, send
from .account_model import Endpoint, LiveWorkers, RollOut, Volume, counted, objs
from .answers import Answer
from .errors import KeyRefused
from .outgoing import checked_id, seconds
from .prices import Charge, DataCentre, GpuType

#: A longer pause than this, asked for by RunPod, is not waited for.
LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """Whether a key is good, in one sentence."""

    works: bool
    sentence: str


class AccountClient:
    """Speaks to one account. Holds no connection, so that there is nothing to close.

    Args:
        attempts: how often a request is sent at most: a question that went unanswered, and anything that
            RunPod found too often.
    """

    def __init__(
        self,
        base_url: str = RUNPOD_MANAGEMENT_API,
        api_key: Secret = Secret(""),  # noqa: B008 - a value that never changes
        *,
        timeout_s: float = 20.0,
        attempts: int = 3,
        backoff_s: float = 0.5,
        max_bytes: int = MAX_ANSWER_BYTES,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._url = base_url.rstrip("/")
        self._key = api_key
        self._timeout_s = timeout_s
        self._attempts = max(1, attempts)
        self._backoff_s = backoff_s
        self._max_bytes = max_bytes
        self._sleep = sleep

    @property
    def url(self) -> str:
        return self._url

    @property
    def key(self) -> Secret:
        return self._key

    async def check_key(self) -> KeyCheck:
        """Whether RunPod accepts the key. Raises what is not the key's fault."""
        try:
            endpoints = await self.endpoints()
        except KeyRefused as error:
            return KeyCheck(works=False, sentence=error.sentence)
        return KeyCheck(works=True, sentence=f"The API key works: the account has {counted(endpoints)}.")

    async def endpoints(self) -> tuple[Endpoint, ...]:
        """All serverless endpoints."""
        found = objs((await self._ask("serverless")).get("endpoints"))
        return tuple(each for each in map(Endpoint.parse, found) if each.id)

    async def endpoint(self, endpoint_id: str) -> Endpoint:
        return Endpoint.parse(await self._ask(_of(endpoint_id), of_endpoint=True))

    async def change(
        self,
        endpoint_id: str,
        *,
        workers_min: int | None = None,
        workers_max: int | None = None,
        idle_timeout_s: int | None = None,
        image: str | None = None,
    ) -> Endpoint:
        """Change what is given and nothing else; the endpoint as it is then.

        A new image begins a roll-out, see :meth:`roll_out`. An endpoint that scales by requests has no idle
        timeout: RunPod refuses it there.
        """
        workers = {"min": workers_min, "max": workers_max, "idleTimeout": idle_timeout_s}
        body: dict[str, Any] = {
            "workers": {name: value for name, value in workers.items() if value is not None},
            "image": image,
        }
        body = {name: value for name, value in body.items() if value}
        if not body:
            raise BadInput("Nothing is given to change.")
        for name, least, value in (
            ("number of workers", 0, workers_min),
            ("number of workers", 0, workers_max),
            ("idle timeout", 1, idle_timeout_s),
        ):
            if value is not None and value < least:
                raise BadInput(f"The {name} must be at least {least}.")
        return Endpoint.parse(await self._ask(_of(endpoint_id), method="PATCH", body=body, of_endpoint=True))

    async def workers(self, endpoint_id: str) -> LiveWorkers:
        return LiveWorkers.parse(await self._ask(_of(endpoint_id, "workers"), of_endpoint=True))

    async def roll_out(self, endpoint_id: str) -> RollOut:
        """How far the newest version is, and the releases, newest first."""
        return RollOut.parse(await self._ask(_of(endpoint_id, "releases"), of_endpoint=True))

    async def volumes(self) -> tuple[Volume, ...]:
        found = objs((await self._ask("network-volumes")).get("networkVolumes"))
        return tuple(each for each in map(Volume.parse, found) if each.id)

    async def gpu_types(self, *, availability: bool = False) -> tuple[GpuType, ...]:
        """The catalogue with prices; with what is free for serverless, if asked for."""
        query = {"include": "AVAILABILITY", "product": "SERVERLESS"} if availability else None
        found = objs((await self._ask("catalog/gpus", query=query)).get("gpus"))
        return tuple(each for each in map(GpuType.parse, found) if each.id)

    async def data_centres(self) -> tuple[DataCentre, ...]:
        found = objs((await self._ask("catalog/datacenters")).get("dataCenters"))
        return tuple(each for each in map(DataCentre.parse, found) if each.id)

    async def charges(self, *, days: int = 30, endpoint_id: str | None = None) -> tuple[Charge, ...]:
        """What serverless cost, by day and endpoint, today included."""
        if days < 1:
            raise BadInput("The number of days must be at least 1.")
        query = {"bucketSize": "day", "lastN": str(days)}
        if endpoint_id is not None:
            query["serverlessId"] = checked_id(endpoint_id, what="an endpoint's")
        found = objs((await self._ask("billing/serverless", query=query)).get("records"))
        return tuple(map(Charge.parse, found))

    async def _ask(
        self,
        path: str,
        *,
        method: str = "GET",
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        of_endpoint: bool = False,
    ) -> dict[str, Any]:
        if not self._key:
            raise KeyRefused("No RunPod API key is set.", status=401, hint="Set RUNPOD_API_KEY.")
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            try:
                answer = await self._send(method, path, query, body)
            except Unreachable:
                if last or method != "GET":
                    raise
                await self._sleep(self._pause_s(attempt))
                continue
            if 200 <= answer.status < 300:
                return parse(answer)
            again = answer.status == 429 or (answer.status >= 500 and method == "GET")
            pause_s = self._pause_s(attempt, answer)
            if last or not again or pause_s > LONGEST_PAUSE_S:
                raise failure(answer, of_endpoint=of_endpoint)
            await self._sleep(pause_s)
        raise AssertionError("unreachable")

    async def _send(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> Answer:
        return await asyncio.to_thread(
            send,
            method,
            f"{self._url}/{path}",
            self._key,
            query=query,
            body=body,
            timeout_s=self._timeout_s,
            max_bytes=self._max_bytes,
        )

    def _pause_s(self, attempt: int, answer: Answer | None = None) -> float:
        asked_s = seconds(answer.retry_after) if answer is not None and answer.retry_after else 0.0
        return max(self._backoff_s * float(2 ** (attempt - 1)), asked_s)


def _of(endpoint_id: str, *rest: str) -> str:
    return "/".join(["serverless", checked_id(endpoint_id, what="an endpoint's"), *rest])
