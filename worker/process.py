"""One child process and its whole group: started, listened to, ended.

Shared by the worker (ComfyUI) and the panel (endpoint, workers, ComfyUI), so that there is one place which
knows how a process is ended on each system. Imports only the standard library and psutil.

A child gets a *lifeline*: its standard input is a pipe whose other end only the parent holds. When the
parent dies, however it dies, the pipe closes and a child that called :func:`hold_lifeline` ends too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

log = logging.getLogger(__name__)

#: In bytes; a longer line is taken in pieces.
_LONGEST_LINE = 64 * 1024
LIFELINE_ENV = "COMFY_RUNPOD_LIFELINE"
_POSIX = os.name == "posix"


class ChildProcess:
    """A child process with its output in a ring buffer. Its owner calls :meth:`stop` or :meth:`kill_group`
    also when it has ended by itself: only they close its pipes.

    Args:
        argv: the command, never a shell string.
        env: the child's whole environment; nothing is inherited beside it.
        own_group: start a new process group, ended as one. With ``False`` the child stays in ours.
        log_file: the full output is appended there (UTF-8).
        keep_lines: lines kept for :meth:`tail`.
        on_line: called with each output line, on the reader's thread.
        redact: secrets the child knows; they are replaced by ``***`` in everything it prints.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        own_group: bool = True,
        log_file: Path | None = None,
        keep_lines: int = 500,
        on_line: Callable[[str], None] | None = None,
        redact: Sequence[str] = (),
    ) -> None:
        self.argv = list(argv)
        self._own_group = own_group
        self._ring: deque[str] = deque(maxlen=keep_lines)
        self._ring_lock = threading.Lock()
        self._on_line = on_line
        self._complained = False
        self._redact = tuple(secret for secret in redact if secret)
        self._log: IO[str] | None = None
        if log_file is not None:
            log_file.parent.mkdir(parents=True, exist_ok=True)
            self._log = log_file.open("a", encoding="utf-8", errors="replace")
        flags = 0
        if sys.platform == "win32" and own_group:
            flags = subprocess.CREATE_NEW_PROCESS_GROUP
        try:
            self._popen = subprocess.Popen(
                self.argv,
                env={**env, LIFELINE_ENV: "1"},
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=_POSIX and own_group,
                creationflags=flags,
            )
        except OSError:
            if self._log is not None:
                self._log.close()
            raise
        self._reader = threading.Thread(target=self._read, name=f"output-{self.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._popen.poll()

    @property
    def running(self) -> bool:
        return self.returncode is None

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait at most ``timeout`` seconds; the exit code, or None when it still runs. Blocks."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def tail(self, lines: int = 50) -> list[str]:
        """The last output lines, oldest first."""
        with self._ring_lock:
            return list(self._ring)[-lines:]

    def interrupt(self) -> None:
        """Ask the child to end, as Ctrl+C does."""
        if not self.running:
            return
        with contextlib.suppress(OSError):
            if sys.platform == "win32":
                self._popen.send_signal(signal.CTRL_BREAK_EVENT)
            else:
                self._popen.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        """Ask the child to end with SIGTERM (on Windows: end it)."""
        with contextlib.suppress(OSError):
            self._popen.terminate()

    def cut_lifeline(self) -> None:
        """Close the child's standard input: a child that holds the lifeline ends itself."""
        if self._popen.stdin is not None:
            with contextlib.suppress(OSError):
                self._popen.stdin.close()

    def kill_group(self) -> None:
        """End the child and everything it started, at once. Safe to call after it has ended."""
        family: list[psutil.Process] = []
        # Of one that has ended the id may be a stranger's by now.
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(self.pid).children(recursive=True) if self.running else []
        if self._own_group and sys.platform != "win32":
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(OSError):
            self._popen.kill()
        self._popen.wait()
        self._close()

    def stop(self, grace_s: float = 5.0) -> int | None:
        """Interrupt, then terminate, then kill, with ``grace_s`` seconds before each harder step. Blocks."""
        self.cut_lifeline()
        self.interrupt()
        if self.wait(grace_s) is None:
            self.terminate()
            self.wait(grace_s)
        self.kill_group()
        return self.returncode

    def _close(self) -> None:
        self.cut_lifeline()
        self._reader.join(timeout=2)
        if not self._reader.is_alive() and self._popen.stdout is not None:
            self._popen.stdout.close()

    def _read(self) -> None:
        stream = self._popen.stdout
        if stream is None:
            return
        try:
            # In pieces: a child that ends no line would fill our memory.
            for raw in iter(lambda: stream.readline(_LONGEST_LINE), b""):
                self._take_in(raw)
        finally:
            if self._log is not None:
                with contextlib.suppress(OSError):
                    self._log.close()

    def _take_in(self, raw: bytes) -> None:
        # A progress bar returns to the start of its line: what it showed last is the line.
        line = raw.decode("utf-8", "replace").rstrip("\r\n").rpartition("\r")[2]
        for secret in self._redact:
            line = line.replace(secret, "***")
        with self._ring_lock:
            self._ring.append(line)
        # Whatever fails here, reading goes on: a child whose output nobody reads stands still.
        try:
            if self._log is not None and not self._log.closed:
                self._log.write(line + "\n")
                self._log.flush()
            if self._on_line is not None:
                self._on_line(line)
        except Exception:
            if not self._complained:
                log.exception("Not every line of process %d is passed on.", self.pid)
            self._complained = True


def start_detached(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log_file: Path,
    cwd: Path | None = None,
    on_end: Callable[[int], None] = lambda code: None,
) -> int:
    """Start a program that is to outlive us, in a session of its own; its output goes to ``log_file``.

    ``on_end`` is called on a thread with its exit code, when it ends while we live. Returns its process id;
    raises OSError when it cannot be started.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    with log_file.open("ab") as log:
        child = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=_POSIX,
            creationflags=flags,
        )
    # Somebody must collect its exit code while we live, else it stays a zombie and looks alive.
    reap = threading.Thread(target=lambda: on_end(child.wait()), name=f"reap-{child.pid}", daemon=True)
    reap.start()
    return child.pid


def hold_lifeline(on_lost: Callable[[], None]) -> None:
    """In a child: watch standard input in a thread and call ``on_lost`` once when the parent is gone.

    Does nothing unless the parent is a :class:`ChildProcess`.
    """
    if os.environ.get(LIFELINE_ENV) != "1":
        return
    # A descendant has another standard input, so it must not take the end of that one for our parent's end.
    os.environ.pop(LIFELINE_ENV)
    descriptor = sys.stdin.fileno()

    def watch() -> None:
        try:
            while os.read(descriptor, 4096):
                pass
        except OSError:
            pass
        on_lost()

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def end_own_group() -> None:
    """In a child that leads its group: end the group, ourselves included. Does not return."""
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()
    os._exit(1)


def wait_for_end(pid: int, timeout_s: float) -> bool:
    """Whether the process ``pid`` (perhaps no child of ours) has ended within ``timeout_s``. Blocks."""
    deadline = time.monotonic() + timeout_s
    while psutil.pid_exists(pid):
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


#: Below those of outgoing connections on Linux, Windows and macOS, above those of known services.
_QUIET_PORTS = (20_000, 32_000)
#: Not the library's own: tests make that one tell the same each time, in several processes.
_random = random.SystemRandom()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free now at ``host`` (of a comma list: the first); somebody may take it meanwhile.

    Not one of those that systems give to connections that go out: of these thousands come and go.
    """
    host = host.split(",")[0].strip()
    # The last resort is whichever the system gives.
    for wanted in (*(_random.randrange(*_QUIET_PORTS) for _ in range(20)), 0):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            if _POSIX:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, wanted))
            except OSError:
                if wanted:
                    continue
                raise
            port: int = probe.getsockname()[1]
            return port
    raise OSError(f"There is no free port at {host}.")


#: What a child may know of our environment: where programs, languages, GPUs and temporary files are.
_HARMLESS = (
    "PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR",
    "COMSPEC", "PATHEXT", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE", "LD_LIBRARY_PATH", "CUDA_HOME",
    "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
    "HIP_VISIBLE_DEVICES",
    "HSA_OVERRIDE_GFX_VERSION", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ENABLE_MPS_FALLBACK", "SSL_CERT_FILE",
    "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "VIRTUAL_ENV",
)  # fmt: skip


def clean_environment(extra: Mapping[str, str] | None = None, *, keep: Sequence[str] = ()) -> dict[str, str]:
    """Our environment without its secrets: an allow-list, ``LC_*``, the names in ``keep``, and ``extra``."""
    wanted = {*_HARMLESS, *(name.upper() for name in keep)}
    clean = {k: v for k, v in os.environ.items() if k.upper() in wanted or k.upper().startswith("LC_")}
    return {**clean, **(extra or {})}
