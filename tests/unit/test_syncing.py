"""Syncs with the settings in force: their record, going on with one, what workflows lack, and results."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from app.errors import BadInput, NeedsSetup
from app.jobs.model import JobSpec
from app.jobs.states import State
from app.jobs.store import JobStore
from app.preflight.report import Lack
from app.s3.bucket import Stat
from app.s3.pace import Pace as LastPace
from app.s3.records import FileMark, RunRecord
from app.settings import Secret, Settings
from app.sync.model import Act, Entry, LocalFile, Phase, Picture, Plan, Progress, Standing, Step, Wish
from app.sync.scan import Rules
from app.sync.sync import Busy
from app.sync.transfer import Pace, Transfer
from app.syncing import Syncing, wish_from_record, wish_to_json
from tests.s3 import ACCESS, SECRET
from tests.unit.sync.volume_made import LARGE, VOLUME, Rig, one, rigged, until, volume_server

RESULTS = ".comfy-runpod/results"
OLD_S = 7200


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with volume_server(tmp_path_factory.mktemp("s3")) as made:
        yield made


class Desk(Rig):
    """A rig with settings, and the syncs of their user."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.settings = Settings(
            data_dir=self.folder / "data", output_dir=self.folder / "out", models_dir=self.here,
            runpod_volume_id=VOLUME, runpod_datacenter="EU-RO-1", runpod_s3_url=self.proxy.url,
            runpod_s3_access_key=Secret(ACCESS), runpod_s3_secret_key=Secret(SECRET),
        )  # fmt: skip
        self.syncing = Syncing(lambda: self.settings)

    async def runs(self) -> list[RunRecord]:
        return (await self.syncing.records()).runs()

    def result(self, name: str, content: bytes | int, *, age_s: float = OLD_S) -> bytes:
        """What a worker left."""
        left = self.leave(name, content, folder=RESULTS)
        os.utime(self.volume / RESULTS / name, (time.time() - age_s,) * 2)
        return left

    def results_there(self) -> set[str]:
        root = self.volume / RESULTS
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
async def desk(volume: tuple[str, Path], tmp_path: Path) -> AsyncIterator[Desk]:
    with rigged(volume, tmp_path, Desk) as made:
        yield made
        await made.syncing.close()


# One sync, and its record.


async def test_a_sync_is_carried_out_and_put_on_record(desk: Desk) -> None:
    desk.write("loras/a.pt", LARGE)
    desk.write("b.pt", 10)
    told: list[Progress] = []
    held: list[Transfer] = []
    wish = Wish()
    plan = await desk.plan()
    progress = await desk.syncing.carry_out(desk.sync, plan, wish, told.append, hold=held.append)
    assert (progress.phase, progress.files_done) == (Phase.FINISHED, 2)
    assert len(held) == 1
    assert told[-1] is progress
    assert {str(each.path) for seen in told for each in seen.changed} == {"loras/a.pt", "b.pt"}
    (run,) = await desk.runs()
    assert (run.volume, run.folder) == (VOLUME, str(desk.here))
    assert run.finished is not None
    assert run.result == {
        "phase": "finished", "files": 2, "done": 2, "failed": 0, "bytes": LARGE + 10, "moved": LARGE + 10,
    }  # fmt: skip
    assert await desk.syncing.unfinished() is None
    assert await desk.syncing.earlier(VOLUME) == [run]
    assert await desk.syncing.earlier("another") == []


async def test_how_fast_it_went_is_known_for_the_next_plan(desk: Desk) -> None:
    desk.write("a.pt", 2_000_000)
    await desk.syncing.carry_out(desk.again(pace=Pace()), await desk.plan(), Wish())
    assert LastPace(desk.settings.data_dir).last()
    desk.write("b.pt", 1000)
    assert (await desk.plan()).seconds


async def test_files_that_fail_and_what_ends_all_are_on_record(desk: Desk) -> None:
    desk.write("a.pt", 10)
    desk.write("b.pt", 10)
    plan = await desk.plan()
    desk.proxy.befall("503", "PUT", "a.pt", times=100)
    progress = await desk.syncing.carry_out(desk.sync, plan, Wish())
    assert (progress.phase, progress.failed) == (Phase.FINISHED, 1)
    plan = await desk.plan()
    desk.proxy.rules.clear()
    desk.proxy.befall("507", "PUT", times=100)
    progress = await desk.syncing.carry_out(desk.sync, plan, Wish())
    assert progress.phase is Phase.FAILED
    last, first = (run.result or {} for run in await desk.runs())
    assert (first["phase"], first["done"], first["failed"]) == ("finished", 1, 1)
    assert (last["phase"], last["done"], last["failed"]) == ("failed", 0, 1)
    assert await desk.syncing.unfinished() is None


