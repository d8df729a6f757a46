"""Big inputs and results, through the runner: the test plays the worker, with the worker's own commands."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.endpoint.model import JobReply
from app.errors import BadInput, ComfyRunPodError, Unreachable
from app.jobs.carriers import commands
from app.jobs.carriers.base import CannotCarry, Parcel, ResultDamaged, ResultMissing
from app.jobs.carriers.choice import Either
from app.jobs.carriers.commands import Commands
from app.jobs.carriers.folder import LocalFolder
from app.jobs.request import INLINE_BYTES, parcels_of, request_of
from app.jobs.states import Hold, State
from app.s3.errors import VolumeFull
from tests.unit.jobs.helpers import World, answers, cut_after, cut_before, spec, until
from worker.chunks import COMMANDS
from worker.contract import FileEntry
from worker.errors import JobError

CONTENT = os.urandom(100_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
RESULT = ".comfy-runpod/results/key/0000-a.png"


def result(content: bytes = CONTENT, **changes: Any) -> FileEntry:
    values = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), **changes}
    return FileEntry("a.png", "volume", RESULT, **values)


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    path = tmp_path / "big.png"
    path.write_bytes(CONTENT)
    return Parcel("big.png", path, SHA, len(CONTENT))


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    return tmp_path / "volume"


def stored(volume: Path, sha256: str = SHA) -> Path:
    return volume / ".comfy-runpod" / "inputs" / sha256


def lay(volume: Path, content: bytes = CONTENT) -> Path:
    path = volume / RESULT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def worker_says(volume: Path | None, asked: dict[str, Any]) -> JobReply:
    """As the worker's handler and the platform put it."""
    try:
        return JobReply("id", "COMPLETED", COMMANDS[asked["command"]](volume, asked))
    except JobError as error:
        told = {"status": "error", "code": error.code, "hint": error.hint}
        return JobReply("id", "FAILED", told, error=error.summary)


class Line:
    """A client of an endpoint whose worker has ``volume``. ``faults`` is what happens to the next jobs."""

    def __init__(self, volume: Path | None) -> None:
        self.volume = volume
        self.asked: list[dict[str, Any]] = []
        self.faults: list[Callable[[dict[str, Any]], JobReply]] = []

    async def run(self, asked: dict[str, Any]) -> JobReply:
        self.asked.append(asked)
        if self.faults:
            return self.faults.pop(0)(asked)
        return await asyncio.to_thread(worker_says, self.volume, asked)

    async def client(self) -> Any:
        return self

    def carrier(self) -> Commands:
        return Commands("far-away", self.client, chunk=30_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_FIRST_PAUSE_S", 0.001)


def says(word: str, /, **output: Any) -> Callable[[dict[str, Any]], JobReply]:
    return lambda _asked: JobReply("id", word, output or None, error="said so")


def lost(_asked: dict[str, Any]) -> JobReply:
    raise Unreachable("The line is dead.")


# -- what goes over the volume ----------------------------------------------------------------------


def test_only_what_does_not_fit_into_a_request_is_carried(tmp_path: Path) -> None:
    for name, size in (("a", 3_000_000), ("b", 2_500_000), ("c", 10)):
        (tmp_path / name).write_bytes(name.encode() * size)
    files = {f"{name}.png": str(tmp_path / name) for name in "abc"}
    one = spec(files={"a.png": files["a.png"], "c.png": files["c.png"]})
    assert parcels_of(one) == ()
    both = spec(files=files)
    (parcel,) = parcels_of(both)
    assert (parcel.name, parcel.size) == ("a.png", 3_000_000)
    request = request_of(both, [parcel])
    assert [image["name"] for image in request["images"]] == ["b.png", "c.png"]
    assert request["files"] == [{"name": "a.png", "sha256": hashlib.sha256(b"a" * 3_000_000).hexdigest()}]
    heavy = spec(files=files, ui_workflow={"nodes": ["x" * (INLINE_BYTES - 1_000_000)]})
    assert [parcel.name for parcel in parcels_of(heavy)] == ["a.png", "b.png"]
    assert parcels_of(spec(ui_workflow={"nodes": ["x" * INLINE_BYTES]})) == ()


# -- by commands --------------------------------------------------------------------------------------


async def test_an_input_goes_in_pieces_and_only_once(parcel: Parcel, volume: Path) -> None:
    line = Line(volume)
    carrier = line.carrier()
    await carrier.put(parcel, uploader="job-1")
    assert stored(volume).read_bytes() == CONTENT
    assert [len(base64.b64decode(asked["data"])) for asked in line.asked] == [
        0,
        30_000,
        30_000,
        30_000,
        10_000,
    ]
    await carrier.put(parcel, uploader="job-2")
    assert len(line.asked) == 5
    await line.carrier().put(parcel, uploader="job-3")
    assert len(line.asked) == 6
    stored(volume).unlink()
    await carrier.put(parcel, uploader="job-4", again=True)
    assert stored(volume).read_bytes() == CONTENT


async def test_an_upload_that_was_cut_goes_on_where_it_ended(parcel: Parcel, volume: Path) -> None:
    line = Line(volume)
    line.faults = [*[lambda asked: worker_says(volume, asked)] * 3, lost]
    with pytest.raises(Unreachable):
        await line.carrier().put(parcel, uploader="job-1")
    line.asked.clear()
    await line.carrier().put(parcel, uploader="job-1")
    assert [asked["offset"] for asked in line.asked] == [0, 60_000, 90_000]
    assert stored(volume).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "fault",
    [
        says("FAILED", status="error", code="chunk_damaged"),
        says("FAILED", status="error", code="volume_error"),
        says("TIMED_OUT"),
        says("CANCELLED"),
    ],
)
async def test_a_passing_fault_is_tried_again(
    parcel: Parcel, volume: Path, tmp_path: Path, fault: Callable[[dict[str, Any]], JobReply]
) -> None:
    line = Line(volume)
    line.faults = [fault, lambda asked: worker_says(volume, asked), fault, fault]
    await line.carrier().put(parcel, uploader="job-1")
    assert stored(volume).read_bytes() == CONTENT
    lay(volume)
    line.faults = [fault]
    await line.carrier().fetch(result(), tmp_path / "aside")
    assert (tmp_path / "aside").read_bytes() == CONTENT
    line.faults = [fault] * 9
    with pytest.raises(Unreachable, match="far-away does not carry files at present"):
        await line.carrier().put(parcel, uploader="job-1", again=True)


