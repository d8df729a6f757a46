"""Whole recorded scenarios, replayed: the same answers and the same messages in the same order."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.contract.driver import Client, Recording
from tests.engines import Engine


async def _replay_with_events(engine: Engine, name: str) -> None:
    recording = Recording(name)
    async with Client(engine, recording.client_id) as client:
        await recording.replay(client)
        assert recording.mask(client.events, client) == recording.mask(recording.events, client)


async def test_success_and_then_the_same_prompt_from_the_cache(engine: Engine) -> None:
    await _replay_with_events(engine, "01-success")
    await _replay_with_events(engine, "02-cached")


async def test_every_validation_error(engine: Engine) -> None:
    await _replay_with_events(engine, "03-validation-errors")


async def test_execution_error_and_good_prompts_around_it(engine: Engine) -> None:
    (engine.input / "broken.png").write_text("not a picture")
    await _replay_with_events(engine, "04-execution-error")


async def test_ids_numbers_and_other_clients(engine: Engine) -> None:
    await _replay_with_events(engine, "13-client-given-prompt-id-number-front")


async def test_two_output_nodes_in_either_order(engine: Engine) -> None:
    recording = Recording("05-two-output-nodes")
    async with Client(engine, recording.client_id) as client:
        await recording.replay(client)

        def shape(events: list[dict[str, Any]]) -> Counter[str]:
            seen = recording.mask(events, client)
            return Counter(json.dumps(e, sort_keys=True) for e in seen if e["type"] != "progress_state")

        assert shape(client.events) == shape(recording.events)
        last = [e["data"]["nodes"] for e in client.events if e["type"] == "progress_state"][-1]
        assert {n: entry["state"] for n, entry in last.items()} == dict.fromkeys("1234", "finished")


async def test_one_output_fails_and_the_other_is_kept_or_never_runs(engine: Engine) -> None:
    (engine.input / "broken.png").write_text("not a picture")
    recording = Recording("06-one-output-fails-other-ok")
    bodies = [request["json"] for request, _ in recording.exchanges() if request["method"] == "POST"]
    recorded = next(e["data"] for e in recording.events if e["type"] == "execution_error")
    async with Client(engine, recording.client_id) as client:
        for body in bodies:
            prompt = body["prompt"]
            entry = await client.run(prompt)
            event, error = entry["status"]["messages"][-1]
            assert event == "execution_error"
            assert entry["status"]["status_str"] == "error"
            assert entry["status"]["completed"] is False
            assert error.keys() == recorded.keys()
            assert error["exception_type"] == recorded["exception_type"]
            assert prompt[error["node_id"]]["class_type"] == "LoadImage"
            showing = {n for n, v in prompt.items() if v["class_type"] in ("SaveImage", "PreviewImage")}
            assert entry["outputs"].keys() == showing & set(error["executed"])
            assert entry["meta"].keys() == entry["outputs"].keys()


async def test_uploads_and_what_load_image_takes(engine: Engine) -> None:
    for name in ("broken.png", "example.png"):
        (engine.input / name).write_text("not a picture")
    loading = Recording("11-loadimage-subfolder-and-annotated")
    async with Client(engine, loading.client_id) as client:
        await Recording("10-upload-image").replay(client)

        def leaves_the_folder(request: dict[str, Any]) -> bool:
            """Real ComfyUI tries to load it; the demo engine refuses (see test_demo_only)."""
            return "/etc/hostname" in str(request.get("json")) or request["path"] in escaped

        escaped = {
            "/history/" + answer["json"]["prompt_id"]
            for request, answer in loading.exchanges()
            if "/etc/hostname" in str(request.get("json"))
        }
        await loading.replay(client, leaves_the_folder)
