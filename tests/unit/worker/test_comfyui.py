"""Talking to ComfyUI and following a prompt: with the demo engine, and with a ComfyUI that misbehaves."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.contract.driver import chain, empty, node
from tests.unit.worker.helpers import FakeComfy, demo, entry, faked, until
from worker.comfyui import ComfyClient, Event
from worker.contract import Progress
from worker.errors import ComfyUnavailable, JobError
from worker.monitor import Patience, follow_prompt, raise_for_verdict, verdict

QUIET_S = 0.05
WORKFLOW = {"1": node("EmptyImage"), "2": node("SaveImage", images=["1", 0])}


class Following:
    """A client at a fake ComfyUI that follows the prompt "ours"."""

    def __init__(self, fake: FakeComfy, client: ComfyClient) -> None:
        self.fake = fake
        self.client = client
        self.alive = True
        self.reports: list[tuple[Progress, bytes | None]] = []

    def start(self, prompt_id: str = "ours", *, found: bool = False, **limits: float) -> asyncio.Task[Any]:
        self.client.follow(prompt_id)
        return asyncio.create_task(
            follow_prompt(
                self.client,
                prompt_id,
                WORKFLOW,
                patience=Patience(**{"run_s": 60, "quiet_s": QUIET_S, **limits}),
                report=lambda progress, preview: self.reports.append((progress, preview)),
                still_alive=lambda: self.alive,
                found=found,
            )
        )

    async def asked(self, times: int = 3) -> None:
        """Wait until the follower has asked over HTTP so many times more."""
        there = len(self.fake.asked)
        await until(lambda: len(self.fake.asked) >= there + times)


@asynccontextmanager
async def connected(fake: FakeComfy) -> AsyncIterator[ComfyClient]:
    async with faked(fake) as url:
        client = ComfyClient(url)
        try:
            await client.wait_ready(5)
            await client.connect()
            yield client
        finally:
            await client.close()


@pytest.fixture
async def follow() -> AsyncIterator[Following]:
    fake = FakeComfy()
    async with connected(fake) as client:
        yield Following(fake, client)


async def ended(task: asyncio.Task[Any]) -> Any:
    async with asyncio.timeout(20):
        return await task


# -- following: the demo engine ---------------------------------------------------------------------------


async def test_progress_and_previews_of_a_prompt_of_the_demo_engine(tmp_path: Path) -> None:
    workflow = chain(5, blurs=3, prefix="x", side=700)
    async with demo(tmp_path) as bench:
        client = ComfyClient(bench.url)
        reports: list[tuple[Progress, bytes | None]] = []
        try:
            await client.wait_ready(5)
            await client.connect()
            client.follow("mine")
            assert await client.submit(workflow, "mine", {}) == {}
            found = await follow_prompt(
                client,
                "mine",
                workflow,
                patience=Patience(60),
                report=lambda *told: reports.append(told),
                still_alive=lambda: True,
            )
        finally:
            await client.close()
    assert verdict(found)[0] == "success"
    fractions = [progress.fraction for progress, _ in reports]
    assert fractions == sorted(fractions)
    assert {progress.nodes_total for progress, _ in reports} == {5}
    nodes = dict.fromkeys(progress.node_id for progress, _ in reports if progress.node_id)
    assert list(nodes) == ["1", "10", "11", "12", "2"]
    pictures = [(progress.node_id, preview) for progress, preview in reports if preview is not None]
    assert [node_id for node_id, _ in pictures] == ["10", "11", "12"]
    assert all(picture.startswith(b"\xff\xd8") for _, picture in pictures)


# -- following: a ComfyUI that misbehaves -----------------------------------------------------------------


async def test_the_end_mark_alone_is_enough(follow: Following) -> None:
    follow.fake.running = ["ours"]
    task = follow.start(quiet_s=60)
    await follow.fake.send("execution_start", "ours")
    await follow.fake.end("ours")
    assert await ended(task) == follow.fake.history["ours"]


async def test_without_a_websocket_the_end_is_found_over_http(follow: Following) -> None:
    follow.fake.running = ["ours"]
    task = follow.start()
    await follow.fake.send("executing", "ours", node="1")
    await follow.fake.drop()
    await until(lambda: not follow.client.connected)
    await follow.asked()
    assert not task.done()
    follow.fake.running = []
    follow.fake.history["ours"] = entry()
    assert await ended(task) == entry()
    await follow.client.connect()
    assert follow.client.connected, "and the websocket is opened again"


async def test_each_connection_has_a_name_of_its_own(follow: Following) -> None:
    first = follow.client._client_id
    await follow.fake.drop()
    await until(lambda: follow.client.connected and follow.client._client_id != first)


async def test_a_history_that_comes_late_is_waited_for(follow: Following) -> None:
    follow.fake.running = ["ours"]
    task = follow.start(quiet_s=0.3)
    await follow.fake.send("execution_success", "ours")
    await follow.fake.send("executing", "ours", node=None)
    await follow.asked(1)
    follow.fake.running = []
    follow.fake.history["ours"] = entry()
    assert await ended(task) == entry()


async def test_one_look_that_finds_nothing_is_not_the_end(follow: Following) -> None:
    task = follow.start()
    await until(lambda: "/history/ours" in follow.fake.paths("GET"))
    follow.fake.history["ours"] = entry()
    assert await ended(task) == entry()


async def test_a_prompt_that_ends_between_two_questions_is_not_lost(follow: Following) -> None:
    follow.fake.running = ["ours"]
    where = follow.client.where

    async def ends_then(prompt_id: str) -> str | None:
        place = await where(prompt_id)
        follow.fake.running = []
        follow.fake.history["ours"] = entry()
        return place

    follow.client.where = ends_then  # type: ignore[method-assign]
    assert await ended(follow.start()) == entry()


@pytest.mark.parametrize("how", ["deleted", "restarted"])
async def test_a_prompt_that_comfyui_no_longer_knows_is_lost(follow: Following, how: str) -> None:
    follow.fake.pending = ["ours"]
    task = follow.start()
    await follow.asked()
    assert not task.done()
    if how == "restarted":
        await follow.fake.drop()
        follow.fake.history = {}
    follow.fake.pending = []
    with pytest.raises(JobError, match="no longer knows this prompt") as caught:
        await ended(task)
    assert caught.value.code == "prompt_lost"


async def test_no_answer_is_borne_for_a_while_and_then_told(follow: Following) -> None:
    follow.fake.running = ["ours"]
    follow.fake.broken = {"/queue": 503}
    task = follow.start(unanswered_s=0.5)
    await asyncio.sleep(0.3)
    follow.fake.broken = {}
    await follow.asked(2)
    follow.fake.broken = {"/queue": 503}
    await asyncio.sleep(0.3)
    assert not task.done(), "an answer in between starts the time anew"
    with pytest.raises(ComfyUnavailable, match=r"has not answered for 0\.5 s"):
        await ended(task)


async def test_a_prompt_of_which_nothing_is_told_is_given_up_while_the_websocket_is_open(
    follow: Following,
) -> None:
    follow.fake.pending = ["ours"]
    # Long enough for a machine that does much else: between two steps it may come to this late.
    task = follow.start(silence_s=3)
    await asyncio.sleep(5)
    assert not task.done(), "one that waits has nothing to tell"
    follow.fake.running, follow.fake.pending = ["ours"], []
    for step in range(10):
        await follow.fake.send("progress", "ours", value=step, max=10)
        await asyncio.sleep(0.4)
    assert not task.done()
    with pytest.raises(JobError, match="told nothing of it for 3 s") as caught:
        await ended(task)
    assert caught.value.code == "execution_timeout"


async def test_silence_counts_from_when_it_runs_and_not_from_when_it_waited(follow: Following) -> None:
    follow.fake.pending = ["ours"]
    task = follow.start(silence_s=1.5)
    await asyncio.sleep(2)
    follow.fake.running, follow.fake.pending = ["ours"], []
    # That it runs is seen by asking, before its first event.
    await asyncio.sleep(0.7)
    assert not task.done()
    await follow.fake.send("progress", "ours", value=1, max=2)
    follow.fake.running, follow.fake.history = [], {"ours": entry()}
    await follow.fake.send("executing", "ours", node=None)
    assert await ended(task) == entry()


async def test_without_a_websocket_silence_is_no_sign(follow: Following) -> None:
    follow.fake.running = ["ours"]
    follow.fake.refuses_sockets = True
    await follow.fake.drop()
    task = follow.start(silence_s=0.3)
    await asyncio.sleep(1)
    assert not task.done()
    follow.fake.running, follow.fake.history = [], {"ours": entry()}
    assert await ended(task) == entry()


async def test_an_answer_missed_once_and_then_no_trace_is_not_lost_at_once(follow: Following) -> None:
    follow.fake.broken = {"/queue": 503}
    task = follow.start()
    await follow.asked(1)
    follow.fake.broken = {}
    await until(lambda: "/history/ours" in follow.fake.paths("GET"))
    follow.fake.history["ours"] = entry()
    assert await ended(task) == entry()


async def test_a_comfyui_of_ours_that_died_is_noticed(follow: Following) -> None:
    follow.fake.running = ["ours"]
    task = follow.start()
    await follow.asked(2)
    follow.alive = False
    with pytest.raises(ComfyUnavailable, match="ended while it ran") as caught:
        await ended(task)
    assert caught.value.code == "comfyui_died"


async def test_the_time_limit_counts_from_the_start_of_the_prompt(follow: Following) -> None:
    follow.fake.pending = ["ours"]
    task = follow.start(run_s=0.1)
    await follow.asked(6)
    assert not task.done(), "waiting behind others takes nothing from it"
    follow.fake.pending, follow.fake.running = [], ["ours"]
    with pytest.raises(JobError, match=r"stopped after 0\.1 s") as caught:
        await ended(task)
    assert caught.value.code == "execution_timeout"


async def test_events_of_others_do_not_touch_ours(follow: Following) -> None:
    fake = follow.fake
    fake.running, fake.pending = ["theirs"], ["ours"]
    task = follow.start(quiet_s=60)
    for _ in range(2):
        await fake.send("execution_start", "theirs")
        await fake.send("executing", "theirs", node="1")
        await fake.send_raw(struct.pack(">II", 1, 1) + b"their picture")
        await fake.send("execution_error", "theirs", node_id="1")
        await fake.send("executing", "theirs", node=None)
    fake.running, fake.pending = ["ours"], []
    await fake.send("execution_start", "ours")
    await fake.send("executing", "ours", node="1")
    await fake.send_raw(struct.pack(">II", 1, 1) + b"our picture")
    about = json.dumps({"prompt_id": "theirs"}).encode()
    await fake.send_raw(struct.pack(">II", 4, len(about)) + about + b"their picture")
    await fake.end("ours")
    assert await ended(task) == entry()
    assert [preview for _, preview in follow.reports if preview] == [b"our picture"]


@pytest.mark.parametrize("later", range(4))
async def test_a_cancellation_that_meets_an_event_is_not_lost(follow: Following, later: int) -> None:
    """Python 3.11's wait_for swallows a cancellation that comes with a result."""
    follow.fake.running = ["ours"]
    task = follow.start(quiet_s=60)
    await asyncio.sleep(0.01)
    follow.client.follow("ours").put_nowait(Event("progress", {"value": 1, "max": 2}))
    for _ in range(later):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5)
    task.cancel()
    assert done
    assert task.cancelled()


