"""The program runpodctl: where it is, how to get it, and what it may know of our environment."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from worker.process import clean_environment

from ...errors import NeedsSetup

DOCS = "https://docs.runpod.io/runpodctl/overview"
RELEASES = "https://github.com/runpod/runpodctl/releases"

#: runpodctl refuses to start without a home. Sending takes no API key, so none is given to it.
_HOME = ("HOME", "USERPROFILE", "HOMEDRIVE", "HOMEPATH", "APPDATA", "LOCALAPPDATA")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def find_runpodctl(data_dir: Path) -> Path:
    """The one on the path, else in ``bin`` of our data folder. Blocks.

    Raises:
        NeedsSetup: with how to get it, when there is none.
    """
    own = data_dir / "bin"
    found = shutil.which("runpodctl") or shutil.which("runpodctl", path=str(own.absolute()))
    if found is None:
        raise NeedsSetup(
            "runpodctl, which sends files to pods, is not on this computer.", hint=how_to_get(own)
        )
    return Path(found).absolute()


def how_to_get(folder: Path, platform: str = sys.platform) -> str:
    """What to do for it on this system; ``folder`` is one that we look into."""
    if platform == "win32":
        step = f"Save runpodctl-windows-amd64.exe from {RELEASES} as {folder / 'runpodctl.exe'}."
    elif platform == "darwin":
        step = "Get it with `brew install runpod/runpodctl/runpodctl`."
    else:
        step = f"Unpack runpodctl-linux-amd64.tar.gz from {RELEASES} and put runpodctl into {folder}."
    return f"{step} See {DOCS}."


def environment() -> dict[str, str]:
    """For runpodctl: without keys, and without a proxy whose address holds a password."""
    open_proxies = [
        name
        for name in os.environ
        if name.upper() in _PROXIES and (name.upper() == "NO_PROXY" or "@" not in os.environ[name])
    ]
    return clean_environment({name: os.environ[name] for name in open_proxies}, keep=_HOME)
