"""An endpoint on loopback whose workers own an engine each, spoken to as any client of RunPod does."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from app.endpoint.config import EndpointConfig
from tests.e2e.conftest import ROOT, until
from tests.engines import REAL_DIR, real_python
from worker.process import ChildProcess, clean_environment

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}
#: Short, so that a test need not wait for what takes half a minute outside.
QUICK = {"HEALTH_CHECK_INTERVAL": "0.3", "FREEZE_TIMEOUT": "2", "EXECUTION_TIMEOUT": "240"}


@dataclass
class Place:
    """A running endpoint."""

    folder: Path
    url: str
    key: str
    process: ChildProcess

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return {"status": f"HTTP {error.code}", "error": error.read().decode(errors="replace")[:300]}

    def send(self, given: Any, **more: Any) -> str:
        """Queue a job with this ``input``; its id."""
        answer = self.ask("POST", "run", {"input": given, **more})
        assert "id" in answer, answer
        return str(answer["id"])

    def status(self, job_id: str) -> Any:
        return self.ask("GET", f"status/{job_id}")

    def ended(self, job_id: str, limit_s: float = 90) -> Any:
        """What became of a job."""

        def over() -> Any:
            status = self.status(job_id)
            return status if status["status"] in ENDED else None

        try:
            return until(over, limit_s, 0.05)
        except TimeoutError:
            raise AssertionError(f"{self.status(job_id)}\n{self.logs()}") from None

    def runs(self, job_id: str, limit_s: float = 60) -> None:
        """Wait until ComfyUI works on the job: its progress says so."""
        until(lambda: (self.status(job_id).get("output") or {}).get("progress"), limit_s, 0.05)

    def worker(self) -> psutil.Process:
        """The (first) worker's own process."""
        (found,) = [p for p in self._children(self.process.pid) if _is_worker(p)][:1]
        return found

    def comfyui(self) -> psutil.Process:
        """The worker's ComfyUI."""
        (found,) = [p for p in self._children(self.worker().pid) if "--output-directory" in _words(p)][:1]
        return found

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-6000:] for path in self.folder.rglob("*.log"))

    def _children(self, pid: int) -> list[psutil.Process]:
        return psutil.Process(pid).children(recursive=True)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _is_worker(process: psutil.Process) -> bool:
    return any(word.endswith("worker_with.py") for word in _words(process))


def command_of(engine: str, base: Path) -> tuple[list[str], dict[str, str]]:
    """How an engine with the test's node is started by a worker: words, and the worker's environment."""
    base.mkdir(parents=True, exist_ok=True)
    folders = {"COMFYUI_INPUT_DIR": str(base / "input"), "COMFYUI_OUTPUT_DIR": str(base / "output")}
    if engine == "demo":
        words = [sys.executable, str(ROOT / "tests" / "fault_node.py"), "--preview-method", "auto"]
        return words, {"COMFYUI_DIR": str(base), **folders}
    nodes = base / "custom_nodes"
    nodes.mkdir(exist_ok=True)
    (nodes / "fault_node.py").write_text((ROOT / "tests" / "fault_node.py").read_text("utf-8"), "utf-8")
    for name in ("user", "models"):
        (base / name).mkdir(exist_ok=True)
    options = ["--cpu", "--disable-auto-launch", "--disable-api-nodes", "--base-directory", str(base)]
    words = [real_python(), "main.py", *options, "--database-url", f"sqlite:///{base}/db"]
    return words, {"COMFYUI_DIR": str(REAL_DIR), **folders}


@contextmanager
def place(
    engine: str,
    folder: Path,
    *,
    env: Mapping[str, str] | None = None,
    late: Mapping[str, str | None] | None = None,
    before: Sequence[str] = (),
    attach: str | None = None,
    **options: Any,
) -> Iterator[Place]:
    """The endpoint, until the block ends.

    Args:
        env: the worker's settings beside :data:`QUICK`.
        late: what the worker's environment is changed to against the endpoint's will.
        before: words put before the engine's command.
        attach: the address of a ComfyUI that is not the worker's.
    """
    folder = folder.resolve()
    words, worker_env = command_of(engine, folder / "engine")
    worker_env |= {"COMFYUI_COMMAND": json.dumps([*before, *words]), "COMFYUI_PORT": "0", **QUICK}
    if attach is not None:
        worker_env["COMFYUI_URL"] = attach
    config = EndpointConfig(
        endpoint_id="faults",
        data_dir=folder / "endpoint",
        worker_argv=(sys.executable, str(ROOT / "tests" / "worker_with.py"), json.dumps(dict(late or {}))),
        volume_dir=folder / "volume",
        worker_env=worker_env | dict(env or {}),
        **{"strict_progress": True, "ping_interval_ms": 1000, "worker_lost_after_s": 5.0, **options},
    )
    config.data_dir.mkdir(parents=True)
    file = folder / "endpoint.config.json"
    config.to_file(file)
    process = ChildProcess(
        [sys.executable, "-m", "app.endpoint", str(file)],
        env=clean_environment(),
        cwd=folder,
        log_file=folder / "endpoint.log",
    )
    state_file = config.data_dir / "endpoint.json"
    try:
        until(state_file.exists, 30)
        state = json.loads(state_file.read_text())
        yield Place(folder, f"http://127.0.0.1:{state['port']}/v2/faults", state["key"], process)
    finally:
        process.stop()
