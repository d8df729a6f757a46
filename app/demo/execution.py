"""Runs one prompt after the other in a thread of its own and tells clients about it."""

from __future__ import annotations

import threading
import time
import traceback
from dataclasses import dataclass
from typing import Any

from app.demo.catalogue import hidden_of, inputs_of
from app.demo.files import Folders
from app.demo.graph import ExecutionOrder, signatures
from app.demo.logs import LogRing
from app.demo.messages import MessageHub, preview_jpeg
from app.demo.nodes import NODES
from app.demo.pictures import Picture
from app.demo.queue import PromptResult, QueueItem
from app.demo.registry import Interrupted, Shown
from app.demo.validation import is_link, type_name


@dataclass(frozen=True)
class _Cached:
    outputs: tuple[Any, ...]
    ui: dict[str, Any] | None
    meta: dict[str, Any]


class _NodeFailed(Exception):
    """``inputs``: the node's, as clients are shown them."""

    def __init__(self, node_id: str, error: Exception, inputs: dict[str, Any]) -> None:
        super().__init__(node_id)
        self.node_id = node_id
        self.error = error
        self.inputs = inputs


class Executor:
    """Owns the cache: results of the last prompt's nodes. :meth:`run` belongs to one thread."""

    def __init__(self, hub: MessageHub, folders: Folders, log: LogRing, *, previews: bool) -> None:
        self._hub = hub
        self._folders = folders
        self._log = log
        self._previews = previews
        self._cache: dict[str, _Cached] = {}
        self._interrupt = threading.Event()
        self._client_id: str | None = None
        self._node_id: str | None = None

    def interrupt(self) -> None:
        self._interrupt.set()

    def clear_interrupt(self) -> None:
        self._interrupt.clear()

    def forget(self) -> None:
        """Drop the cache. From the executing thread only."""
        self._cache = {}

    def current_node(self, client_id: str) -> str | None:
        """The node that runs for this client, if one does."""
        return self._node_id if client_id == self._client_id else None

    def run(self, item: QueueItem) -> PromptResult:
        self._client_id = item.client_id
        run = _Run(item, self._hub, self._folders, self._interrupt, previews=self._previews)
        run.tell("execution_start")
        keys = signatures(item.prompt, self._folders)
        self._cache = {key: self._cache[key] for key in keys.values() if key in self._cache}
        cached = [node_id for node_id in item.prompt if keys[node_id] in self._cache]
        run.tell("execution_cached", nodes=cached)
        success = self._run_nodes(run, keys, cached)
        self._node_id = None
        shown = {n: self._cache[keys[n]] for n in item.prompt if keys[n] in self._cache}
        return PromptResult(
            success,
            run.messages,
            {node_id: entry.ui for node_id, entry in shown.items() if entry.ui is not None},
            {node_id: entry.meta for node_id, entry in shown.items() if entry.ui is not None},
        )

    def _run_nodes(self, run: _Run, keys: dict[str, str], cached: list[str]) -> bool:
        order = ExecutionOrder(run.item.prompt, run.item.outputs, cached)
        while (node_id := order.next()) is not None:
            entry = self._cache.get(keys[node_id])
            if entry is not None:
                run.executed(node_id, entry.ui)
                run.finish(node_id)
            else:
                run.start(node_id)
                self._node_id = node_id
                try:
                    self._cache[keys[node_id]] = run.execute(node_id, keys, self._cache)
                except _NodeFailed as failed:
                    self._report(run, failed)
                    return False
            order.done(node_id)
        run.tell("execution_success")
        return True

    def _report(self, run: _Run, failed: _NodeFailed) -> None:
        about = {
            "node_id": failed.node_id,
            "node_type": run.item.prompt[failed.node_id]["class_type"],
            "executed": list(run.finished),
        }
        if isinstance(failed.error, Interrupted):
            self._interrupt.clear()
            self._log.write("Processing interrupted")
            run.tell("execution_interrupted", broadcast=True, **about)
            return
        text = "".join(traceback.format_exception(failed.error))
        self._log.write(f"!!! Exception during processing !!! {failed.error}\n{text}")
        run.tell(
            "execution_error",
            **about,
            exception_message=f"{failed.error}\n",
            exception_type=type_name(failed.error),
            traceback=traceback.format_tb(failed.error.__traceback__),
            current_inputs=failed.inputs,
            current_outputs=list(run.item.prompt),
        )


