"""A sync is killed at random instants, cut off and interrupted; the next start goes on with it."""

from __future__ import annotations

import os
import random
import shutil
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
PART, SLOTS = 64 * MIB, 4
#: Seconds after which a sync is killed in any case.
_TOO_LATE_S = 12.0
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
        if stage == "complete":
            return method == "POST" and "uploadId" in url.query
        kind = "part" if "partNumber" in url.query else "manifest" if is_list(url) else "small"
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
    """Kill a sync at each of these stages, let the last one end, and check what became of it; the figures.

    One that ends by itself, as what it was to be killed at did not come, is followed by another one of all.
    """
    line = vol.line
    size = sum(filled(vol.here / name, size, dice) for name, size in sizes.items())
    killed, lost, whole = Counter[str](), set[str](), 1
    for stage in stages:
        process = vol.start("--limit-rate", rate)
        if stage != "time":
            line.strike = strike(stage, dice, process.kill)
        timer = killed_by(process, dice.uniform(0.3, late_s) if stage == "time" else _TOO_LATE_S)
        vol.ended(process, None)
        timer.cancel()
        line.strike = None
        # What came through before the end is with the server before the next one asks for it.
        until(lambda: line.busy == 0)
        assert process.returncode in (0, KILLED), vol.said[-1]
        # What was begun in the last instant is on nobody's record.
        lost |= line.begun - vol.on_record()
        if process.returncode == 0:
            arrived_once(vol, sizes, lost)
            for each in vol.models.iterdir():
                each.unlink() if each.is_file() else shutil.rmtree(each)
            whole += 1
        else:
            killed[stage] += 1
    vol.run("--verify", "--limit-rate", rate)
    arrived_once(vol, sizes, lost)
    kills = killed.total()
    assert kills >= len(stages) // 2, killed
    # The lists of models are counted too.
    again = line.arrived - whole * size - sum(each.size for each in line.puts() if is_list(each.url))
    assert 0 <= again <= kills * SLOTS * PART
    return f"{kills} kills {dict(killed)}: {again / MB:.1f} of {whole * size / MB:.0f} MB sent again"


def is_list(url: URL) -> bool:
    return url.path.endswith((".sync-manifest.json", "SHA256SUMS"))


def arrived_once(vol: Volume, sizes: dict[str, int], lost: set[str]) -> None:
    """All is there, the list says so, and nothing that the server had was sent again, whether or not the
    program knew of it. Uploads on nobody's record have no parts."""
    assert hashes(vol.models) == hashes(vol.here)
    assert set(vol.manifest()) == set(sizes)
    sent = Counter(str(url) for method, url in vol.line.stored if method == "PUT" and not is_list(url))
    assert {url: times for url, times in sent.items() if times > 1} == {}
    vol.line.stored.clear()
    left = vol.open_uploads()
    assert left <= lost
    parts = [URL(url).query.get("uploadId") for url in sent]
    assert not left.intersection(parts)
    assert vol.on_record() == set()


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
    # Most go to what takes long. Some come too late for what they wait for, and are no kills.
    stages = dice.choices(STAGES, (4, 2, 3, 1, 1), k=60)
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
