"""Clients of worker-comfyui, of 5.x and of before, notice no difference: their requests, word for word."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.unit.worker.helpers import KEY, Bench, FakeComfy, demo, entry, faked, tree, until, working
from tests.unit.worker.test_contract import ANYTHING
from tests.unit.worker.test_download import Web, reply, web
from tests.unit.worker.test_handler import color, photo, png
from tests.unit.worker.test_validation import INPUTS
from worker.config import Bucket, Config
from worker.validation import bucket_of

__all__ = ["web"]

#: As worker-comfyui's own test_input.json has it.
DATA_URI = f"data:image/png;base64,{png()}"


def image_of_5(answer: dict[str, Any]) -> bytes:
    """What a 5.x client does with the answer of a job that is COMPLETED."""
    assert "error" not in answer
    (image,) = answer["images"]
    assert image["type"] == "base64"
    return base64.b64decode(image["data"])


@pytest.mark.parametrize("data", [png(), DATA_URI, base64.encodebytes(base64.b64decode(png())).decode()])
@pytest.mark.parametrize("as_text", [False, True])
async def test_requests_of_5(tmp_path: Path, data: str, as_text: bool) -> None:
    given: dict[str, Any] = {"images": [{"name": "photo.png", "image": data}], "workflow": photo()}
    if as_text:
        given = {**given, "workflow": json.dumps(photo()), "images": given["images"]}
    async with demo(tmp_path) as bench:
        answer = await bench.worker.handle(
            {"id": "sync-1-e1", "input": json.dumps(given) if as_text else given, "webhook": None}
        )
    assert image_of_5(answer).startswith(b"\x89PNG")


async def test_a_workflow_without_pictures(tmp_path: Path) -> None:
    async with demo(tmp_path) as bench:
        workflow = {"1": color(1)["1"], "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
        answer = await bench.run(workflow)
    assert {"status": "success_no_images", "images": []}.items() <= answer.items()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "Please provide input"),
        ("{", "Invalid JSON format in input"),
        ({"images": []}, "Missing 'workflow' parameter"),
        ({"workflow": color(1), "images": [{"name": "x"}]}, "'images' must be a list of objects with 'name'"),
        ({"workflow": color(1), "images": "x"}, "'images' must be a list of objects with 'name'"),
    ],
)
async def test_the_sentences_of_5(tmp_path: Path, given: Any, says: str) -> None:
    async with demo(tmp_path) as bench:
        answer = await bench.worker.handle({"id": "1", "input": given})
    assert answer["error"].startswith(says)
    json.dumps(answer)


async def test_older_requests_and_answers(tmp_path: Path) -> None:
    async with demo(tmp_path, adds_message=True) as bench:
        given = {"prompt": json.dumps(photo()), "images": [{"name": "photo.png", "image": png()}]}
        answer = await bench.worker.handle({"id": "1", "input": given})
    assert answer["status"] == "success"
    assert base64.b64decode(answer["message"]).startswith(b"\x89PNG")


async def test_the_key_of_the_endpoint_and_that_of_the_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake, seen = FakeComfy(), []

    async def notes(body: dict[str, Any]) -> None:
        seen.append(body["extra_data"].get("api_key_comfy_org"))
        fake.history[body["prompt_id"]] = entry(word="error", exception_message="401 for the-endpoint-s-key")
        await fake.send("executing", body["prompt_id"], node=None)

    fake.on_prompt = notes
    async with faked(fake) as url, working(url, tmp_path, comfy_org_api_key="the-endpoint-s-key") as bench:
        answers = [
            await bench.run(color(1), f"job-{number}", **fields)
            for number, fields in enumerate(({}, {"comfy_org_api_key": KEY}, {"api_key_comfy_org": KEY}))
        ]
    assert seen == ["the-endpoint-s-key", KEY, KEY]
    assert "the-endpoint-s-key" not in json.dumps(answers) + caplog.text
    assert "endpoint-s-key" not in repr(bench.config)


def test_the_environment_of_worker_comfyui_is_understood() -> None:
    config = Config.from_env(
        {
            "BUCKET_ENDPOINT_URL": "https://my-bucket.s3.eu-central-1.amazonaws.com/",
            "BUCKET_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "BUCKET_SECRET_ACCESS_KEY": KEY,
            "REFRESH_WORKER": "True",
            "COMFY_ORG_API_KEY": KEY,
        }
    )
    assert config.bucket is not None
    assert (config.bucket.endpoint, config.bucket.name) == (
        "https://my-bucket.s3.eu-central-1.amazonaws.com",
        None,
    )
    assert (config.refreshes, config.comfy_org_api_key) == (True, KEY)
    assert KEY in config.secrets
    assert KEY not in repr(config)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"BUCKET_ENDPOINT_URL": "s3.example.com"}, "BUCKET_ENDPOINT_URL is no address"),
        ({"BUCKET_ENDPOINT_URL": "https://x"}, "BUCKET_ACCESS_KEY_ID is missing"),
        (
            {"BUCKET_ENDPOINT_URL": "https://x", "BUCKET_ACCESS_KEY_ID": KEY},
            "BUCKET_SECRET_ACCESS_KEY is missing",
        ),
        ({"REFRESH_WORKER": "perhaps"}, "REFRESH_WORKER is neither"),
    ],
)
def test_settings_that_cannot_be_used_are_named(env: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}") as caught:
        Config.from_env(env)
    assert KEY not in str(caught.value)


@settings(max_examples=25, deadline=None)
@given(INPUTS | ANYTHING)
def test_whatever_comes_is_answered(raw: Any) -> None:
    """No input breaks the handler: without a ComfyUI each is a failure in one sentence."""

    async def answered() -> dict[str, Any]:
        async with working("http://127.0.0.1:9", Path("/nowhere"), answer_timeout_s=0.01) as bench:
            return await bench.worker.handle({"id": "1", "input": raw})

    answer = asyncio.run(answered())
    assert answer["code"] != "worker_error", answer["error"]
    assert answer["error"]
    json.dumps(answer)


# -- what is new to them ----------------------------------------------------------------------------------


async def test_an_image_may_be_an_address(tmp_path: Path, web: Web) -> None:
    content = base64.b64decode(png())
    web.answer = lambda request: reply(request, content)
    async with demo(tmp_path) as bench:
        bench.worker._downloader = web.downloader()
        given = [{"name": "masks/photo.png", "image": "https://pictures.example/x.png?key=1"}]
        answer = await bench.run(photo("masks/photo.png"), images=given)
        assert image_of_5(answer)
        web.names = [["169.254.169.254"]]
        refused = await bench.run(photo("masks/photo.png"), images=given)
        assert (refused["code"], refused["error"].count(".")) == ("bad_input", 2)
        assert tree(bench.config.input_dir) == {}


async def test_a_job_that_is_cancelled_while_an_input_is_fetched(tmp_path: Path, web: Web) -> None:
    def slowly(request: Any) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(400):
            request.wfile.write(b".")
            time.sleep(0.05)

    web.answer = slowly
    async with demo(tmp_path) as bench:
        bench.worker._downloader = web.downloader(timeout_s=60)
        task = bench.start(photo(), images=[{"name": "photo.png", "image": "https://pictures.example/"}])
        await until(lambda: web.seen)
        task.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 2
        assert tree(bench.config.input_dir) == {}


async def test_previews_come_on_request_only(tmp_path: Path) -> None:
    workflow = {**color(1), "9": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
    async with demo(tmp_path) as bench:
        plain = await bench.run(workflow, "one")
        shown = await bench.run(workflow, "two", output={"previews": True})
    assert [image["node_id"] for image in plain["images"]] == ["2"]
    assert [image["node_id"] for image in shown["images"]] == ["2", "9"]
    assert shown["images"][1]["data"]


async def lag(bench: Bench, go: Any) -> float:
    """The longest time that the loop was not there for others while ``go`` ran."""
    longest, done = 0.0, False

    async def watch() -> None:
        nonlocal longest
        while not done:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - before - 0.005)

    watcher = asyncio.create_task(watch())
    await go
    done = True
    await watcher
    return longest


@pytest.mark.parametrize("megabytes", [60, 9])
async def test_the_loop_goes_on_while_results_are_packed(tmp_path: Path, megabytes: int) -> None:
    """60 MB go to the volume, 9 MB into the answer; both are hashed and remembered."""
    fake = FakeComfy()
    (tmp_path / "output").mkdir()
    (tmp_path / "volume").mkdir()
    (tmp_path / "output" / "x.bin").write_bytes(os.urandom(megabytes * 10**6 * 3 // 4))

    async def answers(body: dict[str, Any]) -> None:
        item = {"filename": "x.bin", "subfolder": "", "type": "output"}
        fake.history[body["prompt_id"]] = entry({"2": {"files": [item]}})
        await fake.send("executing", body["prompt_id"], node=None)

    fake.on_prompt = answers
    volume = tmp_path / "volume"
    async with faked(fake) as url, working(url, tmp_path, volume=volume) as bench:
        await bench.run(color(1), "warm")
        lags: list[float] = []
        while min(lags, default=1) >= 0.1 and len(lags) < 8:  # the machine has other things to do as well
            wish = {"client_job_id": f"mine-{len(lags)}", "output": {"mode": "base64"}}
            lags.append(await lag(bench, bench.run(color(1), f"job-{len(lags)}", **wish)))
    assert min(lags) < 0.1, lags


async def test_a_bucket_that_comes_with_the_job(tmp_path: Path) -> None:
    """RunPod hands ``s3Config`` through; the worker must use it."""
    place = {"endpointUrl": "https://s3.example.com/", "accessId": "id", "accessSecret": "very-secret-key"}
    assert bucket_of({}) is None
    bucket = bucket_of({"s3Config": {**place, "bucketName": "mine"}})
    assert bucket == Bucket("https://s3.example.com", "id", "very-secret-key", "mine")
    assert "very-secret-key" not in repr(bucket)
    for wrong in (
        5,
        {**place, "accessSecret": ""},
        {**place, "endpointUrl": "http://169.254.169.254/"},
        {**place, "bucketName": 7},
    ):
        async with working("http://127.0.0.1:9", tmp_path) as bench:
            answer = await bench.worker.handle({"id": "1", "input": {"workflow": {}}, "s3Config": wrong})
        assert answer["code"] == "bad_input"
        assert "s3Config" in answer["error"]
        assert "very-secret-key" not in json.dumps(answer)
