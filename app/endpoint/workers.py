"""The local endpoint's worker processes: started, watched, replaced."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from worker.process import ChildProcess, clean_environment

from .config import EndpointConfig
from .dispatch import Dispatcher, Phase

WATCH_S = 0.2
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
#: A worker that lived this long did not die of its start.
YOUNG_S = 10.0
#: How long a worker may take to end by itself when its lifeline is cut.
END_BY_ITSELF_S = 10.0
#: Bytes after which a worker's log is put aside at its next start.
LONGEST_LOG = 5_000_000
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Slot:
    worker_id: str
    number: int
    child: ChildProcess | None = None
    pause_s: float = FIRST_PAUSE_S
    resting: bool = False


class WorkerPool:
    """Keeps ``config.workers`` processes running.

    Args:
        url: where the workers' routes are, with the secret: ``http://127.0.0.1:PORT/worker/SECRET``.
        secret: hidden in the workers' logs.
    """

    def __init__(self, config: EndpointConfig, dispatcher: Dispatcher, *, url: str, secret: str) -> None:
        self._config = config
        self._hub = dispatcher
        self._url = url
        self._secret = secret
        self._slots = [_Slot(f"{config.endpoint_id}-w{n}", n) for n in range(1, config.workers + 1)]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the workers and watch them until :meth:`stop`."""
        home = self._config.data_dir / "home"
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
        self._config.volume_dir.mkdir(parents=True, exist_ok=True)
        for slot in self._slots:
            task = asyncio.create_task(self._keep(slot), name=f"worker-{slot.number}")
            task.add_done_callback(_report)
            self._tasks.append(task)

    async def stop(self) -> None:
        """End all workers: cut their lifelines, wait a little, end their groups."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        children = [slot.child for slot in self._slots if slot.child is not None]
        await asyncio.gather(*(asyncio.to_thread(_end, child) for child in children))

    def counts(self) -> dict[str, int]:
        """The ``workers`` of a health answer. ``ready`` are those that could take a job now."""
        phases = [Phase.UNHEALTHY if s.resting else self._hub.phase(s.worker_id) for s in self._slots]
        counts = {str(phase): phases.count(phase) for phase in Phase}
        return counts | {"ready": counts[Phase.IDLE], "throttled": 0}

    def pids(self) -> list[int]:
        return [slot.child.pid for slot in self._slots if slot.child is not None]

    async def _keep(self, slot: _Slot) -> None:
        while True:
            started_at = time.monotonic()
            try:
                slot.child = self._spawn(slot)
            except OSError as error:
                log.error("worker %d cannot be started: %s", slot.number, error)  # noqa: TRY400
                await self._rest(slot, 0.0, wanted=False)
                continue
            log.info("worker %d started, process %d", slot.number, slot.child.pid)
            reason, wanted = await self._until_over(slot, slot.child)
            log.log(logging.INFO if wanted else logging.WARNING, "worker %d: %s", slot.number, reason)
            # Its heartbeat process would go on alone and keep the dead worker alive in our eyes.
            await asyncio.to_thread(slot.child.kill_group)
            slot.child = None
            self._hub.worker_gone(slot.worker_id)
            await self._rest(slot, time.monotonic() - started_at, wanted=wanted)

    async def _until_over(self, slot: _Slot, child: ChildProcess) -> tuple[str, bool]:
        """Wait until the worker has ended or must be; why, and whether that was asked for."""
        looked_at = time.monotonic()
        while True:
            await asyncio.sleep(WATCH_S)
            now = time.monotonic()
            if now - looked_at > WATCH_S + 2:
                self._hub.hear_all()
            looked_at = now
            wanted = self._hub.wants_restart(slot.worker_id)
            if not child.running:
                return f"ended with exit code {child.returncode}", wanted
            if wanted:
                return "replaced by a fresh process as asked for", True
            if self._hub.is_lost(slot.worker_id):
                return f"silent for {self._config.worker_lost_after_s:g} s, given up", False

    async def _rest(self, slot: _Slot, lived_s: float, *, wanted: bool) -> None:
        if wanted or lived_s >= YOUNG_S:
            slot.pause_s = FIRST_PAUSE_S
        slot.resting = not wanted
        await asyncio.sleep(slot.pause_s)
        slot.resting = False
        slot.pause_s = min(slot.pause_s * 2, LONGEST_PAUSE_S)

    def _spawn(self, slot: _Slot) -> ChildProcess:
        log_file = self._config.data_dir / "logs" / f"worker-{slot.number}.log"
        if log_file.exists() and log_file.stat().st_size > LONGEST_LOG:
            log_file.replace(log_file.with_suffix(".old.log"))
        return ChildProcess(
            self._config.worker_argv,
            env=self._environment(slot),
            log_file=log_file,
            redact=(self._secret,),
        )

    def _environment(self, slot: _Slot) -> dict[str, str]:
        """The worker's whole environment; ``$ID`` and ``$RUNPOD_POD_ID`` are filled in by the SDK."""
        home = str(self._config.data_dir / "home")
        given = {k: v.replace("$RUNPOD_POD_ID", slot.worker_id) for k, v in self._config.worker_env.items()}
        return clean_environment(
            {
                **given,
                "RUNPOD_WEBHOOK_GET_JOB": f"{self._url}/job-take/$ID?gpu=local",
                "RUNPOD_WEBHOOK_POST_OUTPUT": f"{self._url}/job-done/$RUNPOD_POD_ID/$ID?gpu=local",
                "RUNPOD_WEBHOOK_PING": f"{self._url}/ping/$RUNPOD_POD_ID?gpu=local",
                # The SDK sends no heartbeat without a key; ours is in the path.
                "RUNPOD_AI_API_KEY": "local",
                "RUNPOD_POD_ID": slot.worker_id,
                "RUNPOD_PING_INTERVAL": str(self._config.ping_interval_ms),
                # Its checks need the internet and end the process without it.
                "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
                "RUNPOD_SKIP_GPU_CHECK": "true",
                "RUNPOD_LOG_LEVEL": "INFO",
                "VOLUME_PATH": str(self._config.volume_dir),
                # The SDK prefers a key in ~/.runpod/config.toml: there must be none to find.
                "HOME": home,
                "USERPROFILE": home,
            }
        )


def _end(child: ChildProcess) -> None:
    child.cut_lifeline()
    child.wait(END_BY_ITSELF_S)
    child.kill_group()


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("a worker is no longer watched", exc_info=task.exception())
