"""``manifest.yaml``: read, checked and written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from ..comfyui.pack_clone import RESERVED
from ..comfyui.repositories import checked_address
from ..errors import BadInput
from ..files import write_private
from .model import Manifest, NodePin, Torch

FILE_NAME = "manifest.yaml"
_LARGEST = 1 << 20
_MOST = 2_000
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9 _.+-]{0,98}[A-Za-z0-9_+-])?")
_REGISTRY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: The worker needs 3.11.
_PYTHON = re.compile(r"3\.1[1-9]")
_DEBIAN = re.compile(r"[a-z0-9][a-z0-9.+-]+")
_INDEX = re.compile(r"https?://[^\s?#@]+")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}")
_FIELDS = (
    "comfyui", "python", "torch", "base", "custom_nodes", "system_packages", "python_packages", "overrides",
)  # fmt: skip
_HEAD = """\
# What the image holds. `comfy-runpod image manifest --match-local` writes it from the ComfyUI of this
# computer, and shows the difference first. After a change: `comfy-runpod image lock`.
"""


def read_manifest(path: Path) -> Manifest:
    """Raises BadInput, with the line or the field that cannot be used. Blocks."""
    try:
        if path.stat().st_size > _LARGEST:
            raise BadInput(f"{path.name} is too large for a manifest.")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInput(
            f"There is no manifest at {path}.", hint="Make one with `comfy-runpod image manifest`."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path.name} cannot be read: {error}.") from error
    return parse_manifest(text, path.name)


def parse_manifest(text: str, name: str = FILE_NAME) -> Manifest:
    """Raises BadInput, with the line or the field that cannot be used."""
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise BadInput(f"{name} is no YAML{where}.", reason=str(error)[:500]) from None
    return _Reader(name).manifest(data)


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the file at once or not at all. Blocks."""
    write_private(path, manifest_text(manifest))


def manifest_text(manifest: Manifest) -> str:
    data: dict[str, Any] = {
        "comfyui": _pin_data(manifest.comfyui, named=False),
        "python": manifest.python,
        "torch": _without_empty({
            "version": manifest.torch.version, "torchvision": manifest.torch.torchvision,
            "torchaudio": manifest.torch.torchaudio, "cuda": manifest.torch.cuda,
            "index": manifest.torch.index,
        }),
        "base": manifest.base,
        "custom_nodes": [_pin_data(pin, named=True) for pin in manifest.custom_nodes],
        "system_packages": list(manifest.system_packages),
        "python_packages": list(manifest.python_packages),
        "overrides": list(manifest.overrides),
    }  # fmt: skip
    body: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
    return _HEAD + body


def checked_pin(pin: NodePin) -> NodePin:
    """Raises BadInput when it could not be fetched, or would not stay in its folder."""
    if not _NAME.fullmatch(pin.name) or RESERVED.fullmatch(pin.name):
        raise BadInput(f"{pin.name!r} cannot be the folder of a custom node.")
    if bool(pin.repository) == bool(pin.registry_id):
        raise BadInput(f"{pin.name} needs either a repository or an id of the Comfy Registry.")
    if pin.repository:
        if not _COMMIT.fullmatch(pin.commit):
            raise BadInput(f"{pin.name} needs a commit: 40 digits 0-9 and a-f.")
        return replace(pin, repository=checked_address(pin.repository))
    if not _REGISTRY_ID.fullmatch(pin.registry_id):
        raise BadInput(f"{pin.name}: {pin.registry_id!r} is no id of the Comfy Registry.")
    try:
        Version(pin.version)
    except InvalidVersion:
        raise BadInput(f"{pin.name}: {pin.version!r} is no version.") from None
    return pin


def _pin_data(pin: NodePin, *, named: bool) -> dict[str, str]:
    name = {"name": pin.name} if named else {}
    source = {"repository": pin.repository, "commit": pin.commit, "registry": pin.registry_id}
    return name | _without_empty(source | {"version": pin.version})


def _without_empty(data: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in data.items() if value}


