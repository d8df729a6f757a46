"""`python -m app.endpoint CONFIG.json`: the local endpoint as a process that outlives its starter.

Exit codes: 0 stopped or idle for long enough, 1 cannot run (port, disk), 2 no usable configuration, 3 another
one runs on that folder.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import signal
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import BadInput
from ..files import write_private
from .config import ALREADY_RUNS, EndpointConfig
from .platform import Platform
from .workers import WorkerPool

EXIT_FAILED = 1
EXIT_BAD_CONFIG = 2
EXIT_LOCKED = 3
IDLE_CHECK_S = 0.5
#: How long stopping waits for workers to end cancelled jobs.
END_JOBS_S = 10.0
log = logging.getLogger("app.endpoint")


def main(argv: Sequence[str]) -> int:
    """Run until told to stop; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    if len(argv) != 1:
        sys.stderr.write("Usage: python -m app.endpoint CONFIG.json\n")
        return EXIT_BAD_CONFIG
    try:
        config = EndpointConfig.from_file(Path(argv[0]))
    except BadInput as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_BAD_CONFIG
    config.data_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(config.data_dir / "endpoint.lock")
    try:
        with lock.acquire(timeout=0):
            asyncio.run(serve(config))
    except Timeout:
        sys.stderr.write(f"{ALREADY_RUNS} {config.data_dir}.\n")
        return EXIT_LOCKED
    except (OSError, sqlite3.Error) as error:
        log.error("the local endpoint on %s cannot run: %s", config.data_dir, error)  # noqa: TRY400
        return EXIT_FAILED
    return 0


async def serve(config: EndpointConfig) -> None:
    """Serve with all workers until a signal or the idle limit; leaves no process and no state file behind."""
    stop = asyncio.Event()
    _stop_on_signals(stop)
    key = _own_key(config.data_dir / "endpoint.key")
    state_file = config.data_dir / "endpoint.json"
    platform = Platform(config, key)
    port = await platform.start()
    url = f"http://{config.worker_host}:{port}/worker/{platform.secret}"
    pool = WorkerPool(config, platform.dispatcher, url=url, secret=platform.secret)
    platform.workers = pool.counts
    try:
        pool.start()
        state: dict[str, object] = {"port": port, "key": key, "pid": os.getpid(), "digest": config.digest}
        state["stays"] = config.idle_exit_s is None
        write_private(state_file, json.dumps(state))
        log.info("endpoint %s listens on %s:%d", config.endpoint_id, config.listen, port)
        await _until_over(stop, platform, config.idle_exit_s)
    finally:
        log.info("stopping")
        state_file.unlink(missing_ok=True)
        # A cancelled job's prompt still has to be stopped in ComfyUI, and its inputs taken away.
        await platform.dispatcher.wait_ended(END_JOBS_S)
        platform.dispatcher.close()
        await pool.stop()
        await platform.close()


async def _until_over(stop: asyncio.Event, platform: Platform, idle_exit_s: float | None) -> None:
    while not stop.is_set():
        if idle_exit_s is None:
            await stop.wait()
        elif platform.idle_s > idle_exit_s:
            log.info("nothing to do for %g s", idle_exit_s)
            return
        else:
            try:
                async with asyncio.timeout(IDLE_CHECK_S):
                    await stop.wait()
            except TimeoutError:
                continue


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is None:
            continue
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))


def _own_key(path: Path) -> str:
    """The endpoint's API key, the same at every start."""
    if path.exists():
        key = path.read_text(encoding="utf-8").strip()
        if key:
            return key
    key = secrets.token_urlsafe(32)
    write_private(path, key)
    return key


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
