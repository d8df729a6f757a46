"""What a workflow lacks at the place where it shall run, as values for the window and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

LackKind = Literal["node", "model", "input", "value"]
_KINDS: dict[LackKind, str] = {
    "node": "node type",
    "model": "model",
    "input": "input file",
    "value": "value",
}


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that is missing, or not accepted.

    Attributes:
        text: a sentence for a person.
        name: the node type, or the file's name as the workflow has it.
        folder: where a model belongs: ``checkpoints`` …
        closest: what is there instead.
        pack: the custom nodes that have the type, when that is known.
        here: the file on this computer, and ``size`` in bytes.
        certain: whether ComfyUI is known to refuse it.
    """

    kind: LackKind
    text: str
    name: str = ""
    node_id: str = ""
    input: str = ""
    folder: str = ""
    closest: tuple[str, ...] = ()
    pack: str = ""
    here: Path | None = None
    size: int | None = None
    certain: bool = True

    def to_json(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"closest": list(self.closest), "here": None if self.here is None else str(self.here)}


@dataclass(frozen=True, slots=True)
class Report:
    """What there is to say of a workflow before it is sent.

    Attributes:
        target: where it shall run. about: whose node types were looked at; empty when none were known.
        lacks: certain ones first, in the order of the workflow.
        unchecked: what nobody could be asked about for free: ``nodes``, ``models``.
        warnings: of the conversion from the browser's form.
    """

    target: str
    about: str = ""
    lacks: tuple[Lack, ...] = ()
    unchecked: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def is_ready(self) -> bool:
        """Nothing is known to be missing."""
        return not any(lack.certain for lack in self.lacks)

    def of(self, kind: LackKind) -> tuple[Lack, ...]:
        return tuple(lack for lack in self.lacks if lack.kind == kind and lack.certain)

    def to_json(self) -> dict[str, Any]:
        return {
            "ready": self.is_ready,
            "target": self.target,
            "catalogue": self.about,
            "lacks": [lack.to_json() for lack in self.lacks],
            "not_checked": list(self.unchecked),
            "warnings": list(self.warnings),
        }

    @property
    def to_upload(self) -> tuple[Lack, ...]:
        """The models that are missing, when nothing else is and all of them are on this computer."""
        certain = [lack for lack in self.lacks if lack.certain]
        here = all(lack.kind == "model" and lack.here is not None and lack.folder for lack in certain)
        return tuple(certain) if here else ()

    @property
    def hold(self) -> dict[str, Any] | None:
        """What a job is held for from its beginning; None when nothing is known to be missing."""
        return None if self.is_ready else dict(self.as_problem())

    def as_problem(self) -> Mapping[str, Any]:
        """As a job that is held for it has it in place of an error."""
        certain = [lack for lack in self.lacks if lack.certain]
        return {
            "summary": self.headline,
            "hint": "",
            "code": "lacking",
            "details": {"lacks": [lack.to_json() for lack in certain], "upload": len(self.to_upload)},
        }

    @property
    def headline(self) -> str:
        """In one line what is missing; empty when nothing is."""
        certain = [lack for lack in self.lacks if lack.certain]
        parts = []
        for kind, word in _KINDS.items():
            names = {lack.name or lack.text for lack in certain if lack.kind == kind}
            parts += [f"{len(names)} {word}{'s' if len(names) > 1 else ''}"] if names else []
        if not parts:
            return ""
        only_values = all(lack.kind == "value" for lack in certain)
        joined = " and ".join(parts) if len(parts) < 3 else ", ".join(parts)
        return f"{joined} {'not accepted' if only_values else 'missing'}"
