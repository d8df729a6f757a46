"""The ComfyUI that the worker owns: started before the SDK is imported, watched all the time, started anew.

Works with threads, not asyncio: it must run before the SDK's loop exists.
"""

from __future__ import annotations

import http.client
import logging
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from .config import Config
from .falls import (
    Activity,
    Fall,
    activity_of,
    fall_of,
    frozen,
    gpu_lost,
    never_up,
    oom_kills,
    poisons,
    too_much_memory,
)
from .process import ChildProcess, clean_environment, free_port

log = logging.getLogger(__name__)
#: What ComfyUI prints, line by line.
comfyui_log = logging.getLogger("ComfyUI")

#: A ComfyUI that never answered is started anew only after a growing pause, in seconds.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
#: How long one look at ComfyUI may take, in seconds.
_PROBE_S = 5.0
#: A process that does not answer and yet works has so many times as long.
_BUSY_PATIENCE = 10


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
        #: Counts the starts: a job notes it, and sees by it whether its ComfyUI is still the same.
        self.generation = 0
        #: The last loss, and the number of the process that was lost.
        self._last: tuple[int, Fall] | None = None
        #: Falls since a job last succeeded, and starts in a row that came to nothing.
        self._unlucky = self._stillborn = 0
        self._wanted: Fall | None = None
        self._poisoned: str | None = None
        self._heard_at: float | None = None

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
        config = self._config
        for folder in (config.input_dir, config.output_dir, config.previews_dir.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self._launch()
        self._watcher.start()

    @property
    def alive(self) -> bool:
        with self._lock:
            return self._child is not None and self._child.running

    def fall_of(self, generation: int) -> Fall | None:
        """How the ComfyUI of that start, or a later one, was lost, if it was and that is known yet."""
        last = self._last
        return last[1] if last is not None and last[0] >= generation else None

    @property
    def hopeless(self) -> Fall | None:
        """The last fall, when ComfyUI has ended so often without ever answering that waiting is no use."""
        tries = max(self._config.supervision.most_crashes, 1)
        return self._last[1] if self._last is not None and self._stillborn >= tries else None

    @property
    def unlucky(self) -> bool:
        """Whether it was lost so often since a job last succeeded that a new worker is the better choice."""
        limit = self._config.supervision.most_crashes
        return limit > 0 and self._unlucky >= limit

    def heard(self) -> None:
        """ComfyUI said something to somebody: it is not stuck."""
        self._heard_at = time.monotonic()
        self._stillborn = 0

    def succeeded(self) -> None:
        """A job succeeded: what went wrong before is past."""
        self._unlucky = 0

    def is_poisoned(self, said: str = "") -> bool:
        """Whether it, or the failure of a job, has told of a lost GPU."""
        return self._poisoned is not None or poisons(said)

    def renew_if_poisoned(self, said: str = "") -> bool:
        """Start it anew when it, or the failure of a job, has told of a lost GPU. Blocks until it is gone."""
        told = said if poisons(said) else self._poisoned
        if told is None:
            return False
        with self._lock:
            child = self._child
            self._wanted = gpu_lost(told)
        if child is not None:
            child.kill_group()
        return True

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
        # Always said, or it would be beside ComfyUI's own folders, wherever those are.
        words += ["--temp-directory", str(config.previews_dir.parent)]
        with self._lock:
            if self._stopping.is_set():
                return
            self._wanted = self._poisoned = self._heard_at = None
            child = ChildProcess(
                words,
                env=clean_environment({"PYTHONUNBUFFERED": "1"}, keep=("HOME", "USERPROFILE", "HF_HOME")),
                cwd=config.comfyui_dir if config.comfyui_dir.is_dir() else None,
                own_group=False,
                on_line=self._take_in,
            )
            if self._child is not None:
                self._old_lines = self._child.tail(50)
            self._child = child
            self.generation += 1
        log.info("ComfyUI started as process %d on port %d.", child.pid, self._port)

    def _take_in(self, line: str) -> None:
        comfyui_log.info("%s", line)
        if poisons(line):
            self._poisoned = line

    def _watch(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._stopping.is_set():
            child = self._child
            if child is None:
                return
            fall = self._until_lost(child, oom_kills())
            child.kill_group()
            if fall is None:
                return
            self._note(fall)
            # Waiting helps only against a start that fails: one that answered was lost to something else.
            came_up = self._heard_at is not None
            pause = _FIRST_PAUSE_S if came_up else min(pause * 2, _LONGEST_PAUSE_S)
            log.warning("%s It is started anew in %.1f s.", fall.sentence, pause)
            if self._stopping.wait(pause):
                return
            try:
                self._launch()
            except OSError as error:
                log.error("ComfyUI cannot be started: %s", error)  # noqa: TRY400 - the sentence is enough

    def _note(self, fall: Fall) -> None:
        with self._lock:
            self._last = (self.generation, fall)
            self._unlucky += 1
            if self._heard_at is None:
                self._stillborn += 1

    def _until_lost(self, child: ChildProcess, kills_before: int) -> Fall | None:
        """Watch one process; how it was lost, None when we are stopping."""
        guard = _Guard(self._config, child.pid, lambda: self._heard_at)
        while True:
            code = child.wait(self._config.supervision.check_s)
            if self._stopping.is_set():
                return None
            if code is not None:
                return self._wanted or fall_of(code, oom_kills() - kills_before)
            if self._answers():
                self.heard()
            fall = guard.look()
            if fall is not None:
                return fall

    def _answers(self) -> bool:
        where = urlsplit(self.url)
        limit_s = min(_PROBE_S, max(self._config.supervision.freeze_s / 2, 0.1))
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=limit_s)
        try:
            # The cheapest question there is, and one that touches no GPU.
            connection.request("GET", "/prompt")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class _Guard:
    """Looks at one process again and again, for what it does not say itself."""

    def __init__(self, config: Config, pid: int, heard_at: Callable[[], float | None]) -> None:
        self._config = config
        self._pid = pid
        self._heard_at = heard_at
        self._born = self._idle_since = self._looked_at = time.monotonic()
        self._before = Activity()

    def look(self) -> Fall | None:
        """The process is lost when it is stuck, or uses more memory than it may."""
        now, activity = time.monotonic(), activity_of(self._pid)
        if not activity.is_idle_since(self._before, now - self._looked_at):
            self._idle_since = now
        self._before, self._looked_at = activity, now
        limit = self._config.limits.comfyui_memory
        if 0 < limit < activity.memory:
            return too_much_memory(activity.memory, limit)
        heard_at, freeze_s = self._heard_at(), self._config.supervision.freeze_s
        if heard_at is None:
            waited_s = now - self._born
            return never_up(waited_s) if waited_s > self._config.start_timeout_s else None
        silent_s = now - heard_at
        # A node that holds the interpreter silences the server for minutes, and works all the time.
        stuck = silent_s > freeze_s and now - self._idle_since > freeze_s
        if freeze_s > 0 and (stuck or silent_s > _BUSY_PATIENCE * freeze_s):
            return frozen(silent_s)
        return None
