"""A job runs on a machine that has nothing but loopback, and tells nobody."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, WORKFLOWS, Cli


def _unshare() -> list[str]:
    """A command prefix for a network namespace with only loopback, as root or through a user namespace."""
    for words in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        if shutil.which("unshare") and shutil.which("ip"):
            tried = subprocess.run(
                [*words, "ip", "link", "set", "lo", "up"], capture_output=True, check=False
            )
            if tried.returncode == 0:
                return words
    return []


@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")
def test_a_job_runs_with_only_loopback(cli: Cli, tmp_path: Path) -> None:
    prefix = _unshare()
    assert prefix, "no network namespace can be made here: util-linux and iproute2 are needed"
    (home := tmp_path / "home" / ".runpod").mkdir(parents=True)
    (home / "config.toml").write_text('[default]\napi_key = "planted-key-0123456789"\n')
    words = [sys.executable, "-m", "app.cli", "run", str(WORKFLOWS / "hello.json"), "--target", "demo"]
    command = ['ip link set lo up && exec "$@"', "sh", *words, "--output", str(tmp_path / "out")]
    ran = subprocess.run(
        [*prefix, "sh", "-c", *command],
        cwd=ROOT,
        env={**cli.env, "HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr + cli.logs()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["hello_00001_.png"]
    assert "planted-key" not in cli.logs() + ran.stdout + ran.stderr
