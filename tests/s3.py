"""A real S3 server on this computer. It keeps buckets as folders and objects as plain files."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from worker.process import ChildProcess, clean_environment

ACCESS, SECRET = "access-key-of-the-test", "secret-key-of-the-test-0123456789"


@contextmanager
def s3_server(folder: Path, *, port: int = 0) -> Iterator[str]:
    """Serve the buckets in ``folder``; the address. The same port serves again what stopped there."""
    pytest.importorskip("nanio")
    if not port:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    words = ["-m", "nanio", "serve", "--data-dir", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    keys = {"NANIO_ACCESS_KEY": ACCESS, "NANIO_SECRET_KEY": SECRET}
    process = ChildProcess([sys.executable, *words], env=clean_environment(keys), cwd=folder)
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
