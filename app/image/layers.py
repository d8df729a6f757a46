"""What an image's layers are, how large, and what is in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..docker.engine import Engine
from ..docker.model import HistoryLine

#: The lines of the Dockerfile by what they hold, and the folders that are looked into for it.
_KINDS = (
    (r"COPY start |COPY worker |opt/comfy-runpod/worker", "The worker", ()),
    (r"compileall .*\.|mkdir -p input", "Compiled ComfyUI and nodes", ()),
    (r"COPY custom_nodes", "Custom nodes", ("/comfyui/custom_nodes",)),
    (r"COPY comfyui", "ComfyUI", ("/comfyui",)),
    (r"comfyui\.lock", "Packages of ComfyUI and its nodes", ("/opt/comfyui/lib/python3*/site-packages",)),
    (r"worker\.lock", "Packages of the worker", ("/opt/worker/lib/python3*/site-packages",)),
    (r"torch\.lock", "PyTorch", ("/opt/comfyui/lib/python3*/site-packages",)),
    (r"useradd", "The user comfy", ()),
    (r"uv==", "uv", ()),
    (r"apt-get", "System packages", ()),
)
_TORCH = re.compile(r"(?:torch|nvidia|triton|torchgen|functorch|torchvision|torchaudio)(?:[._-].*)?")
_DU = re.compile(r"(\d+)\t(/.+)")
_MOST = 12
_BASE = "Base image"


@dataclass(frozen=True, slots=True)
class LayerReport:
    """A layer and the largest of what is in it, in bytes.

    Attributes:
        title: what it is to a person, else the Dockerfile's line.
        contents: name and size, the largest first.
    """

    title: str
    size: int
    contents: tuple[tuple[str, int], ...] = ()


async def layers_of(engine: Engine, image: str) -> tuple[LayerReport, ...]:
    """The layers that hold something, the lowest first; those of the base image as one.

    Raises:
        ProcessFailed: when the image cannot be looked into.
    """
    lines = list(reversed(await engine.history(image)))
    folders = sorted({folder for _, _, each in _KINDS for folder in each})
    script = f"du -x -k --max-depth=1 {' '.join(folders)} 2>/dev/null || true"
    sizes = sizes_in(await engine.run_once(image, ["sh", "-c", script]))
    return reports(lines, sizes)


def reports(lines: Sequence[HistoryLine], sizes: Sequence[tuple[str, int]]) -> tuple[LayerReport, ...]:
    """From an image's history, the lowest line first, and the sizes of its folders."""
    own = next((at for at, line in enumerate(lines) if re.search(_KINDS[-1][0], line.command)), 0)
    # The base is all below our first step.
    first = next((at for at, line in enumerate(lines) if _title(line.command)), own)
    found = [LayerReport(_BASE, sum(line.size for line in lines[:first]))]
    for line in lines[first:]:
        if not line.size:
            continue
        title = _title(line.command) or line.command[:80]
        if found[-1].title == title:
            found[-1] = LayerReport(title, found[-1].size + line.size, found[-1].contents)
        else:
            found.append(LayerReport(title, line.size, _contents(title, sizes)))
    return tuple(each for each in found if each.size)


def sizes_in(lines: Sequence[str]) -> list[tuple[str, int]]:
    """Path and bytes, of what ``du -k`` says."""
    found = (_DU.fullmatch(line) for line in lines)
    return [(match[2], int(match[1]) * 1024) for match in found if match]


def _title(command: str) -> str:
    return next((title for pattern, title, _ in _KINDS if re.search(pattern, command)), "")


def _contents(title: str, sizes: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    folders = next((folders for _, each, folders in _KINDS if each == title), ())
    inside: list[tuple[str, int]] = []
    for folder in folders:
        pattern = re.compile(re.escape(folder).replace(r"\*", r"[^/]*") + r"/([^/]+)")
        inside += [(match[1], size) for path, size in sizes if (match := pattern.fullmatch(path))]
    if title in ("PyTorch", "Packages of ComfyUI and its nodes"):
        inside = [each for each in inside if bool(_TORCH.fullmatch(each[0])) is (title == "PyTorch")]
    if title == "ComfyUI":
        inside = [each for each in inside if each[0] != "custom_nodes"]
    return tuple(sorted(inside, key=lambda each: -each[1])[:_MOST])
