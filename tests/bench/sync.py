"""Model sync beside other programs that do it, on one S3 server: ``python -m tests.bench.sync``.

    python -m tests.bench.sync [--size MB] [--files N] [--rounds N]

Prints figures, and for each target whether it is met. Targets, against s5cmd in the same run: a big file at
0.9 of its rate or more and 1.5 times its CPU or less, with MD5 checks on; small files at 0.4 of its rate or
more; nothing to do in twice its time or less. Our memory grows by 150 MB at most; a sync that was killed
sends again what was in flight at most.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.s3 import ACCESS, SECRET, s3_server

ROOT = Path(__file__).parents[2]
MB, MIB = 1_000_000, 1 << 20
_BUCKET, _PREFIX = "bench0", "comfyui/models"
_SMALL = 64_000
_KILLS = 5
OURS, ENGINE, S5CMD, RCLONE = "comfy-runpod sync", "our engine alone", "s5cmd", "rclone"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run: wall time and processor time in seconds, peak memory and what it grew by, in bytes."""

    wall_s: float
    cpu_s: float
    peak: int
    grew: int = 0


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a run takes place."""

    url: str
    volume: Path
    models: Path
    data: Path

    def empty(self) -> None:
        """As if nothing had ever been sent."""
        shutil.rmtree(self.data, ignore_errors=True)
        for each in self.volume.iterdir():
            shutil.rmtree(each)


def _program(name: str) -> str | None:
    found = Path(sysconfig.get_path("scripts")) / (f"{name}.exe" if os.name == "nt" else name)
    return str(found) if found.exists() else None


def _words(client: str, at: Ground, *, again: bool) -> tuple[list[str], dict[str, str]] | None:
    """The command that brings the models to the volume, and its environment; None: it is not installed."""
    keys = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
    if client == OURS:
        ours = {
            "RUNPOD_S3_URL": at.url, "RUNPOD_S3_ACCESS_KEY": ACCESS, "RUNPOD_S3_SECRET_KEY": SECRET,
            "RUNPOD_VOLUME_ID": _BUCKET, "RUNPOD_DATACENTER": "EU-RO-1", "COMFY_RUNPOD_DATA": str(at.data),
            "COMFY_RUNPOD_CONFIG": str(at.data / "settings.yaml"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        }  # fmt: skip
        return [sys.executable, "-m", "app.cli", "sync", str(at.models)], ours
    if client == ENGINE:
        words = ["-m", "tests.bench.sync", "--engine", at.url, str(at.models), str(at.data)]
        return [sys.executable, *words], {}
    program = _program(client)
    if program is None:
        return None
    if client == S5CMD:
        how = "sync" if again else "cp"
        words = ["--endpoint-url", at.url, how, f"{at.models}/", f"s3://{_BUCKET}/{_PREFIX}/"]
        return [program, *words], keys
    remote = {
        "TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": at.url, "ACCESS_KEY_ID": ACCESS,
        "SECRET_ACCESS_KEY": SECRET, "NO_CHECK_BUCKET": "true",
    }  # fmt: skip
    words = ["copy", str(at.models), f"bench:{_BUCKET}/{_PREFIX}", "--transfers", "8", "--config", os.devnull]
    return [program, *words], {f"RCLONE_CONFIG_BENCH_{key}": value for key, value in remote.items()}


def _run(words: list[str], env: Mapping[str, str]) -> Cost:
    """Run it to its end. Memory is looked at many times a second."""
    left_out = ("RUNPOD", "COMFY", "AWS", "RCLONE", "PYTHONDONTWRITEBYTECODE")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    before, began = _children_cpu(), time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            words, cwd=ROOT, env=kept | dict(env), stdout=out, stderr=subprocess.STDOUT
        )
        peaks = [0]
        watching = threading.Thread(target=_watch, args=(process, peaks), daemon=True)
        watching.start()
        process.wait()
        wall = time.perf_counter() - began
        watching.join()
        out.seek(0)
        said = out.read().decode(errors="replace")
    assert process.returncode == 0, f"{words[0]}: {said[-2000:]}"
    if "--engine" in words:
        return Cost(**json.loads(said.splitlines()[-1]))
    return Cost(wall, _children_cpu() - before, max(peaks))


def _watch(process: subprocess.Popen[bytes], peaks: list[int]) -> None:
    try:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            peaks.append(watched.memory_info().rss)
            time.sleep(0.01)
    except psutil.Error:
        pass


def _children_cpu() -> float:
    times = psutil.Process().cpu_times()
    return float(times.children_user + times.children_system)


def engine(url: str, models: Path, data: Path) -> Cost:
    """One sync in this process, without its start."""
    from app.s3.access import VolumeAccess
    from app.s3.records import RECORDS, Records
    from app.settings import Secret
    from app.sync.model import Phase, Wish
    from app.sync.sync import ModelSync

    access = VolumeAccess(_BUCKET, url, "us-east-1", Secret(ACCESS), Secret(SECRET))
    access.client().close()
    records, process = Records(data / RECORDS), psutil.Process()
    sync = ModelSync(models, access, records, data)
    rest, peaks, over = process.memory_info().rss, [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            peaks.append(process.memory_info().rss)

    async def work() -> None:
        plan = sync.plan(await sync.prove(await sync.look()), Wish())
        if plan.steps:
            transfer = sync.transfer(plan)
            transfer.start()
            await asyncio.to_thread(transfer.wait)
            assert transfer.look().phase is Phase.FINISHED

    threading.Thread(target=watch, daemon=True).start()
    times, began = process.cpu_times(), time.perf_counter()
    asyncio.run(work())
    wall, after = time.perf_counter() - began, process.cpu_times()
    over.set()
    cpu = after.user + after.system - times.user - times.system
    return Cost(wall, cpu, max(peaks), max(0, max(peaks) - rest))


def _measured(at: Ground, rounds: int) -> dict[str, Cost]:
    """Medians of each client's first time; they take turns, so that all see the same machine."""
    costs: dict[str, list[Cost]] = {}
    for client in (OURS, ENGINE, S5CMD, RCLONE) * rounds:
        if (command := _words(client, at, again=False)) is not None:
            at.empty()
            costs.setdefault(client, []).append(_run(*command))
    at.empty()
    return _medians(costs)


