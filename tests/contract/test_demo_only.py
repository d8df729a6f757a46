"""Where the demo engine is to be more than ComfyUI: stricter names, progress of batches, a clean end."""

from __future__ import annotations

import io
import json
import os
import struct
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from PIL import Image

from app.demo.files import Folders
from app.demo.server import DemoEngine
from tests.contract.driver import Client, chain, empty, node
from tests.engines import Engine, wait_until_ready
from worker.process import ChildProcess, clean_environment

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def _in_process(base: Path, *, previews: bool = False) -> AsyncIterator[Engine]:
    async with TestServer(DemoEngine(Folders.below(base), previews=previews).build()) as server:
        yield Engine("demo", str(server.make_url("")), base.resolve())


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Engine]:
    async with _in_process(tmp_path / "base") as engine:
        yield engine


async def test_it_says_that_it_is_the_demo_engine(demo: Engine) -> None:
    async with Client(demo) as client:
        _, stats = await client.json("GET", "/system_stats")
        assert stats["system"]["comfy_runpod_demo"] is True
        assert stats["system"]["comfyui_version"] == "0.3.64"
        async with client.http.get("/") as page:
            assert "This is not ComfyUI" in await page.text()


@pytest.mark.parametrize("name", ["../output/x.png", "/etc/hostname", "x.png\0", "../../x.png [temp]"])
async def test_names_that_leave_the_folder_are_refused(demo: Engine, name: str) -> None:
    (demo.output / "x.png").write_bytes(b"here")
    (demo.base.parent / "x.png").write_bytes(b"here")
    prompt = {"1": node("LoadImage", image=name), "2": node("PreviewImage", images=["1", 0])}
    async with Client(demo) as client:
        status, answer = await client.json("POST", "/prompt", {"prompt": prompt})
        assert status == 400
        (error,) = answer["node_errors"]["1"]["errors"]
        assert error["type"] == "custom_validation_failed"
        assert error["details"] == f"image - Invalid image file: {name}"


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="links need rights on Windows")
async def test_links_do_not_lead_out(demo: Engine, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (demo.input / "link").symlink_to(tmp_path)
    async with Client(demo) as client:
        query = "filename=secret.txt&subfolder=link&type=input"
        assert (await client.json("GET", f"/view?{query}"))[0] == 403
        assert (await client.upload("x.png", b"x", subfolder="link"))[0] == 400
    assert not (tmp_path / "x.png").exists()


async def test_a_batch_tells_its_progress_and_stops_between_images(demo: Engine) -> None:
    prompt = {
        "1": empty(0x112233, 700, count=40),
        "2": node("ImageBlur", image=["1", 0], blur_radius=9, sigma=4.0),
        "3": node("SaveImage", images=["2", 0], filename_prefix="batch"),
    }
    async with Client(demo) as client:
        prompt_id = await client.post(prompt)
        await client.until(lambda: "progress" in client.types(prompt_id))
        await client.json("POST", "/interrupt", {"prompt_id": prompt_id})
        await client.until_node(prompt_id, None)
        steps = [e["data"] for e in client.events if e["type"] == "progress"]
        assert [s["value"] for s in steps] == list(range(1, len(steps) + 1))
        assert {(s["max"], s["node"], s["prompt_id"]) for s in steps} == {(40, "2", prompt_id)}
        assert len(steps) < 40
        assert client.types(prompt_id)[-2:] == ["execution_interrupted", "executing"]
    assert not list(demo.output.iterdir())


@pytest.mark.parametrize("flags", [True, False])
async def test_previews_come_in_the_form_the_client_understands(tmp_path: Path, flags: bool) -> None:
    async with _in_process(tmp_path, previews=True) as engine, Client(engine, flags=flags) as client:
        prompt_id = await client.post(chain(0x223344, blurs=2, prefix="seen", side=900))
        await client.until_node(prompt_id, None)
        assert len(client.frames) == 2
        for frame, node_id in zip(client.frames, ("10", "11"), strict=True):
            event, number = struct.unpack(">II", frame[:8])
            picture = frame[8:]
            if flags:
                about = json.loads(frame[8 : 8 + number])
                picture = frame[8 + number :]
                assert (about["node_id"], about["prompt_id"]) == (node_id, prompt_id)
                assert about["image_type"] == "image/jpeg"
            assert (event, flags or number) == ((4, True) if flags else (1, 1))
            with Image.open(io.BytesIO(picture)) as shown:
                assert (shown.format, shown.size) == ("JPEG", (512, 512))
        order = [kind for kind in client.types(prompt_id) if kind in ("progress", "executing")]
        assert order.count("progress") == 2


async def test_a_workflow_with_models_is_told_what_is_missing(demo: Engine) -> None:
    prompt: dict[str, Any] = {
        "1": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "2": node("PreviewAny", source=["1", 0]),
    }
    async with Client(demo) as client:
        entry = await client.run(prompt)
        _, error = entry["status"]["messages"][-1]
        assert error["exception_type"] == "RuntimeError"
        assert "runs no models" in error["exception_message"]
        text = {"1": node("PrimitiveInt", value="7"), "2": node("PreviewAny", source=["1", 0])}
        assert (await client.run(text))["outputs"] == {"2": {"text": ["7"]}}


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ChildProcess]:
    command = [sys.executable, "-m", "app.demo", "--port", "0", "--base-directory", str(tmp_path), "--cpu"]
    options = ["--disable-auto-launch", "--preview-method", "none"]
    child = ChildProcess([*command, *options], env=clean_environment(), cwd=ROOT)
    yield child
    child.kill_group()


@pytest.mark.parametrize("how", ["interrupt", "terminate", "cut_lifeline"])
async def test_it_ends_cleanly_and_empties_temp_even_amid_a_prompt(
    process: ChildProcess, tmp_path: Path, how: str
) -> None:
    if os.name == "nt" and how == "terminate":
        pytest.skip("Windows ends a process without asking it")
    engine = Engine("demo", wait_until_ready(process, 20), tmp_path)
    async with Client(engine) as client:
        await client.run({"1": empty(1), "2": node("PreviewImage", images=["1", 0])})
        assert len(list((tmp_path / "temp").iterdir())) == 1
        prompt_id = await client.post(chain(2, blurs=200, prefix="never"))
        await client.until_node(prompt_id, "11")
        getattr(process, how)()
        assert process.wait(10) == 0
    assert not (tmp_path / "temp").exists()
    assert "Stopped server" in process.tail()
    assert not [line for line in process.tail() if "Traceback" in line]
