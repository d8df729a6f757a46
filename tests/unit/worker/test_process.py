"""Child processes: what they say, and that they and all their descendants end."""

from __future__ import annotations

import gc
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from worker.process import ChildProcess, clean_environment, start_detached, wait_for_end

ROOT = Path(__file__).parents[3]
#: Starts a grandchild that says nothing and lives on, and tells its id.
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
"""
SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def start() -> Iterator[Callable[..., ChildProcess]]:
    started: list[ChildProcess] = []

    def start(script: str, *arguments: str, **options: Any) -> ChildProcess:
        environment = options.pop("env", clean_environment({"PYTHONPATH": str(ROOT)}))
        child = ChildProcess([sys.executable, "-u", "-c", script, *arguments], env=environment, **options)
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill_group()


def wait(true: Callable[[], Any], limit_s: float = 30) -> Any:
    deadline = time.monotonic() + limit_s
    while not (value := true()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return value


def gone(pid: int) -> bool:
    return wait_for_end(pid, 10)


# -- what it says -----------------------------------------------------------------------------------------


def test_the_last_lines_are_kept_and_all_are_logged(
    start: Callable[..., ChildProcess], tmp_path: Path
) -> None:
    log = tmp_path / "logs" / "child.log"
    seen: list[str] = []
    child = start(
        "import sys\nfor n in range(30): print('line', n)\nprint('err', file=sys.stderr)",
        keep_lines=10,
        log_file=log,
        on_line=seen.append,
    )
    assert child.wait(30) == 0
    child.stop()
    everything = [*(f"line {n}" for n in range(30)), "err"]
    assert child.tail() == everything[-10:]
    assert child.tail(2) == ["line 29", "err"]
    assert seen == log.read_text().splitlines() == everything


def test_secrets_are_blotted_out_wherever_its_output_goes(
    start: Callable[..., ChildProcess], tmp_path: Path
) -> None:
    log, seen = tmp_path / "child.log", list[str]()
    child = start(
        "print('key=s3cret, again s3cret;', 'other-one')",
        redact=("s3cret", "", "other-one"),
        log_file=log,
        on_line=seen.append,
    )
    child.wait(30)
    child.stop()
    assert child.tail() == seen == log.read_text().splitlines() == ["key=***, again ***; ***"]


def test_of_a_progress_bar_the_last_state_is_kept(start: Callable[..., ChildProcess]) -> None:
    bar = r"b''.join(b'\r%d%%' % n for n in range(101)) + b'\r\nnext\xff\n'"
    child = start(f"import sys; sys.stdout.buffer.write({bar})")
    child.wait(30)
    child.stop()
    assert child.tail() == ["100%", "next\ufffd"]


def test_a_line_without_end_does_not_fill_the_memory(start: Callable[..., ChildProcess]) -> None:
    child = start("for _ in range(5000): print('x' * 1000, end='')", keep_lines=3)
    assert child.wait(30) == 0
    child.stop()
    assert [len(line) for line in child.tail()][:2] == [64 * 1024] * 2


def test_a_listener_that_fails_does_not_stop_the_reading(
    start: Callable[..., ChildProcess], caplog: pytest.LogCaptureFixture
) -> None:
    def fails(line: str) -> None:
        raise ValueError(line)

    child = start("for n in range(3000): print('a line of some length', n)", on_line=fails)
    assert child.wait(60) == 0
    child.stop()
    assert child.tail(1) == ["a line of some length 2999"]
    assert caplog.text.count("Not every line") == 1


# -- how it ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_group", [True, False])
@pytest.mark.parametrize("how", ["kill_group", "stop"])
def test_descendants_end_with_it(start: Callable[..., ChildProcess], own_group: bool, how: str) -> None:
    # It ignores being asked, so that it has to be killed.
    stubborn = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    stubborn += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    child = start(stubborn + FAMILY + SLEEP, own_group=own_group)
    grandchild = int(wait(child.tail)[0])
    child.kill_group() if how == "kill_group" else child.stop(0.1)
    assert not child.running
    assert gone(child.pid)
    assert gone(grandchild)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups of this kind")
def test_descendants_of_one_that_has_ended_end_too(start: Callable[..., ChildProcess]) -> None:
    child = start(FAMILY)
    grandchild = int(wait(child.tail)[0])
    assert child.wait(30) == 0
    assert psutil.pid_exists(grandchild)
    child.kill_group()
    assert gone(grandchild)


def test_a_child_that_listens_is_asked_before_it_is_killed(start: Callable[..., ChildProcess]) -> None:
    tidy = "import time\nprint('ready')\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('tidy')\n"
    child = start(tidy)
    wait(child.tail)
    assert child.stop(20) == 0 or os.name == "nt"
    assert child.tail() == ["ready", "tidy"] or os.name == "nt"
    child.interrupt()  # asking one that has ended harms nobody
    child.terminate()
    child.kill_group()


def test_the_id_of_one_that_has_ended_may_be_a_stranger_s(
    start: Callable[..., ChildProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start("pass", own_group=False)
    child.wait(30)
    looked_up: list[int] = []
    monkeypatch.setattr(psutil, "Process", looked_up.append)
    child.kill_group()
    assert looked_up == []


def test_its_pipes_are_closed_when_it_is_stopped(start: Callable[..., ChildProcess]) -> None:
    child = ChildProcess([sys.executable, "-c", "print('x')"], env=clean_environment())
    child.wait(30)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        child.stop()
        del child
        gc.collect()
    assert not [w for w in caught if issubclass(w.category, ResourceWarning)]


def test_a_program_that_is_not_there_leaves_no_open_file(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(OSError, match="no-such-program"):
            ChildProcess(["/no-such-program"], env={}, log_file=tmp_path / "x.log")
        gc.collect()
    assert not [w for w in caught if issubclass(w.category, ResourceWarning)]


PARENT = """
import sys, time
from worker.process import ChildProcess, clean_environment
environment = clean_environment({"PYTHONPATH": sys.argv[2]})
child = ChildProcess([sys.executable, "-u", "-c", sys.argv[1]], env=environment)
while not child.tail():
    time.sleep(0.01)
