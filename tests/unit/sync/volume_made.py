"""A folder of models and a volume at a real server, over a way that a test can spoil."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from app.s3.access import VolumeAccess
from app.s3.body import Limit
from app.s3.patience import Patience
from app.s3.records import RECORDS, Records
from app.settings import Secret
from app.sync.model import Entry, FilePhase, FileProgress, Picture, Plan, Progress, Wish
from app.sync.scan import Rules
from app.sync.sync import ModelSync
from app.sync.transfer import Pace, Transfer
from tests.s3 import ACCESS, SECRET, s3_server
from tests.s3_proxy import S3Proxy

VOLUME = "vol0123"
MODELS = "comfyui/models"
KIB = 1 << 10
PART = 64 * KIB
LARGE = 5 * PART + 1234
PACE = Pace(part=PART, least_part=16 * KIB)
QUICK = Patience(tries=4, base_s=0.01, most_s=0.05)
#: Bytes in an element of a tensor.
_WIDTHS = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1}


def safetensors(metadata: Mapping[str, Any], tensors: Mapping[str, tuple[Any, ...]]) -> bytes:
    """A whole file; each tensor is a data type with its shape."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, (dtype, *shape) in tensors.items():
        size = _WIDTHS[dtype]
        for each in shape:
            size *= each
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    written = json.dumps(header).encode()
    return struct.pack("<Q", len(written)) + written + os.urandom(at)


@dataclass
class Rig:
    """A volume behind a proxy, a folder, and what a program has of both; :meth:`again`: after its end."""

    proxy: S3Proxy
    volume: Path
    folder: Path
    syncs: list[ModelSync] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.access = VolumeAccess(VOLUME, self.proxy.url, "EU-RO-1", Secret(ACCESS), Secret(SECRET))
        self.here = self.folder / "models"
        self.here.mkdir()
        self.records = Records(self.folder / "data" / RECORDS)
        self.sync = self.again()

    def again(self, **more: Any) -> ModelSync:
        more = {"patience": QUICK, "pace": PACE} | more
        made = ModelSync(self.here, self.access, self.records, self.folder / "data", **more)
        self.syncs.append(made)
        self.sync = made
        return made

    @property
    def there(self) -> Path:
        """The models folder on the volume's disk."""
        return self.volume / MODELS

    def write(self, name: str, content: bytes | int) -> bytes:
        """A file here, of these bytes or of so many."""
        content = os.urandom(content) if isinstance(content, int) else content
        (self.here / name).parent.mkdir(parents=True, exist_ok=True)
        (self.here / name).write_bytes(content)
        return content

    def leave(self, name: str, content: bytes | int, *, folder: str = MODELS) -> bytes:
        """A file on the volume, as a pod leaves one: the server knows no ETag of it."""
        content = os.urandom(content) if isinstance(content, int) else content
        path = self.volume / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return content

    def put(self, name: str, content: bytes) -> str:
        """A file on the volume as somebody else sends one; its ETag."""
        return self.sync.bucket.put(f"{MODELS}/{name}", content, hashlib.md5(content).digest())

    def models_there(self) -> dict[str, bytes]:
        """By path; without what the sync keeps for itself."""
        files = (path for path in self.there.rglob("*") if path.is_file())
        named = ((path.relative_to(self.there).as_posix(), path.read_bytes()) for path in files)
        return {name: content for name, content in named if name not in (".sync-manifest.json", "SHA256SUMS")}

    def models_here(self) -> dict[str, bytes]:
        files = (path for path in self.here.rglob("*") if path.is_file())
        return {path.relative_to(self.here).as_posix(): path.read_bytes() for path in files}

    async def look(self, rules: Rules | None = None) -> Picture:
        return await self.sync.look(rules, count_all=False)

    async def standings(self) -> dict[str, str]:
        return {str(each.path): str(each.standing) for each in (await self.look()).entries}

    async def plan(self, **wish: Any) -> Plan:
        wish = {name: frozenset(v) if isinstance(v, set) else v for name, v in wish.items()}
        return self.sync.plan(await self.look(), Wish(**wish))

    def transfer(self, plan: Plan, limit: Limit | None = None) -> Transfer:
        made = self.sync.transfer(plan, limit)
        self.transfers.append(made)
        return made

    async def carried_out(self, **wish: Any) -> Progress:
        return ended(self.transfer(await self.plan(**wish)))

    def parts_there(self, name: str) -> list[int]:
        """How many parts each upload has that the server has open for a file."""
        key, bucket = f"{MODELS}/{name}", self.sync.bucket
        client = self.access.client()
        found = client.list_multipart_uploads(Bucket=VOLUME, Prefix=key).get("Uploads", ())
        client.close()
        return [len(bucket.parts(key, each["UploadId"])) for each in found if each["Key"] == key]

    def close(self) -> None:
        for transfer in self.transfers:
            transfer.stop()
        self.proxy.let_go()
        for transfer in self.transfers:
            transfer.wait(5)
        self.records.close()
        for sync in self.syncs:
            sync.bucket.close()


R = TypeVar("R", bound=Rig)


@contextmanager
def volume_server(folder: Path) -> Iterator[tuple[str, Path]]:
    """A server's address, and the folder of the volume that it has."""
    (folder / VOLUME).mkdir()
    with s3_server(folder) as url:
        yield url, folder / VOLUME


@contextmanager
def rigged(server: tuple[str, Path], folder: Path, kind: type[R]) -> Iterator[R]:
    """A rig with an empty volume."""
    with S3Proxy(server[0]) as proxy:
        made = kind(proxy, server[1], folder)
        try:
            yield made
        finally:
            made.close()
    for each in server[1].iterdir():
        # The server's own notes of files too.
        shutil.rmtree(each) if each.is_dir() else each.unlink()


def ended(transfer: Transfer, timeout: float = 30) -> Progress:
    """Carry it out; its last word."""
    transfer.start()
    assert transfer.wait(timeout)
    return transfer.look()


def phases(progress: Progress) -> dict[str, FilePhase]:
    return {str(each.path): each.phase for each in progress.changed}


def one(entries: tuple[Entry, ...] | tuple[FileProgress, ...], path: str) -> Any:
    (found,) = (each for each in entries if str(each.path) == path)
    return found


def until(true: Callable[[], object]) -> None:
    for _ in range(2000):
        if true():
            return
        threading.Event().wait(0.005)
    raise TimeoutError