async def test_two_at_once_are_refused(desk: Desk) -> None:
    other = Syncing(lambda: desk.settings)
    with desk.sync.lock(), pytest.raises(Busy):
        await other.carry_out(desk.sync, Plan(), Wish())
    assert await desk.runs() == []
    await other.close()


async def started(desk: Desk, *, resumes: bool, **wish: Any) -> asyncio.Task[Progress]:
    """A sync of which one part hangs, once the others are there."""
    plan = await desk.plan(**wish)
    desk.proxy.befall("hold", "PUT", part=4)
    named = {k: frozenset(v) if isinstance(v, set) else v for k, v in wish.items()}
    doing = asyncio.create_task(desk.syncing.carry_out(desk.sync, plan, Wish(**named), resumes=resumes))
    await asyncio.to_thread(until, lambda: desk.proxy.rules[0].seen)
    return doing


async def cancelled(doing: asyncio.Task[Progress]) -> None:
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(doing, 5)


async def test_cancelled_for_good_it_is_over(desk: Desk) -> None:
    desk.write("a.pt", LARGE)
    await cancelled(await started(desk, resumes=False))
    assert await desk.syncing.unfinished() is None
    (run,) = await desk.runs()
    assert run.result is not None
    assert run.result["phase"] == "stopped"
    # Nobody holds the lock any more.
    with desk.sync.lock():
        pass


async def test_cut_off_it_is_gone_on_with_and_agrees_to_nothing_new(desk: Desk) -> None:
    mine = {name: desk.write(name, 10) for name in ("same.pt", "changed.pt")}
    for name in ("same.pt", "changed.pt", "gone.pt", "kept.pt"):
        desk.put(name, f"their {name}".encode())
    mine["a.pt"] = desk.write("a.pt", LARGE)
    names = {"same.pt", "changed.pt"}
    plan = await desk.plan(overwrite=names, delete={"gone.pt", "kept.pt"})
    # Before anything went the program ended.
    wish = Wish(overwrite=frozenset(names), delete=frozenset({"gone.pt", "kept.pt"}))
    records = await desk.syncing.records()
    records.begin_run(VOLUME, str(desk.here), wish_to_json(wish, plan))
    theirs = {name: f"newer {name}".encode() for name in ("changed.pt", "kept.pt")}
    for name, content in theirs.items():
        desk.put(name, content)
    run = await desk.syncing.unfinished()
    assert run is not None
    picture = await desk.look()
    left = wish_from_record(run, picture)
    assert left == Wish(overwrite=frozenset({"same.pt"}), delete=frozenset({"gone.pt"}))
    progress = await desk.syncing.carry_out(
        desk.sync, desk.sync.plan(picture, left), left, goes_on=run, resumes=True
    )
    assert progress.phase is Phase.FINISHED
    assert desk.models_there() == {"a.pt": mine["a.pt"], "same.pt": mine["same.pt"], **theirs}
    assert await desk.syncing.unfinished() is None
    assert [each.id for each in await desk.runs()] == [run.id]


async def test_what_was_sent_when_it_was_cut_off_stays(desk: Desk) -> None:
    desk.write("a.pt", LARGE)
    desk.write("skipped.pt", 10)
    doing = await started(desk, resumes=True, skip={"skipped.pt"})
    await cancelled(doing)
    desk.proxy.let_go()
    run = await desk.syncing.unfinished()
    assert run is not None
    assert run.result is None
    assert await desk.syncing.earlier(VOLUME) == []
    desk.again()
    picture = await desk.look()
    assert one(picture.entries, "a.pt").begun > 0
    wish = wish_from_record(run, picture)
    assert wish == Wish(skip=frozenset({"skipped.pt"}))
    progress = await desk.syncing.carry_out(desk.sync, desk.sync.plan(picture, wish), wish, goes_on=run)
    assert progress.files_done == 1
    assert set(desk.models_there()) == {"a.pt"}
    assert sum(each.part is not None and each.status == 200 for each in desk.proxy.puts()) in (6, 7)


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"upload": 1, "download": "x", "only": "a.pt", "skip": {"a": 1}, "agreed": [], "delete": None},
        {"upload": True, "agreed": {"x.pt": 7, "y.pt": None}, "delete": ["x.pt", 3]},
    ],
)
def test_a_record_of_any_shape_agrees_to_nothing(written: dict[str, object]) -> None:
    run = RunRecord(1, VOLUME, "", 0.0, None, written, None)
    there = [
        Entry(PurePosixPath(name), None, Stat(name, 1, "e", 0.0), Standing.THERE) for name in ("x.pt", "y.pt")
    ]
    wish = wish_from_record(run, Picture(tuple(there)))
    assert (wish.overwrite, wish.delete, wish.overwrite_here) == (frozenset(), frozenset(), frozenset())


