"""One job from start to finish, at the demo engine: answers, failures, cancellation, second attempts."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.contract.driver import chain, empty, node
from tests.unit.worker.helpers import KEY, Bench, FakeComfy, demo, entry, faked, tree, until, working
from worker import engine
from worker import handler as module
from worker.contract import files_of, job_note
from worker.delivery import Delivery
from worker.errors import ComfyUnavailable
from worker.knowledge import Knowledge


def color(value: int, prefix: str = "x") -> dict[str, Any]:
    return {"1": empty(value), "2": node("SaveImage", images=["1", 0], filename_prefix=prefix)}


def photo(name: str = "photo.png", **more: Any) -> dict[str, Any]:
    load, save = node("LoadImage", image=name), node("SaveImage", images=["1", 0], filename_prefix="p")
    return {"1": load, "2": save, **more}


def png(value: int = 0x405060) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), value).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def slow(prefix: str = "slow", blurs: int = 300) -> dict[str, Any]:
    return chain(7, blurs=blurs, prefix=prefix, side=500)


PHOTO = [{"name": "photo.png", "image": png()}]


@pytest.fixture
async def attached(tmp_path: Path) -> AsyncIterator[Bench]:
    async with demo(tmp_path) as bench:
        (bench.config.input_dir / "theirs.png").write_bytes(b"the user's")
        yield bench


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Bench]:
    async with demo(tmp_path, own=True) as bench:
        yield bench


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    async with asyncio.timeout(20):
        with pytest.raises(asyncio.CancelledError):
            await task


# -- answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_mode", [False, True])
async def test_a_success_is_what_clients_of_worker_comfyui_expect(tmp_path: Path, own_mode: bool) -> None:
    async with demo(tmp_path, own=own_mode) as bench:
        before = tree(bench.config.input_dir)
        answer = await bench.run(photo(), images=PHOTO)
        assert answer.keys() == {"status", "images", "timings", "provenance"}
        assert answer["status"] == "success"
        (image,) = answer["images"]
        assert {
            "filename": "p_00001_.png",
            "type": "base64",
            "media_type": "image/png",
        }.items() <= image.items()
        with Image.open(io.BytesIO(base64.b64decode(image["data"]))) as shown:
            assert (shown.size, shown.getpixel((0, 0))) == ((8, 8), (0x60, 0x50, 0x40))
        assert answer["timings"].keys() == {"ready_s", "execute_s", "pack_s"}
        assert answer["provenance"]["comfyui"] == {"version": "0.3.64"}
        assert answer["provenance"]["gpu"] == "cpu"
        assert tree(bench.config.input_dir) == before
        json.dumps(answer)


async def test_without_pictures_it_is_a_success_too(attached: Bench) -> None:
    workflow = {"1": node("PrimitiveInt", value=7), "2": node("PreviewAny", source=["1", 0])}
    answer = await attached.run({**workflow, "3": empty(1), "4": node("PreviewImage", images=["3", 0])})
    assert (answer["status"], answer["images"]) == ("success_no_images", [])
    assert answer["text"] == [{"node_id": "2", "text": "7"}]


async def test_outputs_that_were_left_out_are_warned_of(attached: Bench) -> None:
    workflow = {**color(1), "9": node("SaveImage", images=["1", 0])}
    refused = await attached.run(workflow)
    assert refused["code"] == "validation_failed"
    assert refused["node"]["id"] == "9"
    assert "allow_partial" in refused["hint"]
    assert list(refused["diagnostic_info"]["node_errors"]) == ["9"]
    assert await attached.queue() == ([], []), "and no part of it goes on"
    answer = await attached.run(workflow, allow_partial=True)
    assert answer["status"] == "success"
    assert [image["node_id"] for image in answer["images"]] == ["2"]
    (warning,) = answer["warnings"]
    assert warning.startswith("Outputs that depend on node 9 were left out. Required input is missing")


async def test_a_note_and_big_results_are_on_the_volume(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    async with demo(tmp_path / "base", volume=volume) as bench:
        answer = await bench.run(color(3), "platform-id", client_job_id="mine", output={"mode": "volume"})
    note = json.loads((volume / job_note("mine")).read_text())
    assert note["id"] == "platform-id"
    (file,) = files_of(answer)
    assert (volume / file.data).read_bytes() == (bench.config.output_dir / file.filename).read_bytes()


async def test_a_note_that_cannot_be_written_costs_no_job(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / ".comfy-runpod").write_text("a file where the folder must be")
    async with demo(tmp_path / "base", volume=volume) as bench:
        assert (await bench.run(color(3), client_job_id="mine"))["status"] == "success"


# -- failures ---------------------------------------------------------------------------------------------


async def test_a_request_that_cannot_be_understood(attached: Bench) -> None:
    answer = await attached.worker.handle({"id": "1", "input": "{"})
    assert (answer["status"], answer["code"]) == ("error", "bad_input")
    assert answer["error"].startswith("Invalid JSON format in input")
    assert answer["diagnostic_info"].keys() == {"memory", "disk"}


async def test_a_workflow_that_comfyui_refuses(attached: Bench) -> None:
    answer = await attached.run(photo("absent.png"))
    assert answer.keys() >= {"error", "status", "code", "details", "hint", "node", "diagnostic_info"}
    assert (answer["status"], answer["code"]) == ("error", "validation_failed")
    assert "Node 1 (LoadImage)" in answer["error"]
    assert "absent.png" in answer["error"]
    assert answer["node"] == {"id": "1", "class_type": "LoadImage", "input": "image"}
    assert answer["diagnostic_info"]["node_errors"]["1"]["errors"][0]["type"] == "custom_validation_failed"
    assert answer["diagnostic_info"]["available_models"] == {}
    assert answer["diagnostic_info"]["comfyui_status"] == "answering, version 0.3.64"
    assert await attached.history() == {}


async def test_a_node_that_fails(attached: Bench) -> None:
    before = tree(attached.config.input_dir)
    broken = {"name": "photo.png", "image": base64.b64encode(b"no picture").decode()}
    for _ in range(60):
        await attached.ask("POST", "/interrupt", {})  # a line in the log each
    answer = await attached.run(photo(), images=[broken])
    assert (answer["status"], answer["code"]) == ("error", "execution_failed")
    assert answer["error"].startswith("Node 1 (LoadImage) failed: cannot identify image file")
    assert "\n" not in answer["error"]
    assert answer["node"]["class_type"] == "LoadImage"
    assert answer["details"]["exception_type"].endswith("UnidentifiedImageError")
    assert "file_nodes.py" in answer["traceback"]
    lines = answer["diagnostic_info"]["last_log_lines"]
    assert len(lines) == 50
    assert any("cannot identify image file" in line for line in lines)
    assert tree(attached.config.input_dir) == before


async def test_what_was_done_before_a_failure_comes_with_it(tmp_path: Path) -> None:
    fake = FakeComfy()
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "x.png").write_bytes(b"done")

    async def fails(body: dict[str, Any]) -> None:
        images = {
            "images": [{"filename": name, "subfolder": "", "type": "output"} for name in ("x.png", "y")]
        }
        fake.history[body["prompt_id"]] = entry({"2": images}, word="error", exception_message="No.")
        await fake.send("executing", body["prompt_id"], node=None)

    fake.on_prompt = fails
    async with faked(fake) as url, working(url, tmp_path) as bench:
        answer = await bench.run(color(1))
    assert answer["code"] == "execution_failed"
    assert [base64.b64decode(image["data"]) for image in answer["images"]] == [b"done"]


async def test_a_failure_is_never_too_large_for_the_platform(tmp_path: Path) -> None:
    fake = FakeComfy()

    async def fails(body: dict[str, Any]) -> None:
        told = {"exception_message": "x" * 5_000_000, "traceback": ["y" * 5_000_000]}
        fake.history[body["prompt_id"]] = entry(word="error", node_id="1", **told)
        await fake.send("executing", body["prompt_id"], node=None)

    fake.on_prompt = fails
    async with faked(fake) as url, working(url, tmp_path) as bench:
        answer = await bench.run(color(1))
    assert len(json.dumps(answer)) < 1_000_000
    assert answer["error"].startswith("Node 1 (EmptyImage) failed: xxx")
    assert answer["traceback"] == "too large"


async def test_the_log_of_an_own_comfyui_is_the_supervisor_s(own: Bench) -> None:
    answer = await own.run(photo("absent.png"))
    assert answer["diagnostic_info"]["last_log_lines"][-1] == "own log line 49"


async def test_a_comfyui_that_does_not_answer_is_told_of(tmp_path: Path) -> None:
    async with working("http://127.0.0.1:9", tmp_path, answer_timeout_s=0.2) as bench:
        answer = await bench.run(color(1))
    assert answer["code"] == "comfyui_unavailable"
    assert answer["error"].startswith("ComfyUI at http://127.0.0.1:9 is not answering")
    assert answer["hint"] == "Start ComfyUI, or look at its log."
    assert answer["diagnostic_info"]["last_log_lines"] == []


async def test_a_prompt_that_takes_too_long_is_stopped(attached: Bench) -> None:
    answer = await attached.run(slow(), timeout=0.3)
    assert answer["code"] == "execution_timeout"
    assert await attached.queue() == ([], [])
    assert not list(attached.config.output_dir.iterdir())
    assert (await attached.run(color(1)))["status"] == "success"


async def test_an_output_folder_that_is_not_comfyui_s_is_told_after_one_run(tmp_path: Path) -> None:
    async with demo(tmp_path / "a", output_dir=tmp_path / "other") as bench:
        answer = await bench.run(color(1))
        assert len(await bench.history()) == 1
    assert answer["code"] == "outputs_missing"
    assert answer["details"]["missing"] == ["x_00001_.png"]


async def test_a_bug_of_ours_is_a_failed_job_too(
    attached: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError(f"with {KEY} in its text")

    monkeypatch.setattr(module.outputs, "collect", broken)
    answer = await attached.run(color(1), comfy_org_api_key=KEY)
    assert answer["code"] == "worker_error"
    assert answer["error"] == "The worker failed: ZeroDivisionError: with *** in its text"
    assert "test_handler.py" in answer["traceback"]
    assert "ZeroDivisionError" in caplog.text
    assert KEY not in caplog.text + json.dumps(answer)


async def test_the_user_s_key_reaches_comfyui_and_nobody_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ComfyUI tells a failed API node's inputs with the key among them."""
    caplog.set_level(logging.DEBUG)
    fake = FakeComfy()

    async def fails(body: dict[str, Any]) -> None:
        assert body["extra_data"]["api_key_comfy_org"] == KEY
        told = {"exception_message": f"401 for {KEY}", "traceback": [f"key={KEY}\n"]}
        fake.history[body["prompt_id"]] = entry(
            word="error", node_id="1", current_inputs={"api_key_comfy_org": [KEY]}, **told
        )
        await fake.send("executing", body["prompt_id"], node=None)

    fake.on_prompt = fails
    async with faked(fake) as url, working(url, tmp_path) as bench:
        answer = await bench.run(color(1), api_key_comfy_org=KEY)
    assert answer["error"] == "Node 1 (EmptyImage) failed: 401 for ***"
    assert answer["node"]["input"] == {"api_key_comfy_org": "['***']"}
    assert KEY not in json.dumps(answer) + caplog.text


