"""What the Models page shows, as plain values. A controller makes them; the page draws them as they are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Role = Literal["plain", "amber", "red", "green"]
Transport = Literal["s3", "runpodctl"]
#: What an empty page's button does: choose a volume, choose a folder of models, or open the settings' key.
EmptyAct = Literal["volume", "folder", "key"]


class RowState(StrEnum):
    """How a file here and the one of its name on the volume are to each other, or what is done about it."""

    SAME = "same"
    #: Of one size; their contents were not compared yet.
    UNVERIFIED = "unverified"
    CHECKING = "checking"
    LOCAL_ONLY = "local_only"
    VOLUME_ONLY = "volume_only"
    DIFFERS = "differs"
    WAITING = "waiting"
    UPLOADING = "uploading"
    DOWNLOADING = "downloading"
    UPLOADED = "uploaded"
    DOWNLOADED = "downloaded"
    PAUSED = "paused"
    FAILED = "failed"
    #: The local file is truncated, and is not sent.
    BROKEN = "broken"
    #: Not part of any sync, as names that clash; the row's note says why.
    LEFT_OUT = "left_out"


class Choice(StrEnum):
    """What a user can do with a file. Of a row's choices the first that is a remedy is its link."""

    UPLOAD = "upload"
    DOWNLOAD = "download"
    OVERWRITE = "overwrite"
    OVERWRITE_LOCAL = "overwrite_local"
    KEEP_BOTH = "keep_both"
    IGNORE = "ignore"
    RETRY = "retry"
    VERIFY = "verify"
    DELETE = "delete"
    REVEAL = "reveal"
    COPY_SHA256 = "copy_sha256"
    COPY_PATH = "copy_path"


class SyncState(StrEnum):
    """How a sync is."""

    RUNNING = "running"
    PAUSED = "paused"
    #: For the network; it goes on by itself.
    WAITING = "waiting"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A file of the models folder, of the volume's, or of both.

    Attributes:
        path: relative, parts divided by ``/``; the first part is its group, a bare name is of the folder
            itself.
        local_size, volume_size: in bytes; None: it is not there.
        done, total: bytes of what is under way.
        left_s: how long that will take; None: not known yet.
        note: a sentence shown in the row, as why it failed or is left out.
        hint: what to do about it, or more to know; in the tooltip and in the details.
        ticked: whether it is part of the next sync; None: that cannot be chosen.
        usual_tick: what ``ticked`` is unless the user changes it; a box that differs is always shown.
        is_down: its bytes come here; None: they do when there is no local file.
        is_newer: the local file is newer than the volume's.
        versus: of one that differs, a sentence about what would be overwritten on the volume, as ``The
            volume's file is older (343 MB, 12 May).``
        versus_local: the same about the local file.
    """

    path: str
    local_size: int | None
    volume_size: int | None
    state: RowState
    done: int = 0
    total: int = 0
    left_s: float | None = None
    note: str = ""
    hint: str = ""
    ticked: bool | None = None
    choices: tuple[Choice, ...] = ()
    usual_tick: bool = True
    is_down: bool | None = None
    is_newer: bool = False
    versus: str = ""
    versus_local: str = ""


@dataclass(frozen=True, slots=True)
class PlanShown:
    """The card while nothing is moved: what a sync would do.

    Attributes:
        text: the card's sentence; empty: it is made from ``files``, ``bytes`` and ``takes_s``.
        takes_s: about how long it would take; None: not known.
        note: a sentence beneath, in the colour of ``role``.
        can_sync: whether its button can be pressed; without any files and this, there is none.
        busy: files are being listed or compared.
        verb: of the button; empty: ``Sync Models``, or ``Send by code`` for runpodctl.
        way: what is done with the files: ``upload``, ``download``, ``send``, or ``move`` in both directions.
    """

    text: str = ""
    files: int = 0
    bytes: int = 0
    note: str = ""
    role: Role = "plain"
    can_sync: bool = False
    busy: bool = False
    takes_s: float | None = None
    verb: str = ""
    way: str = "upload"


@dataclass(frozen=True, slots=True)
class RunShown:
    """A sync under way, or how it ended.

    Attributes:
        title: the card's sentence; empty: it is made from the numbers.
        done, total: bytes. A ``total`` of 0: not known.
        rate: bytes a second; None: not steady yet.
        left_s: None: not known yet.
        note: a sentence beneath, as what stopped it.
        retry_s: while it waits for the network, when it tries again.
        failed: how many files have failed.
        half_sent: how many files have been sent in part; 0: as many as there are lanes.
        took_s: of one that has ended.
        is_down: all its bytes come here.
    """

    title: str = ""
    done: int = 0
    total: int = 0
    files_done: int = 0
    files: int = 0
    rate: float | None = None
    left_s: float | None = None
    state: SyncState = SyncState.RUNNING
    note: str = ""
    retry_s: float | None = None
    failed: int = 0
    half_sent: int = 0
    took_s: float | None = None
    is_down: bool = False


@dataclass(frozen=True, slots=True)
class VolumeShown:
    """The volume in use.

    Attributes:
        size: in bytes; None: not known.
        used: bytes, as far as known.
        after: bytes in use after the sync; None: as now.
        folders: names and bytes.
        results: bytes of results that workers left under ``.comfy-runpod``.
        note: a sentence, as that only files of the models folder are counted.
        role: the note's colour.
    """

    id: str
    name: str
    data_centre: str = ""
    size: int | None = None
    used: int = 0
    after: int | None = None
    files: int = 0
    folders: tuple[tuple[str, int], ...] = ()
    results: int = 0
    results_files: int = 0
    note: str = ""
    role: Role = "plain"


@dataclass(frozen=True, slots=True)
class VolumeChoice:
    """A volume that can be chosen."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class LaneShown:
    """A file on its way now. ``rate``: bytes a second."""

    path: str
    done: int
    total: int
    rate: float | None = None
    is_down: bool = False


