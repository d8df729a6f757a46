"""The engine under test: the demo engine always, a real ComfyUI too when COMFYUI_DIR names one."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.contract.driver import Client, Engine
from worker.process import ChildProcess, clean_environment

_DIR = os.environ.get("COMFYUI_DIR")
_START_S = {"demo": 20, "real": 180}


@pytest.fixture(scope="session", params=["demo", "real"] if _DIR else ["demo"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    name: str = request.param
    base = tmp_path_factory.mktemp(name).resolve()
    for folder in ("input", "output", "temp", "custom_nodes", "user"):
        (base / folder).mkdir()
    command, cwd = _demo(base) if name == "demo" else _real(base)
    process = ChildProcess(command, env=clean_environment(), cwd=cwd)
    try:
        url = wait_until_ready(process, _START_S[name])
        yield Engine(name, url, base)
    finally:
        process.stop()


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[Client]:
    async with Client(engine) as connected:
        yield connected


def _demo(base: Path) -> tuple[list[str], Path]:
    root = Path(__file__).parents[2]
    return [sys.executable, "-m", "app.demo", "--port", "0", "--base-directory", str(base)], root


def _real(base: Path) -> tuple[list[str], Path]:
    checkout = Path(str(_DIR))
    candidates = [checkout / folder / "bin" / "python" for folder in ("venv", ".venv")]
    found = next((str(path) for path in candidates if path.exists()), sys.executable)
    python = os.environ.get("COMFYUI_PYTHON", found)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--cpu", "--disable-auto-launch", "--disable-api-nodes", "--port", str(port)]
    folders = ["--base-directory", str(base), "--database-url", f"sqlite:///{base}/db"]
    return [python, "main.py", *options, *folders], checkout


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
