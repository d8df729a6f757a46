"""Git repositories and Python packages of a few bytes, made for real git and uv to work with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from app.comfyui.programs import find_uv
from app.errors import NeedsSetup

#: A PyTorch that can be imported, and has no GPU.
TORCH = {"torch/__init__.py": "__version__ = '2.8.0'\nclass cuda:\n    is_available = lambda: False\n"}


def git(folder: Path, *words: str) -> str:
    """What git says; nobody's settings count."""
    who = ["-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "init.defaultBranch=main"]
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        ["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True, env=env
    ).stdout.strip()


def commit(folder: Path, files: Mapping[str, str], tag: str = "") -> str:
    """A repository's next commit, with these files; its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--template=")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--message", "next")
    if tag:
        git(folder, "tag", tag)
    return git(folder, "rev-parse", "HEAD")


def wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    requires: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> Path:
    """A package that uv can install."""
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    about = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {each}" for each in requires)]
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, content in (files or {f"{module}/__init__.py": ""}).items():
            archive.writestr(inside, content)
        archive.writestr(f"{info}/METADATA", "\n".join(["Metadata-Version: 2.1", *about, ""]))
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@cache
def uv() -> Path:
    """Beside the Python below our environment it is the program itself; on the path may be a slow script."""
    beside = shutil.which("uv", path=str(Path(sys.base_prefix) / "bin"))
    try:
        return Path(beside) if beside else find_uv()
    except NeedsSetup as error:
        pytest.skip(str(error))


def only_these(monkeypatch: pytest.MonkeyPatch, wheels: Path, cache_dir: Path) -> None:
    """Have uv know no packages but those in ``wheels``, and no network."""
    for name in os.environ:
        if name.startswith("UV_"):
            monkeypatch.delenv(name)
    (wheels / "no index").mkdir(exist_ok=True)
    monkeypatch.setenv("UV_DEFAULT_INDEX", (wheels / "no index").as_uri())
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        # Should one of these ever be used after all, it fails and downloads nothing.
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    monkeypatch.setenv("UV_CACHE_DIR", str(cache_dir))
    monkeypatch.setenv("UV_LINK_MODE", "copy")
