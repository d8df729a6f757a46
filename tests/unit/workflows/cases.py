"""Saved workflows with what frontend 1.58.1 makes of them, and what is known about the nodes in them.

The cases in ``tests/data/workflows/convert`` stand alone. ComfyUI's own node descriptions are under its
licence and are not copied here: where the reference data lie beside the project they are read from there,
with the cases under that licence. Without them the descriptions are told from the cases themselves.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from app.workflows.convert import NodeCatalogue

ROOT = Path(__file__).parents[3]
HERE = ROOT / "tests" / "data" / "workflows" / "convert"
REFERENCE = ROOT.parent / "shared" / "data"
OBJECT_INFO = REFERENCE / "object_info-0.3.64.json.gz"


@dataclass(frozen=True)
class Case:
    """``accepted`` are the results of the frontends, 1.58.1's first; empty when both fail."""

    name: str
    licence: str
    features: tuple[str, ...]
    ui: Path
    accepted: tuple[Path, ...]

    def __str__(self) -> str:
        return self.name


@cache
def copied() -> tuple[Case, ...]:
    cases = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))["cases"]
    return tuple(
        Case(
            each["name"],
            each["licence"],
            tuple(each["features"]),
            HERE / f"{each['name']}.ui.json",
            tuple(path for path in [HERE / f"{each['name']}.api.json"] if path.exists()),
        )
        for each in cases
    )


@cache
def reference() -> tuple[Case, ...]:
    """All cases of the reference data; none where they are not."""
    folder = REFERENCE / "workflows"
    if not (folder / "manifest.json").exists() or not OBJECT_INFO.exists():
        return ()
    cases = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["cases"]
    return tuple(_reference_case(folder, each) for each in cases)


def _reference_case(folder: Path, each: dict[str, Any]) -> Case:
    names = [*each.get("alternates", ()), each.get("frontend_1_58_1"), each["api"]]
    accepted = tuple(folder / name for name in names if name)
    return Case(each["name"], each["licence"], tuple(each["features"]), folder / each["ui"], accepted)


@cache
def described() -> NodeCatalogue:
    """ComfyUI's own descriptions, from the reference data."""
    return NodeCatalogue.from_json(gzip.decompress(OBJECT_INFO.read_bytes()))


def bare(prompt: dict[str, Any]) -> str:
    """A prompt as text to compare, without what the server does not look at. ``1`` and ``1.0`` differ."""
    nodes = {
        node_id: {key: value for key, value in node.items() if key != "_meta"}
        for node_id, node in prompt.items()
    }
    return json.dumps(nodes, sort_keys=True)


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
