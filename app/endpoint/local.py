"""The panel's hand on the local endpoint: find the running one, start one, stop it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import queue
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil
from filelock import FileLock, Timeout

from worker.process import clean_environment, start_detached, wait_for_end

from ..errors import ComfyRunPodError, ProcessFailed, Unreachable
from .client import JobClient
from .config import ALREADY_RUNS, UNCOUNTED, EndpointConfig
from .model import Health

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 25.0
LOOK_AGAIN_S = 0.05
_CODE_S = 0.5
_STATE_FILE = "endpoint.json"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the running endpoint. ``base_url`` is what RunPod's https://api.runpod.ai/v2 would be."""

    base_url: str
    endpoint_id: str
    api_key: str = field(repr=False)
    pid: int


@dataclass(frozen=True, slots=True)
class _State:
    """The state file of a running endpoint."""

    port: int
    key: str = field(repr=False)
    pid: int
    digest: str
    stays: bool


class LocalEndpoint:
    """One local endpoint, by its data folder."""

    def __init__(self, config: EndpointConfig) -> None:
        self.config = config
        self._access: Access | None = None
        self._ensuring = asyncio.Lock()
        #: The exit code of the one that was started last, when it has ended.
        self._codes: queue.SimpleQueue[int] = queue.SimpleQueue()

    async def ensure(self) -> Access:
        """The running endpoint, started when there is none.

        One with another configuration is replaced when it has nothing to do, and used as it is when it has.
        Raises ProcessFailed when none comes up; Unreachable when somebody ended it meanwhile.
        """
        async with self._ensuring:
            state, health = await self._living()
            if state is not None and health is not None and state.digest != self.config.digest:
                if _is_busy(health):
                    log.warning("the local endpoint runs with other settings; it is busy and stays as it is")
                else:
                    await self.stop()
                    state = None
            if state is None or health is None:
                state = await self._start()
            self._access = self._access_to(state)
            return self._access

    def client(self) -> JobClient:
        """A client for the endpoint that :meth:`ensure` returned last."""
        if self._access is None:
            raise ProcessFailed("The local endpoint has not been started yet.")
        return JobClient(self._access.base_url, self._access.endpoint_id, self._access.api_key)

    async def stop(self) -> None:
        """End it with its workers, if it runs. Its unfinished jobs go on at the next start."""
        state = self._read_state()
        if state is not None:
            await asyncio.to_thread(_end, state.pid)
        with contextlib.suppress(OSError):
            if state is not None and self._read_state() == state:
                self._state_file.unlink()
        self._access = None

    async def stop_if_idle(self) -> bool:
        """End it unless a job is waiting or running, or it was started to stay; whether it has ended now."""
        state, health = await self._living()
        if state is not None and health is not None and (state.stays or _is_busy(health)):
            return False
        await self.stop()
        return True

    @property
    def _state_file(self) -> Path:
        return self.config.data_dir / _STATE_FILE

    @property
    def _config_file(self) -> Path:
        return self.config.data_dir / "endpoint-config.json"

    @property
    def _log_file(self) -> Path:
        return self.config.data_dir / "logs" / "endpoint.log"

    def _log_size(self) -> int:
        return self._log_file.stat().st_size if self._log_file.exists() else 0

    async def _start(self) -> _State:
        """Start one and wait for it; when another one is still ending on the folder, start again after it."""
        self.config.to_file(self._config_file)
        log_from = self._log_size()
        pid = await self._spawn()
        deadline = time.monotonic() + START_TIMEOUT_S
        other = False
        while time.monotonic() < deadline:
            ended = wait_for_end(pid, 0)
            state, health = await self._living()
            if state is not None and health is not None:
                return state
            if ended:
                locked = self._is_locked()
                other = other or locked or ALREADY_RUNS in " ".join(_tail(self._log_file, log_from))
                if not locked and not other:
                    break
                if not locked:
                    log_from, other = self._log_size(), False
                    pid = await self._spawn()
            await asyncio.sleep(LOOK_AGAIN_S)
        lines = _tail(self._log_file, log_from)
        if not lines and await asyncio.to_thread(self._was_killed):
            # Not its own fault: the next one may well come up.
            raise Unreachable("The local endpoint was ended from outside while it started.")
        raise ProcessFailed(
            f"The local endpoint did not start: {lines[-1] if lines else 'it said nothing'}",
            hint="The log says more.",
            log=lines,
            log_file=str(self._log_file),
        )

    def _was_killed(self) -> bool:
        """Whether the one that was started last was ended by a signal. Blocks for a moment."""
        try:
            return self._codes.get(timeout=_CODE_S) < 0
        except queue.Empty:
            return False

    async def _spawn(self) -> int:
        self._codes = queue.SimpleQueue()
        argv = [sys.executable, "-m", "app.endpoint", str(self._config_file)]
        try:
            return await asyncio.to_thread(
                start_detached,
                argv,
                env=clean_environment(),
                log_file=self._log_file,
                on_end=self._codes.put,
            )
        except OSError as error:
            raise ProcessFailed(f"The local endpoint cannot be started: {error}") from error

    async def _living(self) -> tuple[_State | None, Health | None]:
        """The state file and the health of the endpoint it names; None where there is none."""
        state = self._read_state()
        if state is None:
            return None, None
        access = self._access_to(state)
        async with JobClient(
            access.base_url, access.endpoint_id, access.api_key, timeout_s=5, attempts=1
        ) as client:
            try:
                return state, await client.health()
            except ComfyRunPodError:
                return state, None

    def _read_state(self) -> _State | None:
        return _state_in(self._state_file)

    def _access_to(self, state: _State) -> Access:
        return Access(f"http://127.0.0.1:{state.port}/v2", self.config.endpoint_id, state.key, state.pid)

    def _is_locked(self) -> bool:
        """Whether another endpoint holds the folder: it may be about to come up, or to end."""
        try:
            with FileLock(self.config.data_dir / "endpoint.lock").acquire(timeout=0):
                return False
        except Timeout:
            return True


