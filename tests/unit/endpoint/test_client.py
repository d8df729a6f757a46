"""The job API client against a server that does what a test says."""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from app.endpoint.client import JobClient
from app.endpoint.errors import (
    KeyRefused,
    RateLimited,
    SubmitUnanswered,
    TooLarge,
    UnknownEndpoint,
    UnknownJob,
)
from app.endpoint.model import Policy
from app.errors import BadInput, ComfyRunPodError, Refused, Unreachable

KEY = "rpa_VERYSECRETKEY0123456789"
Step = Callable[[web.Request], Awaitable[web.StreamResponse]]


def says(status: int, body: Any = None, *, text: str | None = None, **headers: str) -> Step:
    async def step(_request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if text is not None:
            return web.Response(status=status, text=text, headers=named)
        return web.json_response({} if body is None else body, status=status, headers=named)

    return step


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def breaks_off(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": "100"})
    await answer.prepare(request)
    await answer.write(b'{"id": ')
    assert request.transport is not None
    request.transport.abort()
    return answer


async def stays_silent(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


class Script:
    """Plays one step per request; the last one goes on."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.url = ""
        self.pauses: list[float] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        return await step(request)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def client(self, **kwargs: Any) -> JobClient:
        return JobClient(self.url, "ep1", KEY, **{"sleep": self.sleep, **kwargs})


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    made = Script()
    app = web.Application(client_max_size=0)
    app.router.add_route("*", "/{rest:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v2"
    yield made
    await runner.cleanup()


async def _fails(call: Awaitable[Any], kind: type[ComfyRunPodError]) -> ComfyRunPodError:
    """The call's error, which must be of that very kind and hold no secret."""
    with pytest.raises(ComfyRunPodError) as caught:
        await call
    error = caught.value
    assert type(error) is kind
    shown = [
        str(error),
        repr(error),
        repr(error.details),
        error.hint,
        "".join(traceback.format_exception(error)),
    ]
    assert not any(KEY in text for text in shown)
    return error


async def test_what_is_sent(script: Script) -> None:
    script.steps = [says(200, {"id": "j-1", "status": "IN_QUEUE"})]
    async with script.client() as client:
        assert (await client.run({"a": 1}, policy=Policy(5000, 10_000))).id == "j-1"
        await client.runsync({"a": 1}, wait_ms=2000)
        await client.status("j-1")
        await client.status("j-1", ttl_ms=10_000)
        await client.cancel("j-1")
        await client.retry("j-1")
        await client.purge_queue()
        await client.health()
    assert [(method, path) for method, path, _, _ in script.requests] == [
        ("POST", "/v2/ep1/run"),
        ("POST", "/v2/ep1/runsync?wait=2000"),
        ("GET", "/v2/ep1/status/j-1"),
        ("GET", "/v2/ep1/status/j-1?ttl=10000"),
        ("POST", "/v2/ep1/cancel/j-1"),
        ("POST", "/v2/ep1/retry/j-1"),
        ("POST", "/v2/ep1/purge-queue"),
        ("GET", "/v2/ep1/health"),
    ]
    assert {headers["Authorization"] for _, _, headers, _ in script.requests} == {f"Bearer {KEY}"}
    assert script.requests[0][3] == b'{"input": {"a": 1}, "policy": {"executionTimeout": 5000, "ttl": 10000}}'
    assert script.requests[1][3] == b'{"input": {"a": 1}}'


async def test_answers_are_read(script: Script) -> None:
    async with script.client() as client:
        script.steps = [says(200, {"id": "j", "status": "COMPLETED", "output": [1], "executionTime": 5})]
        assert (await client.status("j")).output == [1]
        script.steps = [says(200, {"removed": 2, "status": "completed"})]
        assert await client.purge_queue() == 2
        script.steps = [says(200, {"jobs": {"inQueue": 1}, "workers": {"idle": 3}})]
        assert (await client.health()).workers == {"idle": 3}


@pytest.mark.parametrize("job_id", ["", "a/b", "../x", "..", ".", "a?b", "a b", "ü", "a\n"])
async def test_a_job_id_that_would_change_the_address_is_refused(script: Script, job_id: str) -> None:
    script.steps = [says(200)]
    async with script.client() as client:
        for call in (client.status, client.cancel, client.retry):
            await _fails(call(job_id), BadInput)
    assert script.requests == []


@pytest.mark.parametrize(
    ("call", "kind"),
    [("run", UnknownEndpoint), ("health", UnknownEndpoint), ("purge_queue", UnknownEndpoint),
     ("status", UnknownJob), ("cancel", UnknownJob), ("retry", UnknownJob)],
)  # fmt: skip
async def test_404_and_401(script: Script, call: str, kind: type[ComfyRunPodError]) -> None:
    arguments: tuple[Any, ...] = {"run": ({"a": 1},), "health": (), "purge_queue": ()}.get(call, ("j",))
    async with script.client() as client:
        script.steps = [says(404, {"error": "no"})]
        await _fails(getattr(client, call)(*arguments), kind)
        script.steps = [says(401)]
        await _fails(getattr(client, call)(*arguments), KeyRefused)
    assert len(script.requests) == 2


async def test_other_refusals_say_what_the_endpoint_said(script: Script) -> None:
    script.steps = [says(400, {"error": "only a job that is FAILED"})]
    async with script.client() as client:
        error = await _fails(client.retry("j"), Refused)
    assert "only a job that is FAILED" in str(error)
    assert error.details["status"] == 400


async def test_what_a_server_echoes_holds_no_key(script: Script) -> None:
    script.steps = [says(400, text=f"bad header Authorization: Bearer {KEY}")]
    async with script.client() as client:
        error = await _fails(client.status("j"), Refused)
    assert "***" in str(error)


async def test_too_large_is_found_before_sending(script: Script) -> None:
    script.steps = [says(200, {"id": "j", "status": "IN_QUEUE"})]
    around = len(b'{"input": {"a": ""}}')
    async with script.client() as client:
        await _fails(client.run({"a": "x" * (10_000_001 - around)}), TooLarge)
        await _fails(client.runsync({"a": "x" * (20_000_001 - around)}, wait_ms=1000), TooLarge)
        assert script.requests == []
        await client.run({"a": "x" * (10_000_000 - around)})
        await client.runsync({"a": "x" * (10_000_001 - around)}, wait_ms=1000)
    assert [len(body) for *_, body in script.requests] == [10_000_000, 10_000_001]


@pytest.mark.parametrize(
    "step", [says(413, text="nope"), says(400, {"error": "Payload exceeds the size limit"})]
)
async def test_too_large_as_the_endpoint_says(script: Script, step: Step) -> None:
    script.steps = [step]
    async with script.client() as client:
        await _fails(client.run({"a": 1}), TooLarge)


@pytest.mark.parametrize("job_input", [{}, {"a": float("nan")}, {"a": {1, 2}}])
async def test_an_input_that_cannot_be_sent(script: Script, job_input: dict[str, Any]) -> None:
    script.steps = [says(200, {"id": "j"})]
    async with script.client() as client:
        await _fails(client.run(job_input), BadInput)
    assert script.requests == []


async def test_429_is_waited_out(script: Script) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    fine = says(200, {"id": "j", "status": "IN_QUEUE"})
    async with script.client() as client:
        for call in (client.run({"a": 1}), client.status("j")):
            script.steps = [says(429, Retry_After="7"), says(429), says(429, Retry_After=date), fine]
            assert (await call).id == "j"
            first, second, third = script.pauses
            assert first == 7
            assert 0.75 <= second <= 1.25
            assert 30 < third <= 40
            script.pauses.clear()
    assert len(script.requests) == 8


async def test_429_to_the_end(script: Script) -> None:
    script.steps = [says(429, Retry_After="100000")]
    async with script.client(attempts=3) as client:
        await _fails(client.run({"a": 1}), RateLimited)
        await _fails(client.health(), RateLimited)
    assert len(script.requests) == 6
    assert set(script.pauses) == {60.0}


@pytest.mark.parametrize("trouble", [says(500), says(503, text="<html>"), hangs_up, breaks_off])
async def test_asking_is_repeated(script: Script, trouble: Step) -> None:
    async with script.client() as client:
        for call in (client.status("j"), client.cancel("j"), client.health(), client.purge_queue()):
            before = len(script.requests)
            script.steps = [trouble, trouble, says(200, {"id": "j", "status": "IN_QUEUE"})]
            await call
            assert len(script.requests) >= before + 3
    assert all(0.3 < pause < 1.3 for pause in script.pauses)


@pytest.mark.parametrize(("trouble", "kind"), [(says(502), Refused), (hangs_up, Unreachable)])
async def test_asking_ends_some_time(script: Script, trouble: Step, kind: type[ComfyRunPodError]) -> None:
    script.steps = [trouble]
    async with script.client(attempts=3) as client:
        await _fails(client.status("j"), kind)
    assert len(script.pauses) == 2


UNSURE = [
    says(500), says(502, text="<html>Bad gateway"), hangs_up, breaks_off, stays_silent,
    says(200, text="<html>"), says(200, []), says(200, {"status": "IN_QUEUE"}),
]  # fmt: skip


@pytest.mark.parametrize("trouble", UNSURE)
@pytest.mark.parametrize("call", ["run", "runsync", "retry"])
async def test_a_submit_without_an_answer_is_never_sent_again(
    script: Script, trouble: Step, call: str
) -> None:
    script.steps = [trouble]
    async with script.client(timeout_s=0.2) as client:
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "run": lambda: client.run({"a": 1}),
            "runsync": lambda: client.runsync({"a": 1}, wait_ms=1),
            "retry": lambda: client.retry("j"),
        }
        error = await _fails(calls[call](), SubmitUnanswered)
        assert isinstance(error, Unreachable)
    assert len(script.requests) == 1
    assert script.pauses == []


async def test_a_kept_connection_that_has_died_does_not_make_a_submit_unsure(script: Script) -> None:
    used: list[asyncio.Transport | None] = []

    async def answers_once_per_connection(request: web.Request) -> web.StreamResponse:
        if request.transport in used:
            return await hangs_up(request)
        used.append(request.transport)
        return web.json_response({"id": "j", "status": "IN_QUEUE"})

    script.steps = [answers_once_per_connection]
    async with script.client() as client:
        for _ in range(5):
            await client.run({"a": 1})
    assert len(script.requests) == 5


async def test_a_refused_connection_is_tried_again(script: Script) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    runners: list[web.AppRunner] = []
    tries = 0

    async def start_at_the_third(_seconds: float) -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            app = web.Application()
            app.router.add_route("*", "/{rest:.*}", script.handle)
            runners.append(web.AppRunner(app, access_log=None))
            await runners[0].setup()
            await web.TCPSite(runners[0], "127.0.0.1", port).start()

    script.steps = [says(200, {"id": "j", "status": "IN_QUEUE"})]
    async with JobClient(f"http://127.0.0.1:{port}/v2", "ep1", KEY, sleep=start_at_the_third) as client:
        assert (await client.run({"a": 1})).id == "j"
    await runners[0].cleanup()
    assert len(script.requests) == 1
    async with JobClient(f"http://127.0.0.1:{port}/v2?token=x", "ep1", KEY, sleep=script.sleep) as client:
        for call in (client.run({"a": 1}), client.health()):
            error = await _fails(call, Unreachable)
            assert "token" not in str(error)
    assert len(script.pauses) == 8


@pytest.mark.parametrize("text", ["", "<html>Sign in</html>", "[1]", '"x"', "x" * 10_000])
async def test_an_answer_that_is_no_object(script: Script, text: str) -> None:
    script.steps = [says(200, text=text)]
    async with script.client() as client:
        error = await _fails(client.status("j"), Refused)
    assert text[:20] in str(error)
    assert len(str(error)) < 400


async def test_the_key_goes_nowhere_else(script: Script) -> None:
    script.steps = [says(302, Location=f"{script.url}/elsewhere")]
    async with script.client() as client:
        await _fails(client.status("j"), Refused)
        await _fails(client.run({"a": 1}), Refused)
    assert len(script.requests) == 2


async def test_a_given_session_stays_open(script: Script) -> None:
    script.steps = [says(200, {"id": "j"})]
    async with aiohttp.ClientSession() as session:
        client = script.client(session=session)
        await client.health()
        await client.close()
        assert not session.closed


def test_an_endpoint_id_is_checked_and_the_client_shows_no_key() -> None:
    with pytest.raises(BadInput):
        JobClient("https://x/v2", "a/b", KEY)
    assert KEY not in repr(JobClient("https://x/v2", "a", KEY))
