"""Debian's Chromium, driven over its own protocol: just what the tests of ComfyUI's page need."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIMIT_S = 40.0


class Tab:
    """One page. :meth:`run` gives values of JavaScript expressions, promises awaited."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())
        self.console: list[str] = []
        self.addresses: list[str] = []

    async def _read(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if told.get("id") in self._answers:
                self._answers.pop(told["id"]).set_result(told)
            elif told.get("method") == "Runtime.consoleAPICalled":
                args = told["params"]["args"]
                self.console.append(" ".join(str(a.get("value", a.get("description"))) for a in args))
            elif told.get("method") == "Network.requestWillBeSent":
                self.addresses.append(told["params"]["request"]["url"])

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        told = await asyncio.wait_for(answer, LIMIT_S)
        assert "error" not in told, told
        return dict(told["result"])

    async def run(self, script: str) -> Any:
        told = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, script: str, limit_s: float = LIMIT_S) -> Any:
        """Wait until an expression is true; its value."""
        ends_at = time.monotonic() + limit_s
        while time.monotonic() < ends_at:
            with suppress(AssertionError):
                if value := await self.run(script):
                    return value
            await asyncio.sleep(0.1)
        raise TimeoutError(f"never true: {script}\n" + "\n".join(self.console[-20:]))

    async def click(self, selector: str) -> None:
        """A real click in the middle of an element."""
        find = f"document.querySelector({json.dumps(selector)})"
        await self.call("Page.bringToFront")
        await self.until(f"!!{find}")
        x, y = await self.run(
            f"(() => {{ const b = {find}.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    async def picture(self, path: Path) -> None:
        told = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(told["data"]))

    async def close(self) -> None:
        await self._socket.close()
        self._reader.cancel()


class Browser:
    """Opens pages in one profile."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session, self._port = session, port
        self._tabs: list[Tab] = []

    async def open(self, url: str) -> Tab:
        async with self._session.put(f"http://127.0.0.1:{self._port}/json/new?about:blank") as answer:
            told = await answer.json(content_type=None)
        tab = Tab(await self._session.ws_connect(told["webSocketDebuggerUrl"], max_msg_size=0))
        self._tabs.append(tab)
        for domain in ("Page", "Runtime", "Network"):
            await tab.call(f"{domain}.enable")
        size = {"width": 1600, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await tab.call("Emulation.setDeviceMetricsOverride", **size)
        await tab.call("Page.navigate", url=url)
        return tab

    async def close(self) -> None:
        for tab in self._tabs:
            await tab.close()


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Browser]:
    """A browser with a profile of its own in ``folder``, until the block ends."""
    assert CHROMIUM is not None
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
    options += ["--disable-background-networking", "--disable-component-update", "--window-size=1600,900"]
    process = subprocess.Popen(
        [CHROMIUM, *options, "--remote-debugging-port=0", f"--user-data-dir={folder}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    said = folder / "DevToolsActivePort"
    try:
        async with asyncio.timeout(LIMIT_S):
            while not (said.is_file() and said.read_text().count("\n")):
                await asyncio.sleep(0.05)
        async with aiohttp.ClientSession() as session:
            found = Browser(session, int(said.read_text().split("\n")[0]))
            try:
                yield found
            finally:
                await found.close()
    finally:
        process.terminate()
        process.wait()
