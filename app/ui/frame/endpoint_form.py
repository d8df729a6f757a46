"""Changing an endpoint: workers, idle time and image, with what that costs."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QIntValidator
from PySide6.QtWidgets import QDialog, QLineEdit, QWidget

from ...account_watch import Listed
from ...endpoint.terms import terms
from ..loop import shown
from ..theme import Theme
from ..widgets.basics import Button, Text, Wrapped, column, frame, row, set_property
from ..widgets.floating import shadow

_ROOM, _MOST_WORKERS, _LONGEST_IDLE_S = 24, 1000, 3600


class EndpointForm(QDialog):
    """:meth:`ask` gives what the user wants changed, by the names of ``AccountWatch.change``."""

    def __init__(self, theme: Theme, parent: QWidget, listed: Listed, busy: int) -> None:
        super().__init__(parent, Qt.WindowType.FramelessWindowHint | Qt.WindowType.Dialog)
        self.setAttribute(Qt.WidgetAttribute.WA_TranslucentBackground)
        endpoint = listed.endpoint
        self.setWindowTitle(f"Change {endpoint.name}")
        self._listed, self._busy = listed, busy
        self.least = NumberField("Workers at least", endpoint.workers_min or 0, 0, _MOST_WORKERS)
        self.most = NumberField("Workers at most", endpoint.workers_max or 0, 0, _MOST_WORKERS)
        self.idle = NumberField("Idle timeout in seconds", endpoint.idle_timeout_s or 5, 1, _LONGEST_IDLE_S)
        self.image = QLineEdit(endpoint.image or "")
        self.image.setAccessibleName("Image")
        self._terms = Wrapped(theme, "", "body", "text2")
        self._wrong = Wrapped(theme, "", "caption", "red")
        self.keep_button, self.change_button = (
            Button(theme, "Keep as it is"),
            Button(theme, "Change", "primary"),
        )
        self.keep_button.setDefault(True)
        self.change_button.setAutoDefault(False)
        self.keep_button.clicked.connect(self.reject)
        self.change_button.clicked.connect(self.accept)
        box = frame("dialog")
        box.setFixedWidth(480)
        box.setGraphicsEffect(shadow(theme, box))
        inner = column(Text(theme, f"Change {endpoint.name or endpoint.id}", "dialog"), 16, margins=(24,) * 4)
        least, most, seconds = (Text(theme, word, "caption", "text3") for word in ("min", "max", "seconds"))
        for title, fields in (
            ("Workers", row(least, self.least, most, self.most)),
            ("Idle timeout", row(self.idle, seconds)),
            ("Image", row(self.image)),
        ):
            line = row(Text(theme, title, "row"))
            line.setStretch(0, 1)
            line.addLayout(fields, 3 if title == "Image" else 0)
            inner.addLayout(line)
            inner.addSpacing(12)
        inner.addWidget(self._terms)
        inner.addWidget(self._wrong)
        inner.addSpacing(16)
        inner.addLayout(row(None, self.keep_button, self.change_button))
        box.setLayout(inner)
        self.setLayout(column(box, margins=(_ROOM,) * 4))
        for number in (self.least, self.most, self.idle):
            number.changed.connect(self._show)
        self.image.textChanged.connect(self._show)
        self._show()

    async def ask(self) -> dict[str, Any]:
        """What is to be changed; empty when the user keeps it as it is."""
        try:
            accepted = await shown(self) == QDialog.DialogCode.Accepted
            return self.changes() if accepted else {}
        finally:
            self.deleteLater()

    def changes(self) -> dict[str, Any]:
        """What differs from how the endpoint is."""
        endpoint = self._listed.endpoint
        wanted: dict[str, tuple[Any, Any]] = {
            "workers_min": (self.least.value(), endpoint.workers_min or 0),
            "workers_max": (self.most.value(), endpoint.workers_max or 0),
            "idle_timeout_s": (self.idle.value(), endpoint.idle_timeout_s or 5),
            "image": (self.image.text().strip(), endpoint.image or ""),
        }
        return {name: new for name, (new, old) in wanted.items() if new != old}

    @property
    def terms_text(self) -> str:
        return self._terms.text()

    def _show(self) -> None:
        said = terms(
            self._listed.rate,
            workers_min=self.least.value(),
            workers_max=self.most.value(),
            idle_s=self.idle.value(),
        )
        changes = self.changes()
        if "image" in changes and self._busy:
            many = "1 job is" if self._busy == 1 else f"{self._busy} jobs are"
            said.append(f"{many} running and finish on the old image.")
        self._terms.setText(" ".join(said))
        wrong = ""
        if self.least.value() > self.most.value():
            wrong = "The minimum cannot be above the maximum."
        elif not all(number.hasAcceptableInput() for number in (self.least, self.most, self.idle)):
            wrong = f"Workers are at most {_MOST_WORKERS}, and a worker idles 1 to {_LONGEST_IDLE_S} s."
        elif not self.image.text().strip():
            wrong = "An endpoint needs an image."
        self._wrong.setText(wrong)
        self._wrong.setVisible(bool(wrong))
        set_property(self.image, "wrong", "false" if self.image.text().strip() else "true")
        self.change_button.setEnabled(not wrong and bool(changes))


class NumberField(QLineEdit):
    """A whole number. What cannot be one counts as the number before."""

    changed = Signal()

    def __init__(self, name: str, value: int, least: int, most: int) -> None:
        super().__init__(str(value))
        self._value = value
        self.setAccessibleName(name)
        self.setFixedSize(72, 32)
        self.setValidator(QIntValidator(least, most, self))
        self.textChanged.connect(self._typed)

    def value(self) -> int:
        return self._value

    def setValue(self, value: int) -> None:
        self.setText(str(value))

    def _typed(self) -> None:
        good = self.hasAcceptableInput()
        if good:
            self._value = int(self.text())
        set_property(self, "wrong", "false" if good else "true")
        self.changed.emit()
