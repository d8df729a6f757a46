"""The files as a folded, filtered and sorted list of heads and rows. Plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from .shown import ModelRow, RowState
from .words import folder_of, name_of, row_size

SortKey = Literal["name", "size", "state"]
#: What needs the user first.
_RANK: Final = {
    state: rank
    for rank, state in enumerate(
        (
            RowState.FAILED, RowState.BROKEN, RowState.DIFFERS, RowState.LEFT_OUT, RowState.UPLOADING,
            RowState.DOWNLOADING, RowState.CHECKING, RowState.PAUSED, RowState.WAITING, RowState.LOCAL_ONLY,
            RowState.VOLUME_ONLY, RowState.UPLOADED, RowState.DOWNLOADED, RowState.UNVERIFIED, RowState.SAME,
        )
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """A folder's row.

    Attributes:
        size: bytes of the files counted, of those shown.
        can_tick, ticked: how many of them can be ticked, and how many are.
        changed: how many were ticked otherwise than is usual.
    """

    folder: str
    files: int
    size: int
    can_tick: int
    ticked: int
    changed: int
    is_open: bool


Item = Head | ModelRow


class _Tally:
    """The sums of a folder; changed by one row at a time, so that an update does not count all anew."""

    __slots__ = ("can_tick", "changed", "files", "size", "ticked")

    def __init__(self) -> None:
        self.files = self.size = self.can_tick = self.ticked = self.changed = 0

    def add(self, row: ModelRow, sign: int = 1) -> None:
        self.files += sign
        self.size += sign * row_size(row)
        if row.ticked is not None:
            self.can_tick += sign
            self.ticked += sign * row.ticked
            self.changed += sign * (row.ticked != row.usual_tick)

    def head(self, folder: str, *, is_open: bool) -> Head:
        return Head(folder, self.files, self.size, self.can_tick, self.ticked, self.changed, is_open)


class Table:
    """All rows by path, and ``items``: what of them is shown, in order."""

    def __init__(self, like: Table | None = None) -> None:
        """``like``: one whose order, filter and folding are taken over."""
        self.rows: dict[str, ModelRow] = {}
        self.items: list[Item] = []
        self.states: Counter[RowState] = Counter()
        self.sort: SortKey = like.sort if like is not None else "name"
        self.is_down: bool = like.is_down if like is not None else False
        self.only: frozenset[RowState] = like.only if like is not None else frozenset()
        self.words: str = like.words if like is not None else ""
        self.folded: set[str] = like.folded if like is not None else set()
        #: Folder and sorting name of each path: splitting 5,000 anew each time is half of the work.
        self._split: dict[str, tuple[str, str]] = like._split if like is not None else {}
        self._places: dict[str, int] = {}
        self._heads: dict[str, int] = {}
        self._tallies: dict[str, _Tally] = {}
        self._matched: dict[str, list[ModelRow]] = {}

    @property
    def is_filtered(self) -> bool:
        return bool(self.only or self.words)

    @property
    def folders(self) -> int:
        return len({self._split[path][0] for path in self.rows})

    def shows_as(self, other: Table) -> bool:
        """Whether the same folders and files are shown in the same places."""
        return self._places == other._places and self._heads == other._heads

    @property
    def matching(self) -> int:
        """How many rows pass the filter, in folded folders too."""
        return sum(tally.files for tally in self._tallies.values())

    def place(self, path: str) -> int | None:
        """Where a row is in ``items``; None: it is not shown."""
        return self._places.get(path)

    def head_place(self, folder: str) -> int | None:
        return self._heads.get(folder)

    def of_folder(self, folder: str) -> list[ModelRow]:
        """The rows of a folder that pass the filter."""
        return [self.rows[row.path] for row in self._matched.get(folder, ())]

    def show(self, rows: Sequence[ModelRow]) -> None:
        """Replace all rows, and arrange."""
        self.rows = {row.path: row for row in rows}
        self.states = Counter([row.state for row in self.rows.values()])
        self.arrange()

    def update(self, rows: Iterable[ModelRow]) -> list[int] | None:
        """Replace some rows where they are.

        Returns:
            the places in ``items`` that look different now, in order; None: rows came, or the filter lets
            others through, so :meth:`arrange` is due.
        """
        places, folders, anew = set[int](), set[str](), False
        for row in rows:
            old = self.rows.get(row.path)
            self.rows[row.path] = row
            self.states[row.state] += 1
            if old is not None:
                self.states[old.state] -= 1
            if old is None or anew:
                anew = True  # all is arranged anew: what follows needs no care
                continue
            if old == row:
                continue
            was, now = self._matches(old), self._matches(row)
            anew = was != now
            if was and now:
                folder = folder_of(row.path)
                self._tallies[folder].add(old, -1)
                self._tallies[folder].add(row)
                folders.add(folder)
                if (place := self._places.get(row.path)) is not None:
                    self.items[place] = row
                    places.add(place)
        if anew:
            return None
        for folder in folders:
            place = self._heads[folder]
            head = self._tallies[folder].head(folder, is_open=self._is_open(folder))
            if head != self.items[place]:
                self.items[place] = head
                places.add(place)
        return sorted(places)

    def arrange(self) -> None:
        """Filter, sort and fold all rows anew."""
        matched: dict[str, list[ModelRow]] = {}
        tallies: dict[str, _Tally] = {}
        split, is_filtered = self._split, self.is_filtered
        for path, row in self.rows.items():
            if path not in split:
                split[path] = (folder_of(path), name_of(path).lower())
            if is_filtered and not self._matches(row):
                continue
            folder = split[path][0]
            rows = matched.get(folder)
            if rows is None:
                rows = matched[folder] = []
                tallies[folder] = _Tally()
            rows.append(row)
            tallies[folder].add(row)
        self._matched, self._tallies = matched, tallies
        items: list[Item] = []
        self._heads = {}
        key = self._key()
        for folder in self._ordered(tallies):
            is_open = self._is_open(folder)
            self._heads[folder] = len(items)
            items.append(tallies[folder].head(folder, is_open=is_open))
            if is_open:
                inside: list[ModelRow] = sorted(matched[folder], key=key, reverse=self.is_down)
                items += inside
        self.items = items
        self._places = {item.path: n for n, item in enumerate(items) if isinstance(item, ModelRow)}

    def _is_open(self, folder: str) -> bool:
        # What is searched for is shown, wherever it is.
        return bool(self.words) or folder not in self.folded

    def _matches(self, row: ModelRow) -> bool:
        if self.only and row.state not in self.only:
            return False
        path = row.path.lower()
        return all(word in path for word in self.words.lower().split())

    def _ordered(self, tallies: dict[str, _Tally]) -> list[str]:
        if self.sort == "size":
            return sorted(tallies, key=lambda folder: (tallies[folder].size, folder), reverse=self.is_down)
        is_down = self.is_down and self.sort == "name"
        return sorted(tallies, key=str.lower, reverse=is_down)

    def _key(self) -> Callable[[ModelRow], Any]:
        if self.sort == "size":
            return lambda row: (row_size(row), row.path)
        split = self._split
        if self.sort == "state":
            return lambda row: (_RANK[row.state], split[row.path][1])
        return lambda row: (split[row.path][1], row.path)
