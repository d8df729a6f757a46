"""The program as a user runs it: real processes, a data folder of its own, nothing left behind."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
WORKFLOWS = ROOT / "resources" / "workflows"


@dataclass
class Cli:
    """Runs ``comfy-runpod`` with its data in ``data``."""

    data: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RUNPOD", "COMFY"))}
        return {
            **kept,
            "COMFY_RUNPOD_DATA": str(self.data),
            "COMFY_RUNPOD_CONFIG": str(self.data / "settings.yaml"),
            **self.extra,
        }

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", *map(str, arguments)],
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def clean_up(self) -> None:
        """End everything that works on this data folder."""
        for started in self._started:
            if started.poll() is None:
                started.kill()
                started.communicate()
        left = self.processes()
        for process in left:
            if process.is_running():
                process.kill()
        psutil.wait_procs(left, timeout=10)

    def run(self, *arguments: str | Path, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"{arguments} did not end in {timeout} s\n{out}\n{err}\n{self.logs()}")
        return subprocess.CompletedProcess(list(map(str, arguments)), process.returncode, out, err)

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, oldest first, as ``jobs list --json`` tells them, without a process for each look."""
        if not (self.data / "jobs.sqlite").is_file():
            return []
        with closing(sqlite3.connect(self.data / "jobs.sqlite", timeout=30)) as db:
            try:
                rows = db.execute("SELECT job FROM jobs ORDER BY seq").fetchall()
            except sqlite3.OperationalError:
                return []  # it is being made
        return [json.loads(raw) for (raw,) in rows]

    def processes(self) -> list[psutil.Process]:
        """Every process that works on this data folder, children of children among them."""
        found = []
        for process in psutil.process_iter():
            try:
                words = [*process.cmdline(), *process.environ().values()]
            except (psutil.Error, OSError):
                continue
            if process.pid != os.getpid() and any(str(self.data.parent) in word for word in words):
                found.append(process)
        return found

    def find(self, module: str) -> list[psutil.Process]:
        """Processes run as ``python -m MODULE`` on this data folder; of a forked pair the parent only."""
        found = []
        for process in self.processes():
            try:
                if module in process.cmdline() and module not in process.parent().cmdline():
                    found.append(process)
            except (psutil.Error, AttributeError):
                continue
        return found

    def logs(self) -> str:
        parts = [
            f"== {path}\n{path.read_text(errors='replace')[-3000:]}" for path in self.data.rglob("*.log")
        ]
        return "\n".join(parts)


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    program = Cli(tmp_path / "data")
    yield program
    program.clean_up()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """One for a whole module, whose endpoint, worker and demo engine stay up between the tests."""
    program = Cli(tmp_path_factory.mktemp("served") / "data")
    serving = program.start("endpoint", "serve", "--target", "demo")
    assert serving.stdout is not None
    serving.stdout.readline()
    yield program
    program.clean_up()


@pytest.fixture
def warm(served: Cli) -> Iterator[Cli]:
    """The program with its endpoint up and no job in its list: for what is not about starting and ending."""
    yield served
    for started in served._started[1:]:
        if started.poll() is None:
            started.kill()
            started.communicate()
    for file in served.data.glob("jobs.sqlite*"):
        file.unlink()


def until(true: Callable[[], Any], timeout: float = 30, every: float = 0.02) -> Any:
    """Wait for something to become true; its value."""
    deadline = time.monotonic() + timeout
    while not (value := true()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing after {timeout} s")
        time.sleep(every)
    return value


def blur_chain(length: int, size: int = 1400, color: int = 1, prefix: str = "slow") -> dict[str, Any]:
    """A workflow that takes about 0.1 s for each link of the chain, and can be interrupted between them."""
    inputs: dict[str, Any] = {"width": size, "height": size, "batch_size": 1, "color": color}
    workflow: dict[str, Any] = {"1": {"class_type": "EmptyImage", "inputs": inputs}}
    for number in range(2, length + 2):
        blur = {"image": [str(number - 1), 0], "blur_radius": 12, "sigma": 5.0}
        workflow[str(number)] = {"class_type": "ImageBlur", "inputs": blur}
    save = {"images": [str(length + 1), 0], "filename_prefix": prefix}
    workflow["save"] = {"class_type": "SaveImage", "inputs": save}
    return workflow


def color_workflow(color: int, prefix: str, size: int = 16) -> dict[str, Any]:
    inputs = {"width": size, "height": size, "batch_size": 1, "color": color}
    return {
        "1": {"class_type": "EmptyImage", "inputs": inputs},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": prefix}},
    }


def written(path: Path, workflow: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(workflow), encoding="utf-8")
    return path


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of faults, when they were tested."""
    module = sys.modules.get("tests.e2e.test_faults")
    rows: list[tuple[str, str, str, float]] = getattr(module, "TABLE", [])
    if rows:
        terminalreporter.section("what clients see of faults")
        terminalreporter.write_line("| fault | ComfyUI | the client sees | next job done after |")
        terminalreporter.write_line("| --- | --- | --- | --- |")
    for what, engine, seen, seconds in rows:
        terminalreporter.write_line(f"| {what} | {engine} | {' '.join(seen.split())} | {seconds:.1f} s |")