# -- cancellation -----------------------------------------------------------------------------------------


async def test_cancelled_while_it_runs(attached: Bench) -> None:
    before = tree(attached.config.input_dir)
    seen = {"3": node("LoadImage", image="photo.png"), "4": node("PreviewImage", images=["3", 0])}
    task = attached.start({**slow(), **seen}, images=PHOTO)
    await until(lambda: len(tree(attached.config.input_dir)) > len(before))

    async def runs() -> bool:
        return bool((await attached.queue())[0])

    await until(runs)
    theirs = await attached.by_hand(color(5, "theirs"))
    await cancelled(task)
    assert attached.worker.tidy.is_set()
    assert tree(attached.config.input_dir) == before
    assert (await attached.ended(theirs))["status"]["status_str"] == "success"
    ours = [entry for prompt_id, entry in (await attached.history()).items() if prompt_id != theirs]
    assert [entry["status"]["messages"][-1][0] for entry in ours] == ["execution_interrupted"]
    assert (await attached.run(color(6)))["status"] == "success"


async def test_cancelled_while_it_waits_behind_somebody_else_s_prompt(attached: Bench) -> None:
    before = tree(attached.config.input_dir)
    theirs = await attached.by_hand(slow("theirs", blurs=100))
    task = attached.start(photo(), images=PHOTO)

    async def ours_waits() -> bool:
        running, pending = await attached.queue()
        return running == [theirs] and len(pending) == 1

    await until(ours_waits)
    await cancelled(task)
    assert (await attached.queue())[1] == []
    assert tree(attached.config.input_dir) == before
    assert (await attached.ended(theirs))["status"]["status_str"] == "success"
    assert list(await attached.history()) == [theirs]
    assert attached.worker.tidy.is_set()


