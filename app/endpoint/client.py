"""A client for RunPod's job API, and for the local endpoint, which is the same API.

A request that only asks is repeated; one that may have queued a job is not. No error text ever holds the key
or an address's query.
"""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

import aiohttp

from ..errors import Unreachable
from .answers import Answer, failure, is_opening_failure, lost_contact, parse_object
from .errors import SubmitUnanswered
from .model import Health, JobReply, Policy
from .outgoing import MAX_RUN_BYTES, MAX_SYNC_BYTES, checked_id, job_body, seconds

LONGEST_PAUSE_S = 60.0
#: A slower upload than this (bytes per second) is given up.
SLOWEST_UPLOAD = 50_000


class JobClient:
    """Speaks to one endpoint.

    Args:
        base_url: such as ``https://api.runpod.ai/v2``.
        session: used for everything but submits, and not closed by us. Submits get connections of their own:
            a kept one that the server has just closed would leave us unsure whether a job was taken.
        timeout_s: silence after which a request is given up.
        attempts: how often a request is sent at most.
        backoff_s: the first pause between attempts; it doubles, with jitter.
    """

    def __init__(
        self,
        base_url: str,
        endpoint_id: str,
        api_key: str,
        *,
        session: aiohttp.ClientSession | None = None,
        timeout_s: float = 30,
        attempts: int = 5,
        backoff_s: float = 0.5,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.endpoint_id = checked_id(endpoint_id, what="an endpoint's")
        self._url = f"{base_url.rstrip('/')}/{endpoint_id}"
        self._key = api_key.encode()
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._given_session = session
        self._own_session: aiohttp.ClientSession | None = None
        self._submit_session: aiohttp.ClientSession | None = None
        self._timeout_s = timeout_s
        self._attempts = max(1, attempts)
        self._backoff_s = backoff_s
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close our own connections."""
        for session in (self._own_session, self._submit_session):
            if session is not None:
                await session.close()
        self._own_session = self._submit_session = None

    async def run(self, input: Mapping[str, Any], *, policy: Policy | None = None) -> JobReply:  # noqa: A002
        """Queue a job. Raises TooLarge before anything is sent, SubmitUnanswered when it may be queued."""
        body = job_body(input, policy, MAX_RUN_BYTES)
        return await self._submit("run", body=body)

    async def runsync(
        self,
        input: Mapping[str, Any],  # noqa: A002
        *,
        wait_ms: int,
        policy: Policy | None = None,
    ) -> JobReply:
        """Queue a job and wait for it up to ``wait_ms`` (1,000 to 300,000); it may not have ended then."""
        body = job_body(input, policy, MAX_SYNC_BYTES)
        return await self._submit("runsync", body=body, query={"wait": str(wait_ms)}, wait_s=wait_ms / 1000)

    async def status(self, job_id: str, *, ttl_ms: int | None = None) -> JobReply:
        """Ask for a job; ``ttl_ms`` sets its time to live as well."""
        query = {} if ttl_ms is None else {"ttl": str(ttl_ms)}
        return JobReply.parse(
            await self._ask("GET", f"status/{checked_id(job_id)}", query=query, of_job=True)
        )

    async def cancel(self, job_id: str) -> JobReply:
        return JobReply.parse(await self._ask("POST", f"cancel/{checked_id(job_id)}", of_job=True))

    async def retry(self, job_id: str) -> JobReply:
        """Queue a failed or timed-out job again, under the same id. Not repeated when the answer is lost."""
        return await self._submit(f"retry/{checked_id(job_id)}", of_job=True)

    async def purge_queue(self) -> int:
        """Remove all waiting jobs; how many there were."""
        removed = (await self._ask("POST", "purge-queue")).get("removed")
        return removed if isinstance(removed, int) else 0

    async def health(self) -> Health:
        return Health.parse(await self._ask("GET", "health"))

    async def _ask(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, of_job: bool = False
    ) -> dict[str, Any]:
        """A request that may be repeated."""
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            try:
                answer = await self._send(self._session(), method, path, query=query)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if last:
                    raise lost_contact(path, error, Unreachable) from None
                await self._pause(attempt)
                continue
            if answer.status < 300:
                return parse_object(answer, path)
            if last or (answer.status != 429 and answer.status < 500):
                raise failure(answer, path, of_job=of_job)
            await self._pause(attempt, answer)
        raise AssertionError("unreachable")

    async def _submit(
        self,
        path: str,
        *,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        wait_s: float = 0.0,
        of_job: bool = False,
    ) -> JobReply:
        """A request that may queue a job: repeated only when it certainly has not."""
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts
            try:
                answer = await self._send(
                    self._fresh_session(), "POST", path, query=query, body=body, wait_s=wait_s
                )
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if not is_opening_failure(error):
                    raise lost_contact(path, error, SubmitUnanswered) from None
                if last:
                    raise lost_contact(path, error, Unreachable) from None
                await self._pause(attempt)
                continue
            if answer.status < 300:
                return _accepted(answer, path)
            if answer.status >= 500:
                raise SubmitUnanswered(
                    f"The endpoint answered with an error ({answer.status}): the job may have been queued.",
                    status=answer.status,
                    answer=answer.excerpt,
                )
            if last or answer.status != 429:
                raise failure(answer, path, of_job=of_job)
            await self._pause(attempt, answer)
        raise AssertionError("unreachable")

    async def _send(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        wait_s: float = 0.0,
    ) -> Answer:
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        silence_s = self._timeout_s + wait_s
        total_s = silence_s + len(body) / SLOWEST_UPLOAD if body is not None else None
        timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=self._timeout_s, sock_read=silence_s)
        async with session.request(
            method,
            f"{self._url}/{path}",
            params=query,
            # aiohttp wants a file for a long body: it would write bytes in one go.
            data=None if body is None else io.BytesIO(body),
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            raw = await response.read()
            if len(self._key) > 7:
                # Nothing that a server or a proxy echoes may carry the key into an error text.
                raw = raw.replace(self._key, b"***")
            return Answer(response.status, raw, response.headers.get("Retry-After"))

    async def _pause(self, attempt: int, answer: Answer | None = None) -> None:
        pause_s = self._backoff_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
        if answer is not None and answer.retry_after is not None:
            pause_s = max(pause_s, seconds(answer.retry_after))
        await self._sleep(min(pause_s, LONGEST_PAUSE_S))

    def _session(self) -> aiohttp.ClientSession:
        if self._given_session is not None:
            return self._given_session
        if self._own_session is None:
            self._own_session = aiohttp.ClientSession()
        return self._own_session

    def _fresh_session(self) -> aiohttp.ClientSession:
        if self._submit_session is None:
            trust_env = self._given_session is not None and self._given_session.trust_env
            connector = aiohttp.TCPConnector(force_close=True)
            self._submit_session = aiohttp.ClientSession(connector=connector, trust_env=trust_env)
        return self._submit_session


def _accepted(answer: Answer, path: str) -> JobReply:
    data = answer.json()
    reply = JobReply.parse(data) if isinstance(data, dict) else None
    if reply is None or not reply.id:
        raise SubmitUnanswered(
            f"The endpoint's answer to {path.split('/')[0]} names no job: it may have been queued.",
            status=answer.status,
            answer=answer.excerpt,
        )
    return reply
