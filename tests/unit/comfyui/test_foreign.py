"""A ComfyUI that somebody else started, seen from outside."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.comfyui.foreign import end, foreign_at
from app.comfyui.ports import port_taken
from app.errors import NeedsSetup
from tests.e2e.conftest import until
from worker.process import free_port

_MAIN = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"system": {"comfyui_version": "0.3.64"}}).encode())
    def log_message(self, *_):
        pass
HTTPServer(("127.0.0.1", int(sys.argv[-1])), Handler).serve_forever()
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").write_text(_MAIN, "utf-8")
    port = free_port()
    words = [sys.executable, "main.py", "--lowvram", "--port", str(port)]
    process = subprocess.Popen(words, cwd=folder)

    def up() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2):
                return True
        except OSError:
            return False

    until(up)
    yield process, port, folder
    process.kill()
    process.wait()


async def test_it_is_found_described_and_ended(running: tuple[subprocess.Popen[bytes], int, Path]) -> None:
    process, port, folder = running
    found = foreign_at(f"http://127.0.0.1:{port}")
    assert (found.pid, found.folder, found.args, found.port) == (
        process.pid, folder.resolve(), ("--lowvram",), port,
    )  # fmt: skip
    assert found.python == Path(sys.executable)
    taken = await port_taken(port)
    assert f"Port {port} is in use: ComfyUI 0.3.64 answers there already (process {process.pid}" in str(taken)
    end(found)
    assert process.wait(5) is not None
    end(found)


@pytest.mark.parametrize("url", ["http://192.0.2.1:8188", "http://127.0.0.1", "http://127.0.0.1:1"])
def test_one_that_is_not_here_can_only_be_watched(url: str) -> None:
    with pytest.raises(NeedsSetup):
        foreign_at(url)