def _measured_again(at: Ground, rounds: int) -> dict[str, Cost]:
    """Medians of what each client takes to find that it has nothing to do, after a first time of its own."""
    costs: dict[str, list[Cost]] = {}
    for client in (OURS, ENGINE, S5CMD, RCLONE):
        first, again = _words(client, at, again=False), _words(client, at, again=True)
        if first is not None and again is not None:
            at.empty()
            _run(*first)
            costs[client] = [_run(*again) for _ in range(rounds)]
    return _medians(costs)


def _medians(costs: Mapping[str, list[Cost]]) -> dict[str, Cost]:
    return {
        client: Cost(
            statistics.median(each.wall_s for each in some),
            statistics.median(each.cpu_s for each in some),
            max(each.peak for each in some),
            max(each.grew for each in some),
        )
        for client, some in costs.items()
    }


def _table(title: str, size: int, costs: Mapping[str, Cost]) -> None:
    print(f"\n{title}")
    print("| client | wall s | MB/s | to s5cmd's | CPU s | CPU s per GB | peak MB | grew by MB |")
    print("|---|---|---|---|---|---|---|---|")
    yardstick = costs.get(S5CMD)
    for client, cost in costs.items():
        ratio = f"{yardstick.wall_s / cost.wall_s:.2f}" if yardstick else "-"
        rate, per_gb = (
            (f"{size / cost.wall_s / MB:.0f}", f"{cost.cpu_s / size * 1e9:.2f}") if size else ("-", "-")
        )
        grew = f"{cost.grew / MB:.0f}" if cost.grew else "-"
        print(
            f"| {client} | {cost.wall_s:.2f} | {rate} | {ratio} | {cost.cpu_s:.2f} | {per_gb} "
            f"| {cost.peak / MB:.0f} | {grew} |"
        )


