"""What endpoints can run on: RunPod's GPUs with their prices, shown when somebody wants to see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from ...endpoint.prices import Price, for_endpoints, runs_on
from ...errors import ComfyRunPodError
from ..tasks import TaskScope
from ..theme import Theme
from ..widgets.basics import Button, Elided, Icon, Text, Wrapped, clear, column, row
from .account import AccountDoor
from .rows import SettingRow

if TYPE_CHECKING:
    from ...endpoint.account_model import Endpoint
    from ...endpoint.prices import GpuType

_NAME = "GPU types and prices"
_HEADS = ("GPU", "Memory", "Pool", "Price", "Free now")
_FREE = {"HIGH": "many", "MEDIUM": "some", "LOW": "few", "NONE": "none"}
_LINE_H = 28


class GpuTable(QWidget):
    """One line for each GPU; those of the chosen endpoint have a tick and stronger words."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._about = Wrapped(theme, "", "caption", "text2")
        self._lines = column()
        layout = column(self._about, 8, margins=(20, 0, 20, 14))
        layout.addLayout(self._lines)
        self.setLayout(layout)
        self.texts: list[tuple[str, ...]] = []

    def show_gpus(self, gpus: Sequence[GpuType], endpoint: Endpoint | None) -> None:
        """Show them in this order, with the price of a worker as the endpoint has them."""
        clear(self._lines)
        count = endpoint.gpu_count if endpoint is not None else 1
        has = "1 GPU" if count == 1 else f"{count} GPUs"
        mark = f" The tick marks what {endpoint.name or endpoint.id} may get." if endpoint is not None else ""
        self._about.setText(f"RunPod's list prices of a worker with {has}, the cheapest first.{mark}")
        holder = QWidget()
        grid = QGridLayout(holder)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(20)
        grid.setVerticalSpacing(0)
        grid.setColumnStretch(1, 1)
        grid.setColumnMinimumWidth(0, 16)
        grid.setRowMinimumHeight(0, _LINE_H)
        for number, head in enumerate(_HEADS, 1):
            grid.addWidget(Text(self._theme, head, "caption", "text3"), 0, number, _side(number))
        self.texts = []
        for line, gpu in enumerate(gpus, 1):
            is_ours = endpoint is not None and runs_on(endpoint, gpu)
            self._add(grid, line, cells_of(gpu, count), is_ours=is_ours)
        self._lines.addWidget(holder)

    def _add(self, grid: QGridLayout, line: int, cells: tuple[str, ...], *, is_ours: bool) -> None:
        grid.setRowMinimumHeight(line, _LINE_H)
        if is_ours:
            mark = Icon(self._theme, "check", "green", 16)
            mark.setAccessibleName("Of the chosen endpoint")
            grid.addWidget(mark, line, 0)
        for number, text in enumerate(cells, 1):
            kind, role = ("row", "text") if is_ours else ("body", "text2")
            if number == 1:
                grid.addWidget(Elided(self._theme, text, kind, role), line, number)
            else:
                grid.addWidget(Text(self._theme, text, kind, role), line, number, _side(number))
        self.texts.append(("✓" if is_ours else "", *cells))


class GpuRow(SettingRow):
    """Asks for the GPUs when they are to be shown first."""

    def __init__(self, theme: Theme, door: AccountDoor | None, scope: TaskScope) -> None:
        self.toggle = Button(theme, "Show")
        self.toggle.setCheckable(True)
        self.toggle.setAccessibleName(f"Show {_NAME}")
        self.refresh = Button(theme, "", "icon", icon="refresh-cw", tip="Ask for the prices again")
        self.refresh.hide()
        self.table = GpuTable(theme)
        self.table.hide()
        control = QWidget()
        control.setLayout(row(self.toggle, self.refresh))
        text = "What endpoints can run on, and what a worker costs by the second."
        super().__init__(theme, _NAME, text, control, under=self.table)
        self._door, self._scope = door, scope
        self._can_ask, self._asking = False, False
        self._gpus: list[GpuType] | None = None
        self._endpoint: Endpoint | None = None
        self.toggle.toggled.connect(self._toggled)
        self.refresh.clicked.connect(self._ask)

    def show_account(self, endpoint: Endpoint | None, reason: str, *, can_ask: bool) -> None:
        """The chosen endpoint, when it is known; ``reason`` says what is missing to ask RunPod."""
        self._can_ask = can_ask
        self.toggle.setEnabled(can_ask)
        self.toggle.setToolTip("" if can_ask else reason or "Not available")
        if not can_ask:
            self.toggle.setChecked(False)
            self._gpus = None
        if endpoint != self._endpoint:
            self._endpoint = endpoint
            self._fill()

    def _toggled(self, on: bool) -> None:
        self.toggle.set_label("Hide" if on else "Show")
        self.toggle.setAccessibleName(f"{'Hide' if on else 'Show'} {_NAME}")
        self.refresh.setVisible(on)
        self.show_note("")
        self._fill()
        if on and self._gpus is None:
            self._ask()

    def _ask(self) -> None:
        if self._door is not None and not self._asking:
            self._scope.start(self._load(self._door), "gpus")

    async def _load(self, door: AccountDoor) -> None:
        self._asking = True
        self.refresh.setEnabled(False)
        self.show_note("")
        try:
            self._gpus = for_endpoints(await door.gpu_types())
        except ComfyRunPodError as error:
            self.show_note(error.sentence)
        finally:
            self._asking = False
            self.refresh.setEnabled(True)
        self._fill()

    def _fill(self) -> None:
        shown = self.toggle.isChecked() and self._gpus is not None
        if shown:
            self.table.show_gpus(self._gpus or (), self._endpoint)
        self.table.setVisible(shown)


def cells_of(gpu: GpuType, count: int) -> tuple[str, ...]:
    """Name, memory, pool, price of a worker with so many of it, and how many are free."""
    price = "–"
    if gpu.per_hour is not None:
        usd = gpu.per_hour * count / 3600
        price = str(Price(usd, usd))
    memory = f"{gpu.memory_gb} GB" if gpu.memory_gb is not None else "–"
    return gpu.name or gpu.id, memory, gpu.pool or "–", price, _FREE.get(gpu.availability or "", "–")


def _side(column: int) -> Qt.AlignmentFlag:
    """Figures stand at the right, so that they can be compared."""
    side = Qt.AlignmentFlag.AlignRight if column in (2, 4) else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
