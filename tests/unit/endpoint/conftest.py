"""A worker that runs the SDK's real loop, for tests that need one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_WORKER = """
import asyncio, os, pathlib
from worker.__main__ import _leave_the_clock_unmeasured
from worker.process import end_own_group, hold_lifeline

hold_lifeline(end_own_group)
_leave_the_clock_unmeasured()
import runpod


async def handler(job):
    given = job["input"]
    mode = given.get("mode", "echo")
    if mode == "error":
        return {"error": "node 7 failed", "images": ["a.png"]}
    if mode == "raise":
        raise ValueError("boom")
    if mode == "progress":
        runpod.serverless.progress_update(job, {"step": 1})
        await asyncio.Event().wait()
    if mode == "hang":
        await asyncio.Event().wait()
    if mode == "first_time_hang":
        mark = pathlib.Path(os.environ["VOLUME_PATH"], given["mark"])
        if not mark.exists():
            mark.write_text("begun")
            await asyncio.Event().wait()
    if mode == "fresh":
        return {"refresh_worker": True, "pid": os.getpid()}
    if mode == "pid":
        return {"pid": os.getpid()}
    if mode == "home":
        return {"home": os.environ["HOME"], "names": sorted(os.environ)}
    return {"echo": given}


runpod.serverless.start({"handler": handler})
"""


@pytest.fixture(scope="session")
def sdk_worker(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The command of a worker with a small handler."""
    script: Path = tmp_path_factory.mktemp("worker") / "small_worker.py"
    script.write_text(_WORKER, encoding="utf-8")
    return (sys.executable, str(script))
