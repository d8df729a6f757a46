"""A sync is killed at random instants, cut off and interrupted; the next start goes on with it."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from yarl import URL

from tests.e2e.conftest import Cli, until
from tests.e2e.volumes import MIB, Strike, Volume, hashes, killed_by, server, volume
from tests.s3 import SERVERS

MB = 1_000_000
PART, SLOTS, SMALL = 64 * MIB, 4, 8
KILLED = 1 if os.name == "nt" else -9
#: At what the program dies; ``time``: whatever it is at then.
STAGES = ("small", "time", "part", "complete", "manifest")


#: On servers of two makers; other tests take the first.
BOTH = pytest.mark.parametrize("at", SERVERS, indirect=True)


@pytest.fixture(scope="module")
def at(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, str]]:
    with server(tmp_path_factory.mktemp("s3"), getattr(request, "param", SERVERS[0])) as running:
        yield running


@pytest.fixture
def vol(at: tuple[str, Path, str], cli: Cli, tmp_path: Path) -> Iterator[Volume]:
    with volume(at, cli, tmp_path) as made:
        yield made


def fits(stage: str) -> Callable[[str, URL], bool]:
    def of_this(method: str, url: URL) -> bool:
        name = url.path.rpartition("/")[2]
        if stage == "complete":
            return method == "POST" and "uploadId" in url.query
        is_own = name in (".sync-manifest.json", "SHA256SUMS")
        kind = "part" if "partNumber" in url.query else "manifest" if is_own else "small"
        return method == "PUT" and kind == stage

    return of_this


def strike(stage: str, dice: random.Random, end: Callable[[], None]) -> Strike:
    when = dice.choice(["before", "after", "answered"])
    nth = 1 if stage == "complete" else dice.randint(1, 2)
    return Strike(when, fits(stage), end, nth, dice.uniform(0, 0.03))


def filled(path: Path, size: int, dice: random.Random) -> int:
    """A file whose every block is another; its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    block = dice.randbytes(MIB)
    with path.open("wb") as file:
        for number in range(-(-size // MIB)):
            file.write((number.to_bytes(8, "big") + block[8:])[: size - number * MIB])
    return size


def survive(
    vol: Volume, sizes: dict[str, int], stages: list[str], dice: random.Random, rate: str, late_s: float
) -> str:
    """Kill a sync at each of these stages, let the last one end, and check what became of it; the figures."""
    line = vol.line
    total = sum(filled(vol.here / name, size, dice) for name, size in sizes.items())
    killed, lost = Counter[str](), set[str]()
    for stage in stages:
        process = vol.start("--limit-rate", rate)
        timer = None
        if stage == "time":
            timer = killed_by(process, dice.uniform(0.3, late_s))
        else:
            line.strike = strike(stage, dice, process.kill)
        vol.ended(process, None)
        line.strike = None
        if timer is not None:
            timer.cancel()
        assert process.returncode in (0, KILLED), vol.said[-1]
        killed[stage] += process.returncode != 0
        # What was begun in the last instant is on nobody's record.
        lost |= line.begun - vol.on_record()
    vol.run("--verify", "--limit-rate", rate)
    assert hashes(vol.models) == hashes(vol.here)
    assert set(vol.manifest()) == set(sizes)
    # What the server has is not sent again, whether or not the program knew that it has it.
    sent = Counter(str(url) for method, url in line.stored if method == "PUT" and "models/." not in str(url))
    again = {url: times for url, times in sent.items() if times > 1 and "SHA256SUMS" not in url}
    assert again == {}
    left = vol.open_uploads()
    assert left <= lost
    assert not any(each in url for each in left for url in sent)
    assert vol.on_record() == set()
    kills = sum(killed.values())
    # Some come too late for what they wait for.
    assert kills >= len(stages) // 2, killed
    # The lists of models are counted too.
    again_bytes = line.arrived - total
    assert again_bytes <= kills * SLOTS * PART + MB
    return f"{kills} kills {dict(killed)}: {again_bytes / MB:.1f} of {total / MB:.0f} MB sent again"


@BOTH
@pytest.mark.timeout(400)
def test_a_sync_that_is_killed_again_and_again_is_finished_by_the_next_start(vol: Volume) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")
    sizes = {f"large {n}.bin": 70 * MIB for n in range(2)} | {f"small/{n}.bin": 4 * MB for n in range(13)}
    stages: tuple[str, ...] = STAGES
    if vol.kind != "nanio":
        # On the other server what it has a say in.
        stages, sizes = ("part", "complete"), {"large.bin": 70 * MIB, "small.bin": MB}
    print(survive(vol, sizes, list(stages), random.Random(seed), "100M", 2.0))


@BOTH
@pytest.mark.long
@pytest.mark.timeout(3000)
def test_fifty_kills_of_two_gigabytes(vol: Volume) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")
    dice = random.Random(seed)
    sizes = {f"large {n}.bin": size * MIB for n, size in enumerate((700, 500, 400, 200, 70, 65))}
    sizes |= {f"small/{n}.bin": MB for n in range(100)}
    # Ends of files and of lists are few: most kills go to what takes long.
    stages = dice.choices(STAGES, (4, 2, 3, 1, 1), k=50)
    print(survive(vol, sizes, stages, dice, "150M", 5.0))


def test_ctrl_c_ends_it_though_the_server_hangs(vol: Volume) -> None:
    vol.make("small.bin")
    filled(vol.here / "large.bin", 70 * MIB, random.Random(1))
    for method in ("GET", "PUT"):
        held = vol.line.befall("hold", method, times=1000)
        process = vol.start()
        until(lambda held=held: held.seen)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        vol.ended(process, 130)
        # A second, or some on a busy machine; a request would hang for two minutes.
        assert time.monotonic() - began < 10
        vol.line.rules.clear()
    vol.line.let_go()
    vol.run()
    assert hashes(vol.models) == hashes(vol.here)
    assert vol.open_uploads() == vol.on_record() == set()


def test_a_server_that_is_gone_for_a_while_is_waited_for(vol: Volume) -> None:
    filled(vol.here / "large.bin", 70 * MIB, random.Random(2))
    process = vol.start("--limit-rate", "60M")
    until(lambda: vol.line.arrived or vol.line.begun)
    vol.line.is_gone = True
    # Parts fail at their ends, and once more after a wait.
    until(lambda: sum(each.status == 0 for each in vol.line.seen) > 2)
    vol.line.is_gone = False
    done = vol.ended(process)
    assert "cannot be reached" in done.stderr
    assert "Trying again." in done.stderr
    assert hashes(vol.models) == hashes(vol.here)


def test_of_two_at_once_the_second_says_so_and_the_first_goes_on(vol: Volume) -> None:
    vol.make("x.bin")
    held = vol.line.befall("hold", "PUT", times=1000)
    first = vol.start()
    until(lambda: held.seen)
    second = vol.run(code=1)
    assert "comfy-runpod: Another sync is running." in second.stderr
    vol.line.let_go()
    vol.ended(first)
    assert hashes(vol.models) == hashes(vol.here)
    assert len(vol.line.puts()) == 3