class _Reader:
    """Takes a manifest out of what the YAML gave, and says where it cannot."""

    def __init__(self, name: str) -> None:
        self._name = name

    def manifest(self, data: Any) -> Manifest:
        top = self._fields(data, "the manifest", _FIELDS)
        nodes = tuple(self._pin(each, "a custom node") for each in self._list(top, "custom_nodes"))
        seen: set[str] = set()
        for pin in nodes:
            if pin.name.casefold() in seen:
                raise self._bad(f"the custom node {pin.name} is there twice")
            seen.add(pin.name.casefold())
        python = self._text(top, "python") or "3.12"
        if not _PYTHON.fullmatch(python):
            raise self._bad(f'{python!r} is no version of Python such as "3.12"')
        return Manifest(
            comfyui=self._pin(top.get("comfyui"), "comfyui", name="comfyui"),
            python=python,
            torch=self._torch(top.get("torch") or {}),
            custom_nodes=nodes,
            system_packages=self._names(top, "system_packages", _DEBIAN, "no Debian package"),
            python_packages=tuple(map(self._requirement, self._texts(top, "python_packages"))),
            overrides=tuple(map(self._requirement, self._texts(top, "overrides"))),
            base=self._matching(self._text(top, "base"), _IMAGE, "no name of an image"),
        )

    def _pin(self, data: Any, what: str, name: str = "") -> NodePin:
        known = ("repository", "commit", "registry", "version") + (() if name else ("name",))
        fields = self._fields(data, what, known)
        pin = NodePin(
            name or self._text(fields, "name"),
            self._text(fields, "repository"),
            self._text(fields, "commit"),
            self._text(fields, "registry"),
            self._text(fields, "version"),
        )
        try:
            return checked_pin(pin)
        except BadInput as error:
            raise self._bad(error.summary.rstrip(".")) from None

    def _torch(self, data: Any) -> Torch:
        fields = self._fields(data, "torch", ("version", "torchvision", "torchaudio", "index", "cuda"))
        versions = [self._text(fields, each) for each in ("version", "torchvision", "torchaudio")]
        for text in versions:
            try:
                Version(text or "0")
            except InvalidVersion:
                raise self._bad(f"torch: {text!r} is no version") from None
        index = self._matching(self._text(fields, "index"), _INDEX, "no address of a Python index")
        return Torch(versions[0], versions[1], versions[2], index, self._text(fields, "cuda"))

    def _requirement(self, text: str) -> str:
        try:
            Requirement(text)
        except InvalidRequirement:
            raise self._bad(f"{text!r} is no requirement such as numpy<2") from None
        return text

    def _names(
        self, data: Mapping[str, Any], field: str, pattern: re.Pattern[str], what: str
    ) -> tuple[str, ...]:
        return tuple(self._matching(each, pattern, what) for each in self._texts(data, field))

    def _matching(self, text: str, pattern: re.Pattern[str], what: str) -> str:
        if text and not pattern.fullmatch(text):
            raise self._bad(f"{text!r} is {what}")
        return text

    def _fields(self, data: Any, what: str, known: tuple[str, ...]) -> Mapping[str, Any]:
        if not isinstance(data, dict):
            raise self._bad(f"{what} is no list of fields")
        for key in data:
            if key not in known:
                raise self._bad(f"{what} has no field {str(key)[:60]!r}; it has {', '.join(known)}")
        return data

    def _list(self, data: Mapping[str, Any], field: str) -> list[Any]:
        value = data.get(field) or []
        if not isinstance(value, list) or len(value) > _MOST:
            raise self._bad(f"{field} is no list")
        return value

    def _texts(self, data: Mapping[str, Any], field: str) -> list[str]:
        return [self._as_text(each, field) for each in self._list(data, field)]

    def _text(self, data: Mapping[str, Any], field: str) -> str:
        return self._as_text(data.get(field), field)

    def _as_text(self, value: Any, field: str) -> str:
        """YAML takes ``3.12`` and a commit of digits for numbers."""
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self._bad(f"{field} is no text")
        text = str(value).strip()
        if len(text) > 1_000 or not text.isprintable():
            raise self._bad(f"{field} cannot be used")
        return text

    def _bad(self, what: str) -> BadInput:
        return BadInput(f"{self._name}: {what}.")
