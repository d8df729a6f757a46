"""What the window remembers by itself: size, splitters, folders. No settings: losing it costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, QSettings


class WindowState:
    """A small file of Qt's, in the data folder."""

    def __init__(self, path: Path) -> None:
        self._file = QSettings(str(path), QSettings.Format.IniFormat)

    def bytes(self, key: str) -> QByteArray:
        value = self._file.value(key)
        return value if isinstance(value, QByteArray) else QByteArray()

    def text(self, key: str, default: str = "") -> str:
        value = self._file.value(key)
        return value if isinstance(value, str) else default

    def texts(self, key: str) -> list[str]:
        """A list of texts; one text counts as a list of one, as Qt's file format reads it."""
        value = self._file.value(key)
        return [value] if isinstance(value, str) and value else [str(each) for each in value or []]

    def put(self, key: str, value: Any) -> None:
        self._file.setValue(key, value)

    def save(self) -> None:
        self._file.sync()
