"""Runner, endpoint and worker are killed at random instants; every job still ends once, in order."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.e2e.conftest import Cli, blur_chain, until, written


def _kill_one(cli: Cli, victim: str) -> bool:
    """SIGKILL the runner, the endpoint or the worker's main process; whether there was one."""
    if victim == "runner":
        found = [p for p in cli.find("app.cli") if "list" not in p.cmdline()]
    else:
        found = cli.find({"endpoint": "app.endpoint", "worker": "worker"}[victim])
    for process in found:
        try:
            process.kill()
        except psutil.Error:
            continue
    return bool(found)


def survive(folder: Path, seed: int, count: int) -> None:
    """Queue ``count`` jobs at once, kill one of each kind while they run, and check what became of them."""
    dice = random.Random(seed)
    cli = Cli(folder / "data")
    files = [
        # Half a second each, so that most kills meet a job in the middle of its work.
        written(folder / "flows" / f"{n:03d}.json", blur_chain(8, 1000, n * 1001 + 7, f"job{n:03d}"))
        for n in range(count)
    ]
    victims = ["runner", "endpoint", "worker"]
    dice.shuffle(victims)
    running = cli.start("run", *files, "--target", "demo", "--output", folder / "out")
    try:
        # A `run` that is killed before it has noted a job cannot know of it afterwards.
        until(lambda: len(cli.jobs()) == count, 60)
        for victim in victims:
            time.sleep(dice.uniform(0.3, max(1.5, count / 5)))
            until(lambda victim=victim: _kill_one(cli, victim), 20)
            if victim == "runner":
                running.communicate()
                running = cli.start("jobs", "wait")
        out, err = running.communicate(timeout=60 + 4 * count)
        assert running.returncode == 0, f"seed {seed}: {out}{err}{cli.logs()}"
        _check(cli, folder / "out", count, seed)
    finally:
        cli.clean_up()


def _check(cli: Cli, out: Path, count: int, seed: int) -> None:
    jobs = cli.jobs()
    assert [job["state"] for job in jobs] == ["done"] * count, f"seed {seed} {[job['error'] for job in jobs]}"
    assert [job["name"] for job in jobs] == [f"{n:03d}" for n in range(count)], f"seed {seed}"
    ended = [job["changed_at"] for job in jobs]
    assert ended == sorted(ended), f"seed {seed}: not in order"
    assert all(job["retries"] <= 2 for job in jobs)
    assert len({job["remote_id"] for job in jobs}) == count, f"seed {seed}"
    names = sorted(path.name for path in out.iterdir())
    assert len(names) == count, f"seed {seed}: {names}"
    for number, name in enumerate(names):
        assert name.startswith(f"job{number:03d}_"), f"seed {seed}: {names}"
        color = number * 1001 + 7
        with Image.open(out / name) as picture:
            assert picture.getpixel((0, 0)) == (color >> 16 & 255, color >> 8 & 255, color & 255)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("round_number", range(2))
def test_some_jobs_survive_kills(tmp_path: Path, round_number: int) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")
    survive(tmp_path, seed, 9)


def survive_all(folder: Path, rounds: int, count: int) -> None:
    seeds = random.SystemRandom().sample(range(1_000_000), rounds)
    print(f"seeds {seeds}")
    # The SDK's loop sleeps a second between jobs, so several rounds fit side by side.
    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(survive, folder / str(seed), seed, count) for seed in seeds]:
            done.result()


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_two_hundred_jobs_survive_kills(tmp_path: Path) -> None:
    survive_all(tmp_path, 20, 200)


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_hundred_rounds_of_kills(tmp_path: Path) -> None:
    survive_all(tmp_path, 100, 20)