def test_what_was_wanted_is_read_as_it_was_written() -> None:
    path = PurePosixPath("a.pt")
    there = Stat("a.pt", 1, "etag", 0.0)
    entry = Entry(path, LocalFile(path, Path("a.pt"), FileMark(2, 1)), there, Standing.DIFFERS)
    plan = Plan((Step(Act.UPLOAD, path, Path("a.pt"), 2, replaces="etag", there=there),))
    wish = Wish(
        upload=False, download=True, only=frozenset({"a.pt", "b.pt"}), skip=frozenset({"c.pt"}),
        overwrite=frozenset({"a.pt"}),
    )  # fmt: skip
    run = RunRecord(1, VOLUME, "", 0.0, None, wish_to_json(wish, plan), None)
    assert wish_from_record(run, Picture((entry,))) == wish
    other = replace(entry, there=replace(there, etag="another"))
    assert wish_from_record(run, Picture((other,))) == replace(wish, overwrite=frozenset())


# What a workflow lacks on the volume.


def lack(desk: Desk, folder: str, name: str) -> Lack:
    return Lack("model", f"{name} is missing.", name, folder=folder, here=desk.here / folder / name)


async def test_what_a_workflow_lacks_is_brought_and_what_is_there_is_left_out(desk: Desk) -> None:
    for name in ("loras/a.pt", "loras/deep/b.pt", "loras/c.pt"):
        desk.write(name, name.encode())
    desk.put("loras/c.pt", b"loras/c.pt")
    lacks = [lack(desk, "loras", name) for name in ("a.pt", "deep/b.pt", "c.pt")]
    plan = await desk.syncing.upload_plan(desk.sync, lacks)
    assert [str(step.path) for step in plan.steps] == ["loras/a.pt", "loras/deep/b.pt"]
    assert (plan.files, plan.size) == (2, len("loras/a.pt") + len("loras/deep/b.pt"))
    assert {step.act for step in plan.steps} == {Act.UPLOAD}
    await desk.syncing.carry_out(desk.sync, plan, Wish())
    assert (await desk.syncing.upload_plan(desk.sync, lacks)).steps == ()
    assert desk.models_there() == desk.models_here()


async def test_another_file_of_the_name_is_not_replaced(desk: Desk) -> None:
    desk.write("loras/a.pt", 5)
    desk.put("loras/a.pt", b"another")
    with pytest.raises(BadInput, match=r"another a\.pt, of 7 bytes instead of 5"):
        await desk.syncing.upload_plan(desk.sync, [lack(desk, "loras", "a.pt")])


@pytest.mark.parametrize("name", ["../../x.pt", "/etc/passwd", "a\\b.pt", "con.pt", ""])
async def test_a_name_of_a_workflow_leads_nowhere(desk: Desk, name: str) -> None:
    bad = Lack("model", "", name, folder="loras", here=desk.write("x", 1) and desk.here / "x")
    with pytest.raises(BadInput, match="cannot be sent"):
        await desk.syncing.upload_plan(desk.sync, [bad])
    with pytest.raises(BadInput, match="cannot be sent"):
        await desk.syncing.upload_plan(desk.sync, [replace(bad, name="x.pt", folder="..")])


async def test_what_is_not_here_cannot_be_brought(desk: Desk) -> None:
    gone = lack(desk, "loras", "gone.pt")
    with pytest.raises(BadInput, match="cannot be sent"):
        await desk.syncing.upload_plan(desk.sync, [gone])
    with pytest.raises(BadInput, match="not on this computer"):
        await desk.syncing.upload_plan(desk.sync, [replace(gone, here=None)])


# Results that workers left.


