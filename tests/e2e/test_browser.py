"""The official frontend in a real browser, on a real ComfyUI with the interception node.

Runs when COMFYUI_DIR names a ComfyUI and there is a Chromium. CI has neither: what the page shows, the
switch in its bar, its dialogs and its pictures are seen here only; all that goes over the wire is in
test_routing.py, on the demo engine.
"""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.browser import CHROMIUM, Browser, Tab, browser
from tests.e2e.conftest import Cli, blur_chain, color_workflow, until
from tests.e2e.places import place
from tests.e2e.test_routing import Routed, installed
from tests.engines import REAL_DIR
from tests.s3 import ACCESS, SECRET, s3_server

pytestmark = [
    pytest.mark.skipif(REAL_DIR is None, reason="needs a real ComfyUI"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]
VOLUME = "vol-1234567890"
#: A node with a list of checkpoints that loads none of them.
_NAMES_A_MODEL = """
import folder_paths, torch
class NamesAModel:
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"ckpt_name": (folder_paths.get_filename_list("checkpoints"),)}}
    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "run", "tests"
    def run(self, ckpt_name):
        return (torch.zeros(1, 8, 8, 3),)
NODE_CLASS_MAPPINGS = {"NamesAModel": NamesAModel}
"""
#: In newer frontends it is the button itself.
_RUN = '[data-testid="queue-button"] button, button[data-testid="queue-button"]'
_SEGMENT = ".comfy-runpod button[data-mode={}]"


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
    """ComfyUI with routing; RunPod is an endpoint with a second real ComfyUI, which has a model more."""
    base = tmp_path_factory.mktemp("browser").resolve()
    remote = base / "remote"
    for folder in (remote / "engine" / "custom_nodes", base / "ComfyUI" / "custom_nodes"):
        folder.mkdir(parents=True)
        (folder / "names_a_model.py").write_text(_NAMES_A_MODEL, "utf-8")
    # Else the page opens with a choice of templates before everything.
    settings = base / "ComfyUI" / "user" / "default" / "comfy.settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"Comfy.TutorialCompleted": true, "Comfy.Notification.ShowVersionUpdates": false}')
    listed = base / "s3" / VOLUME / "comfyui" / "models" / "checkpoints"
    for folder in (remote / "engine" / "models" / "checkpoints", listed):
        folder.mkdir(parents=True)
        (folder / "only_there.safetensors").write_bytes(b"x")
    with place("real", remote) as served, s3_server(base / "s3") as s3:
        url, _, name = served.url.rpartition("/")
        env = {
            "RUNPOD_ENDPOINT_BASE_URL": url, "RUNPOD_ENDPOINT_ID": name, "RUNPOD_API_KEY": served.key,
            "RUNPOD_VOLUME_ID": VOLUME, "RUNPOD_S3_URL": s3, "RUNPOD_S3_ACCESS_KEY": ACCESS,
            "RUNPOD_S3_SECRET_KEY": SECRET, "RUNPOD_DATACENTER": "EU-RO-1",
            **installed("real", base / "ComfyUI"),
        }  # fmt: skip
        found = Routed(Cli(base / "data", env), base / "ComfyUI", env)
        found.launch("--local")
        yield found
        assert found.panel is not None
        found.panel.send_signal(signal.SIGINT)
        found.panel.communicate(timeout=30)
        found.cli.clean_up()


@pytest.fixture
async def chromium(tmp_path: Path) -> AsyncIterator[Browser]:
    async with browser(tmp_path / "profile") as found:
        yield found


async def opened(chromium: Browser, routed: Routed) -> Tab:
    tab = await chromium.open(routed.url)
    await tab.until("!!window.app?.graph && !!document.querySelector('.comfy-runpod')")
    await tab.until(f"!document.querySelector('{_SEGMENT.format('runpod')}').disabled")
    return tab


async def load(tab: Tab, prompt: dict[str, Any], name: str = "A lamp.json") -> None:
    # The page numbers its nodes: other ids do not outlast a reload.
    prompt = {("999" if node_id == "save" else node_id): node for node_id, node in prompt.items()}
    await tab.run(f"app.loadApiJson({json.dumps(prompt)}, {json.dumps(name)})")
    await tab.until(f"app.graph._nodes.length === {len(prompt)}")
    await fit(tab)


async def fit(tab: Tab) -> None:
    """Have all nodes in sight: only those load their pictures."""
    await tab.call("Page.bringToFront")
    await tab.run("app.extensionManager.command.execute('Comfy.Canvas.FitView')")


def chosen(mode: str) -> str:
    return f"document.querySelector('{_SEGMENT.format(mode)}').getAttribute('aria-checked') === 'true'"


async def turn(tab: Tab, mode: str) -> None:
    await tab.click(_SEGMENT.format(mode))
    await tab.until(chosen(mode))


def shown(node_type: str) -> str:
    """Whether a node of this type shows a picture that is loaded."""
    return (
        f"app.graph._nodes.some(n => n.type === '{node_type}' && n.imgs?.length"
        " && n.imgs[0].complete && n.imgs[0].naturalWidth)"
    )


async def seen(tab: Tab, node_type: str = "SaveImage") -> None:
    """Wait for a node's picture. Only nodes in sight load theirs, and the page may move meanwhile."""
    for _ in range(12):
        await fit(tab)
        with suppress(TimeoutError):
            assert await tab.until(shown(node_type), 5)
            return
    raise TimeoutError(f"no picture in {node_type}")


async def test_run_on_runpod_from_the_page(routed: Routed, chromium: Browser, tmp_path: Path) -> None:
    tab = await opened(chromium, routed)
    other = await opened(chromium, routed)
    await load(tab, blur_chain(3, 500, color=0x4080C0, prefix="browser/lamp"))
    await turn(tab, "runpod")
    await other.until(chosen("runpod"))
    await tab.picture(tmp_path / "switched.png")
    await tab.click(_RUN)
    await seen(tab)
    address = await tab.run("app.graph._nodes.find(n => n.type === 'SaveImage').imgs[0].src")
    assert "subfolder=browser" in address
    (job,) = routed.cli.jobs()
    assert (job["origin"], job["state"], job["name"]) == ("comfyui", "done", "A lamp")
    assert Path(job["outputs"][0]["path"]).parent == routed.output / "browser"
    assert Path(job["outputs"][0]["path"]).is_file()
    await tab.run("app.extensionManager.command.execute('Workspace.ToggleSidebarTab.queue')")
    assert await tab.until("[...document.querySelectorAll('.side-bar-panel img')].some(i => i.naturalWidth)")
    await tab.picture(tmp_path / "done.png")
    foreign = {a for a in tab.addresses if a.startswith("http") and not a.startswith(routed.url)}
    assert not [a for a in foreign if "127.0.0.1" in a], "the page speaks to its own server only"


async def test_cancel_and_error(routed: Routed, chromium: Browser, tmp_path: Path) -> None:
    tab = await opened(chromium, routed)
    await turn(tab, "runpod")
    await load(tab, blur_chain(80, 1400, color=0x123, prefix="browser/never"))
    before = len(routed.cli.jobs())
    await tab.click(_RUN)
    await tab.until("document.title.includes('%')")
    await tab.picture(tmp_path / "running.png")
    await tab.run("app.extensionManager.command.execute('Comfy.Interrupt')")
    until(lambda: routed.cli.jobs()[before]["state"] == "cancelled", 30)
    await tab.until("!document.title.includes('%')")
    prompt = color_workflow(3, "fails")
    prompt["3"] = {"class_type": "ImageToMask", "inputs": {"image": ["1", 0], "channel": "alpha"}}
    prompt["4"] = {"class_type": "MaskToImage", "inputs": {"mask": ["3", 0]}}
    prompt["5"] = {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "fails"}}
    await load(tab, prompt)
    await tab.click(_RUN)
    text = await tab.until("document.querySelector('.p-dialog')?.innerText")
    await tab.picture(tmp_path / "error.png")
    assert "ImageToMask" in text
    assert "index 3 is out of bounds" in text


