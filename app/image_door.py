"""The way from the window to the image: its feature is loaded when its page is in sight for the first time.

Docker, resolvers and clients for it cost a third of a second, which no start of the program shall pay.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from .settings import Settings
from .ui.frame.window import Window
from .ui.image.shown import WorkShown
from .ui.notices import Notices
from .ui.state import WindowState
from .ui.tasks import TaskScope

if TYPE_CHECKING:
    from .image_page import ImagePresenter

#: The settings that the image hangs on.
OF_IMAGE = (
    *("docker_registry", "docker_image", "docker_tag", "docker_program", "comfyui_dir", "comfyui_python"),
    *("models_dir", "runpod_endpoint_id", "runpod_api_key", "runpod_api_url"),
)


class Images:
    """Nothing is looked at before :meth:`start`, and then before the page is in sight.

    Args:
        local_url: of this computer's ComfyUI while it runs.
        running: how many jobs run on an endpoint now, as far as that is known.

    Attributes:
        presenter: once the page has been in sight.
    """

    def __init__(
        self,
        window: Window,
        notices: Notices,
        state: WindowState,
        scope: TaskScope,
        *,
        settings: Callable[[], Settings],
        local_url: Callable[[], Awaitable[str | None]],
        running: Callable[[str], int],
    ) -> None:
        self._window, self._notices, self._state, self._scope = window, notices, state, scope
        self._settings, self._local_url, self._running = settings, local_url, running
        self._loading = False
        self.presenter: ImagePresenter | None = None

    def start(self) -> None:
        page = self._window.image
        page.appeared.connect(self._load)
        if page.isVisible():
            self._load()

    def settings_changed(self) -> None:
        if self.presenter is not None:
            self.presenter.settings_changed()

    def _load(self) -> None:
        if not self._loading:
            self._loading = True
            self._window.image.show_work(
                WorkShown(can_run=frozenset(), why_not="Docker is being looked for.")
            )
            self._scope.start(self._open(), "image-load")

    async def _open(self) -> None:
        await asyncio.to_thread(importlib.import_module, "app.image_page")
        from .image_board import ImageTies
        from .image_page import ImagePresenter

        ties = ImageTies(
            self._settings, self._local_url, self._running, lambda: self._window.show_page("image")
        )
        self.presenter = ImagePresenter(self._window.image, self._notices, self._state, self._scope, ties)
        self.presenter.look()
