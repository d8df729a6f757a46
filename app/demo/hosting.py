"""The demo engine as a home of the interception node, as ComfyUI is. It loads that node and no other."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from aiohttp import web

from app.demo.catalogue import descriptions, inputs_of
from app.demo.files import Folders
from app.demo.messages import MessageHub
from app.demo.queue import PromptQueue, PromptResult, QueueItem
from app.demo.validation import validate

NODE = "comfy_runpod"
_PACKAGE = "comfy_runpod_node"


def node_folder(extra_paths: Sequence[Path]) -> Path | None:
    """The interception node, when these files of extra paths name a folder that holds it.

    Raises:
        ValueError: when one is no such file; ComfyUI does not start then either.
    """
    for path in extra_paths:
        try:
            sections = yaml.safe_load(path.read_text("utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from error
        for section in sections.values() if isinstance(sections, dict) else ():
            for line in str((section or {}).get("custom_nodes", "")).splitlines():
                folder = Path(str(section.get("base_path", "")), line.strip(), NODE)
                if line.strip() and (folder / "__init__.py").is_file():
                    return folder
    return None


def hook_in(folder: Path, host: DemoHost) -> None:
    """Load the node from its folder and hook it in, without its own start, which asks for ComfyUI."""
    package = ModuleType(_PACKAGE)
    package.__path__ = [str(folder)]
    sys.modules[_PACKAGE] = package
    router = importlib.import_module(f"{_PACKAGE}.router")
    panel = importlib.import_module(f"{_PACKAGE}.panel")
    router.Router(host, panel.Panel.from_env()).hook_in()


class DemoHost:
    """What the node needs of its home: see ``host.Host`` there."""

    def __init__(
        self,
        app: web.Application,
        folders: Folders,
        queue: PromptQueue,
        hub: MessageHub,
        next_number: Callable[[], float],
    ) -> None:
        self.app = app
        self._folders, self._queue, self._hub = folders, queue, hub
        self._next_number = next_number
        self._held: dict[str, QueueItem] = {}

    def add_route(self, method: str, path: str, handler: Callable[[web.Request], Any]) -> None:
        for prefix in ("", "/api"):
            self.app.router.add_route(method, prefix + path, handler)

    def folders(self) -> Mapping[str, Path]:
        return {"input": self._folders.input, "output": self._folders.output, "temp": self._folders.temp}

    async def validate(self, prompt_id: str, prompt: dict[str, Any], targets: Sequence[str] | None) -> Any:
        # The node's own ``Verdict`` has the same fields.
        return validate(prompt, self._folders, targets)

    def knows(self, class_type: str) -> bool:
        return class_type in descriptions()

    def upload_inputs(self, class_type: str) -> Collection[str]:
        if not self.knows(class_type):
            return ()
        return [spec.name for spec in inputs_of(class_type) if spec.options.get("image_upload")]

    @contextmanager
    def widened(self, names: Callable[[str], Sequence[str]]) -> Iterator[None]:
        # No node here takes a model.
        yield

    def next_number(self) -> float:
        return self._next_number()

    def enter(self, key: str, item: tuple[Any, ...]) -> None:
        number, prompt_id, prompt, extra_data, outputs = item
        held = QueueItem(number, prompt_id, prompt, extra_data, list(outputs))
        self._held[key] = held
        self._queue.enter(held)

    def leave(self, key: str, ending: Any) -> None:
        result = PromptResult(ending.succeeded, list(ending.messages), ending.outputs, ending.meta)
        self._queue.done(self._held.pop(key), result)

    def send(self, event: str, data: dict[str, Any], client_id: str | None = None) -> None:
        self._hub.publish(event, data, client_id)

    def send_preview(self, picture: bytes, about: dict[str, Any], client_id: str | None) -> None:
        self._hub.send_preview(picture, client_id, about)
