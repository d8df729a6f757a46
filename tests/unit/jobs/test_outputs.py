"""Results on disk: whole or not at all, each at a place of its own, and nothing of others touched."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import Unreachable
from app.jobs import outputs
from app.jobs.carriers.base import ResultDamaged
from app.jobs.carriers.folder import LocalFolder
from app.jobs.model import FROM_COMFYUI, Job, OutputFile
from app.jobs.states import State
from tests.unit.jobs.helpers import World, until
from worker.contract import FileEntry

CONTENT = b"a picture's bytes"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
BASE64 = base64.b64encode(CONTENT).decode()
RESULT = ".comfy-runpod/results/key/0001-a.png"


def entry(name: str = "a.png", **changes: Any) -> FileEntry:
    return replace(FileEntry(name, "base64", BASE64, size=len(CONTENT), sha256=DIGEST), **changes)


def job_for(folder: Path, **changes: Any) -> Job:
    return replace(Job("a" * 32, 1, "a", "demo", str(folder)), **changes)


def plan_one(one: FileEntry, folder: Path) -> OutputFile:
    return outputs.plan([one], job_for(folder), ())[0]


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume" / RESULT
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return tmp_path / "volume"


# -- reading an answer --------------------------------------------------------------------------------


def test_an_answer_of_worker_comfyui_5_is_understood() -> None:
    answer = {"images": [{"filename": "a.png", "type": "base64", "data": BASE64}]}
    (one,) = outputs.entries_of(answer)
    assert one == FileEntry("a.png", "base64", BASE64)
    assert outputs.entries_of({"status": "success_no_images", "images": []}) == []
    assert outputs.entries_of({"status": "success", "images": [], "text": [{"text": "hi"}]}) == []
    lists = {key: [{"filename": key, "type": "base64", "data": ""}] for key in ("videos", "audio", "files")}
    assert [one.filename for one in outputs.entries_of(lists)] == ["videos", "audio", "files"]


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "success", "message": BASE64},
        {"images": [BASE64, BASE64]},
        {"images": "https://example.org/a.png"},
        {"images": None, "anything": 1},
        [1, 2],
        "plain text, half \ud800 a letter",
        7,
    ],
)
async def test_an_answer_in_another_format_is_kept_whole(answer: Any, tmp_path: Path) -> None:
    (one,) = outputs.entries_of(answer)
    planned = plan_one(one, tmp_path)
    await outputs.fetch(one, planned, LocalFolder(tmp_path))
    assert Path(planned.path).name == "result.json"
    assert json.loads(Path(planned.path).read_text("utf-8")) == answer


@pytest.mark.parametrize(
    "name", ["../a.png", "/etc/passwd", "a\\b.png", "a/../../b", "con.png", "", 5, "\ud800"]
)
def test_names_that_leave_the_folder_are_refused(name: object) -> None:
    with pytest.raises(ResultDamaged):
        outputs.entries_of({"images": [{"filename": name, "type": "base64", "data": BASE64}]})


# -- planning -----------------------------------------------------------------------------------------


def test_what_comfyui_s_page_asked_for_lies_as_comfyui_would_have_laid_it(tmp_path: Path) -> None:
    job = job_for(tmp_path / "output", origin=FROM_COMFYUI, shown_dir=str(tmp_path / "shown"))
    entries = [entry("m.png", subfolder="masks/a", key="images"), entry("p.png", shown=True, subfolder="x")]
    kept, shown = outputs.plan(entries, job, ())
    assert Path(kept.path) == tmp_path / "output" / "masks" / "a" / "m.png"
    assert (Path(shown.path), shown.shown) == (tmp_path / "shown" / "p.png", True)
    (elsewhere,) = outputs.plan(entries[:1], job_for(tmp_path / "output"), ())
    assert Path(elsewhere.path) == tmp_path / "output" / "m.png"


def test_what_is_there_is_never_planned_over(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.tar.gz").mkdir()
    links = os.name == "posix"  # they need rights on Windows
    if links:
        (tmp_path / "a (2).png").symlink_to("nowhere")
    names = ["a.png", "a.png", "new", "NEW", "sub/b.tar.gz"]
    planned = outputs.plan([entry(name) for name in names], job_for(tmp_path), {str(tmp_path / "a (3).png")})
    found = [Path(p.path).relative_to(tmp_path).as_posix() for p in planned]
    first, second = ("a (4).png", "a (5).png") if links else ("a (2).png", "a (4).png")
    assert found == [first, second, "new", "NEW (2)", "sub/b.tar (2).gz"]
    assert files_below(tmp_path) <= {"a.png", "a (2).png"}
    assert [p.filename for p in planned] == names


@settings(deadline=None)
@given(
    jobs=st.lists(
        st.lists(st.sampled_from(["a.png", "A.png", "b", "c/d.e", "c/D.e"]), max_size=5), max_size=6
    )
)
def test_no_two_jobs_share_a_path(jobs: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        taken: set[str] = set()
        for names in jobs:
            planned = {p.path for p in outputs.plan([entry(n) for n in names], job_for(Path(name)), taken)}
            assert len({path.casefold() for path in planned | taken}) == len(taken) + len(names)
            taken |= planned


async def test_lanes_that_finish_at_once_share_no_path(world: World) -> None:
    ids = [await world.submit(target=name) for name in ("local", "other") for _ in range(4)]
    taken = [await world.take() for _ in ids]
    for remote_id, _ in taken:
        world.finish(remote_id, "same.png")
    paths = [(await world.reaches(job_id, State.DONE)).outputs[0].path for job_id in ids]
    assert len(set(paths)) == len(ids)
    assert files_below(world.out) == {str(Path(path).relative_to(world.out)) for path in paths}


# -- fetching -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "one",
    [
        entry(),
        entry(data=f"data:image/png;base64,{BASE64}"),
        entry(data=f"data:;base64,{BASE64}", size=None, sha256=None),
        entry(type="volume", data=RESULT),
        entry("deep/er/a.png"),
        entry("n" * 250 + ".png"),
    ],
    ids=["base64", "data URI", "5.x", "volume", "subfolder", "long name"],
)
async def test_a_file_arrives_whole_and_again_as_the_same(
    one: FileEntry, tmp_path: Path, volume: Path
) -> None:
    planned = plan_one(one, tmp_path / "out")
    await outputs.fetch(one, planned, LocalFolder(volume))
    await outputs.fetch(one, planned, LocalFolder(volume))
    assert Path(planned.path).read_bytes() == CONTENT
    assert len(files_below(tmp_path / "out")) == 1


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (entry(size=3), "instead of 3"),
        (entry(sha256="0" * 64), "SHA-256"),
        (entry(data="no base64!"), "no base64"),
        (entry(data="data:image/png,plain"), "data URI"),
        (entry(data="data:image/png;base64"), "data URI"),
        (entry(type="s3_url", data="http://bucket.example/a.png?key=secret"), "no https"),
        (entry(type="s3_url", data="file:///etc/passwd"), "no https"),
        (entry(type="s3_url", data="https://[half"), "no https"),
        (entry(type="volume", data="../outside"), "outside"),
        (entry(type="volume", data="/etc/passwd"), "outside"),
        (entry(type="volume", data=f"{RESULT}\0"), "outside"),
        (entry(type="volume", data="link/secret"), "outside"),
        (entry(type="volume", data=".comfy-runpod/results/gone"), "no longer"),
    ],
)
async def test_what_is_not_as_told_leaves_nothing_behind(
    one: FileEntry, why: str, tmp_path: Path, volume: Path
) -> None:
    (tmp_path / "secret").write_bytes(CONTENT)
    if os.name == "posix":
        (volume / "link").symlink_to(tmp_path)
    elif "link" in one.data:
        pytest.skip("links need rights on Windows")
    with pytest.raises(ResultDamaged, match=why) as caught:
        await outputs.fetch(one, plan_one(one, tmp_path / "out"), LocalFolder(volume))
    assert "key=secret" not in str(caught.value.problem)
    assert files_below(tmp_path / "out") == set()


async def test_what_is_left_of_another_file_is_not_gone_on_with(tmp_path: Path, volume: Path) -> None:
    one = entry(type="volume", data=RESULT)
    planned = plan_one(one, tmp_path / "out")
    with pytest.raises(Unreachable):
        await outputs.fetch(one, planned, Cut(b"something else, and longer"))
    assert len(files_below(tmp_path / "out")) == 1
    await outputs.fetch(one, planned, Cut(None, LocalFolder(volume)))
    assert files_below(tmp_path / "out") == {"a.png"}


class Cut(LocalFolder):
    """A carrier that keeps what there is; or ends after some bytes."""

    def __init__(self, written: bytes | None, real: LocalFolder | None = None) -> None:
        super().__init__(Path())
        self._written, self._real = written, real

    async def fetch(self, entry: FileEntry, aside: Path) -> None:
        if self._written is not None:
            aside.write_bytes(self._written)
            raise Unreachable("The line is dead.")
        if self._real is not None and not aside.exists():
            await self._real.fetch(entry, aside)


class Killed(BaseException):
    """The process ends here."""


@settings(deadline=None)
@given(
    killed_at=st.lists(st.integers(0, 9), max_size=4),
    names=st.lists(st.sampled_from("ab"), min_size=1, max_size=3),
)
def test_fetching_again_after_a_crash_at_any_step_ends_the_same(
    killed_at: list[int], names: list[str]
) -> None:
    """Each run is ended after a number of steps; the last one is not. Whole files only, ever."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name, "out")
        entries = [
            entry(n, data=base64.b64encode(f"{n}{i}".encode() * 9).decode(), size=None, sha256=digest)
            for i, n in enumerate(names)
            for digest in [hashlib.sha256(f"{n}{i}".encode() * 9).hexdigest()]
        ]
        planned = outputs.plan(entries, job_for(out), ())
        for limit in [*killed_at, 1000]:
            patch = pytest.MonkeyPatch()
            left = [limit]

            def step(real: Any, left: list[int] = left) -> Any:
                def counted(*given: Any, **named: Any) -> Any:
                    left[0] -= 1
                    if left[0] < 0:
                        raise Killed
                    return real(*given, **named)

                return counted

            for owner, what in (
                (outputs, "_write"),
                (outputs, "_check"),
                (Path, "replace"),
                (Path, "unlink"),
            ):
                patch.setattr(owner, what, step(getattr(owner, what)))

            async def fetch_all() -> None:
                for one, place in zip(entries, planned, strict=True):
                    await outputs.fetch(one, place, LocalFolder(out))

            try:
                asyncio.run(fetch_all())
            except Killed:
                pass
            finally:
                patch.undo()
            for one, place in zip(entries, planned, strict=True):
                if Path(place.path).exists():
                    assert hashlib.sha256(Path(place.path).read_bytes()).hexdigest() == one.sha256
        assert files_below(out) == {str(Path(p.path).relative_to(out)) for p in planned}