@pytest.mark.parametrize(
    ("fault", "says_so"),
    [
        (
            says("FAILED", status="error", code="no_volume"),
            "and the endpoint far-away has no network volume.",
        ),
        (says("FAILED", status="error", code="bad_input"), "carries no files in pieces."),
        (says("FAILED"), "carries no files in pieces."),
        (says("COMPLETED", images=[]), "carries no files in pieces."),
        (says("COMPLETED", status="success", images=[]), "carries no files in pieces."),
    ],
)
async def test_an_endpoint_that_cannot_says_so_in_one_sentence(
    parcel: Parcel, volume: Path, tmp_path: Path, fault: Callable[[dict[str, Any]], JobReply], says_so: str
) -> None:
    line = Line(volume)
    line.faults = [fault, fault]
    with pytest.raises(CannotCarry) as caught:
        await line.carrier().put(parcel, uploader="job-1")
    assert caught.value.summary.startswith("big.png (0.1 MB) is too large for a request, and the ")
    assert caught.value.summary.endswith(says_so)
    assert caught.value.hint.startswith("Attach a network volume to the endpoint, or use a smaller input.")
    with pytest.raises(CannotCarry, match=r"a.png lies on the volume of the endpoint, and the .*\.$"):
        await line.carrier().fetch(result(), tmp_path / "aside")
    assert len(line.asked) == 2


async def test_a_full_volume_and_a_file_that_changed_are_said(parcel: Parcel, volume: Path) -> None:
    line = Line(volume)
    line.faults = [says("FAILED", status="error", code="disk_full", hint="Make room.")]
    with pytest.raises(VolumeFull, match="said so") as caught:
        await line.carrier().put(parcel, uploader="job-1")
    assert caught.value.hint == "Make room."
    parcel.path.write_bytes(b"x" * len(CONTENT))
    with pytest.raises(CannotCarry, match="not what its SHA-256 says"):
        await line.carrier().put(parcel, uploader="job-1")
    parcel.path.write_bytes(b"x")
    with pytest.raises(BadInput, match="shorter"):
        await line.carrier().put(parcel, uploader="job-1")


async def test_a_damaged_piece_of_a_result_and_one_that_is_gone(volume: Path, tmp_path: Path) -> None:
    lay(volume)
    line = Line(volume)
    aside = tmp_path / "aside"
    line.faults = [
        says("COMPLETED", status="success", data="AAAA", sha256="0" * 64, size=len(CONTENT), end=True)
    ]
    with pytest.raises(Unreachable, match="arrived damaged"):
        await line.carrier().fetch(result(), aside)
    with pytest.raises(ResultDamaged, match="instead of 5"):
        await line.carrier().fetch(result(size=5), aside)
    aside.write_bytes(CONTENT[:50_000])
    line.asked.clear()
    await line.carrier().fetch(result(), aside)
    assert [asked["offset"] for asked in line.asked] == [50_000, 80_000]
    assert aside.read_bytes() == CONTENT
    (volume / RESULT).unlink()
    with pytest.raises(ResultMissing, match="no longer on the volume"):
        await line.carrier().fetch(result(), aside)


