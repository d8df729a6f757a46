"""Asking for a file or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QWidget

from .loop import shown


async def chosen_path(
    parent: QWidget, title: str, start: str, filters: Sequence[str] | None = None
) -> Path | None:
    """A file of the user's, or a folder without ``filters``; None: the user chose none."""
    dialog = QFileDialog(parent, title, start)
    if filters is None:
        dialog.setFileMode(QFileDialog.FileMode.Directory)
    else:
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setNameFilters(list(filters))
    accepted = await shown(dialog)
    chosen = [Path(name) for name in dialog.selectedFiles()]
    dialog.deleteLater()
    return chosen[0] if accepted and chosen else None
