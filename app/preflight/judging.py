"""A workflow held against what is known of a place. Blocks: looks at files on this computer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

from worker.examine import MODEL_SUFFIXES, Folders, InputSpec, NodeSpec, Problem, annotated, examined, kind_of

from ..jobs.figures import span
from ..jobs.targets import DEMO, LOCAL
from .catalogue import Catalogue, Source, shipped
from .report import Lack, LackKind, Report

#: Other folders that ComfyUI takes for the same kind of models.
_ALSO = {"text_encoders": ("clip",), "diffusion_models": ("unet",), "controlnet": ("t2i_adapter",)}
#: Nodes of ComfyUI's own that read an input file without saying so in their description.
_READS_INPUT = {
    ("LoadImage", "image"),
    ("LoadImageMask", "image"),
    ("LoadAudio", "audio"),
    ("LoadVideo", "file"),
}
_NOWHERE = Folders(Path("/no such folder of inputs"))
_MOST_NODES = 5_000


@dataclass(frozen=True, slots=True)
class Place:
    """What is known for free of a place to run.

    Attributes:
        name: as people call it.
        catalogue: its node types; None when they are not known.
        models: the models on its volume by kind; None when the volume cannot be listed.
    """

    target: str
    name: str
    catalogue: Catalogue | None = None
    models: Mapping[str, frozenset[str]] | None = None


@dataclass(frozen=True, slots=True)
class Here:
    """What this computer has.

    Attributes:
        catalogue: its ComfyUI's node types, with the custom nodes that bring them.
        models_dirs: where models are, the first one first.
        pace: how fast files were last sent to a volume, in bytes per second; None when none were.
    """

    catalogue: Catalogue | None = None
    models_dirs: tuple[Path, ...] = ()
    pace: float | None = None


def judged(
    prompt: Mapping[str, Any],
    place: Place,
    here: Here,
    *,
    files: Mapping[str, Path],
    ui: Mapping[str, Any] | None = None,
    warnings: tuple[str, ...] = (),
) -> Report:
    """What the workflow lacks at the place. Blocks.

    Args:
        files: the input files that travel with it, by the names it uses.
        ui: its browser's form, which tells where its custom nodes come from.
    """
    own = place.catalogue
    info = (own or shipped()).info
    used = {str(node.get("class_type")) for node in prompt.values() if isinstance(node, Mapping)}
    looks = _Looks(place, own is not None and own.source is Source.RUNNING)
    nodes = {name: looks.spec(name, spec) for name in used if (spec := info.nodes.get(name)) is not None}
    verdict = examined(prompt, replace(info, nodes=nodes), _NOWHERE)
    packs = {**packs_named(ui or {}), **({} if here.catalogue is None else here.catalogue.packs)}
    lacks: list[Lack] = []
    for problem in verdict.problems:
        if own is not None or problem.kind == "missing_model":
            lacks.append(_lack(problem, place, here, packs))
    lacks += _inputs(prompt, nodes, place, files)
    order = {node_id: number for number, node_id in enumerate(prompt)}
    lacks.sort(key=lambda lack: (not lack.certain, order.get(lack.node_id, 0)))
    unchecked = (*(("nodes",) if own is None else ()), *(("models",) if looks.models_unknown else ()))
    return Report(place.target, "" if own is None else own.about, tuple(lacks), unchecked, warnings)


def packs_named(ui: Mapping[str, Any]) -> dict[str, str]:
    """Where the browser noted that a node type comes from: the registry's name, or a repository."""
    found: dict[str, str] = {}
    graphs = [ui]
    definitions = ui.get("definitions")
    inner = definitions.get("subgraphs") if isinstance(definitions, Mapping) else None
    graphs += [each for each in inner if isinstance(each, Mapping)] if isinstance(inner, list) else []
    for graph in graphs:
        nodes = graph.get("nodes")
        for node in nodes[:_MOST_NODES] if isinstance(nodes, list) else ():
            about = node.get("properties") if isinstance(node, Mapping) else None
            if not isinstance(about, Mapping):
                continue
            pack = next((about[key] for key in ("cnr_id", "aux_id") if isinstance(about.get(key), str)), "")
            kind = node.get("type")
            if pack and pack != "comfy-core" and isinstance(kind, str):
                found[kind] = pack[:200]
    return found