async def test_only_results_of_ours_are_dropped(volume: Path) -> None:
    lay(volume)
    line = Line(volume)
    others = [
        FileEntry("b", "volume", path, size=1, sha256=SHA)
        for path in ("models/m", "../x", ".comfy-runpod/jobs/a")
    ]
    await line.carrier().drop([result(), result(sha256=None), *others])
    assert [asked["paths"] for asked in line.asked] == [["results/key/0000-a.png"]]
    assert not (volume / RESULT).exists()


# -- one or the other ---------------------------------------------------------------------------------


class Closed(LocalFolder):
    """A way that is closed."""

    def __init__(self, error: ComfyRunPodError) -> None:
        super().__init__(Path())
        self._error = error

    async def put(self, parcel: Parcel, *, uploader: str, again: bool = False) -> None:
        raise self._error

    async def fetch(self, entry: FileEntry, aside: Path) -> None:
        raise self._error


async def test_what_is_on_another_volume_than_the_settings_say_is_carried_by_the_worker(
    parcel: Parcel, volume: Path, tmp_path: Path
) -> None:
    lay(volume)
    either = Either(LocalFolder(tmp_path / "another"), Line(volume).carrier())
    await either.fetch(result(), tmp_path / "aside")
    assert (tmp_path / "aside").read_bytes() == CONTENT
    await either.put(parcel, uploader="job-1")
    assert stored(tmp_path / "another").is_file()
    await either.put(parcel, uploader="job-1", again=True)
    assert stored(volume).is_file()


async def test_a_key_that_is_refused_closes_one_way_only(
    parcel: Parcel, volume: Path, tmp_path: Path
) -> None:
    lay(volume)
    refused = CannotCarry("The key is wrong.")
    either = Either(Closed(refused), Line(volume).carrier())
    await either.put(parcel, uploader="job-1")
    await either.fetch(result(), tmp_path / "aside")
    assert stored(volume).read_bytes() == (tmp_path / "aside").read_bytes() == CONTENT
    neither = Either(Closed(refused), Line(None).carrier())
    with pytest.raises(CannotCarry, match="The key is wrong"):
        await neither.fetch(result(), tmp_path / "aside")
    down = Either(Closed(Unreachable("Down.")), Line(volume).carrier())
    with pytest.raises(Unreachable):
        await down.put(parcel, uploader="job-1")


# -- through the runner -------------------------------------------------------------------------------


@pytest.fixture
def big(tmp_path: Path) -> str:
    """An input that no request can hold."""
    (tmp_path / "big.bin").write_bytes(b"x" * 8_000_000)
    return str(tmp_path / "big.bin")


BIG = hashlib.sha256(b"x" * 8_000_000).hexdigest()


async def obey(world: World) -> dict[str, Any]:
    """Take jobs and obey commands until one is no command; that one, with its id as ``remote_id``."""
    folder = world.platform.config.volume_dir
    while True:
        remote_id, asked = await world.take(note=False)
        if "command" not in asked:
            return {**asked, "remote_id": remote_id}
        reply = await asyncio.to_thread(worker_says, folder, asked)
        world.post(remote_id, {"output": reply.output} | ({"error": reply.error} if reply.error else {}))


def volume_answer(volume: Path, content: bytes = CONTENT) -> dict[str, Any]:
    lay(volume, content)
    return {"output": {"images": [result(content).to_json()], "text": [{"text": "hi"}]}}


async def test_a_big_input_and_a_big_result_without_a_folder(far: World, big: str) -> None:
    folder = far.platform.config.volume_dir
    job_id = await far.submit(files={"big.bin": big, "small": __file__})
    asked = await obey(far)
    assert asked["files"] == [{"name": "big.bin", "sha256": BIG}]
    assert [image["name"] for image in asked["images"]] == ["small"]
    assert hashlib.sha256(stored(folder, BIG).read_bytes()).hexdigest() == BIG
    far.post(asked["remote_id"], volume_answer(folder))
    obeying = asyncio.create_task(obey(far))
    done = await far.reaches(job_id, State.DONE)
    assert Path(done.outputs[0].path).read_bytes() == CONTENT
    assert done.texts == ("hi",)
    await until(lambda: not (folder / RESULT).exists(), "dropping")
    states = [move.state for move in await far.store.timeline(job_id)]
    assert states.index(State.UPLOADING) < states.index(State.SUBMITTING)
    assert len([note for note in await far.notes(job_id) if "billed" in note]) == 2
    obeying.cancel()


