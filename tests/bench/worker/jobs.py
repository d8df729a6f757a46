"""The jobs that are measured, and the least that any client does for one."""

from __future__ import annotations

import base64
import io
import itertools
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from PIL import Image

from tests.engines import Engine

#: Pictures that lie in ``input/`` from the start, and the side of what is cut out of them.
_STAGED = {"noise.png": (1100, 1024), "huge.png": (4560, 4480)}
_fresh = itertools.count(int(time.time()) % 1_000_000)


@dataclass(frozen=True)
class Job:
    """``images`` are base64 by name. No cache knows the workflow's results."""

    workflow: dict[str, Any]
    images: Mapping[str, str] = field(default_factory=dict)


def small() -> Job:
    picture = {"width": 64, "height": 64, "batch_size": 1, "color": next(_fresh)}
    return Job({"1": _node("EmptyImage", **picture), "2": _saved("1")})


def noise(count: int, staged: str = "noise.png") -> Job:
    """So many pictures that do not compress, each cut from another place of a larger one."""
    outer, side = _STAGED[staged]
    workflow = {"1": _node("LoadImage", image=staged)}
    for number in range(count):
        y, x = divmod(next(_fresh) % (outer - side) ** 2, outer - side)
        where = {"image": ["1", 0], "width": side, "height": side, "x": x, "y": y}
        workflow |= {f"1{number}": _node("ImageCrop", **where), f"2{number}": _saved(f"1{number}")}
    return Job(workflow)


def with_input() -> Job:
    """A picture of 5 MB goes in, a small one comes out."""
    scaled = {"image": ["1", 0], "upscale_method": "nearest-exact", "width": 64, "height": 64}
    workflow = {
        "1": _node("LoadImage", image="photo.png"),
        "2": _node("ImageScale", **scaled, crop="disabled"),
        "3": _saved("2"),
    }
    return Job(workflow, {"photo.png": base64.b64encode(_noise_png(1290)).decode()})


KINDS: dict[str, Callable[[], Job]] = {
    "64 px": small,
    "1024² noise": lambda: noise(1),
    "8 × 1024² noise": lambda: noise(8),
    "5 MB input": with_input,
}


def stage(engine: Engine) -> None:
    """Lay down what :func:`noise` cuts from."""
    for name, (side, _) in _STAGED.items():
        (engine.input / name).write_bytes(_noise_png(side))


def _noise_png(side: int) -> bytes:
    file = io.BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(side * side * 3)).save(file, "PNG", compress_level=0)
    return file.getvalue()


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def _saved(node_id: str) -> dict[str, Any]:
    return _node("SaveImage", images=[node_id, 0], filename_prefix="bench")


class Floor:
    """A client that checks nothing, keeps nothing, and does nothing that could be left out.

    Use as ``async with``.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._client_id = uuid.uuid4().hex

    async def __aenter__(self) -> Floor:
        self._session = aiohttp.ClientSession()
        address = f"{self._engine.url}/ws?clientId={self._client_id}"
        self._socket = await self._session.ws_connect(address, max_msg_size=0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._socket.close()
        await self._session.close()

    async def run(self, job: Job) -> dict[str, Any]:
        for name, image in job.images.items():
            (self._engine.input / name).write_bytes(base64.b64decode(image))
        body = {"prompt": job.workflow, "client_id": self._client_id}
        async with self._session.post(f"{self._engine.url}/prompt", json=body) as response:
            prompt_id = (await response.json())["prompt_id"]
        await self._ended(prompt_id)
        entry = (await self._history(f"/{prompt_id}"))[prompt_id]
        images = [
            {"filename": file["filename"], "type": "base64", "data": self._read(file)}
            for shown in entry["outputs"].values()
            for file in shown["images"]
        ]
        return {"status": "success", "images": images}

    async def last_execution_s(self) -> float:
        """How long ComfyUI itself worked on its last prompt, by its own clock."""
        (entry,) = (await self._history("?max_items=1")).values()
        at = {message[0]: message[1]["timestamp"] for message in entry["status"]["messages"]}
        return float(at["execution_success"] - at["execution_start"]) / 1000

    async def _ended(self, prompt_id: str) -> None:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                told = json.loads(message.data)
                data = told["data"]
                if told["type"] == "executing" and data["node"] is None and data["prompt_id"] == prompt_id:
                    return
        raise ConnectionError("The websocket was closed.")

    async def _history(self, path: str) -> dict[str, Any]:
        async with self._session.get(f"{self._engine.url}/history{path}") as response:
            entries: dict[str, Any] = await response.json()
            return entries

    def _read(self, file: Mapping[str, str]) -> str:
        path = Path(self._engine.output, file["subfolder"], file["filename"])
        return base64.b64encode(path.read_bytes()).decode("ascii")
