"""Starting the engines that tests run against: the demo engine always, a real ComfyUI when there is one.

``COMFYUI_DIR`` names a real ComfyUI's folder, ``COMFYUI_PYTHON`` its Python.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.process import ChildProcess, clean_environment

ROOT = Path(__file__).parents[1]
REAL_DIR = os.environ.get("COMFYUI_DIR")
#: The names of the engines that this run tests.
ENGINES = ["demo", "real"] if REAL_DIR else ["demo"]
_START_S = {"demo": 20, "real": 180}


@dataclass(frozen=True)
class Engine:
    name: str
    url: str
    base: Path

    @property
    def input(self) -> Path:
        return self.base / "input"

    @property
    def output(self) -> Path:
        return self.base / "output"


@contextmanager
def started(name: str, base: Path) -> Iterator[Engine]:
    """The engine with its folders below ``base``, until the block ends."""
    base = base.resolve()
    for folder in ("input", "output", "temp", "custom_nodes", "user"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    command, cwd = _demo(base) if name == "demo" else _real(base)
    process = ChildProcess(command, env=clean_environment(), cwd=cwd)
    try:
        yield Engine(name, wait_until_ready(process, _START_S[name]), base)
    finally:
        process.stop()


def real_python() -> str:
    """The Python of the real ComfyUI."""
    checkout = Path(str(REAL_DIR))
    candidates = [checkout / folder / "bin" / "python" for folder in ("venv", ".venv")]
    found = next((str(path) for path in candidates if path.exists()), sys.executable)
    return os.environ.get("COMFYUI_PYTHON", found)


def _demo(base: Path) -> tuple[list[str], Path]:
    return [sys.executable, "-m", "app.demo", "--port", "0", "--base-directory", str(base)], ROOT


def _real(base: Path) -> tuple[list[str], Path]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--cpu", "--disable-auto-launch", "--disable-api-nodes", "--port", str(port)]
    folders = ["--base-directory", str(base), "--database-url", f"sqlite:///{base}/db"]
    return [real_python(), "main.py", *options, *folders], Path(str(REAL_DIR))


def wait_until_ready(process: ChildProcess, limit_s: float) -> str:
    """The address, once it answers."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline and process.running:
        said = re.search(r"To see the GUI go to: (http://\S+)", "\n".join(process.tail(500)))
        if said:
            try:
                with urllib.request.urlopen(said[1] + "/system_stats", timeout=5):
                    return said[1]
            except urllib.error.URLError:
                pass
        time.sleep(0.05)
    raise RuntimeError("The engine did not start:\n" + "\n".join(process.tail(40)))
