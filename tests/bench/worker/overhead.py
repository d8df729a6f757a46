"""What the handler adds to a job, beside the least that any client does for it, taken in turns."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.bench.worker import tables
from tests.bench.worker.jobs import KINDS, Floor, Job, small
from tests.e2e.places import place
from tests.engines import Engine
from tests.unit.worker.helpers import Bench, working

Run = Callable[[Job], Awaitable[dict[str, Any]]]
#: So that everything is base64, as it is for the floor.
NO_LIMITS = {"max_inline_bytes": 1 << 30, "max_answer_bytes": 1 << 30}
_ROUNDS = {"64 px": 60, "8 × 1024² noise": 15}
_FLOOR, _WARM = "floor", 2
#: The SDK looks for the next job a second after it took one, in seconds.
_SDK_PAUSE_S = 1.2


def handled_by(bench: Bench) -> Run:
    async def run(job: Job) -> dict[str, Any]:
        images = [{"name": name, "image": image} for name, image in job.images.items()]
        return await bench.run(job.workflow, uuid.uuid4().hex, images=images)

    return run


async def report(engine: Engine, folder: Path, rounds: int) -> None:
    async with AsyncExitStack() as stack:
        floor = await stack.enter_async_context(Floor(engine))
        runs: dict[str, Run] = {_FLOOR: floor.run}
        for name, own in (("attached", False), ("own", True)):
            bench = working(engine.url, engine.base, own=own, **NO_LIMITS)
            runs[name] = handled_by(await stack.enter_async_context(bench))
        rows = []
        for kind, make in KINDS.items():
            rows += _rows(kind, *await _in_turns(floor, runs, make, _ROUNDS.get(kind, rounds)))
        folders = {"COMFYUI_INPUT_DIR": str(engine.input), "COMFYUI_OUTPUT_DIR": str(engine.output)}
        endpoint = stack.enter_context(
            place(engine.name, folder / "place", attach=engine.url, env=folders, strict_progress=False)
        )

        async def through_sdk(job: Job) -> dict[str, Any]:
            answer: dict[str, Any] = endpoint.ask("POST", "runsync", {"input": {"workflow": job.workflow}})
            return answer.get("output") or answer

        runs = {_FLOOR: floor.run, "SDK and local endpoint": through_sdk}
        rows += _rows("64 px", *await _in_turns(floor, runs, small, rounds // 2, _SDK_PAUSE_S))
    head = [
        "job",
        "who",
        "ComfyUI itself",
        "total",
        "total × floor",
        "overhead",
        "overhead × floor",
        "floor twice",
    ]
    tables.table(f"{engine.name}: a warm job, ms: median (p90); {tables.load()}", head, rows)


async def _in_turns(
    floor: Floor, runs: dict[str, Run], make: Callable[[], Job], rounds: int, pause_s: float = 0
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds by who ran the job: of the whole, and of what ComfyUI itself worked."""
    totals: dict[str, list[float]] = {who: [] for who in runs}
    itself: dict[str, list[float]] = {who: [] for who in runs}
    order = list(runs)
    for number in range(-_WARM, rounds):
        for who in order:
            await asyncio.sleep(pause_s / len(order))
            job = make()
            began = time.perf_counter()
            answer = await runs[who](job)
            total = time.perf_counter() - began
            assert answer["status"] == "success", answer
            if number >= 0:
                totals[who].append(total)
                itself[who].append(await floor.last_execution_s())
        order.append(order.pop(0))
    return totals, itself


def _rows(kind: str, totals: dict[str, list[float]], itself: dict[str, list[float]]) -> list[list[str]]:
    def overheads(who: str) -> list[float]:
        return [total - own for total, own in zip(totals[who], itself[who], strict=True)]

    return [
        [
            kind,
            who,
            tables.ms(tables.median(itself[who])),
            tables.both(totals[who]),
            tables.ratios(totals[who], totals[_FLOOR]),
            tables.both(overheads(who)),
            tables.ratios(overheads(who), overheads(_FLOOR)),
            tables.scatter(overheads(who)) if who == _FLOOR else "",
        ]
        for who in totals
    ]