class _Looks:
    """Lists of models as they are at the place, where they can be known."""

    def __init__(self, place: Place, fresh: bool) -> None:
        self._models = place.models
        self._fresh = fresh
        self.models_unknown = False

    def spec(self, class_type: str, spec: NodeSpec) -> NodeSpec:
        if self._fresh:
            return spec
        inputs = {name: self._input(class_type, name, each) for name, each in spec.inputs.items()}
        return replace(spec, inputs=inputs)

    def _input(self, class_type: str, name: str, spec: InputSpec) -> InputSpec:
        if spec.options is None or spec.upload:
            return spec
        kind = kind_of(class_type, name, spec, {})
        if kind is None and not any(_is_model(option) for option in spec.options):
            return spec
        if self._models is None or kind is None:
            self.models_unknown = True
            return replace(spec, options=None)
        there = {option for option in spec.options if isinstance(option, str)}
        for folder in (kind, *_ALSO.get(kind, ())):
            there |= self._models.get(folder, frozenset())
        # A list that every ComfyUI checks: what is not in it is refused.
        return replace(spec, options=tuple(sorted(there)), old_style=True)


def _is_model(option: Any) -> bool:
    return isinstance(option, str) and PurePosixPath(option).suffix.lower() in MODEL_SUFFIXES


def _lack(problem: Problem, place: Place, here: Here, packs: Mapping[str, str]) -> Lack:
    kind: LackKind = "value"
    base = Lack(
        kind,
        problem.text,
        "",
        problem.node_id,
        problem.input,
        closest=problem.closest,
        certain=problem.certain,
    )
    if problem.kind == "unknown_node":
        name = str(problem.wanted or problem.class_type)[:200]
        pack = packs.get(name, "")
        installed = here.catalogue is not None and name in here.catalogue.nodes and place.target != LOCAL
        text = f"{_where(place)} has no node type {name}{f' (from {pack})' if pack else ''}."
        text += " It is installed on this computer." if installed else ""
        return replace(base, kind="node", text=text, name=name, pack=pack)
    if problem.kind == "missing_model":
        name, folder = str(problem.wanted)[:500], problem.folder.removeprefix("models").strip("/")
        path, size = _found(here.models_dirs, folder, name) if place.target != LOCAL else (None, None)
        text = f"{_where(place, models=True)} has no {name}{f' in {folder}' if folder else ''}."
        if size is not None:
            takes = f", about {span(size / here.pace)} to send" if here.pace else ""
            text += f" It is on this computer, {_size(size)}{takes}."
        return replace(base, kind="model", text=text, name=name, folder=folder, here=path, size=size)
    return base


def _inputs(
    prompt: Mapping[str, Any], nodes: Mapping[Any, NodeSpec], place: Place, files: Mapping[str, Path]
) -> Iterator[Lack]:
    for node_id, node in prompt.items():
        class_type = str(node.get("class_type"))
        spec, given = nodes.get(class_type), node.get("inputs")
        if spec is None or not isinstance(given, Mapping):
            continue
        for name, value in given.items():
            known = spec.inputs.get(name)
            if known is None or not isinstance(value, str) or not value:
                continue
            if not known.upload and (class_type, name) not in _READS_INPUT:
                continue
            file, kind = annotated(value)
            if file in files or value in files or value in (known.options or ()):
                continue
            if kind != "input" and place.target == LOCAL:
                # In its other folders ComfyUI looks itself, for nothing.
                continue
            text = f"The input file {file[:200]} is missing: not given, and not in ComfyUI's folders here."
            yield Lack("input", text, file, node_id, name)


def _where(place: Place, *, models: bool = False) -> str:
    if place.target == LOCAL:
        return "ComfyUI on this computer"
    if place.target == DEMO:
        return "The demo engine"
    return f"The volume of {place.name}" if models else f"The image of {place.name}"


def _found(models_dirs: Sequence[Path], folder: str, name: str) -> tuple[Path | None, int | None]:
    """A model's file on this computer, and its size in bytes."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not folder or path.is_absolute() or ".." in path.parts:
        return None, None
    for models_dir, each in product(models_dirs, (folder, *_ALSO.get(folder, ()))):
        file = models_dir.joinpath(each, *path.parts)
        try:
            if file.is_file():
                return file, file.stat().st_size
        except (OSError, ValueError):
            continue
    return None, None


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
