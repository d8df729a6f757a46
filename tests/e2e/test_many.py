"""Many jobs on four workers: each runs once, its result is here, and RunPod is not asked too often.

Run as a program, this file is a runner without a window that counts what it asks: ``FOLDER COUNT``.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from bisect import bisect_left
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from app.endpoint.client import JobClient
from app.jobs.model import JobEvent, JobSpec
from app.services import become_runner
from app.settings import Settings
from tests.e2e.conftest import ROOT, Cli, color_workflow
from tests.e2e.places import place

ENDPOINT, WORKERS = "faults", 4
#: RunPod's limits for one user and endpoint, per 10 s.
LIMITS = {"run": 1000, "status": 2000, "health": 2000}


async def drive(folder: Path, count: int) -> dict[str, Any]:
    """Queue the jobs and see them to their end; what was asked when, and the figures."""
    asked: list[tuple[float, str]] = []
    send = JobClient._send

    async def counted(self: JobClient, session: Any, method: str, path: str, **more: Any) -> Any:
        asked.append((time.monotonic(), path.split("/")[0]))
        return await send(self, session, method, path, **more)

    JobClient._send = counted  # type: ignore[method-assign]
    ours = await become_runner(Settings.load())
    assert ours is not None
    lock, services = ours
    left: set[str] = set()
    over = asyncio.Event()

    def watch(event: JobEvent) -> None:
        if event.job.is_final or event.job.is_stuck:
            left.discard(event.job.id)
            if not left:
                over.set()

    services.runner.watch(watch)
    begun = time.monotonic()
    specs = [
        JobSpec(f"{n:04d}", ENDPOINT, color_workflow(n * 101 + 7, f"n{n:04d}"), str(folder / "out"))
        for n in range(count)
    ]
    left.update(spec.id for spec in specs)
    for spec in specs:
        await services.runner.submit(spec)
    queued_s = time.monotonic() - begun
    await over.wait()
    took_s = time.monotonic() - begun
    jobs = [job.to_json() for job in await services.store.newest(count)]
    await services.close()
    lock.release()
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"asked": asked, "queued_s": queued_s, "took_s": took_s, "rss_mb": rss / 1000, "jobs": jobs}


def most_in_10_s(asked: list[tuple[float, str]], kind: str) -> int:
    times = [at for at, of in asked if of == kind]
    return max((bisect_left(times, at + 10) - n for n, at in enumerate(times)), default=0)


def run_many(cli: Cli, folder: Path, count: int, limit_s: float) -> None:
    with place("demo", folder / "place", workers=WORKERS) as at:
        base_url = at.url.rsplit("/", 1)[0]
        cli.extra = {"RUNPOD_ENDPOINT_BASE_URL": base_url, "RUNPOD_API_KEY": at.key}
        file = folder / "figures.json"
        words = ["-m", "tests.e2e.test_many", str(folder), str(count), str(file)]
        ran = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=cli.env, capture_output=True, text=True, timeout=limit_s
        )
        assert ran.returncode == 0, ran.stderr + at.logs()
        told = json.loads(file.read_text())
        health = at.ask("GET", "health")["jobs"]
    asked, jobs, took_s = told["asked"], told["jobs"], told["took_s"]
    kinds = Counter(kind for _, kind in asked)
    print(
        f"{count} jobs on {WORKERS} workers: queued in {told['queued_s']:.1f} s, done in {took_s:.1f} s, "
        f"{count / took_s:.2f} jobs/s; the runner's memory at most {told['rss_mb']:.0f} MB"
    )
    for kind, number in sorted(kinds.items()):
        print(f"  {kind}: {number} = {number / took_s:.2f}/s, at most {most_in_10_s(asked, kind)} in 10 s")
    assert Counter(job["state"] for job in jobs) == {"done": count}
    # Each was sent once, taken once, and ran once.
    assert kinds["run"] == count
    assert len({job["remote_id"] for job in jobs}) == count
    assert (health["completed"], health["failed"], health["retried"]) == (count, 0, 0)
    assert all(most_in_10_s(asked, kind) <= LIMITS[kind] for kind in kinds)
    files = sorted(path.name for path in (folder / "out").iterdir())
    assert files == [f"n{n:04d}_00001_.png" for n in range(count)]
    for job in jobs:
        (output,) = job["outputs"]
        assert Path(output["path"]).name.startswith(f"n{job['name']}_")
        assert sha256(Path(output["path"]).read_bytes()).hexdigest() == output["sha256"]
    # The engines count the files that they write: none has written one twice.
    made = [path.name for path in (folder / "place" / "engine" / "output").rglob("*_00002_.png")]
    assert made == []


def test_forty_jobs_on_four_workers(cli: Cli, tmp_path: Path) -> None:
    run_many(cli, tmp_path, 40, 100)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_thousand_jobs_on_four_workers(cli: Cli, tmp_path: Path) -> None:
    run_many(cli, tmp_path, 1000, 1700)


if __name__ == "__main__":
    figures = asyncio.run(drive(Path(sys.argv[1]), int(sys.argv[2])))
    Path(sys.argv[3]).write_text(json.dumps(figures))
    os._exit(0)
