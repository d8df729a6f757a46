"""What is sent, in which parts, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class Item:
    """A model file of this computer.

    Attributes:
        path: where it belongs, relative to the models folder: ``checkpoints/x.safetensors``.
        place: the file here.
        size: in bytes.
        sha256: of its content, 64 lower-case hex digits; None when it is to be computed.
    """

    path: PurePosixPath
    place: Path
    size: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as the receiver is told of it: with its place below the models folder, and its hash."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Unit:
    """One file that is handed to runpodctl.

    Attributes:
        name: its name in the staging folder, and in the folder of the receiver.
        size: in bytes, as it is sent.
        entries: what it holds: one entry for a link, one or more for a zip, none for the files that go along.
        content: names its content, so that the same name with other content is another file.
    """

    name: str
    size: int
    content: str
    entries: tuple[Entry, ...] = ()
    zipped: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """The files of one call of ``runpodctl send``.

    Attributes:
        set_id: eight hex digits that all batches of one staging share; another content has others.
        number: from 1 to ``of``.
        units: in the order in which they are sent, the script first.
        script: the name of the extraction script.
    """

    folder: Path
    set_id: str
    number: int
    of: int
    units: tuple[Unit, ...]
    script: str

    @property
    def total_bytes(self) -> int:
        return sum(unit.size for unit in self.units)

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(entry for unit in self.units for entry in unit.entries)


@dataclass(frozen=True, slots=True)
class Commands:
    """What the user types on the pod, and a sentence on where and when."""

    receive: str
    extract: str
    note: str


def commands_for(batch: Batch, code: str) -> Commands:
    """The two commands for the pod. The files land in the folder in which the first one runs."""
    note = "Run both on the pod in one folder of its volume, for example after `cd /workspace`."
    if batch.of > 1:
        note += (
            f" This is batch {batch.number} of {batch.of}: receive them all into the same folder and run the"
            " second command after the last, or after each; it names the batches that are missing."
        )
    return Commands(f"runpodctl receive {code}", f"python3 {batch.script}", note)


class Phase(StrEnum):
    STAGING = "staging"
    HASHING = "hashing"
    WAITING = "waiting for receiver"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class SendState:
    """How far staging or sending is.

    Attributes:
        code: known early; the receiver can connect only once there are ``commands``.
        done_bytes, total_bytes: of what the phase does: read and hashed here, or sent.
        rate: bytes per second as runpodctl tells it; None when it does not.
        message: one sentence for the user; may be empty.
    """

    phase: Phase
    batch: int = 1
    batches: int = 1
    code: str | None = None
    commands: Commands | None = None
    done_bytes: int = 0
    total_bytes: int = 0
    rate: float | None = None
    message: str = ""


OnState = Callable[[SendState], None]


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch that runpodctl has sent. Whether it arrived whole is for the script on the pod to say.

    Attributes:
        before: the files that this call did not send because an earlier one had; the receiver keeps them.
    """

    batch: Batch
    code: str
    commands: Commands
    before: tuple[str, ...] = ()
