"""The project's own shape: what is installed with what, and what importing costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _imported_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(ran.stdout.split())


def test_the_worker_needs_no_qt_and_nothing_of_the_panel() -> None:
    """`uv sync --only-group worker` installs what these modules import, and no more."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    named = {entry.partition(">")[0].lower() for entry in groups["worker"]}
    modules = _imported_by("import worker.handler, worker.__main__")
    assert not modules & {"PySide6", "qasync", "app", "PIL", "filelock", "platformdirs", "yaml"}
    assert {"aiohttp", "psutil"} <= modules
    assert {"aiohttp", "psutil", "runpod"} <= named
    # ComfyUI is started before the SDK is imported.
    assert "runpod" not in modules


def test_version_and_help_load_little() -> None:
    modules = _imported_by("import app.cli; app.cli._parser()")
    assert not modules & {"aiohttp", "PIL", "yaml", "sqlite3", "asyncio", "PySide6", "runpod"}


def test_the_panel_never_loads_the_sdk_or_qt() -> None:
    modules = _imported_by("import app.commands, app.services, app.endpoint.__main__, app.demo.server")
    assert not modules & {"runpod", "PySide6", "qasync"}


def test_versions_agree() -> None:
    from app import __version__

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__
    (qt,) = (entry for entry in project["dependencies"] if entry.startswith("PySide6"))
    assert qt == "PySide6-Essentials>=6.8,<6.12"
