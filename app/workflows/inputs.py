"""The input files that a workflow names: finding them by these names, and nothing but them.

A workflow may be a stranger's. A name in it reaches no file that the user did not hand over or keep in
ComfyUI's own folders, wherever a link in these leads.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.contract import safe_name
from worker.examine import annotated

from ..errors import BadInput


@dataclass(frozen=True, slots=True)
class ComfyFolders:
    """The folders of this computer's ComfyUI that a workflow's names may reach; None: there is none."""

    input: Path | None = None
    output: Path | None = None
    temp: Path | None = None

    @classmethod
    def of(cls, comfyui_dir: Path | None) -> ComfyFolders:
        """Those of an installation with its folders in their usual places."""
        if comfyui_dir is None:
            return cls()
        return cls(comfyui_dir / "input", comfyui_dir / "output", comfyui_dir / "temp")

    def find(self, name: str, kind: str) -> Path | None:
        """The file of that name in the folder of a kind (``input``, ``output``, ``temp``). Blocks."""
        folder = {"input": self.input, "output": self.output, "temp": self.temp}.get(kind)
        return None if folder is None else file_below(folder, name)


def referenced(prompt: Mapping[str, Any]) -> set[str]:
    """All texts in the workflow that could name an input file, without their `` [input]`` mark."""
    return {annotated(value)[0] for _, _, value in _texts(prompt)}


def named_in_ui(ui: Mapping[str, Any]) -> set[str]:
    """Likewise of a workflow in the browser's form, whose values have no names yet. Never raises."""
    graphs: list[Any] = [ui]
    definitions = ui.get("definitions")
    inner = definitions.get("subgraphs") if isinstance(definitions, Mapping) else None
    graphs += inner if isinstance(inner, list) else []
    found: set[str] = set()
    for graph in graphs:
        nodes = graph.get("nodes") if isinstance(graph, Mapping) else None
        for node in nodes if isinstance(nodes, list) else ():
            values = node.get("widgets_values") if isinstance(node, Mapping) else None
            listed = values.values() if isinstance(values, Mapping) else values
            found |= {
                annotated(value)[0]
                for value in (listed if isinstance(listed, Iterable) and not isinstance(listed, str) else ())
                if isinstance(value, str)
            }
    return found


def gathered(
    prompt: dict[str, dict[str, Any]],
    *,
    given: Mapping[str, Path],
    folders: ComfyFolders,
    roots: Sequence[Path] = (),
) -> tuple[dict[str, dict[str, Any]], dict[str, Path]]:
    """The files that travel with a workflow, by the names it uses, and the workflow that uses them. Blocks.

    What is marked as of ComfyUI's output or temp folder is sent as an input, under ``output/`` or ``temp/``,
    and the workflow that is returned says so.

    Args:
        given: files that the user handed over, by their own names; they win.
        folders: ComfyUI's own. roots: folders that the user handed over.
    """
    files: dict[str, Path] = {}
    renamed: list[tuple[str, str, str]] = []
    for node_id, key, value in _texts(prompt):
        name, kind = annotated(value)
        if not is_input_name(name):
            continue
        path = given.get(name.rpartition("/")[2])
        path = path or next((found for root in roots if (found := file_below(root, name))), None)
        path = path or folders.find(name, kind)
        if path is None:
            continue
        if kind != "input":
            name = f"{kind}/{name}"
            renamed.append((node_id, key, name))
        files[name] = path
    if renamed:
        prompt = copy.deepcopy(prompt)
        for node_id, key, name in renamed:
            prompt[node_id]["inputs"][key] = name
    return prompt, files


def inputs_from(given: Iterable[str], prompt: Mapping[str, Any]) -> dict[str, Path]:
    """Input files by the name the workflow uses, from ``NAME=PATH``, ``PATH`` and ``DIR`` arguments. Blocks.

    Of a folder those files are taken that the workflow names.

    Raises:
        BadInput: for a name that leaves its folder, or a file that is not there.
    """
    files: dict[str, Path] = {}
    names = referenced(prompt)
    for argument in given:
        folder = Path(argument)
        if is_so(folder, Path.is_dir):
            files |= {name: found for name in names if (found := file_below(folder, name))}
            continue
        if is_so(folder, Path.is_file):
            meant = [name for name in names if name.rpartition("/")[2] == folder.name]
            if not meant:
                raise BadInput(
                    f"The workflow names no input file {folder.name}.", hint=f"Use NAME={argument}."
                )
            files |= dict.fromkeys(filter(is_input_name, meant), folder)
            continue
        name, separator, path = argument.partition("=")
        if not separator:
            raise BadInput(f"{argument!r} is no file, no folder and not of the form NAME=PATH.")
        try:
            safe_name(name)
        except ValueError as error:
            raise BadInput(str(error)) from error
        if not is_so(Path(path), Path.is_file):
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


def file_below(folder: Path, name: str) -> Path | None:
    """The file of a name from a workflow, when it lies in the folder, links followed. Blocks."""
    if not is_input_name(name):
        return None
    path = folder.joinpath(*safe_name(name).parts)
    try:
        # What it is now: a link that is turned elsewhere later is not followed again.
        real = path.resolve(strict=True)
        return real if real.is_relative_to(folder.resolve(strict=True)) and real.is_file() else None
    except (OSError, ValueError, RuntimeError):
        # Also for any text that is no name at all, a prompt of ten thousand letters among them.
        return None


def _texts(prompt: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for node_id, node in prompt.items():
        for key, value in node.get("inputs", {}).items():
            if isinstance(value, str):
                yield node_id, key, value


def is_so(path: Path, what: Callable[[Path], bool]) -> bool:
    """``what`` of a path that may be any text; links that lead in a circle are nothing."""
    try:
        return what(path)
    except (OSError, ValueError, RuntimeError):
        return False
