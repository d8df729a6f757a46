"""What is done with single models in the window: details, comparing, and what their menu offers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from .model_rows import known_of
from .models_board import Board
from .models_run import SyncRuns
from .sync.known import Truncated, read_header
from .sync.model import Entry, Standing, Wish
from .ui.desktop import copy_text, open_path
from .ui.models.page import ModelsPage
from .ui.models.shown import Choice, RowState
from .ui.tasks import TaskScope


class ModelFiles:
    """Does what the page's user wants of some files.

    Args:
        verify: compares the contents of these paths, of all for None.
    """

    def __init__(
        self,
        page: ModelsPage,
        scope: TaskScope,
        board: Board,
        runs: SyncRuns,
        verify: Callable[[set[str] | None], object],
    ) -> None:
        self._page, self._scope, self._board, self._runs = page, scope, board, runs
        self._verify = verify
        self._selected = ""
        page.row_wanted.connect(self._wanted)
        page.deletions_wanted.connect(self._delete)
        page.retry_failed_wanted.connect(lambda: self._retry(frozenset(runs.failed)))
        page.verify_wanted.connect(lambda: verify(None))
        page.selected.connect(self._select)

    def _wanted(self, choice: Choice, paths: list[str]) -> None:
        chosen = frozenset(paths)
        match choice:
            case Choice.UPLOAD:
                self._runs.begin(Wish(only=chosen))
            case Choice.DOWNLOAD:
                self._runs.begin(Wish(upload=False, download=True, only=chosen))
            case Choice.OVERWRITE:
                self._runs.begin(Wish(upload=False, only=chosen, overwrite=chosen))
            case Choice.OVERWRITE_LOCAL:
                self._runs.begin(Wish(upload=False, only=chosen, overwrite_here=chosen))
            case Choice.KEEP_BOTH:
                self._runs.keep_both(chosen)
            case Choice.RETRY:
                self._retry(chosen)
            case Choice.VERIFY:
                self._verify(set(paths))
            case Choice.IGNORE:
                self._ignore(paths)
            case Choice.DELETE:
                self._delete(paths)
            case Choice.REVEAL | Choice.COPY_PATH | Choice.COPY_SHA256:
                for entry in self._board.entries(chosen):
                    self._scope.start(self._about(choice, entry), "sync-about")

    def _ignore(self, paths: list[str]) -> None:
        """Until the next look: a file that differs is in no sync anyway."""
        for path in paths:
            row = self._board.rows[path]
            self._board.rows[path] = replace(row, state=RowState.LEFT_OUT, note="Ignored for now.")
        self._page.update_rows(self._board.rows[path] for path in paths)

    def _retry(self, paths: frozenset[str]) -> None:
        """Do again what failed, as it was."""
        differ = {str(each.path) for each in self._board.entries(paths) if each.standing is Standing.DIFFERS}
        self._runs.begin(Wish(download=True, only=paths, overwrite=frozenset(differ)))

    def _delete(self, paths: list[str]) -> None:
        chosen = frozenset(paths)
        self._runs.begin(Wish(upload=False, only=chosen, delete=chosen))

    async def _about(self, choice: Choice, entry: Entry) -> None:
        match choice:
            case Choice.REVEAL if entry.here is not None:
                open_path(entry.here.place.parent)
            case Choice.COPY_PATH:
                copy_text(str(entry.path))
            case Choice.COPY_SHA256 if entry.here is not None and self._board.one is not None:
                copy_text(await self._board.one.hash_of(entry.here.place))
            case _:
                pass

    def _select(self, path: str) -> None:
        self._selected = path
        if path:
            self._scope.start(self._show_known(path), "sync-known")
        else:
            self._page.show_known(None)

    async def _show_known(self, path: str) -> None:
        """What a file says of itself, then its hash, which takes a while for a large one."""
        entry = next(iter(self._board.entries({path})), None)
        if entry is None or entry.here is None or self._board.one is None:
            self._page.show_known(known_of(path, "", None, "", "Not on this computer."))
            return
        place, problem, header = entry.here.place, "", None
        try:
            header = await asyncio.to_thread(read_header, place)
        except Truncated as error:
            problem = str(error)
        except OSError as error:
            problem = f"It cannot be read: {error.strerror}."
        self._page.show_known(known_of(path, "", header, problem, "Computing…"))
        sha256 = await self._board.one.hash_of(place)
        if self._selected == path:
            self._page.show_known(known_of(path, sha256, header, problem, ""))
