"""All nodes by class: importing this module fills the table."""

from __future__ import annotations

from typing import Any

from app.demo import file_nodes, picture_nodes
from app.demo.catalogue import descriptions
from app.demo.registry import NODES, Call, Node

__all__ = ["NODES", "file_nodes", "picture_nodes"]


def _no_models(call: Call, **inputs: Any) -> tuple[Any, ...]:
    raise RuntimeError("The demo engine runs no models; choose another target for this workflow.")


# Described so that a workflow with models is answered as by a ComfyUI without models: "not in list".
for _name in descriptions():
    NODES.setdefault(_name, Node(_no_models))
