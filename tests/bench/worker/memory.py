"""What the worker weighs under the SDK, idle and with much to hand over. Reads Linux's ``/proc``."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import psutil

from tests.bench.worker import tables
from tests.bench.worker.jobs import small
from tests.e2e.places import Place, place
from tests.fault_node import NAME

_VOLUME, _BASE64 = {"mode": "volume"}, {"mode": "base64"}
#: What is sent, by what it is called: how, megabytes, and where to.
_JOBS = {
    "50 MB to the volume": ("run", 50, _VOLUME),
    "7 MB as base64 (/run's limit)": ("run", 7, _BASE64),
    "14 MB as base64 (/runsync's limit)": ("runsync", 14, _BASE64),
    "50 MB as base64 (limits raised)": ("run", 50, _BASE64),
}
_RAISED = ({"MAX_ANSWER_BYTES": str(1 << 28)}, {"max_run_bytes": 1 << 28})


def report(kind: str, folder: Path) -> None:
    rows: list[list[str]] = []
    for raised, (env, options) in enumerate([({}, {}), _RAISED]):
        with place(kind, folder / str(raised), env=env, **options) as there:
            _finished(there, "run", {"workflow": small().workflow})
            time.sleep(1)
            if not raised:
                rows += [[*row, ""] for row in _weights(there)]
            for name, (way, megabytes, output) in _JOBS.items():
                if ("raised" in name) == bool(raised):
                    worker = there.worker().pid
                    # Forgets the highest mark so far.
                    Path(f"/proc/{worker}/clear_refs").write_text("5")
                    _finished(there, way, {"workflow": _bytes(megabytes), "output": output})
                    rows.append([name, "", "", _highest(worker)])
    head = ["MB (10^6 bytes)", "RSS", "PSS", "peak"]
    tables.table(f"{kind}: memory of the worker; targets: idle 90, peak 145", head, rows)


def _bytes(megabytes: int) -> dict[str, Any]:
    return {"1": {"class_type": NAME, "inputs": {"action": "bytes", "amount": megabytes, "text": "big"}}}


def _finished(there: Place, way: str, given: dict[str, Any]) -> None:
    sent = there.ask("POST", way, {"input": given})
    ended = there.ended(sent["id"]) if sent.get("status") != "COMPLETED" else sent
    assert ended["status"] == "COMPLETED", ended


def _weights(there: Place) -> list[list[str]]:
    worker = there.worker()
    comfyui = there.comfyui()
    theirs = {comfyui, *comfyui.children(recursive=True)}
    rows, sums = [], [0.0, 0.0]
    for process in [worker, *worker.children(recursive=True)]:
        if process not in theirs:
            weight = process.memory_full_info()
            sums = [sums[0] + weight.rss / 1e6, sums[1] + weight.pss / 1e6]
            name = "worker" if process == worker else f"child: {_name(process)}"
            rows.append([f"idle, {name}", f"{weight.rss / 1e6:.1f}", f"{weight.pss / 1e6:.1f}"])
    return [*rows, ["idle, together", *(f"{each:.1f}" for each in sums)]]


def _name(process: psutil.Process) -> str:
    words = process.cmdline()
    return "the SDK's heartbeat" if any("worker" in word for word in words) else " ".join(words)[:60]


def _highest(pid: int) -> str:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return f"{int(found[1]) * 1024 / 1e6:.1f}" if found else "?"
