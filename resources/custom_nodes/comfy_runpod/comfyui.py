"""ComfyUI as the interception's host. The one module that knows ComfyUI's insides; all of it by patching."""

from __future__ import annotations

import contextvars
import io
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import execution
import folder_paths
import nodes
from aiohttp import web
from server import PromptServer

from .host import Ending, Json, Verdict
from .panel import Panel
from .router import Router

log = logging.getLogger(__name__)

#: ComfyUI's number for a preview that says which node's it is.
_PREVIEW_WITH_METADATA = 4
_UPLOADS = ("image_upload", "video_upload", "audio_upload", "file_upload")
#: What lists of models hold beside this computer's; only where a page's own request is answered.
_more: contextvars.ContextVar[Callable[[str], Sequence[str]] | None] = contextvars.ContextVar(
    "comfy_runpod_more", default=None
)


def hook_in() -> None:
    """Hook into the server that is about to start."""
    _widen_lists()
    Router(ComfyUI(PromptServer.instance), Panel.from_env()).hook_in()


class ComfyUI:
    """See :class:`.host.Host`."""

    def __init__(self, server: PromptServer) -> None:
        self._server = server

    @property
    def app(self) -> web.Application:
        app: web.Application = self._server.app
        return app

    def add_route(self, method: str, path: str, handler: Callable[[web.Request], Any]) -> None:
        self._server.routes.route(method, path)(handler)

    def folders(self) -> Mapping[str, Path]:
        return {
            "input": Path(folder_paths.get_input_directory()),
            "output": Path(folder_paths.get_output_directory()),
            "temp": Path(folder_paths.get_temp_directory()),
        }

    async def validate(self, prompt_id: str, prompt: Json, targets: Sequence[str] | None) -> Verdict:
        ok, error, outputs, node_errors = await execution.validate_prompt(prompt_id, prompt, targets)
        return Verdict(None if ok else error, list(outputs or ()), dict(node_errors or {}))

    def knows(self, class_type: str) -> bool:
        return class_type in nodes.NODE_CLASS_MAPPINGS

    def upload_inputs(self, class_type: str) -> Collection[str]:
        node = nodes.NODE_CLASS_MAPPINGS.get(class_type)
        if node is None:
            return ()
        try:
            inputs = node.INPUT_TYPES()
        except Exception:
            # A node of a stranger's, whose mistakes are its own.
            log.warning("The inputs of %s are not known.", class_type, exc_info=True)
            return ()
        return [
            name
            for group in ("required", "optional")
            for name, spec in (inputs.get(group) or {}).items()
            if len(spec) > 1 and isinstance(spec[1], dict) and any(spec[1].get(each) for each in _UPLOADS)
        ]

    @contextmanager
    def widened(self, names: Callable[[str], Sequence[str]]) -> Iterator[None]:
        token = _more.set(names)
        try:
            yield
        finally:
            _more.reset(token)

    def next_number(self) -> float:
        number: float = self._server.number
        self._server.number += 1
        return number

    def enter(self, key: str, item: tuple[Any, ...]) -> None:
        queue = self._server.prompt_queue
        with queue.mutex:
            # Not into the queue proper: ComfyUI's own worker would run it.
            queue.currently_running[key] = item
            self._server.queue_updated()

    def leave(self, key: str, ending: Ending) -> None:
        queue = self._server.prompt_queue
        status = queue.ExecutionStatus(
            status_str="success" if ending.succeeded else "error",
            completed=ending.succeeded,
            messages=list(ending.messages),
        )
        queue.task_done(key, {"outputs": ending.outputs, "meta": ending.meta}, status)

    def send(self, event: str, data: Json, client_id: str | None = None) -> None:
        self._server.send_sync(event, data, client_id)

    def send_preview(self, picture: bytes, about: Json, client_id: str | None) -> None:
        kind = "PNG" if picture.startswith(b"\x89PNG") else "JPEG"
        self._server.send_sync(_PREVIEW_WITH_METADATA, ((kind, _Encoded(picture), None), about), client_id)


class _Encoded:
    """Stands for a picture where ComfyUI would encode one: these bytes are encoded already."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def save(self, file: io.BytesIO, **_: Any) -> None:
        file.write(self._content)


def _widen_lists() -> None:
    own = folder_paths.get_filename_list

    def get_filename_list(folder_name: str) -> list[str]:
        names: list[str] = own(folder_name)
        more = _more.get()
        if more is None:
            return names
        kind = folder_paths.map_legacy(folder_name)
        return sorted({*names, *more(kind)})

    folder_paths.get_filename_list = get_filename_list