async def test_a_reload_in_the_middle_loses_nothing(routed: Routed, chromium: Browser) -> None:
    tab = await opened(chromium, routed)
    await turn(tab, "runpod")
    await load(tab, blur_chain(20, 1000, color=0x77, prefix="browser/reloaded"))
    await tab.click(_RUN)
    await tab.until("document.title.includes('%')")
    await tab.call("Page.reload")
    await tab.until("!!window.app?.graph && !!document.querySelector('.comfy-runpod')")
    await tab.until("app.graph._nodes.length > 10")
    await fit(tab)
    await seen(tab)


async def test_a_model_that_only_the_endpoint_has(routed: Routed, chromium: Browser, tmp_path: Path) -> None:
    tab = await opened(chromium, routed)
    prompt = {
        "1": {"class_type": "NamesAModel", "inputs": {"ckpt_name": "only_there.safetensors"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "browser/model"}},
    }
    await turn(tab, "local")
    await load(tab, prompt)
    widget = "app.graph._nodes.find(n => n.type === 'NamesAModel').widgets[0]"
    offered = f"{widget}.options.values.includes('only_there.safetensors')"
    await tab.until(f"!({offered})")
    await turn(tab, "runpod")
    assert await tab.until(offered)
    await tab.run(f"{widget}.value = 'only_there.safetensors'")
    await tab.click(_RUN)
    await seen(tab)
    await turn(tab, "local")
    await tab.until(f"!({offered})")
    await tab.run(f"{widget}.value = 'only_there.safetensors'")
    await tab.click(_RUN)
    await tab.until("/not in list/.test(document.body.innerText)")
    await tab.picture(tmp_path / "local.png")


async def test_a_foreign_page_makes_no_run(routed: Routed, chromium: Browser, tmp_path: Path) -> None:
    """A page of another site, with a sandboxed frame, which ComfyUI itself lets through."""
    tab = await opened(chromium, routed)
    await turn(tab, "runpod")
    before = len(routed.cli.jobs())
    body = json.dumps({"prompt": color_workflow(1, "attack")})
    inner = (
        f"<script>fetch('{routed.url}/prompt', {{method: 'POST', mode: 'no-cors', body: {json.dumps(body)},"
        " headers: {'Content-Type': 'text/plain'}}).finally(() => parent.postMessage('sent', '*'))</script>"
    )
    evil = tmp_path / "evil.html"
    evil.write_text(
        "<script>addEventListener('message', () => document.title = 'sent')</script>"
        f"<iframe sandbox='allow-scripts' srcdoc=\"{inner.replace(chr(34), '&quot;')}\"></iframe>",
        "utf-8",
    )
    page = await chromium.open(evil.as_uri())
    await page.until("document.title === 'sent'")
    assert len(routed.cli.jobs()) == before
    assert not list(routed.output.glob("attack*"))
