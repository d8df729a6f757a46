"""A file as the workflow that would run."""

from __future__ import annotations

from pathlib import Path

from app.workflows import NodeCatalogue, Workflow, look_into


def read_workflow(path: Path, catalogue: NodeCatalogue | None = None) -> Workflow:
    """Converted with the catalogue where that is needed; without one no node is known."""
    return look_into(path).converted(catalogue or NodeCatalogue({}))