@dataclass(frozen=True, slots=True)
class EarlierShown:
    """A sync of before: ``3 files · 12.1 GB``, ``today 09:40, 6 min``."""

    text: str
    when: str
    ok: bool = True


@dataclass(frozen=True, slots=True)
class KnownShown:
    """What is known of the selected file. Empty texts have no line.

    Attributes:
        sha256: of its contents; empty: not computed, see ``sha256_note``.
        sha256_note: what stands in its place, as ``Computing, 40 %``.
        kind: as ``Checkpoint``, ``LoRA``.
        extra: further names and values.
        problem: what is wrong with it, as that it is truncated.
    """

    path: str
    sha256: str = ""
    kind: str = ""
    base_model: str = ""
    triggers: tuple[str, ...] = ()
    extra: tuple[tuple[str, str], ...] = ()
    problem: str = ""
    sha256_note: str = ""


@dataclass(frozen=True, slots=True)
class SendShown:
    """Sending to a running pod with runpodctl.

    Attributes:
        phase: the card's title, as ``Waiting for the pod``.
        code: the one-time code; empty: there is none yet.
        receive, extract: the two commands for the pod's terminal; empty: not known yet.
        done, total: bytes; a ``total`` of 0: not known.
        rate: bytes a second.
        batch: such as ``1 of 3``; empty: there is only one.
        note: a sentence, as how long the code is valid.
        problem: why it stopped.
        can_restart: a new code can be asked for.
        is_over: it has ended well; it can only be closed.
    """

    phase: str
    code: str = ""
    receive: str = ""
    extract: str = ""
    done: int = 0
    total: int = 0
    rate: float | None = None
    note: str = ""
    batch: str = ""
    problem: str = ""
    can_restart: bool = False
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class LimitShown:
    """The bandwidth that a sync may take, in bytes a second; None: all there is."""

    rate: float | None = None
