"""What is known of folder and volume while the Models page is in use. Knows no Qt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from .model_rows import USUAL, row_of
from .sync.model import Entry, Picture, Plan, Wish
from .sync.sync import ModelSync
from .ui.models.shown import ModelRow


@dataclass(slots=True)
class Board:
    """Shared by those who look, who sync, and who do something with single files.

    Attributes:
        one: folder and volume in force; None while they are not known, or cannot be had.
        rows: as the page shows them, by path.
        ticks: what the user ticked or unticked, by path.
        volume_size: in bytes, where it is known.
    """

    one: ModelSync | None = None
    picture: Picture = field(default_factory=lambda: Picture(()))
    rows: dict[str, ModelRow] = field(default_factory=dict)
    ticks: dict[str, bool] = field(default_factory=dict)
    volume_size: int | None = None

    def entries(self, paths: Iterable[str]) -> list[Entry]:
        wanted = set(paths)
        return [each for each in self.picture.entries if str(each.path) in wanted]

    def make_rows(self) -> list[ModelRow]:
        """The rows of files that nothing is done with."""
        rows = [row_of(each, self.ticks.get(str(each.path))) for each in self.picture.entries]
        self.rows = {row.path: row for row in rows}
        return rows

    def tick(self, paths: Iterable[str], *, wanted: bool) -> list[ModelRow]:
        """The rows that changed."""
        changed: list[ModelRow] = []
        for path in paths:
            self.ticks[path] = wanted
            if (row := self.rows.get(path)) is not None:
                self.rows[path] = replace(row, ticked=wanted)
                changed.append(self.rows[path])
        return changed

    def wish(self) -> Wish:
        """All that is ticked."""
        only = {
            str(each.path)
            for each in self.picture.entries
            if each.standing in USUAL and self.ticks.get(str(each.path), USUAL[each.standing])
        }
        return Wish(download=True, only=frozenset(only))

    def plan(self, wish: Wish | None = None) -> Plan:
        if self.one is None:
            # Nothing to compare with: all that is here may go to a pod.
            chosen = (wish or self.wish()).only or frozenset()
            here = [each for each in self.picture.entries if str(each.path) in chosen]
            return Plan(files=len(here), size=sum(each.size for each in here))
        return self.one.plan(self.picture, wish or self.wish(), volume_size=self.volume_size)


def paths_of(plan: Plan) -> frozenset[str]:
    return frozenset(str(step.path) for step in plan.steps)
