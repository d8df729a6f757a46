"""A child process whose two streams are read apart, as bytes, and which is ended with its whole group."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from worker.process import wait_for_end

from .parser import Stream

_PIECE = 64 * 1024


class Child:
    """Started when made; its owner calls :meth:`stop` in any case. Raises OSError when it cannot start.

    Args:
        on_bytes: called on the threads that read, with what came; it may be slow, then the child waits.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        on_bytes: Callable[[Stream, bytes], None],
    ) -> None:
        self._popen = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=os.name == "posix",
            creationflags=_flags(),
        )
        self._on_bytes = on_bytes
        self._readers = [self._read("stdout", self._popen.stdout), self._read("stderr", self._popen.stderr)]

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def ended(self) -> bool:
        """It has ended, and everything that it printed is read."""
        return self._popen.poll() is not None and not any(reader.is_alive() for reader in self._readers)

    @property
    def exited(self) -> bool:
        return self._popen.poll() is not None

    @property
    def exit_code(self) -> int:
        code = self._popen.poll()
        return -1 if code is None else code

    def stop(self, grace_s: float = 2.0) -> None:
        """Ask it to end, then end it and everything that it started; close its pipes. Blocks.

        May be called after it has ended by itself.
        """
        family: list[psutil.Process] = []
        if not self.exited:
            # Of one that has ended the id may be a stranger's by now.
            with contextlib.suppress(psutil.Error):
                family = psutil.Process(self.pid).children(recursive=True)
            with contextlib.suppress(OSError):
                self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(grace_s)
        if sys.platform != "win32":
            # Its group keeps its id while anyone is in it.
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(OSError):
            self._popen.kill()
        self._popen.wait()
        # A signal works a little later.
        for process in family:
            wait_for_end(process.pid, 1.0)
        for reader in self._readers:
            reader.join(timeout=2)
        for stream in (self._popen.stdout, self._popen.stderr):
            # Closing one that is still read would wait for its reader.
            if stream is not None and not any(reader.is_alive() for reader in self._readers):
                stream.close()

    def _read(self, name: Stream, pipe: IO[bytes] | None) -> threading.Thread:
        def read() -> None:
            if pipe is not None:
                while piece := os.read(pipe.fileno(), _PIECE):
                    self._on_bytes(name, piece)

        reader = threading.Thread(target=read, name=f"{name}-{self.pid}", daemon=True)
        reader.start()
        return reader


def _flags() -> int:
    if sys.platform == "win32":
        return subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return 0
