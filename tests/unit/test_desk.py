"""The window's desk: two of them on one data folder, and closing whatever the targets do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.desk import Desk, Outlook
from app.endpoint.local import LocalEndpoint
from app.errors import BadInput, NeedsSetup
from app.jobs.control import ControlClient, RunnerGone
from app.jobs.model import Job, JobEvent
from app.jobs.states import State
from app.services import ComfyTarget, RunPodTarget
from app.settings import Secret, Settings
from tests.unit.endpoint.helpers import KEY
from tests.unit.jobs.helpers import Gate, World, spec, until

REMOTE = "abcd1234"


class Seat:
    """A window: its desk, and what it was told."""

    def __init__(self, settings: Settings) -> None:
        self.events: list[JobEvent] = []
        self.files: list[list[Path]] = []
        self.resets = 0
        self.desk = Desk(
            settings, on_event=self.events.append, on_window=self.files.append, on_reset=self._reset
        )

    def _reset(self) -> None:
        self.resets += 1

    @property
    def states(self) -> list[State]:
        return [event.job.state for event in self.events]

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[Seat]:
        await self.desk.open()
        running = asyncio.create_task(self.desk.run())
        try:
            yield self
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await self.desk.close()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """RunPod, played by the platform of this process."""
    monkeypatch.setattr(RunPodTarget, "poll_s", 0.01)
    made = World(tmp_path / "world", endpoint_id=REMOTE)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def settings(world: World, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        output_dir=tmp_path / "out",
        runpod_base_url=world.url,
        runpod_api_key=Secret(KEY),
    )


def remote_spec(settings: Settings, **changes: Any) -> Any:
    return spec(**{"target": REMOTE, "output_dir": str(settings.output_dir), **changes})


async def reached(desk: Desk, job_id: str, state: State) -> Job:
    async def there() -> Job | None:
        job = await desk.store.get(job_id)
        return job if job.state is state else None

    job: Job = await until(there, f"{state}")
    return job


async def test_the_first_runs_the_jobs_and_the_second_follows(settings: Settings, world: World) -> None:
    one, two = Seat(settings), Seat(settings)
    async with one.taken():
        await until(lambda: one.desk.is_runner)
        async with two.taken():
            await until(lambda: two.resets)
            assert not two.desk.is_runner
            job = await two.desk.submit(remote_spec(settings))
            await until(lambda: State.WAITING in two.states)
            assert State.WAITING in one.states
            assert (await two.desk.cancel(job.id)).id == job.id
            await until(lambda: State.CANCELLED in two.states)
            again = await two.desk.run_again(job.id)
            assert again.retry_of == job.id
            remote_id, _ = await world.take()
            world.finish(remote_id)
            await reached(two.desk, again.id, State.DONE)
            assert [gone.id for gone in await two.desk.remove([again.id])] == [again.id]
            await until(lambda: [event.job.id for event in two.events if event.removed] == [again.id])
            assert not await two.desk.forget_target(REMOTE)


async def test_the_second_takes_over_when_the_first_closes(settings: Settings, world: World) -> None:
    one, two = Seat(settings), Seat(settings)
    async with one.taken():
        await until(lambda: one.desk.is_runner)
        job = await one.desk.submit(remote_spec(settings))
        await reached(one.desk, job.id, State.WAITING)
        async with two.taken():
            await until(lambda: two.resets)
            closing = asyncio.create_task(one.desk.close())
            # A wish amid the change of hands waits for it.
            second = await two.desk.submit(remote_spec(settings))
            await closing
            await until(lambda: two.desk.is_runner)
            assert two.resets >= 2
            for _ in range(2):
                remote_id, _ = await world.take()
                world.finish(remote_id)
            for job_id in (job.id, second.id):
                await reached(two.desk, job_id, State.DONE)
            await until(lambda: two.states.count(State.DONE) == 2)
            assert not one.desk.is_runner


async def test_a_wish_that_nobody_takes_on_ends(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.desk._PATIENCE_S", 0.15)
    desk = Seat(settings).desk
    await desk.open()
    with pytest.raises(RunnerGone):
        await desk.submit(remote_spec(settings))
    await desk.close()
    with pytest.raises(RunnerGone):
        await desk.cancel("0000")


async def test_what_cannot_be_is_said_at_once(settings: Settings) -> None:
    for seat in (Seat(settings), Seat(settings)):
        async with seat.taken():
            await until(lambda seat=seat: seat.resets)
            with pytest.raises(BadInput, match="no target"):
                await seat.desk.submit(remote_spec(settings, target="?"))
            with pytest.raises(BadInput, match="no job"):
                await seat.desk.run_again("0000000000")


async def test_another_process_opens_the_window_with_its_files(settings: Settings, tmp_path: Path) -> None:
    seat = Seat(settings)
    files = [tmp_path / "a b.json", tmp_path / "ü.png"]
    async with seat.taken():
        await until(lambda: seat.desk.is_runner)
        assert await ControlClient(settings.data_dir).open_window(files)
    assert seat.files == [files]


async def test_new_settings_hold_for_a_target_that_was_forgotten(settings: Settings, tmp_path: Path) -> None:
    seat = Seat(replace(settings, runpod_api_key=Secret("")))
    async with seat.taken():
        await until(lambda: seat.desk.is_runner)
        job = await seat.desk.submit(remote_spec(settings))
        failed = await reached(seat.desk, job.id, State.FAILED)
        assert failed.error is not None
        assert failed.error["code"] == NeedsSetup.code
        seat.desk.use(settings)
        assert await seat.desk.forget_target(REMOTE)
        again = await seat.desk.retry(job.id)
        await reached(seat.desk, again.id, State.WAITING)
        assert not await seat.desk.forget_target(REMOTE)


async def test_the_outlook_tells_what_goes_on_and_where(settings: Settings, world: World) -> None:
    seat = Seat(settings)
    async with seat.taken():
        desk = seat.desk
        await until(lambda: desk.is_runner)
        assert await desk.outlook() == Outlook()
        sent = await desk.submit(remote_spec(settings))
        await reached(desk, sent.id, State.WAITING)
        gate = Gate()
        world.faults["run"] = [gate]
        await desk.submit(remote_spec(settings))
        await gate.reached.wait()
        for target in ("local", "demo"):
            job = await desk.store.add(spec(target=target))
            for state in (State.SUBMITTING, State.WAITING):
                await desk.store.change(job.id, state=state)
        await desk.store.add(spec(target="demo"))
        assert await desk.outlook() == Outlook(remote=1, local=2, unsent=2)
        gate.opened.set()


# -- closing ------------------------------------------------------------------------------------------


async def hangs(*_: object, **__: object) -> None:
    await asyncio.sleep(3600)


@pytest.mark.parametrize("what", ["target", "answer", "both"])
async def test_closing_has_a_limit(
    settings: Settings, world: World, monkeypatch: pytest.MonkeyPatch, what: str, caplog: Any
) -> None:
    monkeypatch.setattr("app.desk._CLOSE_S", 0.4)
    seat, gate = Seat(settings), Gate()
    close_really = RunPodTarget.close

    async def close(target: RunPodTarget) -> None:
        await close_really(target)
        await hangs()

    if what != "answer":
        monkeypatch.setattr(RunPodTarget, "close", close)
    if what != "target":
        world.always["run"] = gate
    async with seat.taken():
        await until(lambda: seat.desk.is_runner)
        await seat.desk.submit(remote_spec(settings))
        await (until(lambda: State.WAITING in seat.states) if what == "target" else gate.reached.wait())
        begun = time.monotonic()
        await seat.desk.close()
        await seat.desk.close()
        assert time.monotonic() - begun < 3
    gate.opened.set()
    assert ("did not end in time" in caplog.text) == (what != "answer")
    # Nothing is held: the next one runs the jobs.
    monkeypatch.undo()
    after = Seat(settings)
    async with after.taken():
        await until(lambda: after.desk.is_runner)


async def test_even_a_store_that_hangs_does_not_keep_the_window_open(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.desk._AT_MOST_S", 0.2)
    seat = Seat(settings)
    async with seat.taken():
        await until(lambda: seat.desk.is_runner)
        assert seat.desk.services is not None
        close: Callable[[], Any] = seat.desk.services.store.close
        monkeypatch.setattr(seat.desk.services.store, "close", hangs)
        begun = time.monotonic()
        await seat.desk.close()
        assert time.monotonic() - begun < 2
        await close()


async def test_a_desk_closed_while_it_begins_holds_nothing(settings: Settings) -> None:
    for wait_s in (0, 0.001, 0.005, 0.02):
        desk = Seat(settings).desk
        await desk.open()
        running = asyncio.create_task(desk.run())
        await asyncio.sleep(wait_s)
        if wait_s == 0.001:
            running.cancel()
        await desk.close()
        await asyncio.gather(running, return_exceptions=True)
        after = Seat(settings)
        async with after.taken():
            await until(lambda after=after: after.desk.is_runner)


async def test_a_target_that_is_let_go_of_is_gone_before_the_next_begins(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two share a folder, a lock and ComfyUI's port."""
    steps: list[str] = []
    let_go = asyncio.Event()

    async def close(self: ComfyTarget) -> None:
        steps.append("closing")
        await let_go.wait()
        steps.append("closed")

    async def client(self: ComfyTarget) -> Any:
        steps.append("client")
        raise NeedsSetup("No ComfyUI.")

    monkeypatch.setattr(ComfyTarget, "close", close)
    monkeypatch.setattr(ComfyTarget, "client", client)
    monkeypatch.setattr(LocalEndpoint, "ensure", hangs)
    seat = Seat(settings)
    async with seat.taken():
        await until(lambda: seat.desk.is_runner)
        first = await seat.desk.submit(remote_spec(settings, target="local"))
        await reached(seat.desk, first.id, State.FAILED)
        forgetting = asyncio.create_task(seat.desk.forget_target("local"))
        await until(lambda: "closing" in steps)
        second = await seat.desk.submit(remote_spec(settings, target="local"))
        await asyncio.sleep(0.05)
        assert (await seat.desk.store.get(second.id)).state is State.PREPARING
        let_go.set()
        assert await forgetting
        await reached(seat.desk, second.id, State.FAILED)
        assert steps[:4] == ["client", "closing", "closed", "client"]