@pytest.mark.parametrize("twice", [False, True])
async def test_cancelled_while_inputs_are_staged(
    attached: Bench, monkeypatch: pytest.MonkeyPatch, twice: bool
) -> None:
    before = tree(attached.config.input_dir)
    stage = module.inputs.stage
    begun, go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def held(*given: Any, **more: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result()
        return stage(*given, **more)

    monkeypatch.setattr(module.inputs, "stage", held)
    task = attached.start(photo(), images=PHOTO)
    await begun.wait()
    for _ in range(1 + twice):
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not attached.worker.tidy.is_set()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tree(attached.config.input_dir) == before
    assert await attached.history() == {}
    assert attached.worker.tidy.is_set()


async def test_cancelled_while_the_prompt_is_handed_over(tmp_path: Path) -> None:
    """Nobody knows then whether ComfyUI will take it: it must not run for nobody afterwards."""
    fake = FakeComfy()
    arrived, go = asyncio.Event(), asyncio.Event()

    async def slowly(body: dict[str, Any]) -> None:
        arrived.set()
        await go.wait()
        fake.running.append(body["prompt_id"])

    fake.on_prompt = slowly
    async with faked(fake) as url, working(url, tmp_path) as bench:
        task = bench.start(color(1))
        await arrived.wait()
        task.cancel()
        await asyncio.sleep(0.05)
        go.set()
        await cancelled(task)
        assert fake.running == []
        assert [ended["status"]["messages"][-1][0] for ended in fake.history.values()] == [
            "execution_interrupted"
        ]


@pytest.mark.parametrize("unwilling", [False, True])
async def test_cancelled_twice_it_is_taken_out_of_comfyui_all_the_same(
    tmp_path: Path, unwilling: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake = FakeComfy()
    if unwilling:
        fake.deaf = 10_000
        monkeypatch.setattr(engine, "_CANCEL_CONFIRM_S", 0.3)
    async with faked(fake) as url, working(url, tmp_path) as bench:
        task = bench.start(photo(), images=PHOTO)
        await until(lambda: fake.running)
        task.cancel()
        await asyncio.sleep(0)
        await cancelled(task)
        assert bool(fake.running) is unwilling
        assert ("could not be stopped" in caplog.text) is unwilling
        assert tree(bench.config.input_dir) == {}
        client = bench.worker._engine.client
        assert client is not None
        assert client._followers == {}
        assert bench.worker.tidy.is_set()


@pytest.mark.parametrize("own_mode", [False, True])
async def test_cancelled_while_results_are_packed(
    tmp_path: Path, own_mode: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 16 MB for the volume: no piece of it stays there, and the next job runs."""
    volume = tmp_path / "volume"
    volume.mkdir()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    read, reads = Delivery._read, [0]

    def noted(self: Delivery, *given: Any) -> bytes:
        reads[0] += 1
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.04)  # a slow network volume: all of it takes half a second
        return read(self, *given)

    monkeypatch.setattr(Delivery, "_read", noted)
    async with demo(tmp_path, own=own_mode, volume=volume) as bench:
        noise = bench.config.input_dir / "noise.png"
        noise.parent.mkdir(exist_ok=True)
        side = 2300
        Image.frombytes("RGB", (side, side), random.randbytes(side * side * 3)).save(noise, compress_level=0)
        before = tree(bench.config.input_dir)
        task = bench.start(
            {
                "1": node("LoadImage", image="noise.png"),
                "2": node("SaveImage", images=["1", 0], filename_prefix="big"),
            },
            output={"mode": "volume"},
        )
        async with asyncio.timeout(60):
            await begun.wait()
        await cancelled(task)
        assert reads[0] < 12, "the rest of the 16 MB is not read any more"
        assert not list((volume / ".comfy-runpod").rglob("*.png*"))
        assert tree(bench.config.input_dir) == before
        assert bool(list(bench.config.output_dir.glob("*.png"))) is not own_mode
        assert bench.worker.tidy.is_set()
        assert (await bench.run(color(6)))["status"] == "success"


async def test_inputs_that_cannot_be_taken_away_cost_no_result(
    attached: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unlink = Path.unlink

    def busy(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".png":
            raise PermissionError(13, "another program has it open")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", busy)
    assert (await attached.run(photo(), images=PHOTO))["status"] == "success"
    assert "another program has it open" in caplog.text


# -- second attempts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_mode", [False, True])
async def test_a_cached_prompt_whose_file_is_gone_runs_once_more(tmp_path: Path, own_mode: bool) -> None:
    async with demo(tmp_path, own=own_mode) as bench:
        first = await bench.run(color(3), "one")
        for path in bench.config.output_dir.iterdir():
            path.unlink()
        second = await bench.run(color(3), "two")
        assert first["status"] == second["status"] == "success"
        assert second["images"][0]["data"]
        assert (bench.config.output_dir / second["images"][0]["filename"]).is_file()


async def test_a_cache_that_is_forgotten_late_is_waited_for(tmp_path: Path) -> None:
    """ComfyUI forgets when it is idle: a prompt that comes first is answered from the cache once more."""
    fake, runs = FakeComfy(), 0
    output = tmp_path / "output"
    output.mkdir()

    async def answers(body: dict[str, Any]) -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            (output / "x.png").write_bytes(b"anew")
        images = {"images": [{"filename": "x.png", "subfolder": "", "type": "output"}]}
        fake.history[body["prompt_id"]] = entry({"2": images}, cached=["1", "2"] if runs < 3 else [])
        await fake.send("executing", body["prompt_id"], node=None)

    fake.on_prompt = answers
    async with faked(fake) as url, working(url, tmp_path) as bench:
        answer = await bench.run(color(1))
    assert base64.b64decode(answer["images"][0]["data"]) == b"anew"
    assert fake.paths().count("/free") == 2


async def test_an_own_comfyui_s_output_is_emptied_of_what_was_delivered(own: Bench) -> None:
    await own.run(color(1, "first"), "one")
    assert [path.name for path in own.config.output_dir.iterdir()] == ["first_00001_.png"]
    await own.run(color(2, "second"), "two")
    assert [path.name for path in own.config.output_dir.iterdir()] == ["second_00001_.png"]


async def test_the_same_job_again_does_not_run_again(attached: Bench) -> None:
    first = await attached.run(photo(), "same", images=PHOTO)
    second = await attached.run(photo(), "same", images=PHOTO)
    assert second["images"] == first["images"]
    assert len(await attached.history()) == 1
    third = await attached.run(color(8), "same")
    assert third["images"] != first["images"], "another workflow under the same id is another job"


async def test_a_prompt_that_a_killed_worker_left_is_followed(tmp_path: Path) -> None:
    async with demo(tmp_path) as bench, working(bench.url, tmp_path.resolve()) as heir:
        workflow = slow(blurs=25)
        task = bench.start(workflow, "same")

        async def runs() -> bool:
            return bool((await bench.queue())[0])

        await until(runs)
        # A killed worker withdraws nothing.
        again = heir.start(workflow, "same")
        answers = await asyncio.gather(task, again)
        assert [answer["status"] for answer in answers] == ["success"] * 2
        assert answers[0]["images"] == answers[1]["images"]
        assert len(await bench.history()) == len(list(bench.config.output_dir.iterdir())) == 1


async def test_the_old_end_of_a_repeated_job_is_not_taken_for_its_new_one(attached: Bench) -> None:
    task = attached.start(slow("again", blurs=60), "same")

    async def runs() -> bool:
        return bool((await attached.queue())[0])

    await until(runs)
    await cancelled(task)
    assert len(await attached.history()) == 1
    # It waits for longer than the worker listens before it asks: the history must not know the old end then.
    theirs = await attached.by_hand(slow("theirs", blurs=200))
    again = attached.start(slow("again", blurs=2), "same")

    async def ours_waits_behind_theirs() -> bool:
        running, pending = await attached.queue()
        return running == [theirs] and len(pending) == 1

    await until(ours_waits_behind_theirs)
    assert list(await attached.history()) == []
    await attached.ask("POST", "/interrupt", {"prompt_id": theirs})
    assert (await again)["status"] == "success"


@pytest.mark.parametrize("own_mode", [False, True])
async def test_a_comfyui_that_falls_silent_and_lives_is_freed_of_the_prompt(
    tmp_path: Path, own_mode: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeComfy()

    async def takes_it_and_breaks(body: dict[str, Any]) -> None:
        fake.running.append(body["prompt_id"])
        fake.broken = {"/queue": 503}

    async def silent(*_: Any, **__: Any) -> Any:
        fake.broken = {}
        raise ComfyUnavailable("It fell silent.")

    fake.on_prompt = takes_it_and_breaks
    monkeypatch.setattr(engine, "follow_prompt", silent)
    async with faked(fake) as url, working(url, tmp_path, own=own_mode) as bench:
        answer = await bench.run(color(1))
    assert answer["error"] == "It fell silent."
    assert fake.running == []


async def test_a_comfyui_that_died_at_the_end_costs_no_result(tmp_path: Path) -> None:
    fake = FakeComfy()

    async def answers(body: dict[str, Any]) -> None:
        fake.history[body["prompt_id"]] = entry()
        fake.broken = {"/system_stats": 503}
        await fake.send("executing", body["prompt_id"], node=None)

    fake.on_prompt = answers
    async with faked(fake) as url, working(url, tmp_path) as bench:
        assert (await bench.run(color(1)))["status"] == "success_no_images"


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_what_is_told_beside_a_result_cannot_cost_it(
    own: Bench, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async def told(*_: Any) -> dict[str, Any]:
        if how == "fails":
            raise RuntimeError("a mistake of ours")
        await asyncio.sleep(3600)
        return {}

    monkeypatch.setattr(Knowledge, "told", told)
    monkeypatch.setattr(module, "_TELLING_S", 0.05)
    answer = await own.run(color(8))
    assert answer["status"] == "success"
    assert "models" not in answer["provenance"]
