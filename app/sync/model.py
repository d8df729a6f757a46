"""What a sync speaks of: files here and on the volume, how they stand, and what is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath

from ..errors import Problem
from ..s3.bucket import Stat
from ..s3.records import FileMark


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of the models folder: its path from there (NFC), where it lies, and what it looked like."""

    path: PurePosixPath
    place: Path
    mark: FileMark


class Standing(StrEnum):
    """How a file here stands to the one on the volume."""

    SAME = "same"
    #: Of one size; whether of one content nobody has looked yet.
    UNVERIFIED = "unverified"
    DIFFERS = "differs"
    HERE = "here only"
    THERE = "volume only"
    #: The file here is shorter than its own header says: it is not sent.
    BROKEN = "truncated"
    #: It cannot be synced; ``why`` says the reason.
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path, on both sides.

    Attributes:
        why: why it stands so, in a few words; empty where that is plain.
        begun: bytes that an earlier, unfinished upload has on the volume.
    """

    path: PurePosixPath
    here: LocalFile | None
    there: Stat | None
    standing: Standing
    why: str = ""
    begun: int = 0

    @property
    def size(self) -> int:
        """In bytes: here, else there."""
        if self.here is not None:
            return self.here.mark.size
        return self.there.size if self.there is not None else 0


class Act(StrEnum):
    UPLOAD = "upload"
    DOWNLOAD = "download"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Step:
    """One file to bring, or to delete from the volume.

    Attributes:
        size: bytes to move; 0 for a deletion.
        replaces: the ETag of the file on the volume that is overwritten or deleted; empty: there is none.
        overwrites_here: a file of this computer is overwritten.
        sha256: what a download must have, where that is known.
        source: the path on the volume, where it is not ``path``.
    """

    act: Act
    path: PurePosixPath
    place: Path
    size: int
    why: str = ""
    replaces: str = ""
    there: Stat | None = None
    overwrites_here: bool = False
    sha256: str | None = None
    source: PurePosixPath | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user wants of a sync. Paths are relative to the models folder, as text.

    Attributes:
        upload, download: whether files that only one side has are brought to the other.
        only: when given, nothing else than these.
        skip: none of these.
        overwrite: files of the volume that may be replaced by those here.
        overwrite_here: files here that may be replaced by those of the volume.
        delete: files of the volume to delete; only what the volume alone has.
    """

    upload: bool = True
    download: bool = False
    only: frozenset[str] | None = None
    skip: frozenset[str] = frozenset()
    overwrite: frozenset[str] = frozenset()
    overwrite_here: frozenset[str] = frozenset()
    delete: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sync would do: the dry run.

    Attributes:
        files, size: to bring, and their bytes.
        free: bytes that the volume has left by our count; None where its size is not known.
        grows: bytes that the volume is fuller after it.
        seconds: how long it may take at the last known rate; None when nothing is known of that.
        differing: how many files differ and stay as they are.
        warnings: what the user should know before, each a sentence.
        obstacle: why it cannot be done at all; empty when it can.
    """

    steps: tuple[Step, ...] = ()
    files: int = 0
    size: int = 0
    free: int | None = None
    grows: int = 0
    seconds: float | None = None
    differing: int = 0
    warnings: tuple[str, ...] = ()
    obstacle: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """Both sides at one moment.

    Attributes:
        used: bytes of all files on the volume, models and others, as far as they were listed.
        folders: bytes by top folder of the models, on the volume.
        results: bytes and number of the results that workers left on the volume.
        notes: what could not be looked at, each a sentence.
    """

    entries: tuple[Entry, ...]
    used: int = 0
    folders: Mapping[str, int] = field(default_factory=dict)
    results: tuple[int, int] = (0, 0)
    notes: tuple[str, ...] = ()
    at: float = 0.0


class Phase(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


class FilePhase(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    CHECKING = "checking"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FileProgress:
    """How far a file is; ``rate`` in bytes per second over the last seconds."""

    path: PurePosixPath
    act: Act
    size: int
    done: int
    phase: FilePhase
    rate: float | None = None
    left_s: float | None = None
    proof: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sync is.

    Attributes:
        done, total: bytes.
        left_s: seconds that are left, after five seconds of a steady rate.
        waits: why nothing goes at the moment, and the seconds until it is tried again.
        changed: the files of which there is news since the last time.
        active: the files that are under way.
        moved: all bytes that went over the line, those that had to go again among them.
        is_down: all of it comes here.
    """

    phase: Phase
    done: int
    total: int
    files_done: int
    files: int
    failed: int
    rate: float | None
    left_s: float | None
    waits: tuple[str, float] | None = None
    changed: tuple[FileProgress, ...] = ()
    active: tuple[FileProgress, ...] = ()
    moved: int = 0
    problem: Problem | None = None
    is_down: bool = False
