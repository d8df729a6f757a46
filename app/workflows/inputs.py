"""The input files that a workflow names: finding them by these names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from worker.contract import safe_name

from ..errors import BadInput


def referenced(prompt: Mapping[str, Any]) -> set[str]:
    """All texts in the workflow that could name an input file, without their `` [input]`` mark."""
    return {
        value.removesuffix(" [input]")
        for node in prompt.values()
        for value in node.get("inputs", {}).values()
        if isinstance(value, str)
    }


def inputs_from(given: Iterable[str], prompt: Mapping[str, Any]) -> dict[str, Path]:
    """Input files by the name the workflow uses, from ``NAME=PATH`` and ``DIR`` arguments. Blocks.

    Of a folder those files are taken that the workflow names.

    Raises:
        BadInput: for a name that leaves its folder, or a file that is not there.
    """
    files: dict[str, Path] = {}
    names = referenced(prompt)
    for argument in given:
        folder = Path(argument)
        if _is(folder, Path.is_dir):
            files |= {name: folder / name for name in names if _is_file_below(folder, name)}
            continue
        name, separator, path = argument.partition("=")
        if not separator:
            raise BadInput(f"{argument!r} is no folder and not of the form NAME=PATH.")
        try:
            safe_name(name)
        except ValueError as error:
            raise BadInput(str(error)) from error
        if not _is(Path(path), Path.is_file):
            raise BadInput(f"The input file {path} for {name!r} is not there.")
        files[name] = Path(path)
    return files


def is_input_name(name: str) -> bool:
    """Whether a text can name an input file: a relative path that stays in its folder on every system."""
    try:
        safe_name(name)
    except ValueError:
        return False
    return True


def _is_file_below(folder: Path, name: str) -> bool:
    return is_input_name(name) and _is(folder.joinpath(*safe_name(name).parts), Path.is_file)


def _is(path: Path, what: Callable[[Path], bool]) -> bool:
    """``what`` of a path that may be any text, a prompt of ten thousand letters among them."""
    try:
        return what(path)
    except (OSError, ValueError):
        return False
