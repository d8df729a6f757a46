"""The models that ComfyUI can load: listed once, and again when a folder of theirs changed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .comfyui import ComfyClient
from .object_info import COMBO, InputSpec, ObjectInfo
from .places import kind_of

log = logging.getLogger(__name__)

LogMode = Literal["always", "changed"]
#: No models, and thousands of files.
_NO_MODELS = {"configs", "custom_nodes"}
#: Without folders that can be watched the list is asked for anew after so many seconds.
_RECHECK_S = 15.0
_MOST_FOLDERS = 5000
_AT_ONCE = 4
_EMBEDDING = re.compile(r"embedding:([^\s,:()\[\]]+)")


@dataclass(frozen=True, slots=True)
class Model:
    """``size`` in bytes is None when it cannot be told."""

    kind: str
    name: str
    size: int | None

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "size": self.size}


@dataclass(frozen=True, slots=True)
class Listing:
    """All models by kind; ``sha256`` is of kinds, names and sizes."""

    kinds: Mapping[str, Mapping[str, Model]]
    sha256: str

    @classmethod
    def of(cls, models: Mapping[str, Mapping[str, int | None]]) -> Listing:
        kinds = {
            kind: {name: Model(kind, name, size) for name, size in sorted(named.items())}
            for kind, named in sorted(models.items())
        }
        rows = [
            [kind, *row]
            for kind, named in kinds.items()
            for row in ((m.name, m.size) for m in named.values())
        ]
        return cls(kinds, hashlib.sha256(json.dumps(rows).encode()).hexdigest())

    @property
    def count(self) -> int:
        return sum(map(len, self.kinds.values()))

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        return {
            kind: [{"name": model.name, "size": model.size} for model in named.values()]
            for kind, named in self.kinds.items()
        }


class Models:
    """The list of one ComfyUI's models, kept as long as their folders stay as they were.

    ``mode`` is what each request logs: the list in full when it changed since it was last logged; else how
    many there are and which the request uses (``always``), or nothing (``changed``).
    """

    def __init__(self, mode: LogMode = "always") -> None:
        self._mode = mode
        self._listing: Listing | None = None
        self._names: dict[str, Sequence[str]] = {}
        self._folders: dict[str, list[str]] = {}
        self._times: dict[str, int] = {}
        self._listed_at = 0.0
        self._lock = asyncio.Lock()
        self._logged = ""

    @property
    def names(self) -> Mapping[str, Sequence[str]]:
        """By kind, as far as they are known by now."""
        return self._names

    @property
    def folders(self) -> Mapping[str, Sequence[str]]:
        """Where ComfyUI looks for each kind, as far as it told."""
        return self._folders

    def forget(self) -> None:
        """ComfyUI was started anew, or a model was brought."""
        self._listing = None

    async def current(self, client: ComfyClient) -> Listing:
        """The list as it is now.

        Raises:
            ComfyUnavailable: when ComfyUI does not answer.
        """
        async with self._lock:
            if self._listing is None or not await self._same():
                self._listing = await self._listed(client)
                self._names = {kind: tuple(named) for kind, named in self._listing.kinds.items()}
            return self._listing

    def note(self, listing: Listing, used: Sequence[Model]) -> None:
        """Log what models there are, once for each request."""
        if listing.sha256 != self._logged:
            self._logged = listing.sha256
            log.info("%d models are there (%s).", listing.count, listing.sha256[:12])
            for kind, named in listing.kinds.items():
                if named:
                    log.info("models/%s: %s", kind, ", ".join(_said(model) for model in named.values()))
        elif self._mode == "always":
            told = ", ".join(f"{model.kind}/{_said(model)}" for model in used) or "none of them"
            log.info("%d models are there (%s); used: %s", listing.count, listing.sha256[:12], told)

    async def _same(self) -> bool:
        if not self._times:
            return time.monotonic() - self._listed_at < _RECHECK_S
        return await asyncio.to_thread(
            lambda: all(_changed_at(path) == at for path, at in self._times.items())
        )

    async def _listed(self, client: ComfyClient) -> Listing:
        folders = {kind: at for kind, at in (await client.model_folders()).items() if kind not in _NO_MODELS}
        # Before the question: what comes meanwhile is a change.
        times = await asyncio.to_thread(_watched, folders)
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def sized(kind: str) -> dict[str, int | None]:
            async with at_once:
                names = await client.model_list(kind)
                if not names:
                    return {}
                sizes: Mapping[str, int | None] = await asyncio.to_thread(_sizes, names, folders[kind])
                if all(size is None for size in sizes.values()):
                    sizes = await client.model_sizes(kind)
                return {name: sizes.get(name) for name in names}

        kinds = list(folders)
        found = await asyncio.gather(*(sized(kind) for kind in kinds))
        self._folders, self._times, self._listed_at = folders, times, time.monotonic()
        listing: Listing = await asyncio.to_thread(Listing.of, dict(zip(kinds, found, strict=True)))
        return listing


def models_used(workflow: Mapping[str, Any], info: ObjectInfo | None, listing: Listing) -> list[Model]:
    """The models that a workflow names, each once, in its order."""
    names = {kind: tuple(named) for kind, named in listing.kinds.items()}
    used: dict[Model, None] = {}
    for class_type, name, value in _texts(workflow):
        for found in _EMBEDDING.findall(value) if "embedding:" in value else ():
            embeddings = listing.kinds.get("embeddings") or {}
            used.update(dict.fromkeys(m for n, m in embeddings.items() if found in (n, n.rsplit(".", 1)[0])))
        kinds = [kind for kind, named in listing.kinds.items() if value in named]
        if not kinds:
            continue
        node = info.nodes.get(class_type) if info is not None else None
        spec = node.inputs.get(name) if node is not None else None
        wanted = kind_of(class_type, name, spec or InputSpec(COMBO, required=False), names)
        kind = wanted if wanted in kinds else kinds[0]
        used[listing.kinds[kind][value]] = None
    return list(used)


def _texts(workflow: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for node in workflow.values():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        for name, value in inputs.items() if isinstance(inputs, dict) else ():
            value = value.get("__value__") if isinstance(value, dict) else value
            if isinstance(value, str):
                yield str(node.get("class_type")), str(name), value


def _watched(folders: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """When each folder last changed; empty when they are not to be seen from here, or too many."""
    times: dict[str, int] = {}
    for root in {folder for each in folders.values() for folder in each}:
        times[root] = _changed_at(root)
        for path, inner, _files in os.walk(root, followlinks=True):
            times[path] = _changed_at(path)
            inner[:] = [name for name in inner if name != ".git"]
            if len(times) > _MOST_FOLDERS:
                return {}
    return times if any(times.values()) else {}


def _changed_at(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def _sizes(names: Sequence[str], folders: Sequence[str]) -> dict[str, int | None]:
    """From the first folder that has the file: that is the one which is loaded."""
    sizes: dict[str, int | None] = dict.fromkeys(names)
    for name in names:
        for folder in folders:
            try:
                sizes[name] = Path(folder, name).stat().st_size
                break
            except (OSError, ValueError):
                continue
    return sizes


def _said(model: Model) -> str:
    return model.name if model.size is None else f"{model.name} ({model.size / 1e6:,.0f} MB)"
