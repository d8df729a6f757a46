"""What is read off a prompt: which nodes an output needs, its files, what validation objects to."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from .host import Json, Verdict

#: The endings of model files, as ComfyUI's own lists have them, and those of well known custom nodes.
_MODEL = re.compile(r"\.(?:safetensors|sft|ckpt|pth?|bin|pkl|gguf|onnx)\Z", re.IGNORECASE)
_MARK = re.compile(r"(.*) \[(input|output|temp)\]\Z", re.DOTALL)
_WINDOWS_DRIVE = re.compile(r"[A-Za-z]:")


def needed(prompt: Mapping[str, Json], outputs: Collection[str]) -> Json:
    """The part of a prompt that these outputs need, its nodes in the order they had."""
    found: set[str] = set()
    waiting = [node_id for node_id in outputs if node_id in prompt]
    while waiting:
        node_id = waiting.pop()
        if node_id in found:
            continue
        found.add(node_id)
        waiting += [source for source in _sources(prompt[node_id]) if source in prompt]
    return {node_id: node for node_id, node in prompt.items() if node_id in found}


def _sources(node: Json) -> Iterator[str]:
    inputs = node.get("inputs")
    for value in inputs.values() if isinstance(inputs, dict) else ():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
            yield value[0]


def leads_outside(folders: Mapping[str, Path], value: str) -> bool:
    """Whether the file that an input names lies elsewhere than in its folder, links followed. Blocks.

    ComfyUI's own loaders take any path; a stranger's workflow could send any file of this computer that way.
    A file that is nowhere is ComfyUI's to complain of.
    """
    match = _MARK.fullmatch(value)
    name, kind = (match[1], match[2]) if match else (value, "input")
    name = name.replace("\\", "/")
    if name.startswith("/") or _WINDOWS_DRIVE.match(name) or ".." in name.split("/"):
        return True
    try:
        folder = folders[kind].resolve(strict=True)
        return not (folder / name).resolve(strict=True).is_relative_to(folder)
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RuntimeError):
        # What cannot be looked at may be anything, and no file has such a name.
        return not _is_absent(folders[kind], name)


def _is_absent(folder: Path, name: str) -> bool:
    try:
        return not (folder / name).exists()
    except (OSError, ValueError, RuntimeError):
        return True


def unsendable(
    prompt: Mapping[str, Json],
    upload_inputs: Callable[[str], Collection[str]],
    folders: Mapping[str, Path],
) -> dict[str, Json]:
    """Errors, by node, for input files that lie where none may be sent from. Blocks."""
    errors: dict[str, Json] = {}
    for node_id, node in prompt.items():
        class_type, inputs = str(node.get("class_type")), node.get("inputs")
        values = inputs if isinstance(inputs, dict) else {}
        bad = [
            (name, values[name])
            for name in upload_inputs(class_type)
            if isinstance(values.get(name), str) and leads_outside(folders, values[name])
        ]
        if bad:
            errors[node_id] = {"errors": [_not_there(*each) for each in bad], "class_type": class_type}
            errors[node_id]["dependent_outputs"] = []
    return errors


def _not_there(name: str, value: str) -> Json:
    return {
        "type": "custom_validation_failed",
        "message": "Not a file that can be sent",
        "details": f"{name} - {value} lies outside ComfyUI's input, output and temp folders",
        "extra_info": {"input_name": name},
    }


def excused(verdict: Verdict, prompt: Mapping[str, Json], remote: Collection[str]) -> Verdict:
    """A verdict without objections to model files that this computer lacks and the other place has.

    Some loaders read their folders by themselves, so that nothing widens their lists. ``outputs`` are found
    anew: those that no remaining error concerns.

    Args:
        remote: names of all model files there.
    """
    kept: dict[str, Json] = {}
    for node_id, entry in verdict.node_errors.items():
        errors = [error for error in entry.get("errors", ()) if not _is_remote_model(error, remote)]
        if errors:
            kept[node_id] = {**entry, "errors": errors}
    if len(kept) == len(verdict.node_errors) or (verdict.error is None and not verdict.node_errors):
        return Verdict(verdict.error, verdict.outputs, kept)
    spoiled = {str(output) for entry in kept.values() for output in entry.get("dependent_outputs", ())}
    freed = {
        str(output)
        for node_id, entry in verdict.node_errors.items()
        if node_id not in kept
        for output in entry.get("dependent_outputs", ())
    }
    outputs = [node_id for node_id in prompt if node_id in {*verdict.outputs, *freed} - spoiled]
    return Verdict(None if outputs else verdict.error, outputs, kept)


def _is_remote_model(error: Json, remote: Collection[str]) -> bool:
    info = error.get("extra_info")
    value = info.get("received_value") if isinstance(info, dict) else None
    if error.get("type") != "value_not_in_list" or not isinstance(value, str) or not _MODEL.search(value):
        return False
    return value in remote or value.replace("\\", "/") in remote


def unknown_types(prompt: Mapping[str, Json], knows: Callable[[str], bool]) -> Sequence[str]:
    """Node types that this computer does not have."""
    types = [str(node.get("class_type")) for node in prompt.values() if isinstance(node, dict)]
    return [each for each in dict.fromkeys(types) if not knows(each)]