async def test_a_blocked_output_does_not_end_the_prompt(follow: Following) -> None:
    follow.fake.running = ["ours"]
    task = follow.start()
    await follow.fake.send("execution_start", "ours")
    await follow.fake.send("execution_error", "ours", exception_type="ExecutionBlocked", node_id="2")
    await follow.asked()
    assert not task.done()
    await follow.fake.end("ours")
    assert await ended(task) == entry()


FRAMES: list[str | bytes] = [
    *("", "{", "[]", "5", "null", '"text"', "{}", '{"type": "progress"}', '{"type": 5, "data": []}'),
    *('{"type": "executing", "data": "ours"}', '{"type": "executing", "data": {"prompt_id": ["ours"]}}'),
    '{"type": "progress", "data": {"prompt_id": "ours", "value": NaN, "max": Infinity}}',
    '{"type": "progress", "data": {"prompt_id": "ours", "value": "1", "max": null}}',
    f'{{"type": "progress", "data": {{"prompt_id": "ours", "value": 1e999, "max": {"9" * 400}}}}}',
    '{"type": "execution_cached", "data": {"prompt_id": "ours", "nodes": [["1"], {"a": 1}, null]}}',
    '{"type": "execution_cached", "data": {"prompt_id": "ours", "nodes": 5}}',
    '{"type": "executing", "data": {"prompt_id": "ours", "node": {"a": 1}}}',
    *(b"", b"\0", b"\0\0\0\4", struct.pack(">II", 4, 2**31) + b"{}", struct.pack(">II", 4, 3) + b"\xff\xff{"),
    *(
        struct.pack(">II", 4, 2) + b"[]x",
        struct.pack(">II", 99, 1) + b"x",
        struct.pack(">II", 3, 4) + b"abcd",
    ),
]


