"""Files of ours that must be whole and private."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Write a file at once or not at all, with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def resource(*parts: str) -> Path:
    """A file or folder that comes with the program: from the checkout, or packed with it."""
    package = Path(__file__).parent
    packed = package / "resources"
    if packed.is_dir():
        return packed.joinpath(*parts)
    # What the image is made of has a folder of its own there.
    root = package.parent
    return (root if parts[:1] == ("docker",) else root / "resources").joinpath(*parts)
