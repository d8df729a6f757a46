"""The local endpoint's routes, for clients and for workers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.unit.endpoint.helpers import KEY, Served, make_config, serving


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(make_config(tmp_path, max_run_bytes=2000, max_sync_bytes=4000)) as made:
        yield made


@pytest.fixture
async def patient(tmp_path: Path) -> AsyncIterator[Served]:
    """Holds polls so long that only a wake-up can end them."""
    async with serving(make_config(tmp_path, poll_hold_s=20)) as made:
        yield made


CLIENT_ROUTES = [
    ("POST", "run"), ("POST", "runsync"), ("GET", "status/x"), ("POST", "cancel/x"), ("POST", "retry/x"),
    ("POST", "purge-queue"), ("GET", "health"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), CLIENT_ROUTES)
@pytest.mark.parametrize(
    "header", [None, "", "Bearer wrong", "wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer ü"]
)
async def test_every_route_needs_the_key(served: Served, method: str, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    status, body = await served.api(method, path, headers=headers)
    assert status == 401
    assert KEY not in json.dumps(body)


@pytest.mark.parametrize("header", [f"Bearer {KEY}", KEY])
async def test_the_key_is_taken_with_and_without_bearer(served: Served, header: str) -> None:
    assert (await served.api("GET", "health", headers={"Authorization": header}))[0] == 200


@pytest.mark.parametrize(("method", "path"), CLIENT_ROUTES)
async def test_the_other_method_is_405(served: Served, method: str, path: str) -> None:
    status, body = await served.api("POST" if method == "GET" else "GET", path)
    assert status == 405
    assert body["error"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "requests"), ("POST", "requests"), ("GET", "stream/x"), ("GET", "status"), ("GET", "jobs"),
        ("GET", "status/unknown"), ("POST", "cancel/unknown"), ("POST", "retry/unknown"),
        ("GET", "../other/health"),
    ],
)  # fmt: skip
async def test_what_runpod_lacks_is_404(served: Served, method: str, path: str) -> None:
    status, body = await served.api(method, path)
    assert status == 404
    assert body["error"]


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]",
        b'"x"', b"null", b"{}", b'{"inputs": 1}', b'{"input": {}}', b'{"input": null}', b"\xff\xfe",
        b'{"input": {"a": 1}, "policy": 5}', b'{"input": {"a": 1}, "policy": {"executionTimeout": 4999}}',
        b'{"input": {"a": 1}, "policy": {"ttl": 9999}}', b'{"input": {"a": 1}, "policy": {"ttl": 604800001}}',
        b'{"input": {"a": 1}, "policy": {"ttl": "60000"}}', b'{"input": {"a": 1}, "policy": {"ttl": true}}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("route", ["run", "runsync?wait=1000"])
async def test_a_bad_submit_is_400_and_queues_nothing(served: Served, raw: bytes, route: str) -> None:
    status, body = await served.api("POST", route, data=raw)
    assert status == 400
    assert body["error"]
    assert served.platform.queue.counts()["inQueue"] == 0


@pytest.mark.parametrize(("route", "limit"), [("run", 2000), ("runsync?wait=1000", 4000)])
async def test_an_oversized_submit_is_400(served: Served, route: str, limit: int) -> None:
    padding = limit - len(json.dumps({"input": {"a": ""}}))
    status, body = await served.api("POST", route, data=json.dumps({"input": {"a": "x" * (padding + 1)}}))
    assert status == 400
    assert str(limit) in body["error"]
    fits, _ = await served.api("POST", route, data=json.dumps({"input": {"a": "x" * padding}}))
    assert fits == 200


@pytest.mark.parametrize("wait", ["999", "300001", "x", "", "1e3", "true"])
async def test_wait_has_a_range(served: Served, wait: str) -> None:
    assert (await served.api("POST", f"runsync?wait={wait}", json={"input": {"a": 1}}))[0] == 400
    assert served.platform.queue.counts()["inQueue"] == 0


async def test_a_job_from_submit_to_result(served: Served) -> None:
    status, body = await served.api(
        "POST", "run", json={"input": {"a": 1}, "webhook": "x", "s3Config": {"b": 2}}
    )
    assert (status, body["status"], sorted(body)) == (200, "IN_QUEUE", ["id", "status"])
    job_id = body["id"]
    assert await served.api("GET", f"status/{job_id}") == (200, {"id": job_id, "status": "IN_QUEUE"})
    assert await served.take() == (200, {"id": job_id, "input": {"a": 1}, "s3Config": {"b": 2}})
    await served.done(job_id, '{"status": "IN_PROGRESS", "output": {"step": 1}}')
    _, body = await served.api("GET", f"status/{job_id}")
    assert body.pop("delayTime") >= 0
    assert body == {"id": job_id, "status": "IN_PROGRESS", "workerId": "w1", "output": {"step": 1}}
    assert await served.done(job_id, '{"output": {"ü": [1, null]}}') == (200, None)
    _, body = await served.api("GET", f"status/{job_id}")
    assert body.pop("delayTime") >= 0
    assert body.pop("executionTime") >= 0
    assert body == {"id": job_id, "status": "COMPLETED", "workerId": "w1", "output": {"ü": [1, None]}}


async def test_status_can_set_the_ttl(served: Served) -> None:
    job_id = await served.submit()
    assert (await served.api("GET", f"status/{job_id}?ttl=10000"))[0] == 200
    assert (await served.api("GET", f"status/{job_id}?ttl=5"))[0] == 400
    job = served.platform.queue.get(job_id)
    assert job is not None
    assert job.ttl_ms == 10_000


async def test_policy_is_kept(served: Served) -> None:
    policy = {"executionTimeout": 5000, "ttl": 604_800_000, "lowPriority": True}
    _, body = await served.api("POST", "run", json={"input": {"a": 1}, "policy": policy})
    job = served.platform.queue.get(body["id"])
    assert job is not None
    assert (job.execution_timeout_ms, job.ttl_ms) == (5000, 604_800_000)


async def test_retry_only_after_a_failure(served: Served) -> None:
    job_id = await served.submit()
    status, body = await served.api("POST", f"retry/{job_id}")
    assert status == 400
    assert "FAILED" in body["error"]
    await served.take()
    await served.done(job_id, '{"error": "bad"}')
    assert await served.api("POST", f"retry/{job_id}") == (200, {"id": job_id, "status": "IN_QUEUE"})


async def test_purge_and_health(served: Served) -> None:
    await served.submit()
    await served.take()
    await served.submit()
    _, health = await served.api("GET", "health")
    assert health["jobs"] == {"completed": 0, "failed": 0, "inProgress": 1, "inQueue": 1, "retried": 0}
    assert await served.api("POST", "purge-queue") == (200, {"removed": 1, "status": "completed"})


async def test_runsync_returns_the_result(patient: Served) -> None:
    call = asyncio.create_task(patient.api("POST", "runsync", json={"input": {"a": 1}}))
    _, job = await patient.take()
    assert job["id"].startswith("sync-")
    await patient.done(job["id"], '{"output": 5}')
    status, body = await call
    assert (status, body["status"], body["output"]) == (200, "COMPLETED", 5)


async def test_runsync_that_takes_longer_tells_the_state(served: Served) -> None:
    status, body = await served.api("POST", "runsync?wait=1000", json={"input": {"a": 1}})
    assert (status, body["status"], sorted(body)) == (200, "IN_QUEUE", ["id", "status"])


async def test_runsync_of_a_removed_job(patient: Served) -> None:
    call = asyncio.create_task(patient.api("POST", "runsync", json={"input": {"a": 1}}))
    while not patient.platform.queue.counts()["inQueue"]:
        await asyncio.sleep(0.01)
    await patient.api("POST", "purge-queue")
    assert (await call)[0] == 404


async def test_a_submit_wakes_a_waiting_worker(patient: Served) -> None:
    poll = asyncio.create_task(patient.take())
    await asyncio.sleep(0.05)
    job_id = await patient.submit()
    assert (await poll)[1]["id"] == job_id


async def test_a_poll_without_work_is_204(served: Served) -> None:
    assert await served.take() == (204, None)
    assert await served.worker("GET", "job-stop/w1?gpu=local") == (204, None)


async def test_a_cancel_reaches_the_workers_open_poll(patient: Served) -> None:
    job_id = await patient.submit()
    await patient.take()
    poll = asyncio.create_task(patient.worker("GET", "job-stop/w1"))
    other = asyncio.create_task(patient.worker("GET", "job-stop/w2"))
    assert await patient.api("POST", f"cancel/{job_id}") == (200, {"id": job_id, "status": "CANCELLED"})
    assert await poll == (200, {"jobsToStop": [job_id]})
    assert not other.done()
    assert await patient.done(job_id, '{"output": 1}') == (200, None)
    _, body = await patient.api("GET", f"status/{job_id}")
    assert body["status"] == "CANCELLED"
    assert "output" not in body
    patient.platform.dispatcher.close()
    assert (await other)[0] == 204


async def test_closing_ends_all_polls_and_takes_no_job(patient: Served) -> None:
    poll = asyncio.create_task(patient.take())
    await asyncio.sleep(0.05)
    patient.platform.dispatcher.close()
    assert (await poll)[0] == 204
    assert (await patient.api("POST", "run", json={"input": {"a": 1}}))[0] == 503


async def test_a_worker_that_left_its_poll_gets_no_job(patient: Served) -> None:
    poll = asyncio.create_task(patient.take("w1"))
    await asyncio.sleep(0.05)
    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)
    job_id = await patient.submit()
    _, job = await patient.take("w2")
    assert job["id"] == job_id
    _, body = await patient.api("GET", f"status/{job_id}")
    assert "retries" not in body


async def test_a_worker_whose_connection_is_gone_when_answered_loses_no_job(
    patient: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await patient.submit()
    take = patient.platform.queue.take

    def take_and_hang_up(worker_id: str, count: int = 1) -> list[tuple[str, str]]:
        taken = take(worker_id, count)
        if taken and worker_id == "w1":
            server = patient.platform._runner.server
            assert server is not None
            for connection in server.connections:
                assert connection.transport is not None
                connection.transport.abort()
        return taken

    monkeypatch.setattr(patient.platform.queue, "take", take_and_hang_up)
    with pytest.raises(aiohttp.ClientError):
        await patient.take("w1")
    _, job = await patient.take("w2")
    assert job["id"] == job_id
    _, body = await patient.api("GET", f"status/{job_id}")
    assert "retries" not in body


async def test_a_worker_that_holds_nothing_has_lost_its_job(served: Served) -> None:
    job_id = await served.submit()
    await served.take()
    assert (await served.take(idle="1"))[0] == 204, "it says that it has a job in hand"
    _, job = await served.take(idle="0")
    assert job["id"] == job_id
    _, body = await served.api("GET", f"status/{job_id}")
    assert body["retries"] == 1


async def test_batches(served: Served) -> None:
    jobs = [await served.submit(n=n) for n in range(3)]
    path = "job-take-batch/w1?gpu=local&batch_size={}&job_in_progress=0"
    status, taken = await served.worker("GET", path.format(2))
    assert (status, [job["id"] for job in taken]) == (200, jobs[:2])
    status, taken = await served.worker("GET", path.format("x").replace("=0", "=1"))
    assert [job["id"] for job in taken] == jobs[2:]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "job-take/w1"), ("GET", "job-take-batch/w1"), ("POST", "job-done/w1/x"), ("GET", "job-stop/w1"),
     ("GET", "ping/w1")],
)  # fmt: skip
async def test_a_wrong_worker_secret_is_404(served: Served, method: str, path: str) -> None:
    for secret in ("wrong", served.platform.secret[:-1], "ü"):
        async with served.client.request(
            method, f"/worker/{secret}/{path}", headers=served.headers
        ) as response:
            assert response.status == 404
    status, _ = await served.worker(method, path, data=b"{}" if method == "POST" else None)
    assert status in (200, 204)


async def test_a_workers_route_needs_no_header_and_believes_none(served: Served) -> None:
    async with served.client.get(
        f"/worker/{served.platform.secret}/ping/w1", headers={"Authorization": "rpa_OTHER"}
    ) as response:
        assert response.status == 200


async def test_an_oversized_result_is_400_for_the_worker(served: Served) -> None:
    job_id = await served.submit()
    await served.take()
    status, _ = await served.done(job_id, json.dumps({"output": "x" * 900_000}))
    assert status == 400
    _, body = await served.api("GET", f"status/{job_id}")
    assert body["status"] == "COMPLETED"
    assert "output" not in body


@pytest.mark.parametrize("raw", ["", "[]", "x"])
async def test_a_result_that_is_no_object_is_400(served: Served, raw: str) -> None:
    job_id = await served.submit()
    await served.take()
    assert (await served.done(job_id, raw))[0] == 400
    assert (await served.api("GET", f"status/{job_id}"))[1]["status"] == "IN_PROGRESS"


async def test_stop_pod_asks_for_a_fresh_process(served: Served) -> None:
    job_id = await served.submit()
    await served.take()
    hub = served.platform.dispatcher
    assert not hub.wants_restart("w1")
    await served.done(job_id, '{"output": {"ok": 1}, "stopPod": true}')
    assert (await served.api("GET", f"status/{job_id}"))[1]["output"] == {"ok": 1}
    assert hub.wants_restart("w1")
    await served.submit()
    assert (await served.take())[0] == 204, "a worker that is to be replaced gets no job"
    hub.worker_gone("w1")
    assert (await served.take())[0] == 200


async def test_the_log_never_holds_the_secret(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    await served.take()
    await served.worker("GET", "nothing-here")
    assert served.platform.secret not in caplog.text
    assert KEY not in caplog.text


async def test_an_unexpected_body_of_a_reply_is_still_json(served: Served) -> None:
    async with served.client.get("/elsewhere") as response:
        body: Any = await response.json()
    assert (response.status, bool(body["error"])) == (404, True)


async def test_a_sleep_of_the_computer_is_no_execution_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await served.submit()
    await served.take()
    platform = served.platform
    before = platform.queue.get(job_id)
    assert before is not None
    assert before.taken_at is not None
    platform._apply_deadlines(20.0)
    assert platform.queue.get(job_id) == before
    monkeypatch.setattr(platform.queue, "_clock", lambda: time.time() + 5000)
    platform._apply_deadlines(5000.0)
    after = platform.queue.get(job_id)
    assert after is not None
    assert after.taken_at == before.taken_at + 5000
    assert (await served.api("GET", f"status/{job_id}"))[1]["delayTime"] < 4000
