"""ComfyUI's own Run button on RunPod: page, node, bridge, panel, endpoint, and back again.

The node lives in the demo engine here, and in a real ComfyUI when COMFYUI_DIR names one. The page is played
by a client that does what the extension does; what only a browser can show is in test_browser.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from tests.contract.driver import Client
from tests.e2e.conftest import ROOT, Cli, blur_chain, color_workflow, until
from tests.e2e.places import place
from tests.engines import ENGINES, REAL_DIR, Engine, real_python

#: A "ComfyUI" on this disk that is the demo engine.
_MAIN = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from app.demo.__main__ import main
sys.exit(main(["--base-directory", str(Path(__file__).parent), *sys.argv[1:]]))
"""


def installed(engine: str, folder: Path) -> dict[str, str]:
    """A ComfyUI's folder, as settings of the environment's."""
    if engine == "real":
        for name in ("input", "output", "temp", "custom_nodes", "user", "models"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        options = f"--cpu --disable-api-nodes --base-directory {folder} --database-url sqlite:///{folder}/db"
        return {"COMFYUI_DIR": str(REAL_DIR), "COMFYUI_PYTHON": real_python(), "COMFYUI_ARGS": options}
    for name in ("input", "output"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text(_MAIN.format(root=str(ROOT)), "utf-8")
    return {"COMFYUI_DIR": str(folder), "COMFYUI_PYTHON": sys.executable}


@dataclass
class Routed:
    """A panel without a window, its ComfyUI, and the endpoint behind it."""

    cli: Cli
    folder: Path
    env: dict[str, str]
    panel: subprocess.Popen[str] | None = None
    url: str = ""

    def launch(self, *options: str) -> str:
        self.panel = self.cli.start("comfyui", "launch", "--json", *options)
        assert self.panel.stdout is not None
        line = self.panel.stdout.readline()
        assert line, self.panel.communicate()[1] + self.cli.logs()
        told = json.loads(line)
        assert "url" in told, (told, self.cli.logs())
        self.url = told["url"]
        return self.url

    def next_told(self) -> dict[str, Any]:
        assert self.panel is not None
        assert self.panel.stdout is not None
        told: dict[str, Any] = json.loads(self.panel.stdout.readline())
        return told

    @property
    def output(self) -> Path:
        return self.folder / "output"

    def bridge(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.cli.data / "comfyui" / "bridge.json").read_text("utf-8"))
        return told

    def page(self, client_id: str | None = None) -> Page:
        return Page(Engine("page", self.url, self.folder), client_id)


class Page(Client):
    """Does what the extension does in a page."""

    token = ""

    async def open(self) -> None:
        await super().open()
        await self.look()

    async def look(self) -> dict[str, Any]:
        status, state = await self.json("GET", "/comfy-runpod/state")
        assert status == 200, state
        self.token = state["token"]
        return state

    async def turn(self, mode: str) -> tuple[int, Any]:
        return await self.ask("POST", "/comfy-runpod/mode", {"mode": mode})

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        own = {"X-Comfy-RunPod-Page": self.token, "X-Comfy-RunPod-Workflow": "My%20lamp.json", **headers}
        async with self.http.request(method, path, json=body, headers=own) as answer:
            return answer.status, await answer.json(content_type=None)

    async def queue(self, prompt: Any, **more: Any) -> str:
        """Press Run; the prompt's id."""
        body = {"prompt": prompt, "client_id": self.id, **more}
        status, answer = await self.ask("POST", "/api/prompt", body)
        assert status == 200, answer
        return str(answer["prompt_id"])

    async def until_linked(self) -> None:
        async with asyncio.timeout(20):
            while not (await self.look())["connected"]:
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An endpoint with the demo engine behind it, as RunPod would be."""
    with place("demo", tmp_path_factory.mktemp("remote"), workers=2) as served:
        base, _, name = served.url.rpartition("/")
        access = {"RUNPOD_ENDPOINT_BASE_URL": base, "RUNPOD_ENDPOINT_ID": name}
        yield {**access, "RUNPOD_API_KEY": served.key}


@pytest.fixture(scope="module", params=ENGINES)
def shared(
    request: pytest.FixtureRequest, endpoint: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Routed]:
    """One panel for the tests that leave it as it was."""
    base = tmp_path_factory.mktemp(f"routed-{request.param}").resolve()
    (base / "models" / "checkpoints").mkdir(parents=True)
    (base / "models" / "checkpoints" / "outside.safetensors").write_bytes(b"x")
    models = {"COMFY_RUNPOD_MODELS": str(base / "models")}
    env = {**endpoint, **models, **installed(request.param, base / "ComfyUI")}
    routed = Routed(Cli(base / "data", env), base / "ComfyUI", env)
    routed.launch()
    yield routed
    assert routed.panel is not None
    routed.panel.send_signal(signal.SIGINT)
    routed.panel.communicate(timeout=30)
    left = [each.cmdline() for each in routed.cli.processes() if "main.py" in " ".join(each.cmdline())]
    routed.cli.clean_up()
    assert left == [], "a normal end stops ComfyUI"


@pytest.fixture
async def page(shared: Routed) -> AsyncIterator[Page]:
    async with shared.page() as page:
        await page.until_linked()
        yield page
        await page.turn("runpod")


def jobs_of(routed: Routed, prompt_id: str) -> dict[str, Any]:
    (job,) = [job for job in routed.cli.jobs() if job["id"] == prompt_id]
    return job


async def test_a_routed_run_looks_as_if_it_had_been_made_here(shared: Routed, page: Page) -> None:
    prompt = blur_chain(6, 600, color=0x112233, prefix="routed/lamp")
    prompt["shown"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    workflow = {"nodes": [], "id": "w"}
    secret = {"auth_token_comfy_org": "s3cr3t-token", "api_key_comfy_org": "s3cr3t-key"}
    extra = {"extra_pnginfo": {"workflow": workflow}, **secret}
    prompt_id = await page.queue(prompt, extra_data=extra)
    _, queue = await page.json("GET", "/queue")
    assert [item[1] for item in queue["queue_running"]] == [prompt_id]
    await page.until_node(prompt_id, None)
    types = page.types(prompt_id)
    assert types.index("execution_start") < types.index("progress_state") < types.index("executed")
    assert types[-2:] == ["execution_success", "executing"]
    entry = await page.history(prompt_id)
    assert (entry["status"]["status_str"], entry["status"]["completed"]) == ("success", True)
    (image,) = entry["outputs"]["save"]["images"]
    assert (image["subfolder"], image["type"]) == ("routed", "output")
    made = shared.output / "routed" / image["filename"]
    with Image.open(made) as picture:
        assert picture.size == (600, 600)
        assert json.loads(picture.text["workflow"]) == workflow
    (shown,) = entry["outputs"]["shown"]["images"]
    assert shown["type"] == "temp"
    async with page.http.get("/api/view", params=shown) as answer:
        assert (answer.status, (await answer.read())[:4]) == (200, b"\x89PNG")
    executed = {e["data"]["node"]: e["data"]["output"] for e in page.events if e["type"] == "executed"}
    assert executed == entry["outputs"]
    job = jobs_of(shared, prompt_id)
    assert (job["origin"], job["name"], job["state"]) == ("comfyui", "My lamp", "done")
    assert job["outputs"][0]["path"] == str(made)
    assert shared.next_told()["files"] == [str(made)]
    kept = json.dumps(entry) + (shared.cli.data / "jobs.sqlite").read_bytes().decode("latin-1")
    assert "s3cr3t" not in kept
    assert "s3cr3t" not in shared.cli.logs()


@pytest.mark.skipif(REAL_DIR is None, reason="the demo engine has no models")
async def test_models_outside_are_there_and_the_installation_is_untouched(
    shared: Routed, page: Page, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["shared"] != "real":
        pytest.skip("the demo engine has no models")
    _, names = await page.json("GET", "/models/checkpoints")
    assert names == ["outside.safetensors"]
    for name in (
        "extra_model_paths.yaml",
        "custom_nodes/comfy_runpod",
        "models/checkpoints/outside.safetensors",
    ):
        assert not Path(str(REAL_DIR), name).exists()


async def test_cancel_from_comfyui_s_own_button(shared: Routed, page: Page) -> None:
    first = await page.queue(blur_chain(80, color=1, prefix="never"))
    other = await page.queue(blur_chain(80, color=2, prefix="never"))
    await page.until(lambda: "progress_state" in page.types(first) and bool(page.frames))
    assert (await page.ask("POST", "/api/interrupt", {"prompt_id": first}))[0] == 200
    await page.until_node(first, None)
    assert "execution_interrupted" in page.types(first)
    assert jobs_of(shared, first)["state"] == "cancelled"
    _, queue = await page.json("GET", "/queue")
    assert [item[1] for item in queue["queue_running"]] == [other]
    await page.ask("POST", "/api/queue", {"delete": [other]})
    await page.until_node(other, None)
    entry = await page.history(other)
    assert [each[0] for each in entry["status"]["messages"]][-1] == "execution_interrupted"
    assert not list(shared.output.rglob("never*"))


async def test_an_error_names_the_node_and_what_happened(shared: Routed, page: Page) -> None:
    prompt = color_workflow(3, "fails")
    prompt["3"] = {"class_type": "ImageToMask", "inputs": {"image": ["1", 0], "channel": "alpha"}}
    prompt["4"] = {"class_type": "MaskToImage", "inputs": {"mask": ["3", 0]}}
    prompt["5"] = {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "fails"}}
    prompt_id = await page.queue(prompt)
    await page.until_node(prompt_id, None)
    (error,) = [e["data"] for e in page.events if e["type"] == "execution_error"]
    assert (error["node_id"], error["node_type"]) == ("3", "ImageToMask")
    assert error["exception_message"]
    assert error["traceback"]
    entry = await page.history(prompt_id)
    assert entry["status"]["status_str"] == "error"


async def test_only_a_part_runs_when_only_a_part_is_wanted_or_valid(shared: Routed, page: Page) -> None:
    prompt = color_workflow(5, "part-a")
    more = color_workflow(6, "part-b")
    prompt |= {"11": more["1"], "12": {**more["2"], "inputs": {**more["2"]["inputs"], "images": ["11", 0]}}}
    prompt_id = await page.queue(prompt, partial_execution_targets=["12"])
    await page.until_node(prompt_id, None)
    assert list((await page.history(prompt_id))["outputs"]) == ["12"]
    assert not list(shared.output.glob("part-a*"))
    del prompt["1"]["inputs"]["width"]
    body = {"prompt": prompt, "client_id": page.id}
    status, answer = await page.ask("POST", "/api/prompt", body)
    assert (status, list(answer["node_errors"])) == (200, ["1"])
    await page.until_node(answer["prompt_id"], None)
    assert list((await page.history(answer["prompt_id"]))["outputs"]) == ["12"]
    for each in ("11", "1"):
        prompt[each]["inputs"].pop("width", None)
    status, answer = await page.ask("POST", "/api/prompt", {"prompt": prompt, "client_id": page.id})
    assert (status, answer["error"]["type"]) == (400, "prompt_outputs_failed_validation")


async def test_a_picture_travels_wherever_in_comfyui_s_folders_it_lies(shared: Routed, page: Page) -> None:
    for kind, name in (("input", "masks/blue.png"), ("output", "made.png")):
        path = shared.folder / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (5, 4), (1, 2, 3) if kind == "input" else (9, 8, 7)).save(path)
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "masks/blue.png [input]"}},
        "2": {"class_type": "LoadImage", "inputs": {"image": "made.png [output]"}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "carried-1"}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "carried-2"}},
    }
    prompt_id = await page.queue(prompt)
    await page.until_node(prompt_id, None)
    outputs = (await page.history(prompt_id))["outputs"]
    colors = []
    for node in ("3", "4"):
        with Image.open(shared.output / outputs[node]["images"][0]["filename"]) as picture:
            colors.append(picture.convert("RGB").getpixel((0, 0)))
    assert colors == [(1, 2, 3), (9, 8, 7)]


@pytest.mark.parametrize("name", ["/etc/hostname", "../../secret.png", "..\\secret.png", "link.png"])
async def test_a_stranger_s_workflow_sends_no_file_of_this_computer(
    shared: Routed, page: Page, name: str
) -> None:
    (shared.folder.parent / "secret.png").write_bytes(b"secret")
    link = shared.folder / "input" / "link.png"
    if not link.is_symlink():
        link.symlink_to(shared.folder.parent / "secret.png")
    prompt = color_workflow(8, "stolen")
    prompt["1"] = {"class_type": "LoadImage", "inputs": {"image": name}}
    before = len(shared.cli.jobs())
    status, answer = await page.ask("POST", "/api/prompt", {"prompt": prompt, "client_id": page.id})
    assert status == 400
    assert answer["node_errors"]["1"]["errors"][0]["type"] == "custom_validation_failed"
    assert len(shared.cli.jobs()) == before


async def test_two_pages_show_the_same_switch_and_local_runs_here(shared: Routed, page: Page) -> None:
    async with shared.page() as other:
        status, state = await page.turn("local")
        assert (status, state["mode"], state["connected"]) == (200, "local", True)
        await other.until(
            lambda: any(
                e["type"] == "comfy-runpod.state" and e["data"]["mode"] == "local" for e in other.events
            )
        )
        assert "token" not in json.dumps(other.events)
        assert shared.bridge()["mode"] == "local"
        before = len(shared.cli.jobs())
        await page.run(color_workflow(0x0A0B0C, "here"))
        assert len(shared.cli.jobs()) == before
        assert list(shared.output.glob("here*"))
        assert (await other.turn("runpod"))[1]["mode"] == "runpod"
        await page.until(lambda: page.events[-1]["data"].get("mode") == "runpod")


_PROMPT = {"prompt": color_workflow(9, "attack")}
_ATTACKS: dict[str, dict[str, str]] = {
    "a foreign origin": {"Origin": "https://evil.example"},
    "another port": {"Origin": "http://127.0.0.1:1"},
    "no origin": {"Origin": "null"},
    "a rebound name": {"Host": "evil.example", "Origin": "http://evil.example"},
    "a rebound name without origin": {"Host": "evil.example:8188"},
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "a sibling": {"Sec-Fetch-Site": "same-site"},
    "a form": {"Content-Type": "text/plain"},
    "no token": {"X-Comfy-RunPod-Page": ""},
    "a guessed token": {"X-Comfy-RunPod-Page": "x" * 32},
}


@pytest.mark.parametrize("name", _ATTACKS)
async def test_nobody_but_comfyui_s_page_causes_a_run(shared: Routed, page: Page, name: str) -> None:
    headers = {"X-Comfy-RunPod-Page": page.token, "Content-Type": "application/json", **_ATTACKS[name]}
    before = len(shared.cli.jobs())
    for path, body in (
        ("/prompt", _PROMPT),
        ("/api/prompt", _PROMPT),
        ("/comfy-runpod/mode", {"mode": "local"}),
    ):
        async with page.http.post(path, data=json.dumps(body), headers=headers) as answer:
            assert answer.status == 403, (path, await answer.text())
    assert len(shared.cli.jobs()) == before
    assert (await page.look())["mode"] == "runpod"
    if "token" not in name and name != "a form":
        async with page.http.get("/comfy-runpod/state", headers=_ATTACKS[name]) as answer:
            assert answer.status == 403, "the token is for ComfyUI's own page"


async def test_no_key_is_in_comfyui(shared: Routed, page: Page) -> None:
    key = shared.env["RUNPOD_API_KEY"]
    for process in shared.cli.processes():
        if "main.py" in " ".join(process.cmdline()):
            assert key not in " ".join([*process.cmdline(), *process.environ().values()])
    for path in ("/internal/logs", "/system_stats", "/comfy-runpod/state", "/history", "/queue"):
        async with page.http.get(path) as answer:
            assert key not in await answer.text()
    assert key not in json.dumps(shared.bridge())
    assert shared.bridge()["token"] not in shared.cli.logs()


async def test_a_job_for_this_computer_runs_here_while_the_button_leads_to_runpod(
    shared: Routed, page: Page, tmp_path: Path
) -> None:
    file = tmp_path / "here.json"
    file.write_text(json.dumps(color_workflow(0x0D0E0F, "dropped")), "utf-8")
    remote = [job["id"] for job in shared.cli.jobs() if job["target"] == shared.env["RUNPOD_ENDPOINT_ID"]]
    # Not in a thread of this loop: the panel runs it, this only hands over.
    ran = await asyncio.to_thread(shared.cli.run, "run", file, "--target", "local", "--output", tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert list(tmp_path.glob("dropped*.png"))
    assert list(shared.output.glob("dropped*")), "this ComfyUI made it"
    assert (await page.look())["mode"] == "runpod"
    now = [job["id"] for job in shared.cli.jobs() if job["target"] == shared.env["RUNPOD_ENDPOINT_ID"]]
    assert now == remote, "the endpoint got nothing"


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_killed_panel_costs_nothing(engine: str, endpoint: dict[str, str], tmp_path: Path) -> None:
    env = {**endpoint, **installed(engine, tmp_path.resolve() / "ComfyUI"), "COMFY_RUNPOD_KEEP_ROUTING": "1"}
    routed = Routed(Cli(tmp_path.resolve() / "data", env), tmp_path.resolve() / "ComfyUI", env)
    try:
        url = routed.launch()
        assert routed.panel is not None
        async with routed.page() as page:
            await page.until_linked()
            prompt_id = await page.queue(blur_chain(30, color=0x31, prefix="outlived"))
            await page.until(lambda: "progress_state" in page.types(prompt_id))
            os.kill(routed.panel.pid, signal.SIGKILL)
            routed.panel.communicate()
            # ComfyUI goes on, says at Run that nobody is there, and runs nothing by itself.
            body = {"prompt": color_workflow(1, "unsent"), "client_id": page.id}
            status, answer = await page.ask("POST", "/api/prompt", body)
            assert status == 400
            assert answer["error"]["message"] == (
                "Not sent: The Comfy RunPod panel is not running. Switch to Local to run here."
            )
            comfyui = [each for each in routed.cli.processes() if "main.py" in " ".join(each.cmdline())]
            assert routed.launch() == url
            assert [each for each in comfyui if each.is_running()] == comfyui
            await page.until_node(prompt_id, None)
            assert (await page.history(prompt_id))["status"]["status_str"] == "success"
            assert [path.name for path in routed.output.glob("outlived*")] == ["outlived_00001_.png"]
            assert not list(routed.output.glob("unsent*"))
        routed.panel.send_signal(signal.SIGINT)
        routed.panel.communicate(timeout=30)
        until(lambda: not any(map(_runs, comfyui)), 10)
    finally:
        routed.cli.clean_up()


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
