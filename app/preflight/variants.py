"""From one job to one or many others that differ in what somebody changed. Blocks: reads small files."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..jobs.model import JobSpec, new_job_id
from ..workflows.convert import NodeCatalogue
from ..workflows.tuning import Place, Scalar, changed
from ..workflows.variations import axis, pictures, prompt_lines, seeds, variations

#: Between a job's name and what is special about it.
_DOT = " · "


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be other than in the job of before.

    Attributes:
        changes: values by (node, input), as :func:`app.workflows.entered.checked` gave them.
        vary: a range or a list for an input, as ``1..10`` or ``a, b``.
        seeds: how many different ones. prompts: a text file with a prompt in each line.
        pictures: the folder whose pictures are the input of that place, one after the other.
        files: input files that were chosen, by the names that ``changes`` uses.
    """

    changes: Mapping[Place, Scalar] = field(default_factory=dict)
    vary: Mapping[Place, str] = field(default_factory=dict)
    seeds: int = 1
    prompts: Path | None = None
    pictures: tuple[Place, Path] | None = None
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def is_unchanged(self) -> bool:
        return self == Wanted(files=self.files)


def variants(spec: JobSpec, wanted: Wanted, catalogue: NodeCatalogue | None) -> list[JobSpec]:
    """The new jobs; several share a batch. Whether they lack anything is not looked at.

    Raises:
        BadInput: for values that cannot be, and for more than 1000 jobs.
    """
    prompt = changed(spec.prompt, wanted.changes)
    axes = [axis(prompt, f"{node}.{key}={values}", catalogue) for (node, key), values in wanted.vary.items()]
    if wanted.seeds > 1:
        axes.append(seeds(prompt, wanted.seeds))
    if wanted.prompts is not None:
        axes.append(prompt_lines(prompt, wanted.prompts))
    if wanted.pictures is not None:
        (node, key), folder = wanted.pictures
        axes.append(pictures(prompt, folder, where=f"{node}.{key}", catalogue=catalogue))
    made = variations(prompt, axes)
    name = spec.name.partition(_DOT)[0] if spec.batch else spec.name
    batch = uuid.uuid4().hex if len(made) > 1 else ""
    files = {**spec.files, **{key: str(path) for key, path in wanted.files.items()}}
    return [
        replace(
            spec,
            id=new_job_id(),
            name=f"{name}{_DOT}{each.label}" if each.label else name,
            prompt=each.prompt,
            files={**files, **{key: str(path) for key, path in each.files.items()}},
            # It tells of other values now.
            ui_workflow=spec.ui_workflow if wanted.is_unchanged else None,
            lacks=None,
            batch=batch,
        )
        for each in made
    ]
