"""A ComfyUI on this disk."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import NeedsSetup
from .install_steps import is_unfinished


@dataclass(frozen=True, slots=True)
class Installation:
    """A ComfyUI on this disk: the folder of its ``main.py``, its Python, and its own arguments."""

    folder: Path
    python: Path
    args: tuple[str, ...] = ()

    @classmethod
    def at(cls, folder: Path, python: Path | None = None, args: Sequence[str] = ()) -> Installation:
        """Check the folder and find its Python: the one given, else a venv in or beside it.

        Raises:
            NeedsSetup: when there is no ComfyUI, or no Python of its own.
        """
        if not (folder / "main.py").is_file():
            raise NeedsSetup(
                f"{folder} holds no ComfyUI: there is no main.py.",
                hint="Set COMFYUI_DIR to the folder that holds ComfyUI's main.py.",
            )
        if is_unfinished(folder):
            raise NeedsSetup(
                f"The installation of ComfyUI in {folder} was not finished.",
                hint="Go on with it on the ComfyUI page, or with `comfy-runpod comfyui install`.",
            )
        found = python or _own_python(folder)
        if found is None:
            raise NeedsSetup(
                f"No Python environment was found in {folder}.",
                hint="Set COMFYUI_PYTHON to the Python that runs this ComfyUI.",
            )
        return cls(folder, found, tuple(args))


def _own_python(folder: Path) -> Path | None:
    inside = Path("Scripts", "python.exe") if sys.platform == "win32" else Path("bin", "python")
    places = [folder / "venv", folder / ".venv", folder.parent / "venv", folder.parent / ".venv"]
    candidates = [place / inside for place in places]
    candidates.append(folder.parent / "python_embeded" / "python.exe")  # the Windows portable's spelling
    return next((path for path in candidates if path.is_file()), None)
