"""Whether a file on the volume is the one that is here: by its ETag, or by pieces that are read back."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from .body import md5_of
from .bucket import Bucket
from .errors import FileChanged
from .flow import Flow

MIB = 1 << 20
#: What one look at a file reads of it: its beginning, where safetensors have their header, and some pieces.
_HEAD, _PIECE, _PIECES = MIB, MIB, 8
#: Part sizes of this program and of tools that people use, in bytes.
_USUAL_PARTS = tuple(size * MIB for size in (64, 8, 16, 32, 5, 50, 100, 128, 256, 500))


def spot_check(bucket: Bucket, key: str, path: Path, size: int, flow: Flow) -> bool:
    """Read the beginning and eight random pieces from the volume, and compare them with the file here.

    Raises:
        ComfyRunPodError: when either cannot be read.
    """
    places = [(0, min(_HEAD, size))]
    if size > _HEAD + _PIECE:
        places += [(random.randrange(_HEAD, size - _PIECE), _PIECE) for _ in range(_PIECES)]
        places.append((size - _PIECE, _PIECE))
    elif size > _HEAD:
        places.append((_HEAD, size - _HEAD))
    try:
        with path.open("rb") as file:
            for offset, length in places:
                flow.go()
                file.seek(offset)
                if length and _read(bucket, key, offset, length) != file.read(length):
                    return False
    except OSError as error:
        raise FileChanged(f"{path.name} cannot be read: {error.strerror}.") from error
    return True


def _read(bucket: Bucket, key: str, offset: int, length: int) -> bytes:
    with bucket.reading(key, offset, offset + length) as (_, pieces):
        return b"".join(pieces)


def same_etag(
    etag: str, path: Path, size: int, md5: str, flow: Flow, part_size: int | None = None
) -> bool | None:
    """Whether an ETag is of this file's content; None where it is of a form that does not tell.

    Args:
        md5: of the whole file, in hexadecimal.
        part_size: of the upload, where it is known; else those that are usual are tried.

    Raises:
        FileChanged: when the file cannot be read.
    """
    whole, dash, count = etag.partition("-")
    if not dash:
        return etag == md5 if len(etag) == len(md5) else None
    if not count.isdecimal() or not int(count):
        return None
    sizes = [each for each in (part_size, *_USUAL_PARTS) if each and -(-size // each) == int(count)]
    for each in dict.fromkeys(sizes):
        if _joined(path, size, each, flow) == whole:
            return True
    return False if part_size in sizes else None


def _joined(path: Path, size: int, part: int, flow: Flow) -> str:
    digests = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb", buffering=0) as file:
            for offset in range(0, size, part):
                digests.update(md5_of(file, offset, min(part, size - offset), flow.stop))
    except OSError as error:
        raise FileChanged(f"{path.name} cannot be read: {error.strerror}.") from error
    return digests.hexdigest()