async def test_malformed_messages_are_ignored(follow: Following) -> None:
    follow.fake.running = ["ours"]
    task = follow.start(quiet_s=60)
    for frame in FRAMES:
        await follow.fake.send_raw(frame)
    await follow.fake.send("progress", "ours", value=3, max=4.0)
    await follow.fake.end("ours")
    assert await ended(task) == entry()
    last = follow.reports[-1][0]
    assert (last.step, last.steps) == (3, 4)
    assert follow.client.connected


# -- the rest of the client -------------------------------------------------------------------------------


async def test_a_prompt_that_begins_while_it_is_withdrawn_is_stopped_all_the_same() -> None:
    fake = FakeComfy()
    fake.running, fake.pending, fake.deaf = ["ours"], ["theirs"], 2
    async with connected(fake) as client, asyncio.timeout(20):
        await client.withdraw("ours")
    assert (fake.running, fake.pending) == ([], ["theirs"])
    assert verdict(fake.history["ours"])[0] == "interrupted"


@pytest.mark.parametrize("version", ["0.3.63", "unknown", "0.3.64", "v0.3.75.post1"])
async def test_withdrawing_stops_no_other_prompt_in_any_version(version: str) -> None:
    """An older ComfyUI ignores the id and would stop whatever runs."""
    fake = FakeComfy(version)
    fake.running, fake.pending = ["theirs"], ["ours"]
    async with connected(fake) as client:
        await client.withdraw("ours")
    assert (fake.running, fake.pending) == (["theirs"], [])
    assert ("/interrupt" in fake.paths()) is ("64" in version or "75" in version)


