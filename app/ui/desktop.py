"""The desktop around the window: opening files and folders, the clipboard. One place knows how."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent, QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QWidget


def open_path(path: Path) -> bool:
    """Open a file or folder with whatever the desktop has for it; False when it has nothing."""
    return QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))


def open_url(url: str) -> bool:
    """Open a web page, of this computer or the web only."""
    parsed = QUrl(url)
    return parsed.scheme() in ("http", "https") and QDesktopServices.openUrl(parsed)


def copy_text(text: str) -> None:
    QGuiApplication.clipboard().setText(text)


def announce(source: QWidget, text: str, *, urgent: bool) -> None:
    """Have a screen reader say something, at once when it is urgent."""
    event = QAccessibleAnnouncementEvent(source, text)
    manner = QAccessible.AnnouncementPoliteness
    event.setPoliteness(manner.Assertive if urgent else manner.Polite)
    QAccessible.updateAccessibility(event)