def test_a_plan_is_for_these_very_files() -> None:
    planned = (OutputFile("a.png", "/out/a.png", sha256=DIGEST),)
    assert outputs.is_plan_for(planned, [entry()])
    assert not outputs.is_plan_for(planned, [entry("b.png")])
    assert not outputs.is_plan_for(planned, [entry(sha256="0" * 64)])
    assert not outputs.is_plan_for(planned, [])


# -- tidying up ---------------------------------------------------------------------------------------


async def test_what_was_fetched_leaves_the_volume(volume: Path) -> None:
    await LocalFolder(volume).drop([entry(type="volume", data=RESULT), entry()])
    assert not (volume / RESULT).parent.exists()
    await LocalFolder(volume).drop([entry(type="volume", data=RESULT)])


@pytest.mark.parametrize(
    "data",
    [
        ".comfy-runpod/inputs/x",
        ".comfy-runpod/results",
        "models/model.safetensors",
        ".comfy-runpod/../models/model.safetensors",
        "../beside",
        "/",
        "",
        "a\0b",
    ],
)
async def test_nothing_else_on_the_volume_is_ever_deleted(volume: Path, data: str) -> None:
    (volume / "models").mkdir()
    (volume / ".comfy-runpod" / "inputs").mkdir()
    (volume / ".comfy-runpod" / "inputs" / "x").write_bytes(CONTENT)
    (volume / "models" / "model.safetensors").write_bytes(CONTENT)
    (volume.parent / "beside").write_bytes(CONTENT)
    before = files_below(volume.parent)
    await LocalFolder(volume).drop([entry(type="volume", data=data)])
    assert files_below(volume.parent) == before


