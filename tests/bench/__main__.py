"""What the loop adds to ComfyUI, what it weighs, how quick the command line and the window are.

    python -m tests.bench [JOBS]

Runs against the demo engine, and against a real ComfyUI when COMFYUI_DIR is set. Prints figures and ratios;
judges nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from app.endpoint.client import JobClient
from app.endpoint.config import EndpointConfig
from app.endpoint.local import LocalEndpoint
from app.jobs.control import events_of
from app.jobs.model import JobSpec
from app.services import LOCAL, Services
from app.settings import Settings
from tests.bench import sync, window, workflows
from tests.bench.worker.__main__ import report as report_worker
from tests.engines import ENGINES, Engine, started

_ECHO = """
import runpod
from worker.process import end_own_group, hold_lifeline
hold_lifeline(end_own_group)
async def handler(job):
    return {"echo": job["input"]}
runpod.serverless.start({"handler": handler})
"""
_colors = itertools.count(int(time.time()) % 1_000_000)


def workflow() -> dict[str, Any]:
    """EmptyImage to SaveImage, in a colour that no cache knows."""
    inputs = {"width": 64, "height": 64, "batch_size": 1, "color": next(_colors)}
    return {
        "1": {"class_type": "EmptyImage", "inputs": inputs},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "bench"}},
    }


async def timed(once: Callable[[], Awaitable[Any]], count: int, pause: float = 1.2) -> list[float]:
    """Seconds of single jobs, each sent when all is idle."""
    await once()
    times: list[float] = []
    for _ in range(count):
        await asyncio.sleep(pause)
        began = time.perf_counter()
        await once()
        times.append(time.perf_counter() - began)
    return times


async def comfyui_alone(engine: Engine, count: int) -> list[float]:
    """From POST /prompt to the end mark on the websocket."""
    client_id = uuid.uuid4().hex
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{engine.url}/ws?clientId={client_id}", max_msg_size=0) as socket,
    ):

        async def once() -> None:
            body = {"prompt": workflow(), "client_id": client_id}
            async with session.post(f"{engine.url}/prompt", json=body) as response:
                prompt_id = (await response.json())["prompt_id"]
            while True:
                message = await socket.receive_json()
                data = message["data"]
                if message["type"] == "executing" and data["node"] is None and data["prompt_id"] == prompt_id:
                    return

        return await timed(once, count, pause=0.3)


async def until_final(client: JobClient, body: dict[str, Any]) -> None:
    job = await client.run(body)
    while not (await client.status(job.id)).is_final:
        await asyncio.sleep(0.01)


async def sdk_alone(folder: Path, count: int) -> tuple[list[float], float]:
    """An echo handler on the same endpoint: seconds of single jobs, and a job when queued together."""
    script = folder / "echo.py"
    script.write_text(_ECHO)
    root = str(Path(__file__).parents[2])
    config = EndpointConfig(
        endpoint_id="echo",
        data_dir=folder / "echo",
        worker_argv=(sys.executable, str(script)),
        worker_env={"PYTHONPATH": root},
        volume_dir=folder / "echo-volume",
        idle_exit_s=30,
    )
    local = LocalEndpoint(config)
    await local.ensure()
    try:
        async with local.client() as client:
            singles = await timed(lambda: until_final(client, {"x": 1}), count)
            began = time.perf_counter()
            await asyncio.gather(*(until_final(client, {"x": n}) for n in range(count)))
            return singles, (time.perf_counter() - began) / count
    finally:
        await local.stop()


async def whole_loop(engine: Engine, folder: Path, count: int) -> tuple[list[float], float, dict[str, float]]:
    """Through the store, the runner, the endpoint and the worker, until the picture is on disk."""
    settings = dataclasses.replace(
        Settings.load(env={}), data_dir=folder, output_dir=folder / "out", comfyui_url=engine.url
    )
    services = await Services.start(settings)
    try:

        async def run(specs: list[JobSpec]) -> None:
            left = {spec.id for spec in specs}
            for spec in specs:
                await services.runner.submit(spec)
            async for event in events_of(services.runner, list(left)):
                if event.job.is_final:
                    assert event.job.state == "done", event.job.error
                    left.discard(event.job.id)
                if not left:
                    return

        def spec() -> JobSpec:
            return JobSpec("bench", LOCAL, workflow(), str(folder / "out"))

        singles = await timed(lambda: run([spec()]), count)
        began = time.perf_counter()
        await run([spec() for _ in range(count)])
        return singles, (time.perf_counter() - began) / count, memory(folder)
    finally:
        await services.close()


def memory(folder: Path) -> dict[str, float]:
    """Resident megabytes (10^6 bytes) of each process of the loop."""
    sizes = {"panel (this process)": psutil.Process().memory_info().rss / 1e6}
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if not any(str(folder) in word for word in [*words, *process.environ().values()]):
                continue
            name = words[words.index("-m") + 1] if "-m" in words else words[0]
            parent = process.parent()
            if parent is not None and parent.cmdline() == words:
                name += " (the SDK's heartbeat)"
            if process.pid != os.getpid():
                sizes[name] = process.memory_info().rss / 1e6
        except (psutil.Error, OSError):
            continue
    return sizes


def version_time(count: int = 15) -> list[float]:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "app.cli", "--version"], check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return times


def shown(times: list[float]) -> str:
    low, mid, high = min(times), statistics.median(times), max(times)
    return f"median {mid * 1000:7.1f} ms   (min {low * 1000:.1f}, max {high * 1000:.1f}, n={len(times)})"


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        echo, echo_each = await sdk_alone(folder, count)
        floor = statistics.median(echo)
        print(f"RunPod SDK, echo handler, one job:       {shown(echo)}")
        print(f"RunPod SDK, echo handler, queued:        {echo_each * 1000:7.1f} ms a job")
        for kind in ENGINES:
            with started(kind, folder / kind) as engine:
                alone = await comfyui_alone(engine, count)
                singles, each, sizes = await whole_loop(engine, folder / f"loop-{kind}", count)
            direct, loop = statistics.median(alone), statistics.median(singles)
            print(f"\n{kind}: engine alone, POST to end mark:   {shown(alone)}")
            print(f"{kind}: whole loop, one job:              {shown(singles)}")
            print(f"{kind}: whole loop, queued:               {each * 1000:7.1f} ms a job")
            ours = loop - floor - direct
            print(
                f"{kind}: added by us to SDK and engine:    {ours * 1000:7.1f} ms, "
                f"{loop / (floor + direct):.2f} x their sum"
            )
            print(f"{kind}: queued, against the SDK alone:    {each / echo_each:.2f} x")
            for process, size in sizes.items():
                print(f"  {process:<34} {size:7.1f} MB")
    print(f"\ncomfy-runpod --version:                  {shown(version_time())}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
    workflows.report()
    window.report()
    report_worker()
    sync.report()
