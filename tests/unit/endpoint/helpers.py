"""Shared by the tests of the endpoint."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from app.endpoint.config import EndpointConfig
from app.endpoint.platform import Platform

KEY = "local-key-0123456789"


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def make_config(folder: Path, **changes: Any) -> EndpointConfig:
    config = EndpointConfig(
        endpoint_id="local",
        data_dir=folder / "data",
        volume_dir=folder / "volume",
        worker_argv=(sys.executable, "-c", "pass"),
        poll_hold_s=0.05,
    )
    return dataclasses.replace(config, **changes)


class Served:
    """A platform without workers, and clients for both of its sides."""

    def __init__(self, platform: Platform, client: aiohttp.ClientSession) -> None:
        self.platform = platform
        self.client = client
        self.headers = {"Authorization": f"Bearer {KEY}"}

    async def api(self, method: str, path: str, **kwargs: Any) -> tuple[int, Any]:
        """A client's request: status and JSON."""
        kwargs.setdefault("headers", self.headers)
        async with self.client.request(method, f"/v2/local/{path}", **kwargs) as response:
            return response.status, await response.json()

    async def worker(self, method: str, path: str, **kwargs: Any) -> tuple[int, Any]:
        """A worker's request: status, and JSON if there is any."""
        async with self.client.request(
            method, f"/worker/{self.platform.secret}/{path}", **kwargs
        ) as response:
            raw = await response.read()
            return response.status, (await response.json()) if raw else None

    async def submit(self, **job_input: Any) -> str:
        status, body = await self.api("POST", "run", json={"input": job_input or {"n": 1}})
        assert status == 200
        return str(body["id"])

    async def take(self, worker: str = "w1", idle: str = "1") -> tuple[int, Any]:
        return await self.worker("GET", f"job-take/{worker}?gpu=local&job_in_progress={idle}")

    async def done(self, job_id: str, body: str, worker: str = "w1") -> tuple[int, Any]:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        path = f"job-done/{worker}/{job_id}?gpu=local&isStream=false"
        return await self.worker("POST", path, data=body.encode(), headers=headers)


@asynccontextmanager
async def serving(config: EndpointConfig) -> AsyncIterator[Served]:
    platform = Platform(config, KEY)
    port = await platform.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        try:
            yield Served(platform, client)
        finally:
            await platform.close()