# -- through the runner -------------------------------------------------------------------------------


async def test_a_damaged_result_fails_its_job_and_the_next_one_arrives(world: World) -> None:
    bad, good = await world.submit(), await world.submit()
    for data in ("!", BASE64):
        remote_id, _ = await world.take()
        file = {"filename": "a.png", "type": "base64", "data": data}
        more = {"text": [{"text": "seen"}, 5], "warnings": ["old"]}
        world.post(remote_id, {"output": {"images": [file], **more}})
    failed = await world.reaches(bad, State.FAILED)
    assert failed.error is not None
    assert (failed.error["code"], failed.error["hint"]) == ("fetch_failed", "Run the job again.")
    done = await world.reaches(good, State.DONE)
    assert (done.texts, done.warnings) == (("seen",), ("old",))
    assert files_below(world.out) == {"a.png"}


async def test_a_folder_that_cannot_be_written_is_said_and_a_strange_answer_kept(world: World) -> None:
    (world.folder / "file").write_bytes(b"")
    blocked = await world.submit(output_dir=str(world.folder / "file" / "out"))
    strange = await world.submit()
    for _ in range(2):
        remote_id, _ = await world.take()
        world.post(remote_id, {"output": "half \ud800 a letter"})
    failed = await world.reaches(blocked, State.FAILED)
    assert failed.error is not None
    assert "cannot be written to" in failed.error["summary"]
    await world.reaches(strange, State.DONE)
    assert files_below(world.out) == {"result.json"}


async def test_results_on_the_volume_are_fetched_and_dropped(world: World) -> None:
    assert world.volume is not None
    (world.volume / RESULT).parent.mkdir(parents=True)
    (world.volume / RESULT).write_bytes(CONTENT)
    job_id = await world.submit()
    remote_id, _ = await world.take()
    file = {"filename": "a.png", "type": "volume", "data": RESULT, "sha256": DIGEST, "size": len(CONTENT)}
    world.post(remote_id, {"output": {"images": [file]}})
    await world.reaches(job_id, State.DONE)
    assert (world.out / "a.png").read_bytes() == CONTENT
    volume = world.volume
    await until(lambda: not (volume / RESULT).exists(), "dropping")
