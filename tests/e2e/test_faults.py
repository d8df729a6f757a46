"""What goes wrong around a worker, and what its clients see of it: the table is printed at the end.

Real processes throughout: the local endpoint, RunPod's SDK, the worker, and as ComfyUI the demo engine and,
when COMFYUI_DIR is set, a real one. After each fault the next job must succeed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import color_workflow, until
from tests.e2e.places import Place, place
from tests.e2e.proxies import GatedPosts, NoSockets
from tests.engines import ENGINES, started
from tests.fault_node import NAME

pytestmark = pytest.mark.skipif(os.name != "posix", reason="stops and kills as POSIX has them")

#: Fault, engine, what the client sees, seconds until the next job had succeeded.
TABLE: list[tuple[str, str, str, float]] = []


def fault(action: str, amount: float = 0.0, text: str = "") -> dict[str, Any]:
    return {"9": {"class_type": NAME, "inputs": {"action": action, "amount": amount, "text": text}}}


def job(workflow: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"workflow": workflow, **fields}


_colors = iter(range(1, 1 << 20))


def healthy() -> dict[str, Any]:
    """A job that any healthy worker can do, and that no cache knows."""
    return job(color_workflow(next(_colors), "healthy"))


def told(engine: str, what: str, ended: Any, at: float, where: Place) -> None:
    """Have the next job succeed, and note the fault's row."""
    after = where.ended(where.send(healthy()))
    assert after["status"] == "COMPLETED", f"{after}\n{where.logs()}"
    seen = f"{ended['status']}: {ended['error']}" if ended.get("error") else str(ended["status"])
    warnings = (ended.get("output") or {}).get("warnings") or []
    TABLE.append((what, engine, " ".join([seen, *warnings])[:260], time.monotonic() - at))


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def at(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A place where most of the faults happen, one after the other."""
    with place(engine, tmp_path_factory.mktemp(f"faults-{engine}"), env={"MAX_CRASHES": "0"}) as running:
        assert running.ended(running.send(healthy()), 240)["status"] == "COMPLETED", running.logs()
        yield running


def test_killed_in_mid_job_it_is_run_once_more(at: Place, engine: str) -> None:
    sent = at.send(job(fault("sleep", 3)))
    at.runs(sent)
    at.comfyui().kill()
    when = time.monotonic()
    ended = at.ended(sent)
    assert ended["status"] == "COMPLETED", f"{ended}\n{at.logs()}"
    (warning,) = ended["output"]["warnings"]
    assert "was run once more" in warning
    told(engine, "ComfyUI killed in mid-job", ended, when, at)


def test_a_job_that_kills_comfyui_each_time_fails_with_diagnostics(at: Place, engine: str) -> None:
    sent = at.send(job(fault("die")))
    when = time.monotonic()
    ended = at.ended(sent)
    assert ended["status"] == "FAILED"
    assert "signal 9" in ended["error"] or "memory was used up" in ended["error"]
    assert ended["output"]["code"] == "comfyui_died"
    assert ended["output"]["diagnostic_info"]["last_log_lines"]
    told(engine, "ComfyUI dies of the job, twice", ended, when, at)


def test_an_exit_code_is_told(at: Place, engine: str) -> None:
    sent = at.send(job(fault("exit", 3)))
    when = time.monotonic()
    ended = at.ended(sent)
    assert "ended by itself with exit code 3" in ended["error"]
    told(engine, "ComfyUI ends itself in mid-job, twice", ended, when, at)


def test_killed_between_jobs_it_is_there_for_the_next(at: Place, engine: str) -> None:
    at.comfyui().kill()
    when = time.monotonic()
    told(engine, "ComfyUI killed between jobs", {"status": "nothing"}, when, at)


def test_stopped_in_mid_job_it_is_found_stuck(at: Place, engine: str) -> None:
    sent = at.send(job(fault("sleep", 20)))
    at.runs(sent)
    at.comfyui().send_signal(signal.SIGSTOP)
    when = time.monotonic()
    ended = at.ended(sent)
    assert ended["status"] == "FAILED"
    assert ended["error"].startswith("ComfyUI was stuck: no answer and no event for")
    told(engine, "ComfyUI frozen (SIGSTOP) in mid-job", ended, when, at)


def test_stopped_between_jobs_it_is_found_stuck_too(at: Place, engine: str) -> None:
    at.comfyui().send_signal(signal.SIGSTOP)
    when = time.monotonic()
    told(engine, "ComfyUI frozen between jobs", {"status": "nothing"}, when, at)


def test_a_lost_gpu_is_given_up_with_its_process(at: Place, engine: str) -> None:
    before = at.comfyui().pid
    sent = at.send(job(fault("raise", text="CUDA error: an illegal memory access was encountered")))
    when = time.monotonic()
    ended = at.ended(sent)
    assert ended["output"]["code"] == "execution_failed"
    told(engine, "a CUDA error that poisons the process", ended, when, at)
    assert at.comfyui().pid != before


def test_a_full_disk_is_called_one(at: Place, engine: str) -> None:
    sent = at.send(job(fault("no_space")))
    when = time.monotonic()
    ended = at.ended(sent)
    assert ended["output"]["code"] == "disk_full"
    assert "larger disk" in ended["output"]["hint"]
    told(engine, "out of disk while a node saves", ended, when, at)


def test_a_silent_node_is_waited_for(at: Place, engine: str) -> None:
    sent = at.send(job(fault("sleep", 5)))
    when = time.monotonic()
    ended = at.ended(sent)
    assert ended["status"] == "COMPLETED", f"{ended}\n{at.logs()}"
    told(engine, "a node silent for 5 s", ended, when, at)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_node_that_is_silent_for_three_minutes_is_waited_for(at: Place, engine: str) -> None:
    sent = at.send(job(fault("sleep", 180)))
    when = time.monotonic()
    ended = at.ended(sent, 300)
    assert ended["status"] == "COMPLETED", f"{ended}\n{at.logs()}"
    told(engine, "a node silent for 3 minutes", ended, when, at)


def test_a_time_limit_ends_the_prompt(at: Place, engine: str) -> None:
    sent = at.send(job(fault("sleep", 4), timeout=1))
    when = time.monotonic()
    ended = at.ended(sent)
    assert ended["output"]["code"] == "execution_timeout"
    told(engine, "a job beyond its time limit", ended, when, at)


def test_a_worker_that_is_told_to_end_ends_its_job_first(at: Place, engine: str) -> None:
    sent = at.send(job(fault("sleep", 2)))
    at.runs(sent)
    worker = at.worker()
    worker.terminate()
    when = time.monotonic()
    ended = at.ended(sent)
    assert ended["status"] == "COMPLETED", f"{ended}\n{at.logs()}"
    until(lambda: not worker.is_running(), 20)
    told(engine, "SIGTERM to the worker in mid-job", ended, when, at)


def test_a_killed_worker_s_job_runs_at_its_successor(at: Place, engine: str) -> None:
    sent = at.send(job(fault("sleep", 2)))
    at.runs(sent)
    at.worker().kill()
    when = time.monotonic()
    ended = at.ended(sent)
    assert ended["status"] == "COMPLETED", f"{ended}\n{at.logs()}"
    told(engine, "the worker killed in mid-job", ended, when, at)


def test_the_same_job_twice_is_executed_once(at: Place, engine: str) -> None:
    output = at.folder / "engine" / "output"
    given = job(fault("bytes", 0.1, "twice"), client_job_id="twice", output={"mode": "volume"})
    made = set(output.glob("twice_*"))
    when = time.monotonic()
    first, second = at.send(given), at.send(given)
    one, two = at.ended(first), at.ended(second)
    assert one["status"] == two["status"] == "COMPLETED"
    assert one["output"]["files"] == two["output"]["files"]
    assert len(set(output.glob("twice_*")) - made) <= 1
    other = at.ended(at.send({**given, **job(fault("sleep"))}))
    assert other["output"]["code"] == "id_conflict"
    told(engine, "the same job id twice", two, when, at)


MALFORMED = [
    None, {}, [], "no JSON", "[1]", 7, True, {"workflow": None}, {"workflow": "{"}, {"workflow": []},
    {"workflow": {}}, {"workflow": {"1": 5}}, {"workflow": {"1": {"class_type": 5}}},
    {"workflow": {"1": {"class_type": "SaveImage", "inputs": []}}}, {"workflow": {"nodes": [], "links": []}},
    {"workflow": {"1": {"inputs": {}}}}, {"workflow": {"1": {"class_type": "NoSuchNode", "inputs": {}}}},
    {"workflow": {"1": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "x"}}}},
    *({"workflow": fault("sleep"), **bad} for bad in (
        {"images": 5}, {"images": [{"name": "a.png"}]}, {"images": [{"name": "../a.png", "image": "YQ=="}]},
        {"images": [{"name": "a.png", "image": "%%%"}]}, {"images": [{"name": "a", "image": "http://x/y"}]},
        {"files": [{"name": "a\0b", "data": "YQ=="}]}, {"files": [{"name": "a", "sha256": "zz"}]},
        {"files": [{"name": "a", "url": "https://127.0.0.1/x"}]}, {"timeout": -1}, {"output": {"mode": "x"}},
        {"client_job_id": "../../etc"}, {"reference_images": [1]},
    )),
]  # fmt: skip


def _refused_all(where: Place, requests: list[Any]) -> Any:
    sent = [where.ask("POST", "run", {"input": given}) for given in requests]
    seen = [where.ended(each["id"]) if "id" in each else each for each in sent]
    for given, ended in zip(requests, seen, strict=True):
        assert ended["status"] in ("FAILED", "HTTP 400"), (given, ended)
        assert ended["error"], given
        assert "worker_error" not in json.dumps(ended), given
    return seen[-1]


def test_malformed_requests_are_refused_with_a_sentence(at: Place, engine: str) -> None:
    when = time.monotonic()
    seen = _refused_all(at, MALFORMED[::6])
    told(engine, f"{len(MALFORMED[::6])} malformed requests", seen, when, at)


@pytest.mark.long
def test_thirty_malformed_requests(at: Place, engine: str) -> None:
    assert len(MALFORMED) == 30
    when = time.monotonic()
    told(engine, "30 malformed requests", _refused_all(at, MALFORMED), when, at)


def test_nobody_sees_a_secret(at: Place) -> None:
    ended = at.ended(at.send(job(fault("environ"))))
    (text,) = ended["output"]["text"]
    names = json.loads(text["text"])
    assert not [name for name in names if name.startswith(("RUNPOD", "BUCKET", "AWS", "HF_TOKEN"))]


def test_a_slow_start_delays_the_first_job_only(engine: str, tmp_path: Path) -> None:
    words = "import os, sys, time; time.sleep(4); os.execv(sys.argv[1], sys.argv[1:])"
    when = time.monotonic()
    with place(engine, tmp_path, before=(sys.executable, "-c", words)) as where:
        ended = where.ended(where.send(healthy()), 240)
        assert ended["status"] == "COMPLETED", f"{ended}\n{at.logs()}"
        told(engine, "ComfyUI takes 4 s longer to start", ended, when, where)


def test_a_comfyui_that_cannot_start_is_told_and_recycled(engine: str, tmp_path: Path) -> None:
    healed = tmp_path / "healed"
    starter = (
        f"import os, sys\nif not os.path.exists({str(healed)!r}):\n"
        " print('the model folder is missing')\n raise SystemExit(4)\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    with place(engine, tmp_path, before=(sys.executable, "-c", starter), env={"MAX_CRASHES": "2"}) as where:
        when = time.monotonic()
        ended = where.ended(where.send(healthy()), 60)
        assert ended["status"] == "FAILED"
        assert "ComfyUI cannot be started. ComfyUI ended by itself with exit code 4." in ended["error"]
        assert "the model folder is missing" in ended["output"]["diagnostic_info"]["last_log_lines"]
        healed.touch()
        told(engine, "ComfyUI cannot start", ended, when, where)


@pytest.mark.parametrize("how", ["refused", "dropped"])
def test_without_its_websocket_a_job_succeeds_all_the_same(engine: str, tmp_path: Path, how: str) -> None:
    with started(engine, tmp_path / "theirs") as theirs, NoSockets(theirs.url, how) as proxy:
        folders = {"COMFYUI_INPUT_DIR": str(theirs.input), "COMFYUI_OUTPUT_DIR": str(theirs.output)}
        with place(engine, tmp_path / "ours", attach=proxy.url, env=folders) as where:
            when = time.monotonic()
            ended = where.ended(where.send(healthy()), 120)
            assert ended["status"] == "COMPLETED", f"{ended}\n{at.logs()}"
            assert proxy.turned_away > 0
            told(engine, f"the websocket is {how}", ended, when, where)


def test_sixty_megabytes_and_nowhere_to_lay_them(engine: str, tmp_path: Path) -> None:
    with place(engine, tmp_path, late={"VOLUME_PATH": None}) as where:
        when = time.monotonic()
        ended = where.ended(where.send(job(fault("bytes", 60, "big"))), 240)
        assert ended["status"] == "FAILED"
        assert ended["output"]["code"] == "result_too_large"
        assert "neither a network volume nor a bucket" in ended["error"]
        (kept,) = (where.folder / "engine" / "output").glob("big_*")
        assert kept.stat().st_size == 60_000_000
        told(engine, "60 MB of results, no volume and no bucket", ended, when, where)


def test_too_little_disk_is_told_before_anything_runs(engine: str, tmp_path: Path) -> None:
    with place(engine, tmp_path, env={"MIN_FREE_DISK": str(1 << 60)}) as where:
        ended = where.ended(where.send(healthy()), 240)
        assert ended["output"]["code"] == "disk_full"
        assert "MIN_FREE_DISK" in ended["output"]["hint"]
        TABLE.append(("too little disk to begin", engine, f"FAILED: {ended['error']}", 0.0))


def test_a_result_that_cannot_be_posted_is_not_made_twice(engine: str, tmp_path: Path) -> None:
    """The SDK gives its post up after three tries; the platform then hands the job out again."""
    with GatedPosts() as gate:
        late: dict[str, str | None] = {"GATE": gate.url}
        with place(engine, tmp_path, late=late) as where:
            given = job(fault("bytes", 0.1, "once"), client_job_id="once", output={"mode": "volume"})
            gate.refuse_results = 3
            when = time.monotonic()
            ended = where.ended(where.send(given), 240)
            assert ended["status"] == "COMPLETED", f"{ended}\n{where.logs()}"
            assert gate.refused == 3
            results = list((where.folder / "volume" / ".comfy-runpod" / "results").rglob("*once*"))
            assert len(results) == 1
            told(engine, "posting the result fails three times", ended, when, where)
