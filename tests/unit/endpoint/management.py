"""RunPod's management API on loopback, as published: it accepts what RunPod accepts and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web

KEY = "rpa_OFTHEACCOUNT0123456789"

ENDPOINT: dict[str, Any] = {
    "id": "ep-one",
    "name": "comfy-flux",
    "type": "QUEUE",
    "requestUrls": {"run": "https://api.runpod.ai/v2/ep-one/run"},
    "image": "someone/comfy:1",
    "args": "",
    "disk": 20,
    "env": {"HF_TOKEN": "hf_somebodys_token"},
    "ports": [],
    "registry": None,
    "gpu": {"pools": ["ADA_24", "ADA_48_PRO"], "excludedTypes": ["NVIDIA L40"], "count": 2},
    "workers": {"min": 0, "max": 3, "idleTimeout": 5},
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    "dataCenterIds": ["EU-RO-1"],
    "networkVolumes": ["vol1"],
    "timeout": 600000,
    "flashboot": "FLASHBOOT",
    "createdAt": "2026-03-13T20:00:00Z",
}
_IN_ENDPOINT = {
    *(
        "args",
        "disk",
        "env",
        "image",
        "ports",
        "registry",
        "cpu",
        "dataCenterIds",
        "flashboot",
        "gpu",
        "name",
    ),
    *("networkVolumes", "scaling", "templateId", "timeout", "workers"),
}
WORKERS = {
    "workers": [
        {
            "id": "w1",
            "status": "RUNNING",
            "isStale": True,
            "version": 3,
            "gpuCount": 1,
            "gpuTypeId": "NVIDIA GeForce RTX 4090",
            "dataCenterId": "EU-RO-1",
            "image": "someone/comfy:1",
            "uptimeSeconds": 60,
            "startedAt": "2026-03-26T00:00:00Z",
        },
        {"id": "w2", "status": "THROTTLED", "isStale": False, "version": None, "gpuCount": 0},
    ],
    "summary": {"running": 1, "idle": 0, "initializing": 0, "throttled": 1, "unhealthy": 0, "total": 2},
    "endpointVersion": 4,
}
RELEASES = {
    "endpointVersion": 4,
    "rollout": {"inProgress": True, "workersOnLatest": 1, "workersTotal": 2, "percentOnLatest": 50},
    "releases": [
        {
            "id": "rel1",
            "version": 4,
            "source": "MANUAL",
            "workerCount": 1,
            "createdAt": "2026-03-13T20:00:00Z",
            "diff": [
                {"field": "template.imageName", "old": "someone/comfy:0", "new": "someone/comfy:1"},
                {"field": "template.env", "old": {}, "new": {"HF_TOKEN": "hf_somebodys_token"}},
            ],
        }
    ],
}
GPUS = [
    ("NVIDIA GeForce RTX 4090", "RTX 4090", "ADA_24", 1.1),
    ("NVIDIA L40", "L40", "ADA_48_PRO", 1.9),
    ("NVIDIA L40S", "L40S", "ADA_48_PRO", 1.98),
    ("NVIDIA RTX 6000 Ada", "RTX 6000 Ada", "ADA_48_PRO", None),
    ("NVIDIA A30", "A30", None, None),
]
VOLUME = {"id": "vol1", "name": "models", "size": 100, "dataCenter": "EU-RO-1", "type": "STANDARD"}
CENTRE = {
    "id": "EU-RO-1",
    "name": "EU Romania 1",
    "region": "EUROPE",
    "globalNetwork": True,
    "networkVolumeTypes": ["STANDARD"],
    "compliance": [],
}
CHARGE = {
    "startTime": "2026-06-01T00:00:00Z",
    "endTime": "2026-06-02T00:00:00Z",
    "serverlessId": "ep-one",
    "totalAmount": 8.9,
    "gpuAmount": 8.0,
    "cpuAmount": 0,
    "diskAmount": 0.4,
    "feeAmount": 0.5,
}


@dataclass
class WorkerLog:
    """What one worker printed, and who reads it.

    Attributes:
        events: id, source, line and moment of each, the oldest first.
        last_ids: what each reader said to go on from.
        repeats: a reader that goes on gets the line it went on from once more: where RunPod's own resume
            begins is not documented.
    """

    events: list[tuple[str, str, str, str]] = field(default_factory=list)
    last_ids: list[str | None] = field(default_factory=list)
    repeats: bool = True
    readers: int = 0
    ends: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, line: str, *, source: str = "container", ts: str = "") -> None:
        number = len(self.events)
        ts = ts or f"2026-06-01T12:{number // 60 % 60:02}:{number % 60:02}Z"
        self.events.append((f"{ts}/{number:012}", source, line, ts))
        self._wake()

    def cut(self) -> None:
        """Break the connections there are."""
        self.ends += 1
        self._wake()

    def _wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


@dataclass
class Management:
    """The API's state.

    Attributes:
        asked: method and path of each request, answered or not.
        first: answers to the next requests, before the API gets to them.
        logs: by worker; a worker without one is not known.
        refused: paths that this key may not ask for.
        releases: what the endpoint's releases answer with.
        rolling: how many workers are on the latest, of how many, and whether it goes on: taken for one answer
            after the other once an image was changed; the last one stays.
    """

    url: str = ""
    key: str = KEY
    endpoints: dict[str, dict[str, Any]] = field(default_factory=lambda: {"ep-one": dict(ENDPOINT)})
    asked: list[str] = field(default_factory=list)
    first: list[web.StreamResponse | None] = field(default_factory=list)
    workers: dict[str, Any] = field(default_factory=lambda: deepcopy(WORKERS))
    logs: dict[str, WorkerLog] = field(default_factory=dict)
    volumes: list[dict[str, Any]] = field(default_factory=lambda: [dict(VOLUME)])
    refused: set[str] = field(default_factory=set)
    releases: dict[str, Any] = field(default_factory=lambda: deepcopy(RELEASES))
    rolling: list[tuple[int, int, bool]] = field(default_factory=list)
    _is_rolling: bool = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path_qs.removeprefix('/v2/')}")
        if self.first:
            answer = self.first.pop(0)
            if answer is None:
                assert request.transport is not None
                request.transport.close()
                await asyncio.sleep(1)
            else:
                return answer
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            return problem(401, "Unauthorized", "missing bearer token")
        if request.path.removeprefix("/v2/") in self.refused:
            return problem(403, "Forbidden", "forbidden for this key")
        match request.method, *request.path.removeprefix("/v2/").split("/"):
            case "GET", "serverless":
                return web.json_response({"endpoints": list(self.endpoints.values())})
            case _, "serverless", name, *_ if name not in self.endpoints:
                return problem(404, "Not Found", "resource not found")
            case "GET", "serverless", name:
                return web.json_response(self.endpoints[name])
            case "PATCH", "serverless", name:
                return self._change(self.endpoints[name], await request.json())
            case "DELETE", "serverless", name:
                del self.endpoints[name]
                return web.Response(status=204)
            case "GET", "serverless", _, "workers":
                return web.json_response(self.workers)
            case "GET", "serverless", _, "workers", worker, "logs":
                return await self._log(request, worker)
            case "GET", "serverless", _, "releases":
                return web.json_response(self._roll())
            case "GET", "network-volumes":
                return web.json_response({"networkVolumes": self.volumes})
            case "GET", "catalog", "gpus":
                return self._gpus(request.query)
            case "GET", "catalog", "datacenters":
                return web.json_response({"dataCenters": [CENTRE]})
            case "GET", "billing", "serverless":
                return self._bill(request.query)
        return problem(404, "Not Found", "resource not found")

    def _change(self, endpoint: dict[str, Any], body: Any) -> web.Response:
        unknown = sorted(set(body) - _IN_ENDPOINT) if isinstance(body, dict) else ["the body"]
        workers = {} if unknown else body.get("workers", {})
        unknown += sorted(set(workers) - {"min", "max", "idleTimeout"})
        if unknown:
            return problem(422, "Unprocessable Entity", "Request validation failed.", unknown)
        if not 1 <= workers.get("idleTimeout", 1) <= 3600:
            return problem(422, "Unprocessable Entity", "Request validation failed.", ["idleTimeout"])
        if workers.get("min", 0) > workers.get("max", endpoint["workers"]["max"]):
            return problem(400, "Bad Request", "workers.min is above workers.max")
        if not isinstance(body.get("image", ""), str) or body.get("image") == "":
            return problem(422, "Unprocessable Entity", "Request validation failed.", ["image"])
        if body.get("image", endpoint["image"]) != endpoint["image"]:
            self.releases["endpointVersion"] += 1
            diff = {"field": "image", "old": endpoint["image"], "new": body["image"]}
            release = {"id": "rel", "version": self.releases["endpointVersion"], "diff": [diff]}
            self.releases["releases"].insert(0, release)
            self._is_rolling = True
        endpoint.update({**body, "workers": {**endpoint["workers"], **workers}})
        return web.json_response(endpoint)

    def _roll(self) -> dict[str, Any]:
        if self._is_rolling and self.rolling:
            done, total, goes_on = self.rolling.pop(0) if len(self.rolling) > 1 else self.rolling[0]
            self.releases["rollout"] = {
                "inProgress": goes_on,
                "workersOnLatest": done,
                "workersTotal": total,
                "percentOnLatest": round(100 * done / total) if total else 100,
            }
        return self.releases

    async def _log(self, request: web.Request, worker: str) -> web.StreamResponse:
        query, log = request.query, self.logs.get(worker)
        tail = query.get("tail", "100")
        wrong = sorted(set(query) - {"source", "tail", "since"})
        wrong += ["source"] if query.get("source", "system") not in ("container", "system") else []
        wrong += [] if tail.isdigit() and int(tail) <= 5000 else ["tail"]
        try:
            datetime.fromisoformat(query.get("since", "2026-06-01T12:00:00Z"))
        except ValueError:
            wrong.append("since")
        if wrong:
            return problem(422, "Unprocessable Entity", "Request validation failed.", wrong)
        if log is None:
            return problem(404, "Not Found", "resource not found")
        last_id = request.headers.get("Last-Event-ID")
        log.last_ids.append(last_id)
        response = web.StreamResponse(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        await response.prepare(request)
        at = self._begin(log, last_id or query.get("since"), int(tail))
        ends, log.readers = log.ends, log.readers + 1
        try:
            while log.ends == ends and self.logs.get(worker) is log:
                news = log.news
                for key, source, line, ts in log.events[at:]:
                    if query.get("source", source) == source:
                        data = json.dumps({"ts": ts, "source": source, "line": line})
                        await response.write(f"id: {key}\ndata: {data}\n\n".encode())
                at = len(log.events)
                if log.ends == ends:
                    await news.wait()
        finally:
            log.readers -= 1
        return response

    @staticmethod
    def _begin(log: WorkerLog, last: str | None, tail: int) -> int:
        """Where a reader begins: with a cursor there, else the tail before the end."""
        if last is None:
            return max(len(log.events) - tail, 0)
        found = next((n for n, event in enumerate(log.events) if event[0] == last), None)
        if found is None:
            return next((n for n, event in enumerate(log.events) if event[3] >= last), len(log.events))
        return found if log.repeats else found + 1

    def gone(self, worker: str) -> None:
        """The worker ends, and its log with it."""
        log = self.logs.pop(worker)
        self.workers["workers"] = [each for each in self.workers["workers"] if each["id"] != worker]
        log.cut()

    def _gpus(self, query: Mapping[str, str]) -> web.Response:
        if ("include" in query) != ("product" in query):
            return problem(400, "Bad Request", "product and include=AVAILABILITY belong together")
        gpus = []
        for key, name, pool, price in GPUS:
            prices = {"secure": 9.9, "community": 0.0, **({} if price is None else {"serverless": price})}
            gpu = {"id": key, "name": name, "pool": pool, "memory": 24, "price": prices, "secure": True}
            gpus.append({**gpu, "availability": "LOW"} if "include" in query else gpu)
        return web.json_response({"gpus": gpus})

    def _bill(self, query: Mapping[str, str]) -> web.Response:
        if set(query) - {"bucketSize", "lastN", "startTime", "endTime", "serverlessId"}:
            return problem(422, "Unprocessable Entity", "Request validation failed.")
        return web.json_response({"records": [CHARGE], "metadata": {"recordCount": 1}})


def problem(
    status: int, title: str, detail: str, errors: list[str] | None = None, **headers: str
) -> web.Response:
    """An error as RFC 9457 has it."""
    data: dict[str, Any] = {"title": title, "status": status, "detail": detail}
    if errors:
        data["errors"] = errors
    return web.json_response(
        data,
        status=status,
        content_type="application/problem+json",
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


@asynccontextmanager
async def managing() -> AsyncIterator[Management]:
    management = Management()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", management.answer)
    # A log's reader that has gone must not be waited for.
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    management.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v2"
    try:
        yield management
    finally:
        await runner.cleanup()