def _judge(what: str, value: float, target: float, *, at_least: bool) -> None:
    met = value >= target if at_least else value <= target
    word = "at least" if at_least else "at most"
    print(f"target: {what}: {value:.2f}, {word} {target:g}: {'met' if met else 'MISSED'}")


@contextmanager
def _ground(folder: Path) -> Iterator[Ground]:
    (folder / "s3" / _BUCKET).mkdir(parents=True)
    with s3_server(folder / "s3") as url:
        yield Ground(url, folder / "s3" / _BUCKET, folder / "models", folder / "data")


def _fill(path: Path, size: int, block: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for number in range(-(-size // len(block))):
            file.write((number.to_bytes(8, "big") + block[8:])[: size - number * len(block)])


def report(size: int = 2000 * MB, files: int = 2000, rounds: int = 3) -> None:
    """Print every figure, and each target with what became of it."""
    if _program(S5CMD) is None:
        print("s5cmd is not installed (`uv sync --group bench`): it is left out, and no target is judged.")
    with tempfile.TemporaryDirectory(prefix="bench-sync-") as name:
        folder = Path(name).resolve()
        with _ground(folder) as at:
            _fill(at.models / "big.bin", size, random.randbytes(MIB))
            big = _measured(at, rounds)
            _table(f"one file of {size / MB:.0f} MB", size, big)
            (at.models / "big.bin").unlink()
            for number in range(files):
                _fill(at.models / f"{number % 20}" / f"{number}.bin", _SMALL, random.randbytes(_SMALL))
            small = _measured(at, rounds)
            _table(f"{files} files of {_SMALL // 1000} KB", files * _SMALL, small)
            noop = _measured_again(at, rounds)
            _table(f"nothing to do, {files} files", 0, noop)
        print()
        if S5CMD in big:
            for ours in (OURS, ENGINE):
                rate = big[S5CMD].wall_s / big[ours].wall_s
                _judge(f"{ours}, big file, rate", rate, 0.9, at_least=True)
                _judge(f"{ours}, big file, CPU", big[ours].cpu_s / big[S5CMD].cpu_s, 1.5, at_least=False)
                rate = small[S5CMD].wall_s / small[ours].wall_s
                _judge(f"{ours}, small files, rate", rate, 0.4, at_least=True)
                time_to = noop[ours].wall_s / noop[S5CMD].wall_s
                _judge(f"{ours}, nothing to do, time", time_to, 2, at_least=False)
        grew = max(costs[ENGINE].grew for costs in (big, small, noop)) / MB
        _judge("memory grows by, in MB", grew, 150, at_least=False)
        _resent(folder / "kills")


def _resent(folder: Path) -> None:
    """What goes twice when a sync of 200 MB is killed again and again. Nothing may that the server has."""
    from tests.e2e.conftest import Cli
    from tests.e2e.test_sync_kills import STAGES, survive
    from tests.e2e.volumes import server, volume

    seed = random.randrange(1_000_000)
    sizes = {f"large {n}.bin": 70 * MIB for n in range(2)} | {f"small/{n}.bin": 4 * MB for n in range(13)}
    folder.mkdir()
    (folder / "s3").mkdir()
    cli = Cli(folder / "data")
    with server(folder / "s3", "nanio") as at, volume(at, cli, folder) as made:
        said = survive(made, sizes, list(STAGES), random.Random(seed), "100M", 2.0)
    print(f"target: a sync is killed, seed {seed}, {said}; no part and no file that the server had: met")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sync", description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2000, help="of the big file, in MB")
    parser.add_argument("--files", type=int, default=2000, help="how many small ones")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; medians are printed")
    parser.add_argument("--engine", nargs=3, metavar=("URL", "MODELS", "DATA"), help=argparse.SUPPRESS)
    wish = parser.parse_args()
    if wish.engine:
        url, models, data = wish.engine
        cost = engine(url, Path(models), Path(data))
        print(json.dumps({name: getattr(cost, name) for name in Cost.__slots__}))
        return
    report(wish.size * MB, wish.files, wish.rounds)


if __name__ == "__main__":
    main()
