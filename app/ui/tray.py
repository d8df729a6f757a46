"""The icon in the desktop's tray, and the desktop's own notifications. Both only when the user wants them."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QMenu, QSystemTrayIcon, QWidget

from .notices import Notice, Notices

_SHOWN_MS = 8000
_KINDS = {
    "done": QSystemTrayIcon.MessageIcon.Information,
    "info": QSystemTrayIcon.MessageIcon.Information,
    "error": QSystemTrayIcon.MessageIcon.Warning,
}


class Tray(QObject):
    """Args: ``show`` brings the window to the front, ``leave`` ends the program, with its question.

    A desktop without a tray has neither icon nor notifications: nothing is said about that.
    """

    def __init__(
        self,
        window: QWidget,
        icon: QIcon,
        notices: Notices,
        show: Callable[[], None],
        leave: Callable[[], None],
    ) -> None:
        super().__init__(window)
        self._window = window
        self._tells = False
        self._last: Notice | None = None
        self.icon = QSystemTrayIcon(icon, self)
        self.menu = QMenu()
        self.menu.addAction("Open Comfy RunPod", show)
        self.menu.addAction("Quit…", leave)
        self.icon.setContextMenu(self.menu)
        self.icon.activated.connect(
            lambda why: show() if why is QSystemTrayIcon.ActivationReason.Trigger else None
        )
        self.icon.messageClicked.connect(self._clicked)
        self._show = show
        self.show_counts(0, 0)
        notices.told.connect(self._tell)

    def use(self, *, icon: bool, tells: bool) -> None:
        """Show the icon or not, and have the desktop tell what happens while nobody looks, or not.

        Qt tells only by an icon that is shown.
        """
        self._tells = tells
        self.icon.setVisible((icon or tells) and QSystemTrayIcon.isSystemTrayAvailable())

    def show_counts(self, running: int, waiting: int) -> None:
        what = f"{running} running, {waiting} waiting" if running or waiting else "nothing to do"
        self.icon.setToolTip(f"Comfy RunPod: {what}")

    def close(self) -> None:
        self.icon.hide()
        self.menu.deleteLater()

    def _tell(self, notice: Notice) -> None:
        if self._tells and self.icon.isVisible() and not self._window.isActiveWindow():
            self._last = notice
            self.icon.showMessage(notice.title, notice.text, _KINDS[notice.kind], _SHOWN_MS)

    def _clicked(self) -> None:
        self._show()
        if self._last is not None and self._last.act is not None:
            self._last.act()
