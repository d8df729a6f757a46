"""Figures of the window, each in a process of its own: ``python -m tests.bench.window``.

Targets: first paint 1 s, idle CPU under 1 %, loop lag at most 50 ms with ten thousand jobs listed and a
hundred events a second, frames under 5 ms (p50) while scrolling.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

JOBS, EVENTS_PER_S = 10_000, 100
_BUSY_S, _IDLE_S, _STEPS = 10.0, 15.0, 150


def measured(what: str) -> dict[str, float]:
    """Run one measurement in a fresh process with a data folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        (data / "settings.yaml").write_text("welcomed: true\nappearance: dark\n", encoding="utf-8")
        # As on a user's machine, where compiled modules are kept.
        left_out = ("RUNPOD", "COMFY", "PYTHONDONTWRITEBYTECODE")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
        env = kept | {
            "COMFY_RUNPOD_DATA": str(data),
            "COMFY_RUNPOD_CONFIG": str(data / "settings.yaml"),
            "QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen"),
            "BENCH_STARTED": repr(time.time()),
        }
        command = [sys.executable, "-m", "tests.bench.window", what]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def report() -> None:
    """Print every figure beside its target."""
    paints = sorted(measured("paint")["first_paint_s"] for _ in range(3))
    print(f"window: first paint {paints[1]:.2f} s of 1.00 (warm, median of 3)")
    idle = measured("idle")
    print(f"window: idle CPU {idle['cpu_percent']:.2f} % of 1, memory {idle['memory_mb']:.0f} MB")
    busy = measured("busy")
    print(
        f"window: {JOBS} jobs listed, {EVENTS_PER_S} events/s: loop lag p50 {busy['lag_p50_ms']:.1f},"
        f" p99 {busy['lag_p99_ms']:.1f}, max {busy['lag_max_ms']:.1f} ms of 50;"
        f" CPU {busy['cpu_percent']:.0f} %, memory {busy['memory_mb']:.0f} MB"
    )
    print(
        f"window: loading {JOBS} jobs: lag max {busy['load_lag_max_ms']:.1f} ms of 50, all there after"
        f" {busy['load_s']:.1f} s"
    )
    frames = measured("scroll")
    print(
        f"window: a frame while scrolling {JOBS} jobs: p50 {frames['frame_p50_ms']:.1f} of 5,"
        f" p95 {frames['frame_p95_ms']:.1f}, max {frames['frame_max_ms']:.1f} ms"
    )


def _made(count: int) -> list[Any]:
    from app.jobs.model import Job, OutputFile
    from app.jobs.states import State
    from app.workflows.parameters import Expected

    now = time.time()
    states = [State.DONE, State.DONE, State.FAILED, State.CANCELLED]
    expected = Expected("image", 4, 1024, 1024)
    jobs = []
    for n in range(1, count + 1):
        state = states[n % 4] if n <= count - 50 else [State.WAITING, State.RUNNING][n % 2]
        final = state in states
        outputs = tuple(OutputFile(f"{n}_{k}.png", f"/nowhere/{n}_{k}.png", size=10_000) for k in range(4))
        ended = now - (count - n) * 60 if final else None
        jobs.append(
            Job(
                f"{n:032x}", n, f"workflow {n}", "demo", "/nowhere", state=state, created_at=now - 90,
                changed_at=ended or now, started_at=None if final else now - 5, ended_at=ended,
                outputs=outputs if state is State.DONE else (), expected=expected,
            )
        )  # fmt: skip
    return jobs


def _store_jobs(jobs: Sequence[Any], path: Path) -> None:
    """Straight into the store's table, as an earlier run left them."""
    import sqlite3

    from app.jobs.store import JobStore

    async def make() -> None:
        store = JobStore(path)
        await store.open()
        await store.close()

    asyncio.run(make())
    with sqlite3.connect(path) as db:
        db.executemany(
            "INSERT INTO jobs (seq, id, state, target, job, spec) VALUES (?, ?, ?, ?, ?, ?)",
            [(j.seq, j.id, j.state, j.target, json.dumps(j.to_json()), "{}") for j in jobs if j.is_final],
        )


def _panel() -> tuple[Any, Any]:
    from PySide6.QtWidgets import QApplication

    from app.panel import Panel
    from app.settings import Settings
    from app.ui.theme import Theme

    settings = Settings.load()
    app = QApplication(["bench"])
    panel = Panel(Theme(app, settings.appearance), settings)
    panel.window.resize(1440, 900)
    return app, panel


