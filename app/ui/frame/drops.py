"""What is dragged over the window, pasted into it, or given to it as text."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData

from ...workflows.collect import may_be_workflow


def paths_of(data: QMimeData) -> list[Path]:
    """The files and folders of this computer among what is dragged or pasted."""
    return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()] if data.hasUrls() else []


def promise(data: QMimeData, target: str) -> tuple[str, bool]:
    """What releasing would do, as the drop zone says it, and whether that is anything at all.

    Looks at names only: a drag passes over the window many times a second.
    """
    paths = paths_of(data)
    if not paths:
        return (
            "Links cannot be dropped. Save the file first."
            if data.hasUrls()
            else "Only files can be dropped here."
        ), False
    good = [path for path in paths if may_be_workflow(path)]
    bad = [path for path in paths if not may_be_workflow(path)]
    if not good:
        return f"{bad[0].name} is not a workflow.", False
    count = f"{len(good)} workflow{'s' if len(good) > 1 else ''}"
    if bad:
        return f"Release to run {len(good)} of {len(paths)} files. {bad[0].name} is not a workflow.", True
    return f"Release to run {count} on {target}", True