async def test_an_input_that_the_worker_lacks_is_sent_again_once(world: World, big: str) -> None:
    assert world.volume is not None
    missing = {"error": "It is not there.", "output": {"code": "input_missing"}}
    job_id = await world.submit(files={"big.bin": big})
    remote_id, _ = await world.take()
    stored(world.volume, BIG).unlink()
    # The note of the first run must not be taken for one of the second, whose request is lost.
    world.faults["run"] = [cut_before]
    world.post(remote_id, missing)
    remote_id, asked = await world.take()
    assert (asked["client_job_id"], stored(world.volume, BIG).is_file()) == (job_id, True)
    await world.restart()
    world.post(remote_id, missing)
    failed = await world.reaches(job_id, State.FAILED)
    assert failed.error is not None
    assert failed.error["code"] == "input_missing"
    assert world.calls["run"] == 3


async def test_cancelled_while_its_inputs_are_on_their_way(far: World, big: str) -> None:
    job_id = await far.submit(files={"big.bin": big})
    first, asked = await far.take(note=False)
    assert asked["command"] == "put"
    await far.reaches(job_id, State.UPLOADING)
    assert (await far.runner.cancel(job_id)).state is State.CANCELLED
    await until(lambda: (job := far.platform.queue.get(first)) and job.state == "CANCELLED")
    second = await far.submit()
    assert (await obey(far))["client_job_id"] == second


async def test_killed_while_its_inputs_are_on_their_way(far: World, big: str) -> None:
    job_id = await far.submit(files={"big.bin": big})
    await far.take(note=False)
    await far.restart()
    assert (await far.job(job_id)).state is State.UPLOADING
    assert (await obey(far))["client_job_id"] == job_id


async def test_a_line_that_is_cut_while_uploading_holds_the_job(far: World, big: str) -> None:
    far.faults["run"] = [cut_after, cut_before]
    far.always["status"] = answers(503, {})
    job_id = await far.submit(files={"big.bin": big})
    held = await far.reaches(job_id, State.ON_HOLD)
    assert held.hold is Hold.ENGINE_DOWN
    del far.always["status"]
    assert (await obey(far))["client_job_id"] == job_id


async def test_results_that_cannot_be_fetched_now_wait_and_keep_nobody(far: World) -> None:
    folder = far.platform.config.volume_dir
    first, second = await far.submit(), await far.submit()
    (one, _), (two, _) = await far.take(), await far.take()
    far.always["run"] = answers(401, {"error": "revoked"})
    far.post(one, volume_answer(folder))
    waiting = await until(lambda: lost_contact(far, first), "waiting")
    assert waiting.state is State.DOWNLOADING
    assert any("stay where they are and are fetched later" in note for note in await far.notes(first))
    far.finish(two)
    await far.reaches(second, State.DONE)
    assert (folder / RESULT).is_file()
    del far.always["run"]
    obeying = asyncio.create_task(obey(far))
    done = await far.reaches(first, State.DONE)
    assert done.lost_contact_since is None
    obeying.cancel()


async def lost_contact(world: World, job_id: str) -> Any:
    job = await world.job(job_id)
    return job if job.lost_contact_since is not None else None


async def test_results_on_the_volume_outlive_the_platforms_memory(far: World) -> None:
    """The panel is ended while it cannot fetch, and comes back when the platform has forgotten the job."""
    folder = far.platform.config.volume_dir
    job_id = await far.submit()
    remote_id, _ = await far.take()
    far.always["run"] = answers(401, {"error": "revoked"})
    far.post(remote_id, volume_answer(folder))
    await until(lambda: lost_contact(far, job_id), "waiting")
    await far.kill()
    far.always = {"status": status_of(remote_id, far)}
    await far.begin()
    obeying = asyncio.create_task(obey(far))
    done = await far.reaches(job_id, State.DONE)
    assert Path(done.outputs[0].path).read_bytes() == CONTENT
    assert done.texts == ("hi",)
    obeying.cancel()


def status_of(forgotten: str, world: World) -> Any:
    async def fault(request: Any, handler: Any) -> Any:
        if request.path.endswith(forgotten):
            return await answers(404, {"error": "no such job"})(request, handler)
        return await handler(request)

    return fault