def _run(work: Any) -> dict[str, float]:
    from app.ui import loop

    app, panel = _panel()
    answer: dict[str, float] = {}

    async def main() -> None:
        running = asyncio.create_task(panel.run([]))
        try:
            answer.update(await work(panel))
        finally:
            panel.end()
            await running

    loop.run(app, main())
    return answer


async def _paint(panel: Any) -> dict[str, float]:
    from PySide6.QtCore import QEvent, QObject

    painted = asyncio.Event()

    class Watch(QObject):
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if event.type() == QEvent.Type.Paint:
                painted.set()
            return False

    watch = Watch()
    panel.window.queue.empty_zone.installEventFilter(watch)
    await painted.wait()
    return {"first_paint_s": time.time() - float(os.environ["BENCH_STARTED"])}


async def _idle(panel: Any) -> dict[str, float]:
    await asyncio.sleep(3)
    process = psutil.Process()
    before, began = process.cpu_times(), time.monotonic()
    await asyncio.sleep(_IDLE_S)
    after = process.cpu_times()
    spent = after.user + after.system - before.user - before.system
    cpu = 100 * spent / (time.monotonic() - began)
    return {"cpu_percent": cpu, "memory_mb": process.memory_info().rss / 1e6}


class Lag:
    """How late a 5 ms sleep ends, over and over."""

    def __init__(self) -> None:
        self.values: list[float] = []

    async def watch(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            self.values.append((time.perf_counter() - began - 0.005) * 1000)


async def _busy(panel: Any) -> dict[str, float]:
    from app.jobs.model import JobEvent
    from app.jobs.states import State
    from worker.contract import Progress

    lag = Lag()
    watching = asyncio.create_task(lag.watch())
    began = time.monotonic()
    while len(panel.model.jobs) < JOBS - 50:
        await asyncio.sleep(0.02)
    load_s, loading, lag.values = time.monotonic() - began, max(lag.values), []
    active = [job for job in _made(JOBS) if not job.is_final]
    for job in active:
        panel.feed.take(JobEvent(job))
    panel.window.queue.list.select(active[-1].id)
    await asyncio.sleep(0.5)
    process = psutil.Process()
    lag.values.clear()
    before, began = process.cpu_times(), time.monotonic()
    number = 0
    while time.monotonic() - began < _BUSY_S:
        number += 1
        job = active[number % len(active)]
        if job.state is State.RUNNING:
            panel.feed.take(JobEvent(job, Progress("4", "KSampler", number % 20, 20, 3, 7)))
        else:
            panel.feed.take(JobEvent(job))
        await asyncio.sleep(max(began + number / EVENTS_PER_S - time.monotonic(), 0))
    after = process.cpu_times()
    watching.cancel()
    values = sorted(lag.values)
    spent = after.user + after.system - before.user - before.system
    return {
        "lag_p50_ms": values[len(values) // 2],
        "lag_p99_ms": values[len(values) * 99 // 100],
        "lag_max_ms": values[-1],
        "cpu_percent": 100 * spent / (time.monotonic() - began),
        "memory_mb": process.memory_info().rss / 1e6,
        "load_s": load_s,
        "load_lag_max_ms": loading,
    }


async def _scroll(panel: Any) -> dict[str, float]:
    from PySide6.QtCore import QCoreApplication, QEvent

    while len(panel.model.jobs) < JOBS - 50:
        await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    bar = panel.window.queue.list.verticalScrollBar()
    frames = []
    for step in range(_STEPS):
        began = time.thread_time()
        bar.setValue(bar.value() + 120)
        QCoreApplication.sendPostedEvents(panel.window, QEvent.Type.UpdateRequest.value)
        frames.append((time.thread_time() - began) * 1000)
        if step % 5 == 0:
            await asyncio.sleep(0)
    frames.sort()
    return {
        "frame_p50_ms": frames[_STEPS // 2],
        "frame_p95_ms": frames[_STEPS * 95 // 100],
        "frame_max_ms": frames[-1],
    }


def main(what: str) -> None:
    if what in ("busy", "scroll"):
        # As after any day with jobs: the list is there from the first moment.
        (Path(os.environ["COMFY_RUNPOD_DATA"]) / "window.ini").write_text("[General]\nhad_jobs=yes\n")
        _store_jobs(_made(JOBS), Path(os.environ["COMFY_RUNPOD_DATA"]) / "jobs.sqlite")
    work = {"paint": _paint, "idle": _idle, "busy": _busy, "scroll": _scroll}[what]
    print(json.dumps(_run(work)))


if __name__ == "__main__":
    main(sys.argv[1]) if len(sys.argv) > 1 else report()
