"""Real S3 servers on this computer: two of different makers, both with buckets as folders of plain files."""

from __future__ import annotations

import os
import socket
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from worker.process import ChildProcess, clean_environment, free_port

ACCESS, SECRET = "access-key-of-the-test", "secret-key-of-the-test-0123456789"
#: ``nanio`` keeps open uploads over a restart and gives ETags of parts; ``rclone`` gives plain MD5s.
SERVERS = ("nanio", "rclone")


@contextmanager
def s3_server(folder: Path, *, port: int = 0, kind: str = "nanio") -> Iterator[str]:
    """Serve the buckets in ``folder``; the address. The same port serves again what stopped there."""
    port = port or free_port()
    words, env = _nanio(folder, port) if kind == "nanio" else _rclone(folder, port)
    process = ChildProcess(words, env=clean_environment(env), cwd=folder)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.running, process.tail()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()


def _nanio(folder: Path, port: int) -> tuple[list[str], dict[str, str]]:
    pytest.importorskip("nanio")
    words = ["-m", "nanio", "serve", "--data-dir", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, *words], {"NANIO_ACCESS_KEY": ACCESS, "NANIO_SECRET_KEY": SECRET}


def _rclone(folder: Path, port: int) -> tuple[list[str], dict[str, str]]:
    program = Path(sysconfig.get_path("scripts")) / ("rclone.exe" if os.name == "nt" else "rclone")
    if not program.exists():
        pytest.skip("There is no rclone.")
    words = ["serve", "s3", str(folder), "--addr", f"127.0.0.1:{port}", "--auth-key", f"{ACCESS},{SECRET}"]
    # It keeps what it knows of folders for minutes; tests look behind it.
    return [str(program), *words, "--dir-cache-time", "20ms", "--config", os.devnull], {}
