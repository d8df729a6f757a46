"""Whether the image and this computer are the same: node types, their packs, and Python packages. Proven.

What lies in folders is left out: lists of models and of input files differ, and say nothing of the code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .model import Compared, Kind, Parity

_FILE = re.compile(r".+\.[A-Za-z0-9]{2,12}")
#: Told to people, and of no effect.
_SHOWN_ONLY = ("tooltip", "description", "display_name", "deprecated", "experimental")
_MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What was compared, a line for each: packs with their node types, and Python packages.

    Attributes:
        node_types: how many were compared, and how many are the same.
    """

    packs: tuple[Compared, ...]
    packages: tuple[Compared, ...]
    node_types: int
    same_types: int

    @property
    def differing(self) -> int:
        """Packs that are not the same in both places."""
        return sum(each.parity is not Parity.SAME for each in self.packs)

    def to_json(self) -> dict[str, Any]:
        def told(line: Compared) -> dict[str, str]:
            return {
                "name": line.name, "image": line.image, "local": line.local, "parity": line.parity.value,
                "note": line.note,
            }  # fmt: skip

        return {
            "same": not self.differing and self.node_types == self.same_types,
            "node_types": self.node_types,
            "same_node_types": self.same_types,
            "nodes": [told(line) for line in self.packs],
            "packages": [told(line) for line in self.packages],
        }


def compare_nodes(image: Mapping[str, Any], local: Mapping[str, Any]) -> ParityReport:
    """Compare two ``/object_info``."""
    packs: dict[str, list[tuple[str, Parity, str]]] = {}
    same = 0
    for name in sorted(image.keys() | local.keys()):
        there, here = image.get(name), local.get(name)
        if not isinstance(there, dict) or not isinstance(here, dict):
            parity = Parity.IMAGE_ONLY if isinstance(there, dict) else Parity.LOCAL_ONLY
            note = ""
        else:
            note = _difference(there, here)
            parity = Parity.DIFFERS if note else Parity.SAME
        same += parity is Parity.SAME
        packs.setdefault(_pack_of(there if isinstance(there, dict) else here), []).append(
            (name, parity, note)
        )
    lines = tuple(_line(pack, types) for pack, types in sorted(packs.items()))
    return ParityReport(lines, (), len(image.keys() | local.keys()), same)


def compare_packages(
    image: Mapping[str, str], local: Mapping[str, str], locked: Mapping[str, str]
) -> tuple[Compared, ...]:
    """Packages of the image, of this computer, and of the lock that the image was made of."""
    lines: list[Compared] = []
    for name in sorted(image.keys() | locked.keys()):
        there, here, wanted = image.get(name, ""), local.get(name, ""), locked.get(name)
        if not here:
            parity = Parity.IMAGE_ONLY
        elif _public(there) == _public(here):
            parity = Parity.SAME
        else:
            parity = Parity.DIFFERS
        note = "" if wanted == there else f"the lock says {wanted or 'nothing'}"
        lines.append(Compared(Kind.PACKAGE, name, there, here, parity, note))
    return tuple(lines)


def _public(version: str) -> str:
    """Without what a build was made for: ``2.8.0+cu128`` and ``2.8.0`` are one release."""
    return version.partition("+")[0]


def _line(pack: str, types: list[tuple[str, Parity, str]]) -> Compared:
    total = len(types)
    same = sum(parity is Parity.SAME for _, parity, _ in types)
    only = {parity for _, parity, _ in types}
    parity = Parity.SAME if same == total else next(iter(only)) if len(only) == 1 else Parity.DIFFERS
    words = {
        Parity.DIFFERS: "differs", Parity.LOCAL_ONLY: "is not in the image",
        Parity.IMAGE_ONLY: "is in the image only",
    }  # fmt: skip
    odd = [f"{name} {note or words[kind]}" for name, kind, note in types if kind is not Parity.SAME]
    more = f" and {len(odd) - _MOST_TOLD} more" if len(odd) > _MOST_TOLD else ""
    there = sum(kind is not Parity.LOCAL_ONLY for _, kind, _ in types)
    here = sum(kind is not Parity.IMAGE_ONLY for _, kind, _ in types)
    return Compared(
        Kind.CUSTOM_NODE, pack, f"{there} node types", f"{here} node types", parity,
        "; ".join(odd[:_MOST_TOLD]) + more,
    )  # fmt: skip


def _pack_of(node: Any) -> str:
    module = node.get("python_module") if isinstance(node, dict) else None
    text = module if isinstance(module, str) else ""
    return text.removeprefix("custom_nodes.") if text.startswith("custom_nodes.") else "ComfyUI"


def _difference(image: Mapping[str, Any], local: Mapping[str, Any]) -> str:
    """The first thing that is not the same of two node types; empty when all is."""
    there, here = _inputs(image), _inputs(local)
    for name in sorted(there.keys() ^ here.keys()):
        return f"has the input {name} in the {'image' if name in there else 'local ComfyUI'} only"
    for name, spec in there.items():
        if spec != here[name]:
            return f"has another input {name}"
    for field, what in (("output", "other outputs"), ("output_node", "another role")):
        if image.get(field) != local.get(field):
            return f"has {what}"
    return ""


def _inputs(node: Mapping[str, Any]) -> dict[str, Any]:
    groups = node.get("input")
    found: dict[str, Any] = {}
    for group in ("required", "optional", "hidden"):
        specs = groups.get(group) if isinstance(groups, dict) else None
        for name, spec in (specs if isinstance(specs, dict) else {}).items():
            found[str(name)] = (group, _spec(spec))
    return found


def _spec(spec: Any) -> Any:
    """An input's type and options, without what folders hold and what is only told."""
    if not isinstance(spec, list) or not spec:
        return spec
    kind, options = spec[0], spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    choices = kind if isinstance(kind, list) else options.get("options")
    kept = {name: value for name, value in options.items() if name not in (*_SHOWN_ONLY, "options")}
    if isinstance(choices, list):
        if not choices or any(isinstance(each, str) and _FILE.fullmatch(each) for each in choices):
            # Its default is the first file that lies there.
            kept.pop("default", None)
            return "files", kept
        return "choices", tuple(map(str, choices)), kept
    return kind, kept