async def peek(data_dir: Path, endpoint_id: str) -> Health | None:
    """The health of the endpoint in that folder; None when it does not run.

    Neither starts it nor counts as a request: one that has nothing to do ends as if nobody had looked.
    """
    state = await asyncio.to_thread(_state_in, data_dir / _STATE_FILE)
    if state is None:
        return None
    base_url = f"http://127.0.0.1:{state.port}/v2"
    async with aiohttp.ClientSession(headers={UNCOUNTED: "1"}) as session:
        client = JobClient(base_url, endpoint_id, state.key, session=session, timeout_s=5, attempts=1)
        try:
            return await client.health()
        except ComfyRunPodError:
            return None


def _state_in(path: Path) -> _State | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        port, pid = int(data["port"]), int(data["pid"])
        return _State(port, str(data["key"]), pid, str(data["digest"]), data.get("stays") is True)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _is_busy(health: Health) -> bool:
    return bool(health.jobs.get("inQueue") or health.jobs.get("inProgress"))


def _end(pid: int) -> None:
    """Ask the endpoint to end, then end it and its workers. Another process of that number is left alone."""
    try:
        process = psutil.Process(pid)
        if "app.endpoint" not in process.cmdline():
            return
        family = [process, *process.children(recursive=True)]
        process.terminate()
    except psutil.Error:
        return
    wait_for_end(pid, STOP_TIMEOUT_S)
    for member in family:
        with contextlib.suppress(psutil.Error):
            member.kill()
    wait_for_end(pid, STOP_TIMEOUT_S)


def _tail(path: Path, start: int, lines: int = 30) -> list[str]:
    try:
        return path.read_bytes()[start:].decode("utf-8", "replace").splitlines()[-lines:]
    except OSError:
        return []
