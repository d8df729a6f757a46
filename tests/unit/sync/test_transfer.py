"""Plans carried out at a real server over a way that fails: each file has its own fate."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from app.s3.body import Limit
from app.s3.patience import Patience
from app.sync.model import Act, FilePhase, Phase, Plan, Progress, Step, Wish
from app.sync.tally import Tally
from app.sync.transfer import Pace, Transfer
from tests.unit.sync.volume_made import KIB, LARGE, PART, Rig, ended, one, phases, until

#: One request with a body at a time, so that a test can say where it stood.
ONE = Pace(part=PART, least_part=16 * KIB, slots=1, large=1, small=1)


class Film:
    """Looks at a transfer all the time, from beside it."""

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self.seen: list[Progress] = []
        self.last: dict[str, FilePhase] = {}
        self.ends: dict[str, int] = {}

    def run(self) -> Progress:
        self._transfer.start()
        while not self._transfer.has_ended:
            self.look()
            time.sleep(0.002)
        return self.look()

    def look(self) -> Progress:
        now = self._transfer.look()
        self.seen.append(now)
        for each in now.changed:
            self.last[str(each.path)] = each.phase
            if each.phase in (FilePhase.DONE, FilePhase.FAILED):
                self.ends[str(each.path)] = self.ends.get(str(each.path), 0) + 1
        return now


async def test_all_that_is_brought_is_the_same_on_both_sides(rig: Rig) -> None:
    sent = {
        name: rig.write(name, size)
        for name, size in {
            "empty.pt": 0,
            "loras/a b#+&ü.pt": 1,
            "loras/part.pt": PART,
            "checkpoints/large.pt": LARGE,
            "deep/er/just.pt": PART + 1,
        }.items()
    }
    left = {name: rig.leave(name, size) for name, size in {"vae/big.pt": LARGE, "small.pt": 7}.items()}
    progress = await rig.carried_out(download=True)
    assert (progress.phase, progress.files, progress.files_done, progress.failed) == (Phase.FINISHED, 7, 7, 0)
    assert progress.done == progress.total == sum(map(len, (*sent.values(), *left.values())))
    assert set(phases(progress).values()) == {FilePhase.DONE}
    assert rig.models_here() == rig.models_there() == {**sent, **left}
    # What was sent is known to be the same at once; what came was hashed as it came.
    standings = await rig.standings()
    assert {standings[name] for name in sent} == {"same"}
    proved = await rig.sync.prove(await rig.look(), read_back=True)
    assert {str(each.standing) for each in proved.entries} == {"same"}
    bodies = rig.proxy.bodies() - _list_bytes(rig)
    assert (await rig.plan(download=True)).steps == ()
    assert (await rig.carried_out(download=True)).phase is Phase.FINISHED
    assert rig.proxy.bodies() - _list_bytes(rig) == bodies


async def test_the_volumes_list_tells_other_computers(rig: Rig) -> None:
    content = rig.write("loras/a.pt", LARGE)
    rig.write("b.pt", 10)
    await rig.carried_out()
    files = json.loads((rig.there / ".sync-manifest.json").read_bytes())["files"]
    assert set(files) == {"b.pt", "loras/a.pt"}
    said = files["loras/a.pt"]
    assert (said["size"], said["sha256"]) == (LARGE, hashlib.sha256(content).hexdigest())
    assert (said["part_size"], said["verified"]) == (PART, "etag")
    assert said["mtime_ns"] == (rig.here / "loras/a.pt").stat().st_mtime_ns
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=rig.there, capture_output=True, check=True)
    (rig.here / "b.pt").unlink()
    await rig.carried_out(delete={"b.pt"})
    assert set(json.loads((rig.there / ".sync-manifest.json").read_bytes())["files"]) == {"loras/a.pt"}


async def test_a_list_that_cannot_be_written_costs_no_file(rig: Rig) -> None:
    rig.write("a.pt", 10)
    rig.write("b.pt", LARGE)
    rig.proxy.befall("507", "PUT", "sync-manifest", times=100)
    progress = await rig.carried_out()
    assert (progress.phase, progress.files_done, progress.problem) == (Phase.FINISHED, 2, None)
    assert rig.models_there() == rig.models_here()


async def test_results_have_no_list(rig: Rig) -> None:
    results = rig.again(prefix=PurePosixPath(".comfy-runpod/results"))
    rig.write("job/x.png", 10)
    ended(rig.transfer(results.plan(await results.look(count_all=False), Wish())))
    folder = rig.volume / ".comfy-runpod/results"
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["x.png"]


# One fate for each file.


async def test_one_file_fails_and_the_others_go_on(rig: Rig) -> None:
    for name in ("small-a.pt", "small-b.pt"):
        rig.write(name, 10)
    for name in ("large-a.pt", "large-b.pt"):
        rig.write(name, LARGE)
    for name in ("down-a.pt", "down-b.pt"):
        rig.leave(name, 100)
    rig.proxy.befall("503", "PUT", "small-a", times=100)
    rig.proxy.befall("503", "PUT", "large-a", times=100)
    rig.proxy.befall("503", "GET", "models/down-a", times=100)
    progress = await rig.carried_out(download=True)
    assert (progress.phase, progress.files_done, progress.failed) == (Phase.FINISHED, 3, 3)
    assert progress.problem is None
    for name, phase in phases(progress).items():
        assert phase is (FilePhase.FAILED if "-a" in name else FilePhase.DONE), name
    assert "SlowDown" in one(progress.changed, "small-a.pt").problem.summary
    assert set(rig.models_there()) == {"small-b.pt", "large-b.pt", "down-a.pt", "down-b.pt"}
    # The list has what came, and nothing else.
    files = json.loads((rig.there / ".sync-manifest.json").read_bytes())["files"]
    assert set(files) == {"small-b.pt", "large-b.pt"}
    rig.proxy.rules.clear()
    progress = await rig.carried_out(download=True)
    assert (progress.files_done, progress.failed) == (3, 0)
    assert rig.models_here() == rig.models_there()


@pytest.mark.parametrize(
    ("how", "says"), [("507", "The volume vol0123 is full."), ("403", "Key, secret or volume id is wrong")]
)
@pytest.mark.parametrize("size", [10, LARGE])
async def test_what_concerns_all_ends_all_with_one_sentence(rig: Rig, how: str, says: str, size: int) -> None:
    for number in range(6):
        rig.write(f"{number}.pt", size)
    rig.again(pace=ONE)
    plan = await rig.plan()
    befallen = rig.proxy.befall(how, "PUT", times=1000)
    # The key was good before: two refusals may pass.
    passing = 2 if how == "403" else 0
    progress = ended(rig.transfer(plan))
    assert progress.phase is Phase.FAILED
    assert progress.problem is not None
    assert says in progress.problem.summary
    assert progress.problem.hint
    assert progress.failed == 1
    assert befallen.seen == 1 + passing
    assert progress.active == ()
    assert rig.models_there() == {}


async def test_a_file_that_is_gone_or_changed_fails_alone(rig: Rig) -> None:
    for name in ("gone.pt", "changed.pt", "good.pt"):
        rig.write(name, LARGE)
    rig.again(pace=ONE)
    plan = await rig.plan()
    (rig.here / "gone.pt").unlink()
    rig.proxy.befall("hold", "PUT", "changed", part=2)
    film = Film(rig.transfer(plan))
    changer = threading.Thread(
        target=lambda: (
            until(lambda: rig.proxy.rules[0].seen),
            (rig.here / "changed.pt").write_bytes(b"short"),
            rig.proxy.let_go(),
        )
    )
    changer.start()
    progress = film.run()
    changer.join()
    assert (progress.phase, progress.files_done, progress.failed) == (Phase.FINISHED, 1, 2)
    assert film.last == {
        "gone.pt": FilePhase.FAILED,
        "changed.pt": FilePhase.FAILED,
        "good.pt": FilePhase.DONE,
    }
    assert set(rig.models_there()) == {"good.pt"}


async def test_a_small_file_that_the_server_took_and_has_not_is_found(rig: Rig) -> None:
    for name in ("a/x.pt", "a/y.pt", "b/z.pt"):
        rig.write(name, 10)
    rig.proxy.befall("pretend", "PUT", "x.pt")
    progress = await rig.carried_out()
    assert (progress.phase, progress.files_done, progress.failed) == (Phase.FINISHED, 2, 1)
    found = one(progress.changed, "a/x.pt")
    assert found.phase is FilePhase.FAILED
    assert "said that it has x.pt, and has it not" in found.problem.summary
    assert "a/x.pt" not in json.loads((rig.there / ".sync-manifest.json").read_bytes())["files"]
    # It is not taken for known either.
    assert (await rig.standings())["a/x.pt"] == "here only"


async def test_a_folder_that_cannot_be_listed_fails_its_files_alone(rig: Rig) -> None:
    rig.write("a/x.pt", 10)
    rig.write("b/y.pt", 10)
    rig.write("c/z.pt", LARGE)
    plan = await rig.plan()
    rig.proxy.befall("503", "GET", "prefix=comfyui%2Fmodels%2Fa%2F", times=1000)
    progress = ended(rig.transfer(plan))
    assert (progress.phase, progress.files_done, progress.failed) == (Phase.FINISHED, 2, 1)
    assert one(progress.changed, "a/x.pt").phase is FilePhase.FAILED


def test_an_error_of_the_program_is_no_success(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.write("a.pt", 10)
    step = Step(Act.UPLOAD, PurePosixPath("a.pt"), rig.here / "a.pt", 10)
    transfer = rig.transfer(Plan((step,), 1, 10))
    rig.records.close()
    progress = ended(transfer)
    assert progress.phase is Phase.FAILED
    assert progress.problem is not None
    assert "error of this program" in progress.problem.summary
    assert progress.active == ()
    assert "ended a sync" in caplog.text


# Nothing is replaced or deleted but what the user saw.


@pytest.mark.parametrize("size", [10, LARGE])
async def test_only_the_file_that_was_agreed_on_is_replaced(rig: Rig, size: int) -> None:
    rig.put("a.pt", os.urandom(size - 1))
    rig.put("b.pt", os.urandom(size - 1))
    mine = {name: rig.write(name, size) for name in ("a.pt", "b.pt")}
    assert (await rig.carried_out()).files == 0
    plan = await rig.plan(overwrite={"a.pt", "b.pt"})
    theirs = os.urandom(size - 1)
    rig.put("a.pt", theirs)
    progress = ended(rig.transfer(plan))
    assert (progress.files_done, progress.failed) == (1, 1)
    assert "changed on the volume since it was looked at" in one(progress.changed, "a.pt").problem.summary
    assert rig.models_there() == {"a.pt": theirs, "b.pt": mine["b.pt"]}


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_file_that_came_to_the_volume_meanwhile_is_not_replaced(rig: Rig, size: int) -> None:
    mine = {name: rig.write(name, size) for name in ("a.pt", "b.pt")}
    plan = await rig.plan()
    theirs = os.urandom(size)
    rig.put("a.pt", theirs)
    progress = ended(rig.transfer(plan))
    assert (progress.files_done, progress.failed) == (1, 1)
    assert "came to the volume since it was looked at" in one(progress.changed, "a.pt").problem.summary
    assert rig.models_there() == {"a.pt": theirs, "b.pt": mine["b.pt"]}


async def test_a_file_that_pods_wrote_can_be_replaced_and_is_watched_by_its_size(rig: Rig) -> None:
    rig.leave("a.pt", 20)
    rig.leave("b.pt", 20)
    mine = {name: rig.write(name, 10) for name in ("a.pt", "b.pt")}
    plan = await rig.plan(overwrite={"a.pt", "b.pt"})
    theirs = rig.leave("a.pt", 21)
    progress = ended(rig.transfer(plan))
    assert (progress.files_done, progress.failed) == (1, 1)
    assert rig.models_there() == {"a.pt": theirs, "b.pt": mine["b.pt"]}


async def test_only_what_was_agreed_on_is_deleted(rig: Rig) -> None:
    for name in ("a.pt", "b.pt", "c.pt", "keep.pt"):
        rig.put(name, name.encode())
    plan = await rig.plan(delete={"a.pt", "b.pt", "c.pt"})
    rig.put("b.pt", b"another")
    (rig.there / "c.pt").unlink()
    progress = ended(rig.transfer(plan))
    assert (progress.phase, progress.failed, progress.files) == (Phase.FINISHED, 1, 0)
    assert phases(progress) == {"a.pt": FilePhase.DONE, "b.pt": FilePhase.FAILED, "c.pt": FilePhase.DONE}
    assert rig.models_there() == {"b.pt": b"another", "keep.pt": b"keep.pt"}


async def test_a_file_here_is_replaced_only_when_it_was_named(rig: Rig) -> None:
    theirs = rig.leave("a.pt", 20)
    rig.write("a.pt", 10)
    plan = await rig.plan(upload=False, download=True, overwrite_here={"a.pt"})
    progress = ended(rig.transfer(plan))
    assert progress.files_done == 1
    assert rig.models_here() == {"a.pt": theirs}
    # Somebody made a file of this name after the look.
    rig.leave("b.pt", 20)
    plan = await rig.plan(download=True)
    mine = rig.write("b.pt", 5)
    progress = ended(rig.transfer(plan))
    assert "is here already" in one(progress.changed, "b.pt").problem.summary
    assert rig.models_here() == {"a.pt": theirs, "b.pt": mine}


async def test_both_may_be_kept_under_another_name(rig: Rig) -> None:
    theirs, mine = rig.leave("a.pt", 20), rig.write("a.pt", 10)
    there = one((await rig.look()).entries, "a.pt").there
    path = PurePosixPath("a.volume.pt")
    step = Step(
        Act.DOWNLOAD, path, rig.here / path.name, 20, there=there, source=PurePosixPath("a.pt")
    )  # fmt: skip
    assert ended(rig.transfer(Plan((step,), 1, 20))).files_done == 1
    assert rig.models_here() == {"a.pt": mine, "a.volume.pt": theirs}


# Pause, stop, limits.


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
async def test_paused_nothing_new_begins_and_resumed_it_is_finished(rig: Rig, down: bool) -> None:
    rig.again(pace=ONE)
    if down:
        rig.leave("a.pt", LARGE)
    else:
        rig.write("a.pt", LARGE)
    method = "GET" if down else "PUT"
    plan = await rig.plan(download=True)
    rig.proxy.befall("hold", method, "models/a.pt")
    before = len(rig.proxy.seen)
    transfer = rig.transfer(plan)
    transfer.start()
    until(lambda: rig.proxy.rules[0].seen)
    transfer.pause()
    rig.proxy.let_go()
    until(lambda: any(each.method == method for each in rig.proxy.seen[before:]))
    assert transfer.is_paused
    assert transfer.look().phase is Phase.PAUSED
    assert not transfer.wait(0.2)
    # What was under way ended, and of parts what had its turn already; nothing else began.
    bodies = [each for each in rig.proxy.seen[before:] if each.method == method and "a.pt" in str(each.url)]
    assert len(bodies) <= (1 if down else 2)
    assert transfer.look().moved == len(bodies) * PART
    transfer.resume()
    assert transfer.wait(20)
    progress = transfer.look()
    assert (progress.phase, progress.files_done, progress.done) == (Phase.FINISHED, 1, LARGE)
    assert progress.moved == LARGE
    assert rig.models_here() == rig.models_there()


@pytest.mark.parametrize(
    ("method", "about", "size"),
    [
        ("PUT", "a.pt", 10),
        ("PUT", "a.pt", LARGE),
        ("POST", "uploads", LARGE),
        ("POST", "uploadId", LARGE),
        ("HEAD", "a.pt", LARGE),
        ("GET", "prefix=", 10),
        ("GET", "models/down.pt", 10),
        ("GET", "sync-manifest", 10),
        ("PUT", "sync-manifest", 10),
    ],
)
async def test_a_stop_is_answered_though_a_request_hangs(
    rig: Rig, method: str, about: str, size: int
) -> None:
    rig.write("a.pt", size)
    rig.leave("down.pt", LARGE)
    plan = await rig.plan(download=True)
    rig.proxy.befall("hold", method, about, times=1000)
    transfer = rig.transfer(plan)
    transfer.start()
    until(lambda: rig.proxy.rules[0].seen)
    transfer.stop()
    assert transfer.wait(5)
    progress = transfer.look()
    assert (progress.phase, progress.problem) == (Phase.STOPPED, None)
    assert progress.active == ()
    assert progress.waits is None
    assert not {FilePhase.RUNNING, FilePhase.CHECKING} & {each.phase for each in progress.changed}
    rig.proxy.rules.clear()
    rig.proxy.let_go()
    until(_no_threads)
    rig.again()
    await rig.sync.prove(await rig.look())
    progress = await rig.carried_out(download=True)
    assert progress.phase is Phase.FINISHED
    assert progress.failed == 0
    assert rig.models_here() == rig.models_there()


async def test_what_was_sent_before_a_stop_does_not_go_again(rig: Rig) -> None:
    rig.write("a.pt", LARGE)
    rig.again(pace=ONE)
    plan = await rig.plan()
    rig.proxy.befall("hold", "PUT", part=4)
    transfer = rig.transfer(plan)
    transfer.start()
    until(lambda: rig.proxy.rules[0].seen)
    transfer.stop()
    assert transfer.wait(5)
    rig.proxy.let_go()
    until(lambda: any(each.part == 4 for each in rig.proxy.puts()))
    rig.again()
    picture = await rig.look()
    # The fourth may be on record or not; the server has it.
    assert one(picture.entries, "a.pt").begun >= 3 * PART
    sent = rig.proxy.bodies()
    progress = await rig.carried_out()
    assert progress.done == LARGE
    assert rig.proxy.bodies() - sent - _list_bytes(rig) == LARGE - 4 * PART
    assert rig.models_here() == rig.models_there()


def _list_bytes(rig: Rig) -> int:
    own = ("sync-manifest", "SHA256SUMS")
    return sum(each.size for each in rig.proxy.puts() if any(name in str(each.url) for name in own))


async def test_what_is_discarded_leaves_no_parts_on_either_side(rig: Rig) -> None:
    rig.write("discarded.pt", LARGE)
    rig.write("done.pt", 10)
    rig.leave("down.pt", LARGE)
    plan = await rig.plan(download=True)
    rig.proxy.befall("hold", "PUT", "discarded.pt", part=4)
    spans = rig.proxy.befall("hold", "GET", "models/down.pt", times=1000)
    # The first of them comes.
    first = rig.proxy.befall("", "GET", "models/down.pt")
    rig.proxy.rules.reverse()
    transfer = rig.transfer(plan)
    transfer.start()
    until(lambda: rig.parts_there("discarded.pt") == [5] and first.seen and spans.seen)
    transfer.stop()
    assert transfer.wait(5)
    assert (rig.here / "down.pt.part").stat().st_size == PART
    transfer.discard()
    assert rig.parts_there("discarded.pt") == []
    rig.proxy.let_go()
    until(_no_threads)
    assert rig.parts_there("discarded.pt") == []
    assert set(rig.models_here()) == {"discarded.pt", "done.pt"}
    assert set(rig.models_there()) == {"done.pt", "down.pt"}
    assert one((await rig.look()).entries, "discarded.pt").begun == 0


def _no_threads() -> bool:
    return not any(each.name.startswith("sync-") for each in threading.enumerate())


async def test_a_limit_may_change_while_it_runs(rig: Rig) -> None:
    rig.write("a.pt", LARGE)
    limit = Limit(20_000)
    transfer = rig.transfer(await rig.plan(), limit)
    transfer.start()
    until(lambda: transfer.look().moved)
    assert not transfer.wait(0.3)
    # At that rate it would take a quarter of a minute.
    assert transfer.look().moved < LARGE / 4
    limit.set(None)
    assert transfer.wait(10)
    assert transfer.look().files_done == 1


async def test_waits_are_told_and_forgotten(rig: Rig) -> None:
    rig.write("a.pt", 10)
    rig.again(patience=Patience(tries=4, base_s=0.3, most_s=0.3))
    plan = await rig.plan()
    rig.proxy.befall("503", "PUT", "a.pt")
    film = Film(rig.transfer(plan))
    progress = film.run()
    waits = [each.waits for each in film.seen if each.waits is not None]
    assert waits
    assert "SlowDown" in waits[0][0]
    assert all(0 <= left <= 0.5 for _, left in waits)
    assert progress.waits is None


# Numbers.


async def test_numbers_never_go_back_and_each_end_is_told_once(rig: Rig) -> None:
    for number in range(4):
        rig.write(f"small-{number}.pt", 1000 + number)
        rig.write(f"large-{number}.pt", LARGE + number)
    rig.leave("down.pt", LARGE)
    plan = await rig.plan(download=True)
    for how, about in (
        ("503", "large-0"),
        ("done reset", "large-1"),
        ("reset", "small-1"),
        ("500", "models/down"),
    ):
        rig.proxy.befall(how, "" if "down" in about else "PUT", about, times=2)
    rig.proxy.befall("507", "PUT", "none")
    rig.proxy.befall("404", "PUT", "small-3")
    film = Film(rig.transfer(plan))
    progress = film.run()
    assert progress.phase is Phase.FINISHED
    for name in ("done", "files_done", "moved", "failed"):
        values = [getattr(each, name) for each in film.seen]
        assert values == sorted(values), name
    for step in plan.steps:
        shown = [each.done for seen in film.seen for each in seen.changed if each.path == step.path]
        assert shown == sorted(shown)
        assert all(0 <= each <= step.size for each in shown)
    assert {each.total for each in film.seen} == {plan.size}
    assert progress.moved > progress.total - 1003
    # Whoever follows the news knows how each file ended, and hears it once.
    names = {str(step.path) for step in plan.steps}
    assert film.last == {name: FilePhase.FAILED if name == "small-3.pt" else FilePhase.DONE for name in names}
    assert film.ends == dict.fromkeys(names, 1)
    assert (progress.files_done, progress.failed) == (8, 1)


def test_the_direction_is_told_whatever_is_under_way(rig: Rig) -> None:
    up = Step(Act.UPLOAD, PurePosixPath("a"), rig.here / "a", 1)
    down, gone = replace(up, act=Act.DOWNLOAD), replace(up, act=Act.DELETE, size=0)
    events = threading.Event(), threading.Event()
    for steps, is_down in (
        ((down,), True),
        ((down, gone), True),
        ((up, down), False),
        ((gone,), False),
        ((), False),
    ):
        tally = Tally(steps, *events, Limit())
        assert [tally.look().is_down, tally.look().is_down] == [is_down, is_down]


async def test_an_empty_plan_ends_at_once(rig: Rig) -> None:
    progress = ended(rig.transfer(Plan()))
    assert (progress.phase, progress.files, progress.total, progress.changed) == (Phase.FINISHED, 0, 0, ())
    assert rig.proxy.seen == []
