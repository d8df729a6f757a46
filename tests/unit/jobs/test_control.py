"""One runner per data folder, and the socket by which others speak to it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.errors import BadInput, Refused
from app.jobs.control import ControlClient, ControlServer, RunnerGone, RunnerLock, events_of
from app.jobs.model import JobEvent, new_job_id
from app.jobs.states import State
from tests.unit.jobs.helpers import World, spec, until


@asynccontextmanager
async def served(world: World, **options: Any) -> AsyncIterator[tuple[ControlServer, ControlClient]]:
    server = ControlServer(world.runner, world.folder, **options)
    await server.start()
    try:
        yield server, ControlClient(world.folder)
    finally:
        await server.close()


async def post(world: World, path: str, token: str | None, **kwargs: Any) -> int:
    raw = json.loads((world.folder / "control.json").read_text())
    headers = {"X-Comfy-RunPod-Token": raw["token"] if token is None else token}
    url = f"http://127.0.0.1:{raw['port']}{path}"
    async with aiohttp.ClientSession() as session, session.post(url, headers=headers, **kwargs) as answer:
        return answer.status


# -- the lock -----------------------------------------------------------------------------------------


async def test_one_holds_the_lock_until_it_lets_go(tmp_path: Path) -> None:
    """Taken in one thread and let go in another, as the program does."""
    one, two = RunnerLock(tmp_path / "new"), RunnerLock(tmp_path / "new")
    assert await asyncio.to_thread(one.acquire)
    assert not await asyncio.to_thread(two.acquire)
    one.release()
    assert await asyncio.to_thread(two.acquire)
    assert not one.acquire()
    two.release()


def test_a_folder_that_cannot_be_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="data folder") as caught:
        RunnerLock(tmp_path / "file" / "data").acquire()
    assert "COMFY_RUNPOD_DATA" in caught.value.hint


# -- the socket ---------------------------------------------------------------------------------------


async def test_a_job_from_another_process_runs_and_is_watched_to_its_end(world: World) -> None:
    async with served(world) as (_, client):
        job = await client.submit(spec(output_dir=str(world.out)))
        assert (await client.submit(spec(id=job.id, name="another"))).name == job.name
        states: list[State] = []
        remote_id = ""
        shown = {"progress": {"nodes_done": 1, "nodes_total": 2, "preview": "x" * 200_000}}
        async with aclosing(client.events([job.id])) as events:
            async for event in events:
                states.append(event.job.state)
                if event.job.state is State.WAITING and not remote_id:
                    remote_id, _ = await world.take()
                    world.post(remote_id, {"status": "IN_PROGRESS", "output": shown})
                if event.progress is not None:
                    assert event.progress.fraction == 0.5
                    world.finish(remote_id)
                if event.job.is_final:
                    break
        assert states[-1] is State.DONE
        assert [state for state in State if state in states] == list(dict.fromkeys(states))
        again = await client.retry(job.id)
        assert again.id != job.id
        await world.reaches(again.id, State.WAITING)
        assert (await client.cancel(again.id)).state in (State.CANCELLING, State.CANCELLED)
        assert world.calls["run"] == 2


async def test_all_events_of_all_jobs_from_the_first_on(world: World) -> None:
    before = await world.submit()
    await world.reaches(before, State.WAITING)
    async with served(world) as (_, client), client.all_events() as events:
        job = await client.submit(spec(output_dir=str(world.out)))
        for _ in range(2):
            world.finish((await world.take())[0])
        await world.reaches(job.id, State.DONE)
        await world.reaches(before, State.DONE)
        assert [gone.id for gone in await client.remove([job.id, before])] == [job.id, before]
        seen: list[JobEvent] = []
        while sum(event.removed for event in seen) < 2:
            seen.append(await anext(events))
    assert next(event.job.state for event in seen if event.job.id == job.id) is State.PREPARING
    assert [event.job.id for event in seen if event.removed] == [job.id, before]
    assert waiting_for_a_queue() == []


async def test_a_thousand_jobs_are_followed_at_once(world: World) -> None:
    job_id = await world.submit()
    others = [new_job_id() for _ in range(999)]
    async with served(world) as (_, client), aclosing(client.events([*others, job_id])) as events:
        assert (await anext(events)).job.id == job_id


async def test_who_reads_slowly_misses_progress_and_no_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.control._MOST_BEHIND", 3)
    job_id = await world.submit()
    async with aclosing(events_of(world.runner, [job_id])) as events:
        await anext(events)
        remote_id, _ = await world.take()
        await world.reaches(job_id, State.RUNNING)
        for step in range(20):
            shown = {"progress": {"nodes_done": step, "nodes_total": 20}}
            world.post(remote_id, {"status": "IN_PROGRESS", "output": shown})
            await asyncio.sleep(0.02)
        world.finish(remote_id)
        await world.reaches(job_id, State.DONE)
        seen = [event async for event in until_final(events)]
    assert sum(event.progress is not None for event in seen) <= 3
    assert [event.job.state for event in seen][-2:] == [State.DOWNLOADING, State.DONE]


async def until_final(events: AsyncIterator[JobEvent]) -> AsyncIterator[JobEvent]:
    async for event in events:
        yield event
        if event.job.is_final:
            return


async def test_a_job_is_run_again_elsewhere_and_only_once(world: World) -> None:
    async with served(world) as (_, client):
        job_id = await world.submit()
        world.finish((await world.take())[0])
        await world.reaches(job_id, State.DONE)
        again = await client.run_again(job_id, "other", new_id="twice")
        assert (again.id, again.target, again.retry_of) == ("twice", "other", job_id)
        assert (await client.run_again(job_id, "other", new_id="twice")).seq == again.seq
        assert (await client.retry(job_id, new_id="thrice")).id == "thrice"
        with pytest.raises(BadInput, match="no target"):
            await client.run_again(job_id, "nowhere")
        with pytest.raises(BadInput, match="not ended"):
            await client.remove([again.id])


async def test_the_window_is_opened_with_files(world: World) -> None:
    opened: list[list[Path]] = []
    async with served(world, on_window=opened.append) as (_, client):
        assert await client.open_window([Path("/a b/ü.json")])
        assert await client.open_window([])
    assert opened == [[Path("/a b/ü.json")], []]


async def test_a_runner_without_a_window_says_so(world: World) -> None:
    async with served(world) as (_, client):
        assert not await client.open_window([])
        assert await post(world, "/window", None, json={"files": []}) == 409


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/window", b"no json"),
        ("/window", b'{"files": "a"}'),
        ("/jobs/remove", b"[]"),
        ("/jobs/remove", b'{"ids": [1]}'),
        ("/jobs/x/run_again", b'{"target": 5}'),
        ("/jobs/x/retry", b'{"new_id": []}'),
    ],
)
async def test_a_wish_of_another_version_is_refused(world: World, path: str, body: bytes) -> None:
    async with served(world, on_window=lambda _: None):
        assert await post(world, path, None, data=body) == 400


async def test_a_job_of_many_megabytes_is_still_one_event(world: World) -> None:
    async with served(world) as (_, client):
        job = await client.submit(spec(output_dir=str(world.out)))
        remote_id, _ = await world.take()
        world.post(remote_id, {"output": {"images": [], "text": [{"text": "€" * 1_500_000}]}})
        await world.reaches(job.id, State.DONE)
        async with aclosing(client.events([job.id])) as events:
            assert len((await anext(events)).job.texts[0]) == 1_500_000


async def test_what_the_runner_refuses_is_said_in_its_words(world: World) -> None:
    async with served(world) as (_, client):
        with pytest.raises(BadInput, match="no target"):
            await client.submit(spec(target="nowhere"))
        with pytest.raises(BadInput, match="no job") as caught:
            await client.cancel("0000000000")
        assert "jobs list" in caught.value.hint


@pytest.mark.parametrize("token", ["", "wrong", "wröng"])
@pytest.mark.parametrize("path", ["/jobs", "/jobs/x/cancel", "/jobs/remove", "/window", "/nothing"])
async def test_without_the_token_nothing_is_told_or_done(world: World, token: str, path: str) -> None:
    async with served(world):
        assert await post(world, path, token, json=spec().to_json()) == 401
    assert await world.store.newest() == []


@pytest.mark.parametrize("body", [b"no json", b"[]", b"{}", b'"x"', b"[" * 100_000, b'{"prompt": 5}'])
async def test_a_request_of_another_version_is_refused(world: World, body: bytes) -> None:
    async with served(world):
        assert await post(world, "/jobs", None, data=body) == 400
    assert await world.store.newest() == []


async def test_a_runner_that_fails_is_not_asked_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(_job_id: str) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(world.runner, "retry", fails)
    async with served(world) as (_, client):
        with pytest.raises(Refused, match="failed"):
            await client.retry("x")


async def test_the_file_is_the_users_alone_and_goes_with_the_runner(world: World) -> None:
    path = world.folder / "control.json"
    async with served(world):
        if os.name == "posix":
            assert path.stat().st_mode & 0o777 == 0o600
        token = json.loads(path.read_text())["token"]
        assert len(token) >= 32
    assert not path.exists()
    async with served(world):
        assert json.loads(path.read_text())["token"] != token


@pytest.mark.parametrize(
    "content", [None, "", "{}", "[]", '{"port": "x", "token": "y"}', '{"port": 9, "token": "y"}']
)
async def test_without_a_runner_the_client_says_so(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "control.json").write_text(content)
    client = ControlClient(tmp_path)
    for call in (
        *(client.submit(spec()), client.cancel("x"), client.retry("x"), anext(client.events(["x"]))),
        *(client.run_again("x"), client.remove(["x"]), client.open_window([])),
        client.all_events().__aenter__(),
    ):
        with pytest.raises(RunnerGone):
            await call


async def test_a_runner_that_ends_amid_the_stream_is_gone(world: World) -> None:
    seen: list[JobEvent] = []

    async def follow(client: ControlClient, job_id: str) -> None:
        async for event in client.events([job_id]):
            seen.append(event)

    async with served(world) as (server, client):
        job = await client.submit(spec(output_dir=str(world.out)))
        following = asyncio.create_task(follow(client, job.id))
        await until(lambda: seen, "an event")
        await server.close()
        with pytest.raises(RunnerGone):
            await following


# -- events in the runner's own process ---------------------------------------------------------------


def waiting_for_a_queue() -> list[str]:
    return [name for task in asyncio.all_tasks() if "Queue.get" in (name := repr(task.get_coro()))]


async def test_events_are_of_the_jobs_asked_for_and_leave_nothing_behind(world: World) -> None:
    other, ours = await world.submit(), await world.submit()
    async with aclosing(events_of(world.runner, [ours, "unknown"])) as events:
        async for event in events:
            assert event.job.id == ours
            if event.job.state is State.WAITING:
                break
    for job_ids in ([], [ours]):
        watching = asyncio.create_task(anext(aiter(events_of(world.runner, job_ids))))
        await asyncio.sleep(0.01)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert waiting_for_a_queue() == []
    await world.reaches(other, State.WAITING)


async def test_events_end_when_the_runner_is_closed(world: World) -> None:
    job_id = await world.submit()
    await world.reaches(job_id, State.WAITING)
    async with aclosing(events_of(world.runner, [job_id])) as events:
        await anext(events)
        await world.runner.close()
        with pytest.raises(RunnerGone):
            await anext(events)


async def test_events_end_with_the_mistake_that_broke_a_lane(world: World, caplog: Any) -> None:
    job_id = await world.submit()
    remote_id, _ = await world.take()
    broken = world.runner
    async with aclosing(events_of(broken, [job_id])) as events:
        await anext(events)

        def mistake(_event: JobEvent) -> None:
            raise ZeroDivisionError("a mistake of ours")

        broken.watch(mistake)
        world.finish(remote_id)
        with pytest.raises(ExceptionGroup):
            async for _ in events:
                pass
    assert "ended by a mistake of ours" in caplog.text
    await broken.close()
    await world.store.close()
    await world.begin()
    await world.reaches(job_id, State.DONE)
