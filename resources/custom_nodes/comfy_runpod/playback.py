"""One prompt that runs elsewhere, shown as if it ran here: ComfyUI's own messages, files, and history."""

from __future__ import annotations

import asyncio
import base64
import binascii
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .host import Ending, Host, Json

#: A word for the page, beside ComfyUI's own messages.
NOTE_EVENT = "comfy-runpod.note"
#: Below ComfyUI's temp folder: pictures that nodes only show.
_ROOM = "comfy_runpod"
_VIDEO = (".mp4", ".webm", ".mov", ".mkv", ".gif")


class Playback:
    """Args:
    item: the prompt as it stands in the queue: number, id, prompt, extra data, outputs.
    """

    def __init__(self, host: Host, item: tuple[Any, ...], client_id: str | None) -> None:
        self._host = host
        _, self.prompt_id, self._prompt, _, outputs = item
        self._outputs: Sequence[str] = [str(output) for output in outputs]
        self._client_id = client_id
        self._key = f"runpod-{self.prompt_id}"
        self._messages: list[tuple[str, Json]] = []
        #: The nodes seen so far, as ``progress_state`` has them, in the order in which they came.
        self._nodes: dict[str, Json] = {}
        self._now = ""
        self._started = False
        host.enter(self._key, item)

    # What the panel reports.

    def begin(self) -> None:
        """It runs: from here on its time counts."""
        if self._started:
            return
        self._started = True
        self._tell("execution_start", {"timestamp": _now_ms()}, note=True)
        self._tell("execution_cached", {"nodes": [], "timestamp": _now_ms()}, note=True)

    def note(self, text: str) -> None:
        """It is held up, for this reason."""
        self._tell(NOTE_EVENT, {"text": text})

    def progress(self, told: Mapping[str, Any]) -> None:
        """A node, and how far it is."""
        node_id = str(told.get("node_id") or "")
        if node_id not in self._prompt:
            return
        self.begin()
        step, steps = _count(told.get("step")), _count(told.get("steps"))
        moved = node_id != self._now
        if moved:
            self._finish_node()
            self._now = node_id
        self._nodes[node_id] = self._node_state(node_id, step, max(steps, 1), "running")
        self._tell_states()
        if moved:
            self._tell("executing", {"node": node_id, "display_node": node_id})
        if steps:
            self._tell("progress", {"value": step, "max": steps, "node": node_id})
        picture = told.get("preview")
        if isinstance(picture, str):
            self._show(node_id, picture)

    async def done(self, files: Sequence[Mapping[str, Any]], texts: Sequence[Sequence[str]]) -> None:
        """It is done, and its files are here."""
        self.begin()
        outputs = await asyncio.to_thread(self._laid, files)
        for node_id, text in texts:
            outputs.setdefault(self._node_of(node_id), {}).setdefault("text", []).append(text)
        self._finish_node()
        for node_id in outputs:
            self._nodes[node_id] = self._node_state(node_id, 1, 1, "finished")
        self._tell_states()
        for node_id, output in outputs.items():
            self._tell("executed", {"node": node_id, "display_node": node_id, "output": output})
        self._tell("execution_success", {"timestamp": _now_ms()}, note=True)
        meta = {
            node_id: {
                "node_id": node_id,
                "display_node": node_id,
                "parent_node": None,
                "real_node_id": node_id,
            }
            for node_id in outputs
        }
        self._leave(Ending(outputs, meta, self._messages, succeeded=True))

    def failed(self, error: Mapping[str, Any]) -> None:
        """It failed; ``error`` as the panel keeps it: summary, hint, code, details."""
        self.begin()
        details = error.get("details")
        details = details if isinstance(details, Mapping) else {}
        node = details.get("node")
        node_id = self._node_of(str(node.get("id") or "") if isinstance(node, Mapping) else "")
        trace = details.get("traceback")
        lines = trace if isinstance(trace, list) else str(trace or "").splitlines(keepends=True)
        text = "\n".join(str(part) for part in (error.get("summary"), error.get("hint")) if part)
        if self._now:
            self._nodes[node_id] = self._node_state(node_id, 0, 1, "error")
            self._tell_states()
        told = {
            "node_id": node_id,
            "node_type": self._type_of(node_id),
            "executed": [each for each, state in self._nodes.items() if state["state"] == "finished"],
            "exception_message": text or "The job failed on RunPod.",
            "exception_type": str(details.get("exception_type") or error.get("code") or "RunPodError"),
            "traceback": [str(line) for line in lines][:200],
            "current_inputs": {},
            "current_outputs": [],
            "timestamp": _now_ms(),
        }
        self._tell("execution_error", told, note=True)
        self._leave(Ending({}, {}, self._messages, succeeded=False))

    def cancelled(self) -> None:
        self.begin()
        node_id = self._now or self._node_of("")
        told = {
            "node_id": node_id,
            "node_type": self._type_of(node_id),
            "executed": [each for each, state in self._nodes.items() if state["state"] == "finished"],
            "timestamp": _now_ms(),
        }
        self._tell("execution_interrupted", told, note=True)
        self._leave(Ending({}, {}, self._messages, succeeded=False))

    # How it is told.

    def _leave(self, ending: Ending) -> None:
        self._host.leave(self._key, ending)
        # Last: without it the page takes the prompt for running for ever.
        self._host.send("executing", {"node": None, "prompt_id": self.prompt_id}, self._client_id)

    def _tell(self, event: str, data: Json, *, note: bool = False) -> None:
        data = {"prompt_id": self.prompt_id, **data}
        if note:
            self._messages.append((event, data))
        self._host.send(event, data, self._client_id)

    def _tell_states(self) -> None:
        self._tell("progress_state", {"nodes": dict(self._nodes)})

    def _finish_node(self) -> None:
        if self._now:
            most = self._nodes[self._now]["max"]
            self._nodes[self._now] = self._node_state(self._now, most, most, "finished")

    def _node_state(self, node_id: str, value: int, most: int, state: str) -> Json:
        return {
            "value": value,
            "max": most,
            "state": state,
            "node_id": node_id,
            "prompt_id": self.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }

    def _show(self, node_id: str, encoded: str) -> None:
        try:
            picture = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return
        about = {
            "node_id": node_id,
            "prompt_id": self.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        self._host.send_preview(picture, about, self._client_id)

    def _node_of(self, node_id: str) -> str:
        """The node, or what stands for one that the prompt does not have: its first output."""
        if node_id in self._prompt:
            return node_id
        # Nodes inside one that unfolds are told as ``outer:inner``.
        outer = node_id.split(":")[0].split(".")[0]
        if outer in self._prompt:
            return outer
        return next(iter(self._outputs or self._prompt), "")

    def _type_of(self, node_id: str) -> str:
        node = self._prompt.get(node_id)
        return str(node.get("class_type")) if isinstance(node, dict) else "RunPod"

    # Files.

    def _laid(self, files: Sequence[Mapping[str, Any]]) -> dict[str, Json]:
        """``outputs`` as the history has them. Blocks: what lies elsewhere is copied to temp it."""
        folders = self._host.folders()
        output = folders["output"].resolve()
        laid: dict[str, Json] = {}
        for file in files:
            path = Path(str(file.get("path")))
            if path.is_relative_to(output):
                place, kind = path.relative_to(output), "output"
            else:
                place, kind = self._copied(path, folders["temp"]), "temp"
            subfolder = "" if place.parent == Path() else place.parent.as_posix()
            entry = {"filename": place.name, "subfolder": subfolder, "type": kind}
            told = laid.setdefault(self._node_of(str(file.get("node_id") or "")), {})
            key = str(file.get("key") or "") or _key_of(str(file.get("media_type") or ""))
            told.setdefault(key, []).append(entry)
            if key == "images" and place.suffix.lower() in _VIDEO:
                told["animated"] = (True,)
        return laid

    def _copied(self, path: Path, temp: Path) -> Path:
        place = Path(_ROOM, self.prompt_id, path.name)
        target = temp / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        return place


def _key_of(media_type: str) -> str:
    """The name that stock nodes tell such a file under."""
    return "audio" if media_type.startswith("audio/") else "3d" if "model/" in media_type else "images"


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _now_ms() -> int:
    return int(time.time() * 1000)
