"""The worker's own ComfyUI, with the demo engine as the process: started, watched, started anew, stopped."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.unit.worker.helpers import make_config
from worker import supervisor
from worker.config import Limits, Supervision
from worker.supervisor import OwnComfy

ROOT = Path(__file__).parents[3]
DEMO = (sys.executable, "-m", "app.demo")


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., OwnComfy]]:
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE_S", 0.05)
    made: list[OwnComfy] = []

    def make(**changes: Any) -> OwnComfy:
        # Started where the package is; its folders are elsewhere.
        folders = {f"{kind}_dir": tmp_path / kind for kind in ("input", "output", "temp")}
        options = {"command": DEMO, "comfyui_dir": ROOT, "port": 0, **folders, **changes}
        own = OwnComfy(make_config(tmp_path, **options))
        made.append(own)
        return own

    yield make
    for own in made:
        own.stop()


def wait(true: Callable[[], Any], limit_s: float = 30) -> Any:
    deadline = time.monotonic() + limit_s
    while not (value := true()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def answers(own: OwnComfy) -> bool:
    try:
        with urllib.request.urlopen(f"{own.url}/system_stats", timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


def process_of(own: OwnComfy) -> psutil.Process:
    """The ComfyUI that ``own`` holds: our child that listens on its port."""
    port = own.url.rpartition(":")[2]
    (found,) = [child for child in psutil.Process().children() if port in child.cmdline()]
    return found


def test_it_starts_and_is_started_anew_when_it_dies_until_it_is_stopped(
    make: Callable[..., OwnComfy],
) -> None:
    own = make()
    assert not own.alive
    own.start()
    wait(lambda: answers(own))
    first = process_of(own)
    first.kill()
    wait(lambda: answers(own) and not first.is_running())
    second = process_of(own)
    assert second.pid != first.pid
    assert own.alive
    lines = own.tail()
    assert sum("To see the GUI go to" in line for line in lines) == 2, "the log of the one that died is kept"
    assert own.tail(1) == lines[-1:]
    own.stop()
    assert not own.alive
    assert not second.is_running()
    assert "Stopped server" in own.tail()
    assert not answers(own)


def test_one_that_dies_at_once_is_started_less_and_less_often(
    make: Callable[..., OwnComfy], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "_LONGEST_PAUSE_S", 0.4)
    starts: list[float] = []
    script = "import sys; print('no model folder'); sys.exit(3)"
    launch = OwnComfy._launch

    def counted(own: OwnComfy) -> None:
        starts.append(time.monotonic())
        launch(own)

    monkeypatch.setattr(OwnComfy, "_launch", counted)
    own = make(command=(sys.executable, "-c", script))
    own.start()
    wait(lambda: len(starts) > 4)
    assert "no model folder" in own.tail()
    own.stop()
    there = len(starts)
    # Each pause is at least what it was to be: 0.1, 0.2, 0.4, 0.4.
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert all(pause >= least for pause, least in zip(pauses, (0.1, 0.2, 0.4, 0.4), strict=False))
    time.sleep(0.5)
    assert len(starts) == there, "stopped is stopped"


def test_it_is_not_started_again_while_it_is_stopped(
    make: Callable[..., OwnComfy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watcher may be about to start a new one at the very moment of the stop."""
    own = make(command=(sys.executable, "-c", "import time; time.sleep(60)"))
    own.start()
    own.stop()
    started: list[object] = []
    monkeypatch.setattr(supervisor, "ChildProcess", lambda *given, **_: started.append(given))
    own._launch()
    assert not started


def test_a_command_that_is_not_there_is_told_at_once(make: Callable[..., OwnComfy]) -> None:
    with pytest.raises(OSError, match="no-such-program"):
        make(command=("/no-such-program",)).start()


@pytest.mark.parametrize(
    ("listen", "host"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0,::", "127.0.0.1")],
)
def test_where_it_can_be_reached(make: Callable[..., OwnComfy], listen: str, host: str) -> None:
    assert make(listen=listen, port=8188).url == f"http://{host}:8188"


def test_it_sees_no_secret(make: Callable[..., OwnComfy], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_AI_API_KEY", "the-secret")
    monkeypatch.setenv("HF_HOME", "models-here")
    show = "import os, sys; print(sorted(os.environ.items())); sys.stdin.read()"
    own = make(command=(sys.executable, "-c", show))
    own.start()
    (line,) = wait(own.tail)
    assert "the-secret" not in line
    assert "models-here" in line


def test_one_that_uses_too_much_memory_is_ended_with_the_reason(make: Callable[..., OwnComfy]) -> None:
    own = make(limits=Limits(comfyui_memory=1_000_000), supervision=Supervision(check_s=0.05))
    own.start()
    fall = wait(lambda: own.fall_of(1))
    assert fall.kind == "memory_limit"
    assert "more than the 0.00 GB it may have" in fall.sentence
    assert not fall.may_pass


def test_one_whose_gpu_is_lost_is_started_anew_when_it_is_asked_for(make: Callable[..., OwnComfy]) -> None:
    words = "import time; print('CUDA error: an illegal memory access', flush=True); time.sleep(60)"
    own = make(command=(sys.executable, "-c", words))
    own.start()
    wait(own.tail)
    assert own.renew_if_poisoned()
    fall = wait(lambda: own.fall_of(1))
    assert fall.kind == "gpu"
    assert "illegal memory access" in fall.sentence
    wait(lambda: own.generation == 2)


def test_a_failure_alone_tells_of_a_lost_gpu_too(make: Callable[..., OwnComfy]) -> None:
    own = make()
    own.start()
    wait(lambda: answers(own))
    assert not own.renew_if_poisoned("CUDA out of memory")
    assert own.renew_if_poisoned("CUDA error: unspecified launch failure")
    wait(lambda: own.generation == 2 and answers(own))


def test_after_some_starts_that_come_to_nothing_there_is_no_hope(
    make: Callable[..., OwnComfy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_LONGEST_PAUSE_S", 0.1)
    own = make(command=(sys.executable, "-c", "raise SystemExit(5)"), supervision=Supervision(most_crashes=2))
    own.start()
    assert own.hopeless is None
    fall = wait(lambda: own.hopeless)
    assert "exit code 5" in fall.sentence
    wait(lambda: own.unlucky)
    own.succeeded()
    assert not own.unlucky or own.generation > 3


def test_one_that_never_comes_up_is_started_anew(make: Callable[..., OwnComfy]) -> None:
    own = make(
        command=(sys.executable, "-c", "import time; time.sleep(60)"),
        start_timeout_s=0.3,
        supervision=Supervision(check_s=0.05),
    )
    own.start()
    assert "did not come up within" in wait(lambda: own.fall_of(1)).sentence