print(child.pid, child.tail()[0], flush=True)
time.sleep(60)
"""
HOLDER = """
import time
from worker.process import end_own_group, hold_lifeline
hold_lifeline(end_own_group)
"""


def test_when_the_parent_is_killed_child_and_grandchild_end(start: Callable[..., ChildProcess]) -> None:
    parent = start(PARENT, HOLDER + FAMILY + SLEEP, str(ROOT))
    child, grandchild = (int(pid) for pid in wait(parent.tail)[0].split())
    psutil.Process(parent.pid).kill()
    assert gone(child)
    assert gone(grandchild)


def test_without_a_parent_of_our_kind_there_is_no_lifeline(start: Callable[..., ChildProcess]) -> None:
    """A descendant has another standard input, whose end says nothing of our parent."""
    inner = HOLDER + "time.sleep(0.2); print('lives', flush=True)"
    script = HOLDER + "import subprocess, sys\n"
    script += "subprocess.run([sys.executable, '-c', sys.argv[1]], stdin=subprocess.DEVNULL, check=True)"
    child = start(script, inner)
    assert child.wait(30) == 0
    child.stop()
    assert child.tail() == ["lives"]


def test_a_detached_program_is_not_ours_to_end(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "x.log"
    script = "import sys; print('hello', sys.stdin.read() == '', flush=True)\n" + SLEEP
    pid = start_detached([sys.executable, "-c", script], env=clean_environment(), log_file=log)
    try:
        wait(lambda: log.is_file() and log.read_text())
        assert log.read_text().split() == ["hello", "True"]
        assert not wait_for_end(pid, 0)
        if os.name == "posix":
            assert os.getsid(pid) == pid
    finally:
        psutil.Process(pid).kill()
    assert gone(pid)


# -- what it knows ----------------------------------------------------------------------------------------

SECRETS = (
    *("RUNPOD_API_KEY", "RUNPOD_AI_API_KEY", "RUNPOD_ENDPOINT_SECRET", "AWS_ACCESS_KEY_ID"),
    *("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "BUCKET_ACCESS_KEY_ID", "BUCKET_SECRET_ACCESS_KEY"),
    *("CIVITAI_TOKEN", "GITHUB_TOKEN", "HTTPS_PROXY", "SOMETHING_NEW"),
)


def test_no_secret_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("LC_TIME", "C")
    clean = clean_environment({"EXTRA": "given"})
    assert "secret" not in clean.values()
    assert {"CUDA_VISIBLE_DEVICES": "1", "LC_TIME": "C", "EXTRA": "given"}.items() <= clean.items()
    assert clean["PATH"] == os.environ["PATH"]
    assert clean_environment(keep=("HF_TOKEN", "LANG_X"))["HF_TOKEN"] == "secret"


def test_a_child_has_the_environment_it_was_given_and_no_more(
    start: Callable[..., ChildProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "the-secret")
    child = start("import os; print(sorted(os.environ.items()))", env={"PATH": os.environ["PATH"], "A": "1"})
    child.wait(30)
    child.stop()
    (line,) = child.tail()
    assert "the-secret" not in line
    assert "('A', '1')" in line
