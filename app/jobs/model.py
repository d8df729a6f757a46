"""What a job is. Plain values; a change is a new value."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from worker.contract import Progress

from ..workflows.parameters import Expected
from .states import FINAL, Hold, State

#: The origin of jobs that ComfyUI's own Queue button made.
FROM_COMFYUI: Final = "comfyui"


def new_job_id() -> str:
    """An id that the job carries everywhere, as ``client_job_id`` too."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What was asked for. ``files`` maps the workflow's input names to paths on this computer.

    Attributes:
        timeout_s: how long it may execute; None: as the settings have it when it is sent.
        ttl_s: how long after sending the platform may keep it, waiting and running; None: likewise.
        retry_of: the id of the ended job that this one repeats.
        lacks: what is missing where it shall run, as an error; the job is on hold from its beginning then.
        anyway: the outputs that can be made are wanted though others cannot.
        source: the file that it was made from. batch: the id that the jobs of one batch share.
        origin: :data:`FROM_COMFYUI` when ComfyUI's own page asked for it; else empty.
        shown_dir: where files go that nodes only show, as PreviewImage's; empty: they are not asked for.
    """

    name: str
    target: str
    prompt: dict[str, Any]
    output_dir: str
    files: dict[str, str] = field(default_factory=dict)
    ui_workflow: dict[str, Any] | None = None
    timeout_s: float | None = None
    ttl_s: float | None = None
    id: str = field(default_factory=new_job_id)
    retry_of: str | None = None
    lacks: dict[str, Any] | None = None
    anyway: bool = False
    source: str = ""
    batch: str = ""
    origin: str = ""
    shown_dir: str = ""

    def to_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> JobSpec:
        """Raises TypeError or ValueError when it is none."""
        known = {f.name for f in fields(cls)}
        spec = cls(**{key: value for key, value in raw.items() if key in known})
        named = (spec.id, spec.name, spec.target, spec.output_dir)
        texts = (*named, spec.source, spec.batch, spec.origin, spec.shown_dir)
        if not all(isinstance(text, str) for text in texts) or not isinstance(spec.prompt, dict):
            raise ValueError("a job's names must be texts and its prompt an object")
        if not isinstance(spec.files, dict) or not all(isinstance(p, str) for p in spec.files.values()):
            raise ValueError("a job's files must be paths by name")
        if not isinstance(spec.anyway, bool):
            raise ValueError("whether a job is wanted anyway must be true or false")
        if not isinstance(spec.lacks, dict | None):
            raise ValueError("what a job lacks must be an object")
        if not isinstance(spec.retry_of, str | None):
            raise ValueError("the job that is repeated must be named by a text")
        return spec


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A result. ``path`` is set before it is fetched, so that a second fetching ends at the same place.

    ``source`` is where it lies on the volume, when it does: the platform forgets answers, and the volume does
    not. ``key`` is the name under which its node told of it; ``shown``: ComfyUI only shows it.
    """

    filename: str
    path: str
    node_id: str = ""
    media_type: str = ""
    size: int | None = None
    sha256: str | None = None
    source: str = ""
    key: str = ""
    shown: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the window and the command line see it. Times are seconds since 1970, durations in ms.

    Attributes:
        expected: what its workflow will make, as far as that can be told beforehand.
        retry_of: the ended job that this one repeats.
        resent: it runs for the second time, since the worker did not find an input that had been stored.
        started_at: when it was last seen to begin running; None again when it goes back to the queue.
        ended_at: when it came to a final state; None for jobs that ended before this was noted.
        sent_at: when the platform took it, the last time.
        workflow: its workflow's fingerprint.
        rate: what its worker costs, USD per second; None while that is not known, or when it costs nothing.
        idle_s: how long its worker idles after it, as billed.
        cold: whether a worker had to start for it; None while it has not run.
        gpu: on what, as the endpoint says it.
        source: the file that it was made from. batch: the id that the jobs of one batch share.
        origin, shown_dir: as in its specification.
        text_nodes: the nodes that left ``texts``, one for each.
    """

    id: str
    seq: int
    name: str
    target: str
    output_dir: str
    state: State = State.PREPARING
    hold: Hold | None = None
    created_at: float = 0.0
    changed_at: float = 0.0
    remote_id: str | None = None
    remote_word: str | None = None
    worker_id: str | None = None
    delay_ms: int | None = None
    execution_ms: int | None = None
    retries: int = 0
    lost_contact_since: float | None = None
    outputs: tuple[OutputFile, ...] = ()
    texts: tuple[str, ...] = ()
    text_nodes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = None
    expected: Expected | None = None
    retry_of: str | None = None
    resent: bool = False
    started_at: float | None = None
    ended_at: float | None = None
    sent_at: float | None = None
    workflow: str = ""
    rate: float | None = None
    idle_s: float | None = None
    cold: bool | None = None
    gpu: str = ""
    source: str = ""
    batch: str = ""
    origin: str = ""
    shown_dir: str = ""

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def is_stuck(self) -> bool:
        """On hold until the user decides."""
        return self.state is State.ON_HOLD and self.hold not in (Hold.ENGINE_DOWN, Hold.LIMIT)

    @property
    def lacks(self) -> bool:
        """On hold since something is missing where it shall run."""
        return self.state is State.ON_HOLD and self.hold is Hold.MISSING

    @property
    def can_upload(self) -> bool:
        """It lacks nothing but models that are on this computer."""
        details = (self.error or {}).get("details")
        return self.lacks and isinstance(details, Mapping) and bool(details.get("upload"))

    @property
    def is_sought(self) -> bool:
        """On hold, and may go on without the user: a worker may be seen to have it."""
        details = (self.error or {}).get("details")
        return self.hold is Hold.MAYBE_SENT and isinstance(details, Mapping) and details.get("sought") is True

    def to_json(self) -> dict[str, Any]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["outputs"] = [{f.name: getattr(o, f.name) for f in fields(o)} for o in self.outputs]
        values["expected"] = None if self.expected is None else self.expected.to_json()
        return values

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Job:
        known = {f.name for f in fields(cls)}
        values = {key: value for key, value in raw.items() if key in known}
        values["state"] = State(values["state"])
        values["hold"] = Hold(values["hold"]) if values.get("hold") else None
        values["outputs"] = tuple(OutputFile(**o) for o in values.get("outputs") or ())
        values["texts"] = tuple(values.get("texts") or ())
        values["text_nodes"] = tuple(values.get("text_nodes") or ())
        values["warnings"] = tuple(values.get("warnings") or ())
        values["expected"] = Expected.from_json(values["expected"]) if values.get("expected") else None
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Move:
    """One line of a job's timeline."""

    at: float
    state: State
    note: str = ""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """A job changed, has new progress, or was removed from the list."""

    job: Job
    progress: Progress | None = None
    removed: bool = False

    def to_json(self) -> dict[str, Any]:
        """As one line of the control socket."""
        line: dict[str, Any] = {"job": self.job.to_json()}
        if self.progress is not None:
            line |= self.progress.to_json()
        if self.removed:
            line["removed"] = True
        return line

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> JobEvent:
        return cls(Job.from_json(raw["job"]), Progress.parse(raw), raw.get("removed") is True)
