"""The ComfyUI that the worker owns: started before the SDK is imported, started anew when it ends.

Works with threads, not asyncio: it must run before the SDK's loop exists.
"""

from __future__ import annotations

import logging
import threading
import time

from .config import Config
from .process import ChildProcess, clean_environment, free_port

log = logging.getLogger(__name__)

#: A ComfyUI that lived shorter than this is started anew only after a growing pause, in seconds.
_YOUNG_S, _FIRST_PAUSE_S, _LONGEST_PAUSE_S = 30.0, 0.5, 30.0


class OwnComfy:
    """The worker's own ComfyUI process. It stays in the worker's process group and dies with it."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._port = config.port or free_port(config.listen)
        self._lock = threading.Lock()
        self._child: ChildProcess | None = None
        self._old_lines: list[str] = []
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="comfyui-watch", daemon=True)

    @property
    def url(self) -> str:
        # ComfyUI takes a list of addresses too.
        first = self._config.listen.split(",")[0].strip()
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(first, first)
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    def start(self) -> None:
        """Start ComfyUI and keep it alive; returns at once.

        Raises:
            OSError: when the command cannot be started at all.
        """
        for folder in (self._config.input_dir, self._config.output_dir, self._config.temp_dir):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        self._launch()
        self._watcher.start()

    @property
    def alive(self) -> bool:
        with self._lock:
            return self._child is not None and self._child.running

    def tail(self, lines: int = 50) -> list[str]:
        """The last log lines, of the process before too when this one is young."""
        with self._lock:
            new = self._child.tail(lines) if self._child is not None else []
            return [*self._old_lines, *new][-lines:]

    def stop(self, grace_s: float = 2.0) -> None:
        """End ComfyUI for good. Blocks up to twice ``grace_s`` seconds."""
        self._stopping.set()
        with self._lock:
            child = self._child
        if child is not None:
            child.stop(grace_s)
        if self._watcher.is_alive():
            self._watcher.join(grace_s)

    def _launch(self) -> None:
        config = self._config
        words = [*config.command, "--listen", config.listen, "--port", str(self._port)]
        words += ["--input-directory", str(config.input_dir), "--output-directory", str(config.output_dir)]
        if config.temp_dir is not None:
            words += ["--temp-directory", str(config.temp_dir)]
        with self._lock:
            if self._stopping.is_set():
                return
            child = ChildProcess(
                words,
                env=clean_environment({"PYTHONUNBUFFERED": "1"}, keep=("HOME", "USERPROFILE", "HF_HOME")),
                cwd=config.comfyui_dir if config.comfyui_dir.is_dir() else None,
                own_group=False,
            )
            if self._child is not None:
                self._old_lines = self._child.tail(50)
            self._child = child
        log.info("ComfyUI started as process %d on port %d.", child.pid, self._port)

    def _watch(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            child, born = self._child, time.monotonic()
            if child is None:
                return
            code = child.wait()
            if self._stopping.is_set():
                return
            child.kill_group()
            pause = _FIRST_PAUSE_S if time.monotonic() - born > _YOUNG_S else min(pause * 2, _LONGEST_PAUSE_S)
            log.warning("ComfyUI ended with code %s; starting it anew in %.1f s.", code, pause)
            if self._stopping.wait(pause):
                return
            try:
                self._launch()
            except OSError as error:
                log.error("ComfyUI cannot be started: %s", error)  # noqa: TRY400 - the sentence is enough
