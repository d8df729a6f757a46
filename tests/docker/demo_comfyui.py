"""A git repository with the demo engine as ComfyUI, so that an image is made without one from outside."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.unit.comfyui.made import commit

ROOT = Path(__file__).parents[2]
_MAIN = """\
import sys

from app.demo.__main__ import main

sys.exit(main(["--base-directory", "/comfyui", *sys.argv[1:]]))
"""
_REQUIREMENTS = "aiohttp>=3.11.8\npillow>=11\npsutil>=6\npyyaml>=6\n"


def make_comfyui(folder: Path, *, version: str = "0.3.64") -> str:
    """The commit of a new repository; its ``main.py`` takes ComfyUI's options."""
    for package in ("app/demo", "worker"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ROOT / "app/__init__.py", folder / "app/__init__.py")
    return commit(
        folder,
        {
            "main.py": _MAIN,
            "requirements.txt": _REQUIREMENTS,
            "comfyui_version.py": f'__version__ = "{version}"\n',
        },
    )
