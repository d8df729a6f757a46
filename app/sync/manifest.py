"""The list on the volume of what was brought there, with hashes; also as ``sha256sum -c`` reads it.

It comes from a volume that others write to as well, so it is read tolerantly, and what it does not say right
is not said.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath
from typing import Any

from worker.contract import safe_name

from ..s3.bucket import Bucket
from ..s3.errors import NotThere
from ..s3.flow import Flow
from ..s3.patience import Patience
from .scan import OWN_FILES

_NAME, _SUMS = OWN_FILES
_VERSION = 1
#: Bytes; a hundred thousand files take less.
_MOST = 64 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Listed:
    """What the manifest says of a file: size in bytes, SHA-256, and the ETag that the volume had for it."""

    size: int
    sha256: str
    etag: str
    part_size: int | None = None
    verified: str = "size"
    md5: str | None = None
    mtime_ns: int | None = None
    uploaded: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    files: Mapping[PurePosixPath, Listed] = field(default_factory=dict)


def parse(content: bytes) -> Manifest:
    """What can be used of a manifest; an empty one if nothing can."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return Manifest()
    files = data.get("files") if isinstance(data, dict) else None
    found: dict[PurePosixPath, Listed] = {}
    for name, said in (files if isinstance(files, dict) else {}).items():
        try:
            path = safe_name(name)
        except ValueError:
            continue
        if (listed := _listed(said)) is not None:
            found[path] = listed
    return Manifest(found)


def _listed(said: Any) -> Listed | None:
    if not isinstance(said, dict):
        return None
    size, sha256, etag = _whole(said.get("size")), said.get("sha256"), said.get("etag")
    if size is None or not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        return None
    return Listed(
        size,
        sha256,
        etag if isinstance(etag, str) else "",
        _whole(said.get("part_size")) or None,
        _text(said.get("verified")) or "size",
        _text(said.get("md5")) or None,
        _whole(said.get("mtime_ns")),
        _text(said.get("uploaded")),
        _text(said.get("from")),
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63 else None


def _text(value: Any) -> str:
    return value[:200] if isinstance(value, str) else ""


def dump(manifest: Manifest, volume: str) -> bytes:
    files = {
        str(path): {
            "size": each.size,
            "sha256": each.sha256,
            "md5": each.md5,
            "mtime_ns": each.mtime_ns,
            "etag": each.etag,
            "part_size": each.part_size,
            "uploaded": each.uploaded,
            "verified": each.verified,
            "from": each.by,
        }
        for path, each in sorted(manifest.files.items(), key=lambda item: str(item[0]))
    }
    head = {"version": _VERSION, "volume": volume, "updated": now(), "tool": f"comfy-runpod/{_own_version()}"}
    return json.dumps({**head, "files": files}, ensure_ascii=False, indent=1).encode()


def sums(manifest: Manifest) -> bytes:
    """As ``sha256sum -c SHA256SUMS`` reads it in the models folder of a pod."""
    lines = [f"{each.sha256}  {path}" for path, each in manifest.files.items()]
    return ("\n".join(sorted(lines, key=lambda line: line[66:])) + "\n" if lines else "").encode()


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(bucket: Bucket, prefix: str, patience: Patience, flow: Flow) -> Manifest:
    """The volume's manifest. Blocks. Raises ComfyRunPodError when the volume cannot be read."""

    def once() -> bytes:
        found = bytearray()
        with bucket.reading(prefix + _NAME, 0) as (_, pieces):
            for piece in pieces:
                found += piece
                if len(found) > _MOST:
                    return b""
        return bytes(found)

    try:
        return parse(patience.attempt(once, flow.stop, flow.tell))
    except NotThere:
        return Manifest()


def merge(
    bucket: Bucket,
    prefix: str,
    added: Mapping[PurePosixPath, Listed],
    removed: Iterable[PurePosixPath],
    patience: Patience,
    flow: Flow,
) -> None:
    """Write entries into the volume's manifest; those of others stay. Blocks. Raises ComfyRunPodError."""
    there = read(bucket, prefix, patience, flow)
    gone = set(removed)
    kept = {path: each for path, each in there.files.items() if path not in gone}
    together = Manifest({**kept, **added})
    for name, content in ((_NAME, dump(together, bucket.name)), (_SUMS, sums(together))):
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        patience.attempt(
            lambda key=prefix + name, body=content, md5=digest: bucket.put(key, body, md5),  # type: ignore[misc]
            flow.stop,
            flow.tell,
        )


def _own_version() -> str:
    try:
        return version("comfy-runpod")
    except PackageNotFoundError:
        return "dev"
