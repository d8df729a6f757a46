"""Recorded requests of the SDK's worker (1.12.0) against our server, in their order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.endpoint.queue import JobQueue
from tests.unit.endpoint.helpers import Served, make_config, serving

DATA = Path(__file__).parents[2] / "data" / "runpod"
RECORDINGS = sorted(path.name for path in DATA.glob("*.json"))


def _given_jobs(exchange: dict[str, Any]) -> list[dict[str, Any]]:
    answer = exchange["reply"].get("json")
    if not exchange["kind"].startswith("job-take") or answer is None:
        return []
    return answer if isinstance(answer, list) else [answer]


def _queue_job(queue: JobQueue, job: dict[str, Any]) -> None:
    """Queue a job under its recorded id."""
    made = queue.submit({name: job[name] for name in ("input", "s3Config") if name in job})
    payload = json.dumps(
        {"id": job["id"]} | {name: job[name] for name in ("input", "s3Config") if name in job}
    )
    database = queue._table._db
    database.execute("UPDATE jobs SET id = ? WHERE id = ?", (job["id"], made.id))
    database.execute("UPDATE payloads SET id = ?, text = ? WHERE id = ?", (job["id"], payload, made.id))


def _as_we_give(answer: Any) -> Any:
    """The recorded stand-in also sent keys that RunPod does not document for a worker."""
    if isinstance(answer, list):
        return [_as_we_give(job) for job in answer]
    return {name: value for name, value in answer.items() if name not in ("webhook", "policy")}


async def _replay(served: Served, exchange: dict[str, Any]) -> tuple[int, Any]:
    queue = served.platform.queue
    path = exchange["path"].removeprefix("/v2/ep1/")
    for job in _given_jobs(exchange):
        _queue_job(queue, job)
    for job_id in (
        (exchange["reply"].get("json") or {}).get("jobsToStop", []) if exchange["kind"] == "job-stop" else []
    ):
        job = queue.get(job_id)
        assert job is not None
        served.platform.dispatcher.cancel(job)
        served.platform.dispatcher._contacts["worker1"].stops[job_id] = 0.0
    return await served.worker(
        exchange["method"],
        path,
        params=exchange["query"],
        headers={k: v for k, v in exchange["headers"].items() if k != "Accept-Encoding"},
        data=json.dumps(exchange["body"], ensure_ascii=False).encode() if "body" in exchange else None,
    )


def _expected(posts: list[dict[str, Any]]) -> dict[str, Any]:
    """What RunPod makes of a worker's posts for one job."""
    final = next((post for post in posts if post.get("status") != "IN_PROGRESS"), None)
    if final is None:
        return {"status": "IN_PROGRESS"} | ({"output": posts[-1]["output"]} if posts else {})
    kept = {name: final[name] for name in ("output", "error") if name in final}
    return {"status": "FAILED" if "error" in final else "COMPLETED"} | kept


@pytest.mark.parametrize("name", RECORDINGS)
async def test_our_server_answers_as_the_recorded_one(name: str, tmp_path: Path) -> None:
    exchanges = json.loads((DATA / name).read_text(encoding="utf-8"))["http"]
    posts: dict[str, list[dict[str, Any]]] = {}
    stopped: set[str] = set()
    async with serving(make_config(tmp_path)) as served:
        for exchange in exchanges:
            status, answer = await _replay(served, exchange)
            recorded = exchange["reply"]
            where = f"{exchange['kind']} at {exchange['t']}"
            if recorded["status"] in (400, 500):
                # Faults that the stand-in played; ours has none to play.
                assert status in (200, 204), where
            else:
                assert status == recorded["status"], where
            if _given_jobs(exchange):
                assert answer == _as_we_give(recorded["json"]), where
            if exchange["kind"] == "job-stop" and recorded["status"] == 200:
                assert answer == recorded["json"], where
                stopped |= set(answer["jobsToStop"])
            if served.platform.dispatcher.wants_restart("worker1"):
                # The recorded process was left running; ours would be replaced before its next take.
                served.platform.dispatcher.worker_gone("worker1")
            if exchange["kind"] == "job-done":
                posts.setdefault(exchange["path"].rsplit("/", 1)[1], []).append(exchange["body"])
        for job_id in {job["id"] for exchange in exchanges for job in _given_jobs(exchange)}:
            status, shown = await served.api("GET", f"status/{job_id}")
            assert status == 200
            assert shown.pop("workerId") == "worker1"
            assert shown.pop("delayTime") >= 0
            assert shown.pop("executionTime", 0) >= 0
            expected = {"status": "CANCELLED"} if job_id in stopped else _expected(posts.get(job_id, []))
            assert shown == {"id": job_id} | expected


def test_all_recordings_are_here() -> None:
    assert [name[:2] for name in RECORDINGS] == ["01", "04", "05", "06", "09", "10", "11"]
