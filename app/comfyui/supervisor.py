"""Starting the user's ComfyUI, finding again one that outlived us, and stopping it. The beginning of more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from worker.process import clean_environment, free_port, start_detached, wait_for_end

from ..errors import NeedsSetup, ProcessFailed
from ..files import write_private

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 600.0
_LOG_LINES = 50


@dataclass(frozen=True, slots=True)
class Installation:
    """A ComfyUI on this disk: the folder of its ``main.py``, its Python, and its own arguments."""

    folder: Path
    python: Path
    args: tuple[str, ...] = ()

    @classmethod
    def at(cls, folder: Path, python: Path | None = None, args: Sequence[str] = ()) -> Installation:
        """Check the folder and find its Python: the one given, else a venv in or beside it.

        Raises:
            NeedsSetup: when there is no ComfyUI, or no Python of its own.
        """
        if not (folder / "main.py").is_file():
            raise NeedsSetup(
                f"{folder} holds no ComfyUI: there is no main.py.",
                hint="Set COMFYUI_DIR to the folder that holds ComfyUI's main.py.",
            )
        found = python or _own_python(folder)
        if found is None:
            raise NeedsSetup(
                f"No Python environment was found in {folder}.",
                hint="Set COMFYUI_PYTHON to the Python that runs this ComfyUI.",
            )
        return cls(folder, found, tuple(args))


def _own_python(folder: Path) -> Path | None:
    inside = Path("Scripts", "python.exe") if sys.platform == "win32" else Path("bin", "python")
    places = [folder / "venv", folder / ".venv", folder.parent / "venv", folder.parent / ".venv"]
    candidates = [place / inside for place in places]
    candidates.append(folder.parent / "python_embeded" / "python.exe")  # the Windows portable's spelling
    return next((path for path in candidates if path.is_file()), None)


class Supervisor:
    """Owns the process of one installation. It outlives a killed panel and is adopted by the next.

    Args:
        state_dir: where process id, port and log are kept.
    """

    def __init__(self, installation: Installation, state_dir: Path) -> None:
        self._installation = installation
        self._state_file = state_dir / "comfyui.json"
        self.log_file = state_dir / "logs" / "comfyui.log"
        self._pid: int | None = None
        self._born: float | None = None

    async def ensure(self) -> str:
        """Have ComfyUI running; its URL.

        Raises:
            ProcessFailed: when it does not start; ``details["log"]`` holds its last lines.
        """
        known = await self._adopt()
        if known is not None:
            return known
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        installation = self._installation
        words = [str(installation.python), str(installation.folder / "main.py"), "--disable-auto-launch"]
        words += ["--port", str(port), *installation.args]
        keep = ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "HF_HOME", "HF_HUB_OFFLINE")
        try:
            self._pid = await asyncio.to_thread(
                start_detached,
                words,
                env=clean_environment({"PYTHONUNBUFFERED": "1"}, keep=keep),
                log_file=self.log_file,
                cwd=installation.folder,
            )
        except OSError as error:
            raise ProcessFailed(f"ComfyUI cannot be started with {words[0]}: {error.strerror}.") from error
        await asyncio.to_thread(self._remember, url)
        await self._wait_ready(url)
        return url

    async def stop(self, grace_s: float = 5.0) -> None:
        """Interrupt ComfyUI, then end it; does nothing when it is not ours or not running."""
        pid, self._pid = self._pid, None
        if pid is not None:
            if self._born is not None and _is_same_process(pid, self._born):
                await asyncio.to_thread(_end, pid, grace_s)
            self._state_file.unlink(missing_ok=True)

    def tail(self) -> list[str]:
        """The last lines of its log. Blocks."""
        try:
            return self.log_file.read_text("utf-8", "replace").splitlines()[-_LOG_LINES:]
        except OSError:
            return []

    async def _adopt(self) -> str | None:
        try:
            raw = json.loads(await asyncio.to_thread(self._state_file.read_text, "utf-8"))
            pid, url, born = int(raw["pid"]), str(raw["url"]), float(raw["born"])
            same = raw["folder"] == str(self._installation.folder) and raw["args"] == [
                *self._installation.args
            ]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not same or not _is_same_process(pid, born):
            return None
        self._pid, self._born = pid, born
        try:
            await self._wait_ready(url)
        except ProcessFailed as error:
            # It was about to end when we found it.
            log.warning("Starting ComfyUI anew: %s", error)
            return None
        return url

    async def _wait_ready(self, url: str) -> None:
        deadline = asyncio.get_running_loop().time() + _START_TIMEOUT_S
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            while asyncio.get_running_loop().time() < deadline:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                    async with session.get(f"{url}/system_stats") as response:
                        if response.status == 200:
                            return
                if self._pid is None or await asyncio.to_thread(wait_for_end, self._pid, 0):
                    break
                await asyncio.sleep(0.2)
        log = await asyncio.to_thread(self.tail)
        await self.stop()
        last = next((line for line in reversed(log) if line.strip()), "it printed nothing")
        raise ProcessFailed(
            f"ComfyUI in {self._installation.folder} does not start: {last}",
            hint=f"Its log is {self.log_file}.",
            log=log,
        )

    def _remember(self, url: str) -> None:
        self._born = None
        if self._pid is None:
            return
        with contextlib.suppress(psutil.Error):
            self._born = psutil.Process(self._pid).create_time()
            state = {
                "pid": self._pid,
                "url": url,
                "born": self._born,
                "folder": str(self._installation.folder),
                "args": [*self._installation.args],
            }
            write_private(self._state_file, json.dumps(state))


def _is_same_process(pid: int, born: float) -> bool:
    """Process ids are used again; the time of birth tells whether it is still the one we started."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - born) < 1
    except psutil.Error:
        return False


def _end(pid: int, grace_s: float) -> None:
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return
    with contextlib.suppress(psutil.Error, OSError):
        if os.name == "posix":
            process.send_signal(signal.SIGINT)
        else:
            process.terminate()
    if not wait_for_end(pid, grace_s):
        with contextlib.suppress(psutil.Error):
            process.terminate()
        wait_for_end(pid, grace_s)
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
