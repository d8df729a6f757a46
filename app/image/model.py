"""What an image is made of, as plain values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class NodePin:
    """A pack of custom nodes at a version: of a git repository, or of the Comfy Registry.

    Attributes:
        name: of its folder below ``custom_nodes``.
        repository, commit: where git has it, 40 hexadecimal digits; empty for one of the registry.
        registry_id, version: of the Comfy Registry; of a repository the version is only told.
    """

    name: str
    repository: str = ""
    commit: str = ""
    registry_id: str = ""
    version: str = ""

    @property
    def pin(self) -> str:
        """What makes it this one and no other."""
        return self.commit or f"{self.registry_id}@{self.version}"


@dataclass(frozen=True, slots=True)
class Torch:
    """PyTorch and what is built with it.

    Attributes:
        version: such as ``2.8.0``; empty: what ComfyUI and its nodes ask for.
        torchvision, torchaudio: their versions; empty: what fits.
        index: the address of a Python index for them; empty: the usual one, whose Linux builds are for CUDA.
        cuda: such as ``12.8``, as far as it is known: only told.
    """

    version: str = ""
    torchvision: str = ""
    torchaudio: str = ""
    index: str = ""
    cuda: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that goes into an image.

    Attributes:
        comfyui: its repository and commit; ``name`` is ``comfyui``, ``version`` its release.
        python: a version such as ``3.12``.
        base: the image to begin from; empty: the official slim one of that Python.
        system_packages: Debian's, by name.
        python_packages: requirements beside those of ComfyUI and its nodes.
        overrides: requirements that hold against what any node asks for.
    """

    comfyui: NodePin
    python: str = "3.12"
    torch: Torch = field(default_factory=Torch)
    custom_nodes: tuple[NodePin, ...] = ()
    system_packages: tuple[str, ...] = ()
    python_packages: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    base: str = ""

    @property
    def base_image(self) -> str:
        return self.base or f"python:{self.python}-slim-bookworm"

    @property
    def pins(self) -> tuple[NodePin, ...]:
        """ComfyUI and all packs."""
        return (self.comfyui, *self.custom_nodes)

    @property
    def digest(self) -> str:
        """64 hexadecimal digits: the same for manifests that make the same image."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


class Parity(StrEnum):
    """How something in the image and the same on this computer are to each other."""

    SAME = "same"
    DIFFERS = "differs"
    LOCAL_ONLY = "local_only"
    IMAGE_ONLY = "image_only"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    """What a line of a comparison is about."""

    COMFYUI = "comfyui"
    PYTHON = "python"
    TORCH = "torch"
    CUSTOM_NODE = "custom_node"
    NODE_TYPE = "node_type"
    PACKAGE = "package"
    SYSTEM_PACKAGE = "system_package"


@dataclass(frozen=True, slots=True)
class Compared:
    """One thing in both places. ``image`` and ``local`` are versions as a person reads them; empty: none."""

    kind: Kind
    name: str
    image: str
    local: str
    parity: Parity
    note: str = ""


def counts(lines: tuple[Compared, ...]) -> Mapping[Parity, int]:
    return {parity: sum(each.parity is parity for each in lines) for parity in Parity}
