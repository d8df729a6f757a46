"""Many jobs on four workers: each runs once, its result is here, and RunPod is not asked too often.

Run as a program, this file is a runner that counts what it asks: ``window|without FOLDER COUNT FIGURES``.
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
from app.services import Services, become_runner
from app.settings import Settings
from tests.e2e.conftest import ROOT, Cli, color_workflow
from tests.e2e.places import place

ENDPOINT, WORKERS = "faults", 4
#: RunPod's limits for one user and endpoint, per 10 s.
LIMITS = {"run": 1000, "status": 2000, "health": 2000}


def counting() -> list[tuple[float, str]]:
    """From now on, each request to the job API: when, and what was asked."""
    asked: list[tuple[float, str]] = []
    send = JobClient._send

    async def counted(self: JobClient, session: Any, method: str, path: str, **more: Any) -> Any:
        asked.append((time.monotonic(), path.split("/")[0]))
        return await send(self, session, method, path, **more)

    JobClient._send = counted  # type: ignore[method-assign]
    return asked


async def drive(services: Services, folder: Path, count: int) -> dict[str, Any]:
    """Queue the jobs and see them to their end; what was asked when, and the figures."""
    asked = counting()
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
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"asked": asked, "queued_s": queued_s, "took_s": took_s, "rss_mb": rss / 1000, "jobs": jobs}


async def without_window(folder: Path, count: int) -> dict[str, Any]:
    ours = await become_runner(Settings.load())
    assert ours is not None
    lock, services = ours
    told = await drive(services, folder, count)
    await services.close()
    lock.release()
    return told


def in_window(folder: Path, count: int) -> dict[str, Any]:
    """The same with the window open and the newest job in the inspector; how late its loop is, too."""
    from PySide6.QtWidgets import QApplication

    from app.panel import Panel
    from app.ui import loop
    from app.ui.theme import Theme
    from tests.bench.window import Lag

    settings = Settings.load()
    app = QApplication(["many"])
    panel = Panel(Theme(app, "dark"), settings)
    panel.window.resize(1440, 900)

    async def main() -> dict[str, Any]:
        running = asyncio.create_task(panel.run([]))
        while panel.desk.services is None:
            await asyncio.sleep(0.05)
        # What comes with the start is another figure.
        await asyncio.sleep(2)
        lag = Lag()
        watching = asyncio.create_task(lag.watch())
        told = await drive(panel.desk.services, folder, count)
        watching.cancel()
        panel.end()
        await running
        return {**told, "lag_ms": sorted(lag.values)}

    return loop.run(app, main())


def most_in_10_s(asked: list[tuple[float, str]], kind: str) -> int:
    times = [at for at, of in asked if of == kind]
    return max((bisect_left(times, at + 10) - n for n, at in enumerate(times)), default=0)


def run_many(cli: Cli, folder: Path, count: int, limit_s: float, how: str = "without") -> None:
    with place("demo", folder / "place", workers=WORKERS) as at:
        base_url = at.url.rsplit("/", 1)[0]
        cli.extra = {"RUNPOD_ENDPOINT_BASE_URL": base_url, "RUNPOD_API_KEY": at.key}
        file = folder / "figures.json"
        words = ["-m", "tests.e2e.test_many", how, str(folder), str(count), str(file)]
        env = {**cli.env, "QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen")}
        ran = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=limit_s
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
    if lag := told.get("lag_ms"):
        p50, p99 = lag[len(lag) // 2], lag[len(lag) * 99 // 100]
        print(f"  the window's loop is late by p50 {p50:.1f}, p99 {p99:.1f}, at most {lag[-1]:.1f} ms of 50")
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


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_thousand_jobs_with_the_window_open(cli: Cli, tmp_path: Path) -> None:
    cli.data.mkdir(parents=True, exist_ok=True)
    (cli.data / "settings.yaml").write_text("welcomed: true\n")
    run_many(cli, tmp_path, 1000, 1700, "window")


if __name__ == "__main__":
    where, how_many = Path(sys.argv[2]), int(sys.argv[3])
    if sys.argv[1] == "window":
        figures = in_window(where, how_many)
    else:
        figures = asyncio.run(without_window(where, how_many))
    Path(sys.argv[4]).write_text(json.dumps(figures))
    os._exit(0)
