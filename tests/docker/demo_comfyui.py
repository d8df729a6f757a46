"""A git repository that holds the demo engine as ComfyUI, so that an image is made without one from outside."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

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


def commit(folder: Path, files: dict[str, str]) -> str:
    """Write files into a repository, made if there is none, and commit all that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if not (folder / ".git").exists():
        _git(folder, "init", "--quiet")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "A state of it")
    return _git(folder, "rev-parse", "HEAD").strip()


def _git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid", "-c", "commit.gpgsign=false"]
    ended = subprocess.run(
        ["git", *who, "-C", str(folder), *words], check=True, capture_output=True, text=True
    )
    return ended.stdout
