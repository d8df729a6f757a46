"""The target "This computer": a ComfyUI that was started for nothing does not stay."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
import pytest

from app.errors import NeedsSetup
from app.services import ComfyTarget
from app.settings import Settings

#: Runs, but tells nothing of its folders.
_MAIN = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


async def test_one_whose_folders_cannot_be_told_is_ended(tmp_path: Path) -> None:
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    (folder / "main.py").write_text(_MAIN)
    target = ComfyTarget(
        Settings(
            data_dir=tmp_path / "data",
            output_dir=tmp_path / "out",
            comfyui_dir=folder,
            comfyui_python=Path(sys.executable),
        )
    )
    with pytest.raises(NeedsSetup, match="cannot be found on this computer"):
        await target.client()
    note = tmp_path / "data" / "comfyui" / "comfyui.json"
    pid = json.loads(note.read_text())["pid"]
    assert psutil.Process(pid).is_running()
    await target.close()
    assert not note.exists()
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_without_a_comfyui_it_says_what_to_set(tmp_path: Path) -> None:
    target = ComfyTarget(Settings(data_dir=tmp_path, output_dir=tmp_path))
    with pytest.raises(NeedsSetup, match="No ComfyUI is known") as caught:
        await target.client()
    assert "COMFYUI_DIR" in caught.value.hint
    await target.close()