async def test_a_stranger_at_the_address_is_not_taken_for_comfyui() -> None:
    async with faked(FakeComfy()) as url:
        client = ComfyClient(f"{url}/history/x")
        try:
            with pytest.raises(ComfyUnavailable, match="is not ComfyUI"):
                await client.wait_ready(0.2)
        finally:
            await client.close()


async def test_a_server_that_takes_the_connection_and_says_nothing_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    client = ComfyClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        async with asyncio.timeout(20):
            with pytest.raises(ComfyUnavailable, match=r"did not answer within 0\.2 s"):
                await client.wait_ready(0.2)
            assert not await client.connect(0.2)
    finally:
        await client.close()
        server.close()


@pytest.mark.parametrize("status", [500, 413, 404])
async def test_an_answer_that_is_no_verdict_on_the_workflow_is_not_called_one(status: int) -> None:
    fake = FakeComfy()
    fake.broken = {"/prompt": status}
    async with connected(fake) as client:
        with pytest.raises(JobError, match=f"status {status}") as caught:
            await client.submit(WORKFLOW, "ours", {})
    assert (caught.value.code, caught.value.details) == ("comfyui_error", "broken")


async def test_validation_errors_name_node_input_and_way_out(tmp_path: Path) -> None:
    async def refused(workflow: dict[str, Any]) -> JobError:
        with pytest.raises(JobError) as caught:
            await client.submit(workflow, "x", {})
        assert caught.value.code == "validation_failed"
        return caught.value

    async with demo(tmp_path) as bench:
        client = ComfyClient(bench.url)
        try:
            missing = await refused({"1": empty(1), "2": node("SaveImage", images=["1", 0])})
            unknown = await refused({"7": node("NoSuchNode"), **WORKFLOW})
            none = await refused({"1": empty(1)})
        finally:
            await client.close()
    assert missing.node == {"id": "2", "class_type": "SaveImage", "input": "filename_prefix"}
    assert "node 2 (SaveImage): Required input is missing: filename_prefix." in missing.summary
    assert missing.hint == "Connect or fill the input."
    assert missing.node_errors is not None
    assert list(missing.node_errors) == ["2"]
    assert "NoSuchNode" in unknown.summary
    assert "Install the custom node" in unknown.hint
    assert "no outputs" in none.summary


def test_the_verdict_is_in_the_ending_message() -> None:
    stale = {"status": {"status_str": "error", "messages": [["execution_success", {}]]}}
    assert verdict(stale)[0] == "success"
    assert verdict(entry(word="interrupted"))[0] == "interrupted"
    assert verdict({"status": {"status_str": "success", "messages": [[], None, "x", ["a"]]}})[0] == "success"
    for hostile in ({}, {"status": None}, {"status": {"messages": 5}}, {"status": {"messages": {"a": 1}}}):
        assert verdict(hostile)[0] == "error"


def test_an_execution_error_is_one_sentence_with_the_rest_in_its_details() -> None:
    told = entry(
        word="error",
        node_id="3",
        node_type="KSampler",
        exception_message="Sizes differ:\nexpected 4\ngot 5\n",
        exception_type="RuntimeError",
        traceback=["line 1\n", "line 2\n"],
        current_inputs={"model": "m" * 9000, "seed": [5]},
    )
    with pytest.raises(JobError) as caught:
        raise_for_verdict(told, {})
    error = caught.value
    assert error.summary == "Node 3 (KSampler) failed: Sizes differ:"
    assert error.details == {
        "exception_type": "RuntimeError",
        "exception_message": "Sizes differ:\nexpected 4\ngot 5",
    }
    assert error.node == {
        "id": "3",
        "class_type": "KSampler",
        "input": {"model": "m" * 300, "seed": "[5]"},
    }
    assert error.traceback == ["line 1\n", "line 2\n"]
    with pytest.raises(JobError, match=r"Node  \(\) failed: no message"):
        raise_for_verdict({"status": {}}, {})
