"""The installation of ComfyUI in use, as its page shows it, and how it is started, which is changed there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .comfy_switch import Ties
from .comfyui.find import Found, describe
from .comfyui.installation import Installation
from .comfyui.pack_list import node_folder
from .comfyui.status import ComfyState, ComfyStatus
from .errors import BadInput
from .settings import Settings, arguments_of, as_line
from .ui.comfyui.page import ComfyPage
from .ui.comfyui.shown import InstallFacts, OptionName, Options
from .ui.dialogs import chosen_path
from .ui.settings.editors import short_path
from .ui.tasks import TaskScope


class InstallationFacts:
    """Args:
    comfy: how ComfyUI is.
    """

    def __init__(
        self, page: ComfyPage, scope: TaskScope, ties: Ties, comfy: Callable[[], ComfyStatus]
    ) -> None:
        self._page, self._ties, self._comfy = page, ties, comfy
        self._found: Found | None = None
        self._changed = False
        page.options_changed.connect(lambda options: scope.start(self._change(options), "options"))
        page.path_wanted.connect(
            lambda what: scope.start(self._choose_models(), "models-folder") if what == "models" else None
        )

    async def look(self) -> None:
        """Read its folder once; again when it is another one."""
        settings = self._ties.settings()
        self._changed = self._changed and self._comfy().state is ComfyState.RUNNING
        folder = settings.comfyui_dir
        if folder is None:
            self._found = None
        elif self._found is None or self._found.folder != folder or self._found.problem:
            self._found = await asyncio.to_thread(describe, folder)
        self._show(settings)

    def _show(self, settings: Settings) -> None:
        found = self._found
        if found is None:
            self._page.show_installation(None)
            return
        options = Options(
            as_line(settings.comfyui_args),
            "\n".join(f"{name}={value}" for name, value in settings.comfyui_env.items()),
            "" if settings.comfyui_port is None else str(settings.comfyui_port),
            "" if settings.models_dir is None else str(settings.models_dir),
        )
        python = settings.comfyui_python or found.python
        base = node_folder(Installation(found.folder, Path(), settings.comfyui_args)).parent
        models = short_path(base / "models")
        self._page.show_installation(
            InstallFacts(
                short_path(found.folder),
                found.version or "",
                "" if python is None else short_path(python),
                models if settings.models_dir is None else f"{models} + {short_path(settings.models_dir)}",
                short_path(base / "output"),
                options.arguments or "none",
                options.port or "any free one",
                options,
                "Changes count from the next start of ComfyUI." if self._changed else "",
            )
        )

    async def _change(self, options: Options) -> None:
        """Take over what was typed, each by itself: what cannot be used keeps the others from nothing."""
        settings, problems = self._ties.settings(), {}
        for name, (setting, read) in _OPTIONS.items():
            try:
                value = read(getattr(options, name))
                if value != _typed(getattr(settings, setting)):
                    await self._ties.change({setting: value})
                    self._changed = self._comfy().state is ComfyState.RUNNING
            except BadInput as error:
                problems[name] = _WRONG.get(name) or error.summary
        self._page.show_option_problems(problems)
        self._show(self._ties.settings())

    async def _choose_models(self) -> None:
        path = await chosen_path(self._page, "Folder of your models", str(Path.home()))
        if path is not None:
            self._page.show_path("models", str(path))


def _variables(text: str) -> Mapping[str, str] | None:
    """``NAME=VALUE`` lines.

    Raises:
        BadInput: for a line that is none.
    """
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, separator, value = line.partition("=")
        if not separator:
            raise BadInput(f"{line!r} is not of the form NAME=VALUE.")
        found[name.strip()] = value.strip()
    return found or None


def _port(text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 5:
        raise BadInput(_WRONG["port"])
    return int(text)


def _typed(value: object) -> object:
    """A setting's value as :data:`_OPTIONS` reads it."""
    if isinstance(value, tuple):
        return list(value) or None
    return str(value) if isinstance(value, Path) else value or None


_OPTIONS: dict[OptionName, tuple[str, Callable[[str], Any]]] = {
    "arguments": ("comfyui_args", lambda text: list(arguments_of(text)) or None),
    "environment": ("comfyui_env", _variables),
    "port": ("comfyui_port", _port),
    "models": ("models_dir", lambda text: text.strip() or None),
}
_WRONG: dict[OptionName, str] = {
    "port": "Enter a number from 1024 to 65535, or nothing.",
    "models": "This is no path.",
}