class _Run:
    """One prompt's execution: its progress and its messages."""

    def __init__(
        self,
        item: QueueItem,
        hub: MessageHub,
        folders: Folders,
        interrupt: threading.Event,
        *,
        previews: bool,
    ) -> None:
        self.item = item
        self.messages: list[tuple[str, dict[str, Any]]] = []
        self.finished: list[str] = []
        self.folders = folders
        self._hub = hub
        self._interrupt = interrupt
        self._previews = previews
        self._progress: dict[str, tuple[float, float, str]] = {}
        self._running = ""

    def tell(self, event: str, *, broadcast: bool = False, **data: Any) -> None:
        """A message that also goes into the history."""
        data = {"prompt_id": self.item.prompt_id, **data, "timestamp": int(time.time() * 1000)}
        self.messages.append((event, data))
        if broadcast or self.item.client_id is not None:
            self._hub.publish(event, data, self.item.client_id)

    def start(self, node_id: str) -> None:
        self._running = node_id
        self._set_progress(node_id, 0.0, 1.0, "running")
        about = {"node": node_id, "display_node": node_id, "prompt_id": self.item.prompt_id}
        self._to_client("executing", about)

    def executed(self, node_id: str, ui: dict[str, Any] | None) -> None:
        about = {"node": node_id, "display_node": node_id, "output": ui, "prompt_id": self.item.prompt_id}
        self._to_client("executed", about)

    def finish(self, node_id: str) -> None:
        _, most, _ = self._progress.get(node_id, (0, 1, ""))
        self._set_progress(node_id, most, most, "finished")

    def step(self, done: int, total: int, preview: Picture | None = None) -> None:
        client, node_id = self.item.client_id, self._running
        jpeg = preview_jpeg(preview.bytes_image()) if preview is not None and self._previews else None
        if total > 1 or jpeg is not None:
            self._set_progress(node_id, done, total, "running")
            with_metadata = self._hub.wants_metadata(client)
            if jpeg is not None and with_metadata:
                self._hub.send_preview(jpeg, client, self._about_node(node_id))
            about = {"value": done, "max": total, "prompt_id": self.item.prompt_id, "node": node_id}
            self._hub.publish("progress", about, client)
            if jpeg is not None and not with_metadata:
                self._hub.send_preview(jpeg, client, None)
        if done < total:
            self._stop_if_asked()

    def execute(self, node_id: str, keys: dict[str, str], cache: dict[str, _Cached]) -> _Cached:
        """Run one node. Raises _NodeFailed for whatever goes wrong in it."""
        inputs: dict[str, Any] = {}
        try:
            inputs = self._inputs(node_id, keys, cache)
            self._stop_if_asked()
            node = NODES[self.item.prompt[node_id]["class_type"]]
            result = node.run(self, **inputs)
        except Exception as error:
            # A node may raise anything; the client is told.
            formatted = {name: [_shown(value)] for name, value in inputs.items()}
            raise _NodeFailed(node_id, error, formatted) from error
        shown = result if isinstance(result, Shown) else None
        if shown is not None:
            self.executed(node_id, shown.ui)
        self.finish(node_id)
        self.finished.append(node_id)
        outputs = shown.outputs if shown is not None else tuple(result) if isinstance(result, tuple) else ()
        meta = {
            "node_id": node_id,
            "display_node": node_id,
            "parent_node": None,
            "real_node_id": node_id,
        }
        return _Cached(outputs, shown.ui if shown is not None else None, meta)

    def _inputs(self, node_id: str, keys: dict[str, str], cache: dict[str, _Cached]) -> dict[str, Any]:
        entry = self.item.prompt[node_id]
        known = {spec.name for spec in inputs_of(entry["class_type"])}
        inputs = {
            name: cache[keys[value[0]]].outputs[value[1]] if is_link(value) else value
            for name, value in entry["inputs"].items()
            if name in known
        }
        hidden = {"PROMPT": self.item.prompt, "EXTRA_PNGINFO": self.item.extra_data.get("extra_pnginfo")}
        for name, kind in hidden_of(entry["class_type"]).items():
            inputs[name] = hidden.get(kind)
        return inputs

    def _stop_if_asked(self) -> None:
        if self._interrupt.is_set():
            raise Interrupted

    def _about_node(self, node_id: str) -> dict[str, Any]:
        return {
            "node_id": node_id,
            "prompt_id": self.item.prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }

    def _set_progress(self, node_id: str, value: float, most: float, state: str) -> None:
        self._progress[node_id] = (value, most, state)
        nodes = {
            each: {"value": v, "max": m, "state": s, **self._about_node(each)}
            for each, (v, m, s) in self._progress.items()
        }
        # Without a client id this goes to everybody, as in ComfyUI.
        self._hub.publish(
            "progress_state", {"prompt_id": self.item.prompt_id, "nodes": nodes}, self.item.client_id
        )

    def _to_client(self, event: str, data: dict[str, Any]) -> None:
        if self.item.client_id is not None:
            self._hub.publish(event, data, self.item.client_id)


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
