"""Asking where a file shall be saved."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QWidget

from ..loop import shown


async def chosen_target(parent: QWidget, title: str, name: str) -> Path | None:
    """A file to write, which the user has agreed to replace where there is one; None: the user chose none."""
    dialog = QFileDialog(parent.window(), title, str(Path.home() / name))
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setFileMode(QFileDialog.FileMode.AnyFile)
    accepted = await shown(dialog)
    chosen = [Path(each) for each in dialog.selectedFiles()]
    dialog.deleteLater()
    return chosen[0] if accepted and chosen else None
