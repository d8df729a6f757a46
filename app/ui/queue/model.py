"""The jobs as rows of a list: group heads and jobs, filtered, each in its place. No I/O."""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, QSize, Qt, Signal

from worker.contract import Progress

from ...jobs.model import Job, JobEvent
from ...jobs.states import State
from ...jobs.words import Group, group, spoken
from ..theme.tokens import GROUP_H, ROW_H

Filter = Literal["all", "active", "failed", "done"]
AnyIndex = QModelIndex | QPersistentModelIndex
_ORDER = tuple(Group)
_ACTIVE = (Group.RUNNING, Group.WAITING)
_FAILED = {State.FAILED, State.TIMED_OUT}
Key = tuple[float, float, str]


class Role(IntEnum):
    """What the delegate asks for beside the texts."""

    ENTRY = Qt.ItemDataRole.UserRole + 1
    HEAD = Qt.ItemDataRole.UserRole + 2


@dataclass(slots=True)
class Entry:
    """One job as the list shows it. ``part`` is the greatest progress seen, 0 to 1; None: not known."""

    job: Job
    progress: Progress | None = None
    part: float | None = None
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Head:
    """A group's head; the first one carries the column names."""

    group: Group
    count: int
    is_first: bool


class JobModel(QAbstractListModel):
    """Jobs in groups. Changed on the GUI thread only, with :meth:`apply`, at most ten times a second.

    Signals:
        counted: how many run and how many wait now.
    """

    counted = Signal(int, int)

    def __init__(self, parent: QObject | None = None, *, now: Callable[[], float] = time.time) -> None:
        super().__init__(parent)
        self._now = now
        self._entries: dict[str, Entry] = {}
        self._unfinished: dict[str, Entry] = {}
        self._groups: dict[Group, list[Key]] = {each: [] for each in _ORDER}
        #: Groups whose head is a row: those with jobs, and for a moment one that gets its first job.
        self._heads: set[Group] = set()
        self._placed: dict[str, tuple[Group, Key]] = {}
        self._filter: Filter = "all"
        self._words: list[str] = []
        self._ranks: dict[str, int] | None = None
        self._day = time.localtime(now())[:3]

    # What there is.

    @property
    def jobs(self) -> dict[str, Entry]:
        """All jobs that are known, shown or not, by id."""
        return self._entries

    def counts(self) -> tuple[int, int]:
        """How many jobs run and how many wait, filtered out or not."""
        groups = [self._group_of(entry.job) for entry in self._unfinished.values()]
        return groups.count(Group.RUNNING), groups.count(Group.WAITING)

    def entry(self, index: AnyIndex) -> Entry | None:
        """The job of a row; None for a group's head."""
        value = self.row(index.row()) if index.isValid() else None
        return value if isinstance(value, Entry) else None

    def index_of(self, job_id: str) -> QModelIndex:
        """Where a job is; an invalid index when it is not shown."""
        placed = self._placed.get(job_id)
        if placed is None:
            return QModelIndex()
        where, key = placed
        return self.index(self._offset(where) + 1 + bisect_left(self._groups[where], key))

    def spoken(self, job_id: str) -> str:
        """A job that is shown as one sentence; an empty text for others."""
        text = self.data(self.index_of(job_id), Qt.ItemDataRole.AccessibleTextRole)
        return str(text) if text else ""

    def place(self, job: Job) -> int | None:
        """A waiting job's place in its target's queue, from 1; None for others."""
        if job.state is not State.WAITING:
            return None
        if self._ranks is None:
            self._ranks = {}
            seen: dict[str, int] = {}
            waiting = [e.job for e in self._unfinished.values() if e.job.state is State.WAITING]
            for each in sorted(waiting, key=lambda job: job.seq):
                seen[each.target] = seen.get(each.target, 0) + 1
                self._ranks[each.id] = seen[each.target]
        return self._ranks.get(job.id)

    # Changes.

    def load(self, jobs: Iterable[Job]) -> None:
        """Take in a page of the history; what is known already is newer and stays."""
        fresh = [job for job in jobs if job.id not in self._entries]
        if self._entries:
            self.apply(JobEvent(job) for job in fresh)
            return
        self.beginResetModel()
        self._entries = {job.id: Entry(job) for job in fresh}
        self._unfinished = {job_id: e for job_id, e in self._entries.items() if not e.job.is_final}
        self._place_all()
        self.endResetModel()
        self.counted.emit(*self.counts())

    def refresh(self, jobs: Iterable[Job]) -> None:
        """Take in the newest jobs as they are on disk: at first, and when events may have been missed."""
        if self._entries:
            self.apply(JobEvent(job) for job in jobs if not self._is_newer(job))
        else:
            self.load(jobs)

    def _is_newer(self, job: Job) -> bool:
        """Whether what is known of a job is newer than this."""
        known = self._entries.get(job.id)
        return known is not None and known.job.changed_at >= job.changed_at

    def apply(self, events: Iterable[JobEvent]) -> None:
        """Take in what happened since the last time."""
        self._ranks = None
        for event in events:
            if event.removed:
                self._drop(event.job.id)
            else:
                self._take_in(event)
        self._heads_changed()
        self.counted.emit(*self.counts())

    def show_only(self, wanted: Filter, words: str = "") -> None:
        """Filter by state and by words, all of which must be found in a job."""
        self._filter, self._words = wanted, words.casefold().split()
        self.beginResetModel()
        self._place_all()
        self.endResetModel()

    def tick(self) -> None:
        """Time has passed: what runs and waits shows other seconds, and at midnight the groups change."""
        today = time.localtime(self._now())[:3]
        if today != self._day:
            self._day = today
            self.beginResetModel()
            self._place_all()
            self.endResetModel()
            return
        for each in _ACTIVE:
            if self._groups[each]:
                first = self._offset(each) + 1
                last = first + len(self._groups[each]) - 1
                self.dataChanged.emit(self.index(first), self.index(last), [Role.ENTRY])

    # The list as Qt sees it.

    def rowCount(self, parent: AnyIndex = QModelIndex()) -> int:  # noqa: B008  Qt's own signature
        return 0 if parent.isValid() else sum(map(len, self._groups.values())) + len(self._heads)

    def data(self, index: AnyIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row = self.row(index.row()) if index.isValid() else None
        if row is None:
            return None
        if isinstance(row, Head):
            return self._head_data(row, role)
        match role:
            case Role.ENTRY:
                return row
            case Qt.ItemDataRole.DisplayRole:
                return row.job.name
            case Qt.ItemDataRole.SizeHintRole:
                return QSize(0, ROW_H)
            case Qt.ItemDataRole.AccessibleTextRole:
                return spoken(row.job, row.progress, self._now())
        return None

    def flags(self, index: AnyIndex) -> Qt.ItemFlag:
        row = self.row(index.row()) if index.isValid() else None
        if row is None:
            return Qt.ItemFlag.NoItemFlags
        if isinstance(row, Head):
            return Qt.ItemFlag.ItemIsEnabled
        return Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemNeverHasChildren

    def _head_data(self, head: Head, role: int) -> Any:
        match role:
            case Role.HEAD:
                return head
            case Qt.ItemDataRole.DisplayRole:
                return head.group.title
            case Qt.ItemDataRole.SizeHintRole:
                return QSize(0, GROUP_H)
            case Qt.ItemDataRole.AccessibleTextRole:
                return f"{head.group.title}, {head.count} jobs"
        return None

    # Where things stand.

    def row(self, number: int) -> Entry | Head | None:
        """What a row shows; None for one that is not there."""
        if number < 0:
            return None
        first = True
        for each, keys in self._groups.items():
            if each not in self._heads:
                continue
            if number == 0:
                return Head(each, len(keys), first)
            if number <= len(keys):
                return self._entries[keys[number - 1][2]]
            number -= len(keys) + 1
            first = False
        return None

    def rows_of_groups(self) -> list[tuple[int, int]]:
        """For each head that is shown: its row, and how many jobs follow it."""
        shown = [each for each in _ORDER if each in self._heads]
        return [(self._offset(each), len(self._groups[each])) for each in shown]

    def _offset(self, wanted: Group) -> int:
        """The row of a group's head, there or not."""
        before = _ORDER[: _ORDER.index(wanted)]
        return sum(len(self._groups[each]) + (each in self._heads) for each in before)

    def _row_for(self, where: Group, key: Key) -> int:
        return self._offset(where) + 1 + bisect_left(self._groups[where], key)

    def _group_of(self, job: Job) -> Group:
        return group(job, self._now())

    def _key(self, job: Job, where: Group) -> Key:
        if where is Group.RUNNING:
            return (0.0, job.seq, job.id)
        if where is Group.WAITING:
            # What has yet to be sent stands on top, the newest first; then the queue in its order.
            sent = job.state in (State.WAITING, State.STARTING)
            return (1.0, job.seq, job.id) if sent else (0.0, -job.seq, job.id)
        return (-(job.ended_at or job.changed_at), -job.seq, job.id)

    def _is_wanted(self, job: Job) -> bool:
        match self._filter:
            case "active" if job.is_final:
                return False
            case "failed" if job.state not in _FAILED:
                return False
            case "done" if job.state is not State.DONE:
                return False
        if not self._words:
            return True
        summary = (job.error or {}).get("summary", "")
        batch = f"batch:{job.batch}" if job.batch else ""
        text = f"{job.name} {job.id} {job.remote_id} {job.target} {job.state} {summary} {batch}".casefold()
        return all(word in text for word in self._words)

    def _place_all(self) -> None:
        self._ranks = None
        self._groups = {each: [] for each in _ORDER}
        self._placed.clear()
        for entry in self._entries.values():
            if self._is_wanted(entry.job):
                where = self._group_of(entry.job)
                key = self._key(entry.job, where)
                self._groups[where].append(key)
                self._placed[entry.job.id] = (where, key)
        for keys in self._groups.values():
            keys.sort()
        self._heads = {each for each, keys in self._groups.items() if keys}

    def _take_in(self, event: JobEvent) -> None:
        job = event.job
        entry = self._entries.get(job.id)
        if entry is None:
            entry = self._entries[job.id] = Entry(job)
        _update(entry, event)
        if job.is_final:
            self._unfinished.pop(job.id, None)
        else:
            self._unfinished[job.id] = entry
        if not self._is_wanted(job):
            self._take_out(job.id)
            return
        where = self._group_of(job)
        key = self._key(job, where)
        placed = self._placed.get(job.id)
        if placed == (where, key):
            self._row_changed(self._row_for(where, key))
            return
        self._show_head(where)
        if placed is None:
            row = self._row_for(where, key)
            self.beginInsertRows(QModelIndex(), row, row)
            self._put(job.id, where, key)
            self.endInsertRows()
        else:
            self._move(job.id, where, key)
            self._hide_head_if_empty(placed[0])

    def _move(self, job_id: str, where: Group, key: Key) -> None:
        """Bring a row to its place. It moves rather than goes and comes, so that it stays selected."""
        source, target = self._row_for(*self._placed[job_id]), self._row_for(where, key)
        moves = target not in (source, source + 1)
        if moves:
            self.beginMoveRows(QModelIndex(), source, source, QModelIndex(), target)
        self._unput(job_id)
        self._put(job_id, where, key)
        if moves:
            self.endMoveRows()
        self._row_changed(self._row_for(where, key))

    def _drop(self, job_id: str) -> None:
        self._take_out(job_id)
        self._entries.pop(job_id, None)
        self._unfinished.pop(job_id, None)

    def _take_out(self, job_id: str) -> None:
        placed = self._placed.get(job_id)
        if placed is None:
            return
        row = self._row_for(*placed)
        self.beginRemoveRows(QModelIndex(), row, row)
        self._unput(job_id)
        self.endRemoveRows()
        self._hide_head_if_empty(placed[0])

    def _put(self, job_id: str, where: Group, key: Key) -> None:
        insort(self._groups[where], key)
        self._placed[job_id] = (where, key)

    def _unput(self, job_id: str) -> None:
        where, key = self._placed.pop(job_id)
        keys = self._groups[where]
        del keys[bisect_left(keys, key)]

    def _show_head(self, where: Group) -> None:
        if where not in self._heads:
            row = self._offset(where)
            self.beginInsertRows(QModelIndex(), row, row)
            self._heads.add(where)
            self.endInsertRows()

    def _hide_head_if_empty(self, where: Group) -> None:
        if where in self._heads and not self._groups[where]:
            row = self._offset(where)
            self.beginRemoveRows(QModelIndex(), row, row)
            self._heads.discard(where)
            self.endRemoveRows()

    def _row_changed(self, row: int) -> None:
        index = self.index(row)
        self.dataChanged.emit(index, index, [Role.ENTRY])

    def _heads_changed(self) -> None:
        """A count, or which head is the first, may be another now."""
        for row, _ in self.rows_of_groups():
            index = self.index(row)
            self.dataChanged.emit(index, index, [Role.HEAD])


def _update(entry: Entry, event: JobEvent) -> None:
    job = event.job
    if job.state is State.WAITING or job.is_final:
        # A job that is given to the queue again begins anew.
        entry.progress, entry.part = None, None
    entry.job = job
    if event.progress is not None and not job.is_final:
        entry.progress = event.progress
        if event.progress.nodes_total > 0:
            entry.part = max(entry.part or 0.0, event.progress.fraction)
