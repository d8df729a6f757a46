"""From a process's start to its first job: the worker beside ComfyUI alone; and ComfyUI's variants."""

from __future__ import annotations

import json
import os
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.worker import tables
from tests.bench.worker.jobs import small
from tests.e2e.places import command_of, place
from worker.process import ChildProcess, clean_environment, free_port

#: Name, options before and after ``main.py``, environment.
_VARIANTS: list[tuple[str, list[str], list[str], dict[str, str]]] = [
    ("as it is", [], [], {}),
    ("as it is, once more", [], [], {}),
    ("byte-compiled in a folder", [], [], {"PYTHONPYCACHEPREFIX": "kept"}),
    ("nothing byte-compiled", [], [], {"PYTHONPYCACHEPREFIX": "empty", "PYTHONDONTWRITEBYTECODE": "1"}),
    ("-X frozen_modules=off", ["-X", "frozen_modules=off"], [], {}),
    ("OMP_NUM_THREADS=1", [], [], {"OMP_NUM_THREADS": "1"}),
    ("PYTHONUNBUFFERED unset", [], [], {"PYTHONUNBUFFERED": ""}),
    ("with API nodes (changes what there is)", [], ["+api"], {}),
]


def report(kind: str, folder: Path, rounds: int) -> None:
    alone, worker = [], []
    for number in range(-1, rounds):
        alone.append(_alone(kind, folder / f"alone{number}"))
        worker.append(_with_worker(kind, folder / f"worker{number}"))
    # The first of each has filled the caches.
    del alone[0], worker[0]
    ready, first = [a[0] for a in alone], [a[1] for a in alone]
    before, jobs = [w[0] for w in worker], [w[1] for w in worker]
    rows = [
        ["ComfyUI alone: answers", tables.both(ready), ""],
        ["ComfyUI alone: first prompt runs", tables.both(first), ""],
        ["worker: ComfyUI is started", tables.both(before), ""],
        [
            "worker: first job runs",
            tables.both(jobs),
            f"{tables.ms(tables.median(jobs) - tables.median(first))}",
        ],
    ]
    head = ["from the process's start, ms: median (p90)", "", "beyond ComfyUI's own"]
    tables.table(f"{kind}: start, {rounds} in turns; {tables.load()}", head, rows)


def variants(folder: Path, rounds: int) -> None:
    """A real ComfyUI's start, in variants that give the same results."""
    times: dict[str, list[float]] = {name: [] for name, *_ in _VARIANTS}
    for number in range(-1, rounds):
        for name, before, after, env in _VARIANTS:
            at = folder / f"{len(times[name])}-{number}-{abs(hash(name))}"
            prefix = env.get("PYTHONPYCACHEPREFIX")
            given = env | ({"PYTHONPYCACHEPREFIX": str(folder / prefix)} if prefix else {})
            ready_s = _alone("real", at, before, after, given)[0]
            if number >= 0:
                times[name].append(ready_s)
    plain = times["as it is"]
    rows = [
        [name, *map(tables.ms, (tables.median(t), min(t), max(t))), tables.ratios(t, plain)]
        for name, t in times.items()
    ]
    tables.table(
        f"ComfyUI's start, ms; {tables.load()}", ["variant", "median", "min", "max", "× as it is"], rows
    )


def _alone(
    kind: str,
    folder: Path,
    before: Sequence[str] = (),
    after: Sequence[str] = (),
    env: dict[str, str] | None = None,
) -> tuple[float, float]:
    """Seconds until ComfyUI answers, and until its first prompt runs."""
    words, cwd = _command(kind, folder)
    if "+api" in after:
        words.remove("--disable-api-nodes")
    port = free_port("127.0.0.1")
    words = [words[0], *before, *words[1:], "--port", str(port)]
    url, began = f"http://127.0.0.1:{port}", time.time()
    # As the worker starts it.
    process = ChildProcess(words, env=clean_environment({"PYTHONUNBUFFERED": "1"} | (env or {})), cwd=cwd)
    try:
        while _asked(f"{url}/system_stats") is None:
            assert process.running, process.tail()
            time.sleep(0.01)
        ready_s = time.time() - began
        _asked(f"{url}/prompt", {"prompt": small().workflow})
        return ready_s, _first_run(url) - began
    finally:
        process.stop()


def _with_worker(kind: str, folder: Path) -> tuple[float, float]:
    """Seconds until the worker has started ComfyUI, and until its first job runs."""
    port = free_port("127.0.0.1")
    with place(kind, folder, env={"COMFYUI_PORT": str(port), "FREEZE_TIMEOUT": "30"}) as there:
        there.ended(there.send({"workflow": small().workflow}))
        began = _started_at(there.worker().pid)
        return _started_at(there.comfyui().pid) - began, _first_run(f"http://127.0.0.1:{port}") - began


def _command(kind: str, folder: Path) -> tuple[list[str], Path | None]:
    words, env = command_of(kind, folder)
    words += ["--input-directory", str(folder / "input"), "--output-directory", str(folder / "output")]
    for name in ("input", "output"):
        (folder / name).mkdir(exist_ok=True)
    return words, Path(env["COMFYUI_DIR"])


def _started_at(pid: int) -> float:
    """When a process was started, to 10 ms: when the machine was, is known in whole seconds only."""
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age_s


def _first_run(url: str) -> float:
    """When ComfyUI began its only prompt, by its own clock."""
    while not (entries := _asked(f"{url}/history")):
        time.sleep(0.01)
    (entry,) = entries.values()
    at = {message[0]: message[1]["timestamp"] for message in entry["status"]["messages"]}
    return float(at["execution_start"]) / 1000


def _asked(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=10) as answer:
            return json.loads(answer.read())
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def main(kind: str, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        report(kind, folder, rounds)
        if kind == "real":
            variants(folder, rounds)