async def test_old_results_come_and_are_dropped_and_young_ones_stay(desk: Desk, tmp_path: Path) -> None:
    old = {f"job-{n}/x {n}.png": desk.result(f"job-{n}/x {n}.png", 1000 + n) for n in range(3)}
    desk.result("job-9/young.png", 500, age_s=60)
    told: list[Plan] = []
    target = tmp_path / "results" / "new"
    progress = await desk.syncing.fetch_results(desk.sync, target, told=told.append)
    assert progress is not None
    assert (progress.phase, progress.files_done, progress.is_down) == (Phase.FINISHED, 3, True)
    assert [(each.files, each.size) for each in told] == [(3, sum(map(len, old.values())))]
    assert {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*.png")} == old
    assert desk.results_there() == {"job-9/young.png"}
    # Again there is nothing to do.
    assert await desk.syncing.fetch_results(desk.sync, target) is None


async def test_a_dry_run_touches_nothing(desk: Desk, tmp_path: Path) -> None:
    desk.result("job/x.png", 100)
    told: list[Plan] = []
    assert (
        await desk.syncing.fetch_results(desk.sync, tmp_path / "out", told=told.append, dry_run=True) is None
    )
    assert [each.files for each in told] == [1]
    assert desk.results_there() == {"job/x.png"}
    assert not list((tmp_path / "out").rglob("*.png"))


async def test_a_result_that_is_here_already_is_dropped_only_if_it_is_the_same(
    desk: Desk, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "same.png").write_bytes(desk.result("same.png", 1000))
    (target / "other.png").write_bytes(os.urandom(1000))
    desk.result("other.png", 1000)
    (target / "edited.png").write_bytes(b"edited")
    desk.result("edited.png", 1000)
    await desk.syncing.fetch_results(desk.sync, target)
    assert desk.results_there() == {"other.png", "edited.png"}
    assert (target / "edited.png").read_bytes() == b"edited"


async def test_a_result_that_could_not_be_fetched_is_not_dropped(desk: Desk, tmp_path: Path) -> None:
    desk.result("a.png", 1000)
    desk.result("b.png", 1000)
    desk.proxy.befall("507", "GET", "results/a.png", times=1000)
    progress = await desk.syncing.fetch_results(desk.sync, tmp_path / "out")
    assert progress is not None
    assert progress.phase is Phase.FAILED
    assert "a.png" in desk.results_there()


@pytest.mark.parametrize("target", ["abcdef", "local"])
async def test_results_of_jobs_that_are_not_finished_are_left_to_them(
    desk: Desk, tmp_path: Path, target: str
) -> None:
    desk.result("a.png", 10)
    store = JobStore(desk.settings.data_dir / "jobs.sqlite")
    await store.open()
    job = await store.add(JobSpec("x", target, {}, str(tmp_path)))
    if target == "local":
        # Jobs of this computer leave nothing there.
        assert await desk.syncing.fetch_results(desk.sync, tmp_path / "out") is not None
    else:
        with pytest.raises(BadInput, match="1 of your jobs on RunPod are not finished"):
            await desk.syncing.fetch_results(desk.sync, tmp_path / "out")
        assert desk.results_there() == {"a.png"}
        await store.change(job.id, state=State.CANCELLED)
        assert await desk.syncing.fetch_results(desk.sync, tmp_path / "out") is not None
    assert desk.results_there() == set()
    await store.close()


# With the settings in force.


async def test_what_is_not_set_is_asked_for(desk: Desk) -> None:
    full = desk.settings
    made = await desk.syncing.sync()
    assert (made.folder, made.access.volume_id, made.access.url) == (desk.here, VOLUME, desk.proxy.url)
    assert made.access.secret_key.reveal() == SECRET
    await made.close()
    for change, says in (
        ({"models_dir": None}, "No models folder"),
        ({"runpod_volume_id": None}, "No network volume"),
        ({"runpod_s3_access_key": Secret("")}, "no S3 key"),
        ({"runpod_s3_url": None, "runpod_datacenter": "XX-XX-1"}, "no S3 API in XX-XX-1"),
        ({"runpod_s3_url": None, "runpod_datacenter": None}, "data centre of the volume is not set"),
    ):
        desk.settings = replace(full, **change)
        with pytest.raises(NeedsSetup, match=says):
            await desk.syncing.sync()
    desk.settings = replace(full, models_dir=None, comfyui_dir=desk.folder)
    made = await desk.syncing.sync()
    assert made.folder == desk.here
    await made.close()


async def test_models_for_a_pod_have_the_hashes_that_are_known(desk: Desk) -> None:
    content = desk.write("loras/a.pt", 10)
    desk.write("b.pt", 10)
    await desk.sync.hash_of(desk.here / "loras/a.pt")
    items = await desk.syncing.items(desk.here, Rules())
    known = {str(each.path): (each.size, each.sha256) for each in items}
    assert known == {"b.pt": (10, None), "loras/a.pt": (10, hashlib.sha256(content).hexdigest())}
    with pytest.raises(BadInput, match="There are no models"):
        await desk.syncing.items(desk.here, Rules(include=("none",)))
