"""Starting the user's ComfyUI, finding again one that outlived us, and stopping it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import queue
import signal
import socket
from pathlib import Path

import aiohttp
import psutil

from worker.process import clean_environment, free_port, start_detached, wait_for_end

from ..errors import ProcessFailed
from ..files import write_private
from .crash import Crash, crash_of
from .installation import Installation
from .ports import port_taken
from .surroundings import Surroundings

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 600.0
_LOG_LINES = 50
_CODE_S = 1.0
#: In bytes.
_LONG_LOG, _TAIL_BYTES = 10 << 20, 64 << 10


class StoppedMeanwhile(ProcessFailed):
    """Somebody stopped ComfyUI while another one waited for it to come up."""


#: So many ports are tried when any will do.
_PORTS = 3


class NotStarted(ProcessFailed):
    """ComfyUI ended before it was up; ``crash`` says why."""

    def __init__(self, folder: Path, log_file: Path, crash: Crash) -> None:
        last = next((line for line in reversed(crash.log) if line.strip()), "it printed nothing")
        super().__init__(
            f"ComfyUI in {folder} does not start: {last}",
            hint=f"{crash.hint if crash.cause != 'unknown' else ''} Its log is {log_file}.".strip(),
            log=list(crash.log),
            cause=crash.cause,
            exit_code=crash.code,
        )
        self.crash = crash


class Supervisor:
    """Owns the process of one installation. It outlives a killed panel and is adopted by the next.

    Args:
        state_dir: where process id, port and log are kept.
        around: what it is started with beside its own.
    """

    def __init__(
        self, installation: Installation, state_dir: Path, around: Surroundings | None = None
    ) -> None:
        self.installation = installation
        self._around = around
        self._state_file = state_dir / "comfyui.json"
        self.log_file = state_dir / "logs" / "comfyui.log"
        self._pid: int | None = None
        self._port: int | None = None
        #: When the process was born, in seconds since 1970.
        self.born: float | None = None
        #: The exit code of the one that we started, once it has ended; None: we started none.
        self._exit: queue.SimpleQueue[int] | None = None

    async def ensure(self) -> str:
        """Have ComfyUI running; its URL.

        Raises:
            ProcessFailed: when it does not start, as soon as its process has ended; ``details["log"]`` holds
                its last lines.
        """
        known = await self.find()
        if known is not None:
            try:
                await self._wait_ready(known)
            except StoppedMeanwhile:
                raise
            except ProcessFailed as error:
                # It was about to end when we found it.
                log.warning("Starting ComfyUI anew: %s", error)
            else:
                return known
        left = _PORTS
        while True:
            left -= 1
            try:
                return await self._started()
            except NotStarted as error:
                # Between our look and its start somebody else took the port that we had chosen.
                if not left or not self._chooses_port or error.crash.cause != "port_in_use":
                    raise
                log.warning("%s Another port is taken.", error)
                self._port = None

    async def _started(self) -> str:
        """Start it, and wait until it is up; its URL."""
        url = f"http://127.0.0.1:{await self._chosen_port()}"
        starting = asyncio.create_task(asyncio.to_thread(self._start, url), name="start-comfyui")
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread goes on; only when it has noted the process can that be found again.
            await asyncio.wait([starting])
            raise
        await self._wait_ready(url)
        return url

    async def find(self) -> str | None:
        """The URL of the one that runs or comes up, an earlier run's too; None when there is none."""
        try:
            raw = json.loads(await asyncio.to_thread(self._state_file.read_text, "utf-8"))
            pid, url, born = int(raw["pid"]), str(raw["url"]), float(raw["born"])
            folder, args = str(self.installation.folder), [*self.installation.args]
            same = raw["folder"] == folder and raw["args"] == args
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not same:
            return None
        self._port = _port_of(url)
        if not _is_same_process(pid, born):
            return None
        self._pid, self.born = pid, born
        return url

    @property
    def stays(self) -> bool:
        """Whether it was started to outlive whoever started it. Reads a small file."""
        try:
            return json.loads(self._state_file.read_text("utf-8"))["stays"] is True
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def leave(self) -> None:
        """Have it stay when everything else ends, until somebody stops it. Blocks."""
        with contextlib.suppress(OSError, ValueError):
            state = json.loads(self._state_file.read_text("utf-8"))
            write_private(self._state_file, json.dumps({**state, "stays": True}))

    async def stop(self, grace_s: float = 5.0) -> None:
        """Interrupt ComfyUI, then end it; does nothing when it is not ours or not running."""
        pid, self._pid = self._pid, None
        if pid is not None:
            if self.born is not None and _is_same_process(pid, self.born):
                await asyncio.to_thread(_end, pid, grace_s)
            self._state_file.unlink(missing_ok=True)

    def crash(self, *, starting: bool = False) -> Crash:
        """Why the one that was there has ended. Blocks: reads its log."""
        code, ended, self._exit = None, self._exit, None
        if ended is not None:
            with contextlib.suppress(queue.Empty):
                # It has ended; the thread that collects its code may be a moment behind.
                code = ended.get(timeout=_CODE_S)
        return crash_of(code, self.tail(), starting=starting)

    def tail(self) -> list[str]:
        """The last lines of its log. Blocks."""
        try:
            with self.log_file.open("rb") as file:
                file.seek(max(self.log_file.stat().st_size - _TAIL_BYTES, 0))
                return file.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:]
        except OSError:
            return []

    @property
    def _chooses_port(self) -> bool:
        """Whether any free port will do."""
        is_fixed = self._around is not None and self._around.port is not None
        return not is_fixed and not any(word.startswith("--port") for word in self.installation.args)

    async def _chosen_port(self) -> int:
        wanted = None if self._around is None else self._around.port
        if wanted is None:
            return self._free_port()
        if not _is_free(wanted):
            raise await port_taken(wanted)
        self._port = wanted
        return wanted

    def _free_port(self) -> int:
        """The one it had before if it can be, so that a worker that was given its address finds it again."""
        if self._port is None or not _is_free(self._port):
            self._port = free_port()
        return self._port

    def _start(self, url: str) -> None:
        """Start the process and note it. Blocks."""
        installation = self.installation
        words = [str(installation.python), str(installation.folder / "main.py"), "--disable-auto-launch"]
        # Without the option ComfyUI shows no picture while it grows. The user's own comes later and wins.
        words += ["--preview-method", "auto", "--port", str(_port_of(url))]
        more: dict[str, str] = {}
        if self._around is not None:
            words += self._around.words()
            more = self._around.environment()
        words += installation.args
        keep = ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "HF_HOME", "HF_HUB_OFFLINE")
        env = clean_environment({"PYTHONUNBUFFERED": "1", **more}, keep=keep)
        try:
            self._put_log_aside()
            self._exit = queue.SimpleQueue()
            self._pid = start_detached(
                words,
                env=env,
                log_file=self.log_file,
                cwd=installation.folder,
                on_end=self._exit.put,
            )
        except OSError as error:
            raise ProcessFailed(f"ComfyUI cannot be started with {words[0]}: {error.strerror}.") from error
        self._remember(self._pid, url)

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
        if self._pid is None:
            raise StoppedMeanwhile("ComfyUI was stopped before it was up.")
        crash = await asyncio.to_thread(self.crash, starting=True)
        await self.stop()
        raise NotStarted(self.installation.folder, self.log_file, crash)

    def _put_log_aside(self) -> None:
        """A log that has become long gives way to a new one; the one before is kept."""
        with contextlib.suppress(OSError):
            if self.log_file.stat().st_size > _LONG_LOG:
                self.log_file.replace(self.log_file.with_suffix(".old.log"))

    def _remember(self, pid: int, url: str) -> None:
        self.born = None
        with contextlib.suppress(psutil.Error):
            self.born = psutil.Process(pid).create_time()
            state = {
                "pid": pid,
                "url": url,
                "born": self.born,
                "folder": str(self.installation.folder),
                "args": [*self.installation.args],
            }
            write_private(self._state_file, json.dumps(state))


def _port_of(url: str) -> int | None:
    port = url.rpartition(":")[2]
    return int(port) if port.isascii() and port.isdecimal() and int(port) > 1023 else None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True


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
    if hasattr(os, "killpg"):
        # Whom we did not see, in the session that was made for it.
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(family, timeout=grace_s)
