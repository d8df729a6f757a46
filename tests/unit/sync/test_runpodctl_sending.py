"""Sending, with a program that behaves as runpodctl 2.7 is described, also when it lies, crashes, stalls."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.errors import BadInput, ComfyRunPodError, NeedsSetup, ProcessFailed
from app.sync.runpodctl.model import Batch, Phase, SendState
from app.sync.runpodctl.program import DOCS, RELEASES, environment, find_runpodctl, how_to_get
from app.sync.runpodctl.sending import Sender
from app.sync.runpodctl.tracker import Tracker
from tests.unit.sync.runpodctl_made import extract, models, receive, staged, tree
from tests.unit.sync.test_runpodctl_parser import case

TWO = {"checkpoints/x.safetensors": b"x" * 200_000, "loras/y.safetensors": b"y" * 3000}
CODE = "8338-galileo-collect-fidel-4"

#: Follows the source of runpodctl 2.7; was never compared with the program itself.
FAKE = r"""
import os, shutil, subprocess, sys, time
from pathlib import Path
mode, inbox, command, *names = sys.argv[1:]
assert command == "send", command
def out(text): os.write(1, text.encode())
def err(text): os.write(2, text.encode())
def bar(name, percent, size, end=""):
    blocks = "\u2588" * (percent // 5)
    done = size * percent // 100
    counts = f"({done / 1000:.0f}/{size / 1000:.0f} kB, 52 MB/s)"
    err(f"\r{' ' * 70}\r\r{name} {percent:3d}% |{blocks:<20}| {counts}{end}")
def crash(why):
    err(f"\npanic: {why}\n\ngoroutine 122 [running]:\n")
    sys.exit(2)
Path(inbox).mkdir(exist_ok=True)
Path(inbox, "environment").write_text("\n".join(os.environ))
if mode == "relays":
    err("runpod-send: could not get list of relays. please contact support for help!\n"); sys.exit(1)
CODE = "8338-galileo-collect-fidel-4"
out(CODE + "\n")
if mode == "silent": sys.exit(0)
if mode == "early": crash("runtime error: index out of range [3]")
for number, name in enumerate(names):
    err(f"\r{' ' * 33}\rsending {number} files (1.9 kB)")
err(f"\r{' ' * 33}\rsending {len(names)} files (4.0 GB)\n")
err(f"code is: {CODE}\non the other computer run\n\nrunpodctl receive {CODE}\n")
if mode == "nobody": out("could not secure channel\n"); sys.exit(0)
first, done = True, 0
for name in names:
    place, size = Path(inbox, name), os.path.getsize(name)
    if place.exists() and place.read_bytes() == Path(name).read_bytes():
        continue
    if first: err("\nsending (->203.0.113.7:51820)\n")
    first = False
    for percent in (0, 37):
        bar(name, percent, size)
    if name.endswith(".safetensors") or mode == "stall":
        if mode == "eof": out("EOF\n"); sys.exit(0)
        if mode == "short": sys.exit(0)
        if mode == "killed": os.kill(os.getpid(), 9)
        if mode == "panic": crash("write tcp 1.2.3.4:5->6.7.8.9:9011: write: broken pipe")
        if mode == "stall":
            child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
            Path(inbox, "pids").write_text(f"{os.getpid()} {child.pid}")
            time.sleep(600)
    shutil.copyfile(name, place)
    done += 1
    for percent in range(38, 101):
        bar(name, percent, size, f" {done}/{len(names)}\n" if percent == 100 else " [0s:1s]")
if mode == "late": out("EOF\n")
if mode == "status": sys.exit(3)
"""


@pytest.fixture
def fake(tmp_path: Path) -> Callable[..., Sender]:
    script = tmp_path / "fake.py"
    script.write_text(FAKE, "utf-8")

    def make(mode: str, states: list[SendState] | None = None, stall_s: float = 60) -> Sender:
        command = [sys.executable, "-S", "-I", str(script), mode, str(tmp_path / "pod")]
        return Sender(command, on_state=None if states is None else states.append, stall_s=stall_s)

    return make


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    (batch,) = staged(models(tmp_path / "models", TWO), tmp_path / "staging")
    return batch


def send(sender: Sender, batch: Batch) -> None:
    asyncio.run(sender.send(batch))


# -- a batch that is sent --------------------------------------------------------------------------------


def test_from_here_to_the_models_folder_of_a_pod(
    fake: Callable[..., Sender], batch: Batch, tmp_path: Path
) -> None:
    states: list[SendState] = []
    sent = asyncio.run(fake("good", states).send(batch))
    assert sent.code == CODE
    assert sent.before == ()
    assert sent.commands.receive == f"runpodctl receive {CODE}"
    assert states[-1].phase is Phase.SENT
    assert states[-1].done_bytes == states[-1].total_bytes == batch.total_bytes
    assert "not yet verified" in states[-1].message
    # Far fewer than the lines of progress.
    assert len(states) < 60
    phases = list(dict.fromkeys(state.phase for state in states))
    order = [Phase.HASHING, Phase.WAITING, Phase.SENDING, Phase.SENT]
    assert phases == [phase for phase in order if phase in phases]
    assert all((state.commands is None) == (state.phase is Phase.HASHING) for state in states)
    status, text = extract(tmp_path / "pod", batch, tmp_path / "volume")
    assert status == 0, text
    assert tree(tmp_path / "volume") == TWO


def test_runpodctl_gets_no_secret(
    fake: Callable[..., Sender], batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNPOD_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://name:secret@proxy:1")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:1")
    send(fake("good"), batch)
    given = set((tmp_path / "pod" / "environment").read_text().split())
    assert given.isdisjoint({"RUNPOD_API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "HTTPS_PROXY"})
    assert {"PATH", "HTTP_PROXY"} <= given
    assert "secret" not in "".join(environment().values())


def test_what_the_pod_has_from_an_earlier_run_is_not_missed(
    fake: Callable[..., Sender], batch: Batch
) -> None:
    with pytest.raises(ProcessFailed):
        send(fake("eof"), batch)
    # Also in a new start of the app, and when nothing at all is left to send.
    sent = asyncio.run(fake("good").send(batch))
    assert sent.before == tuple(unit.name for unit in batch.units[:3])
    sent = asyncio.run(fake("good").send(batch))
    assert len(sent.before) == len(batch.units)


def test_what_the_pod_was_never_sent_is_missed_though_it_says_nothing(
    fake: Callable[..., Sender], batch: Batch, tmp_path: Path
) -> None:
    receive(batch, tmp_path / "pod")
    with pytest.raises(ProcessFailed, match="did not reach 100 %"):
        send(fake("good"), batch)


# -- one that is not -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "told", "exit_code"),
    [
        ("silent", "before the pod could connect", 0),
        ("early", "crashed", 2),
        ("relays", "list of relays", 1),
        ("nobody", "was lost before it stood", 0),
        ("eof", "broke off: EOF", 0),
        ("short", "2 files did not reach 100 %", 0),
        ("panic", "crashed", 2),
        ("late", "sent everything, and then told of an error: EOF", 0),
        ("status", "exit code 3", 3),
    ],
)
def test_failures_are_known_whatever_the_exit_code(
    mode: str, told: str, exit_code: int, fake: Callable[..., Sender], batch: Batch
) -> None:
    states: list[SendState] = []
    with pytest.raises(ProcessFailed, match=told) as failed:
        send(fake(mode, states), batch)
    assert failed.value.hint
    assert failed.value.details["exit_code"] == exit_code
    assert isinstance(failed.value.details["log"], list)
    assert CODE not in "".join(failed.value.details["log"])
    assert states[-1].phase is Phase.FAILED
    assert told in states[-1].message
    assert states[-1].commands is None


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_one_that_is_killed_has_failed(fake: Callable[..., Sender], batch: Batch) -> None:
    with pytest.raises(ProcessFailed) as failed:
        send(fake("killed"), batch)
    assert failed.value.details["exit_code"] == -signal.SIGKILL


def test_what_was_staged_must_still_be_there(fake: Callable[..., Sender], batch: Batch) -> None:
    (batch.folder / batch.units[-1].name).unlink()
    states: list[SendState] = []
    with pytest.raises(BadInput, match=r"y\.safetensors is not as it was staged"):
        send(fake("good", states), batch)
    assert states[-1].phase is Phase.FAILED


def test_a_program_that_cannot_be_started_is_told(batch: Batch, tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match="cannot be started"):
        send(Sender(tmp_path / "nothing"), batch)


async def test_a_stall_is_told_and_cancelling_ends_the_whole_group(
    fake: Callable[..., Sender], batch: Batch, tmp_path: Path
) -> None:
    states: list[SendState] = []
    sending = asyncio.create_task(fake("stall", states, 0.05).send(batch))
    while not any(state.phase is Phase.STALLED for state in states) or not (tmp_path / "pod/pids").exists():
        await asyncio.sleep(0.01)
        assert not sending.done()
    stalled = next(state for state in states if state.phase is Phase.STALLED)
    assert "No progress" in stalled.message
    assert stalled.commands is not None
    await asyncio.sleep(0.1)
    family = [psutil.Process(int(pid)) for pid in (tmp_path / "pod" / "pids").read_text().split()]
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    for process in family:
        try:
            assert process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            continue


async def test_cancelling_at_once_leaves_no_process(fake: Callable[..., Sender], batch: Batch) -> None:
    for pause in (0, 0.001, 0.03):
        sending = asyncio.create_task(fake("stall").send(batch))
        await asyncio.sleep(pause)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert not [child for child in psutil.Process().children() if "fake.py" in " ".join(child.cmdline())]


# -- a run as a value, with a clock of its own -------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_stall_begins_without_progress_and_ends_with_it(batch: Batch) -> None:
    clock = Clock()
    tracker = Tracker(batch, clock=clock)
    name = batch.units[-1].name
    tracker.feed("stdout", f"{CODE}\n".encode())
    assert (tracker.state().phase, tracker.state().code) == (Phase.HASHING, CODE)
    tracker.feed(
        "stderr", f"code is: {CODE}\non the other computer run\n\nrunpodctl receive {CODE}\n".encode()
    )
    clock.now = 1000
    assert tracker.state().phase is Phase.WAITING
    tracker.feed("stderr", f"\nsending (->1.2.3.4:5)\n\r{name} 10% |#| (300 B/3.0 kB) [1s:2s]\r".encode())
    clock.now = 1059.9
    assert tracker.state().phase is Phase.SENDING
    clock.now = 1060
    tracker.feed("stderr", f"{name} 10% |#| (300 B/3.0 kB) [1s:2s]\r".encode())
    assert tracker.state().phase is Phase.STALLED
    tracker.feed("stderr", f"{name} 11% |#| (330 B/3.0 kB, 1.5 kB/s) [1s:2s]\r".encode())
    state = tracker.state()
    assert (state.phase, state.done_bytes, state.rate) == (Phase.SENDING, 330, 1500)
    clock.now = 2000
    tracker.feed("stderr", f"{name} 100% |##| (3.0/3.0 kB)\n".encode())
    clock.now = 2100
    assert "checking" in tracker.state().message


@pytest.mark.parametrize("name", ["broken", "no_room", "refused", "silent", "no_relays", "panic", "with_log"])
def test_every_described_failure_is_one_sentence_with_a_hint(name: str, batch: Batch) -> None:
    tracker = Tracker(batch)
    described = case(name)
    for stream, data in described.chunks:
        tracker.feed(stream, data)
    tracker.finish()
    with pytest.raises(ComfyRunPodError) as failed:
        tracker.judge(described.exit_code)
    assert failed.value.summary.endswith(".")
    assert failed.value.hint.endswith(".")


def test_the_described_success_is_believed(batch: Batch) -> None:
    units = (
        replace(batch.units[0], name="a.py", size=1900),
        replace(batch.units[-1], name="checkpoints__x.safetensors", size=1 << 32),
    )
    tracker = Tracker(replace(batch, units=units))
    for stream, data in case("two_files").chunks[:-1]:
        tracker.feed(stream, data)
    with pytest.raises(ProcessFailed, match="1 file did not reach 100 %"):
        tracker.judge(0)
    # A bar ends with the next one. Of two rounded figures the truth lies between.
    tracker.feed("stderr", b"\r")
    assert 2.2e9 < tracker.state().done_bytes < 2.4e9
    tracker.feed(*case("two_files").chunks[-1])
    tracker.judge(0)
    assert tracker.finished == {"a.py", "checkpoints__x.safetensors"}


# -- the program -----------------------------------------------------------------------------------------


def test_runpodctl_is_found_on_the_path_and_in_our_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    with pytest.raises(NeedsSetup) as needed:
        find_runpodctl(tmp_path)
    assert DOCS in needed.value.hint
    name = "runpodctl.exe" if os.name == "nt" else "runpodctl"
    for folder in ("bin", "path"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("")
        (tmp_path / folder / name).chmod(0o755)
        assert find_runpodctl(tmp_path) == tmp_path / folder / name


@pytest.mark.parametrize(
    ("platform", "word"), [("win32", RELEASES), ("darwin", "brew install"), ("linux", RELEASES)]
)
def test_each_system_is_told_how_to_get_it(platform: str, word: str, tmp_path: Path) -> None:
    assert word in how_to_get(tmp_path, platform)
    assert DOCS in how_to_get(tmp_path, platform)
