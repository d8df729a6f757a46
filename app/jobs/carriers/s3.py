"""The S3 API that RunPod has for a network volume: the bucket is the volume, a key is a path on it.

The library is imported when it is first needed. Its errors hold addresses, never a secret of ours.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from worker.contract import FileEntry

from ...errors import BadInput, Unreachable
from .access import VolumeAccess
from .base import (
    MOST_LISTED,
    MOST_READ,
    CannotCarry,
    Listed,
    ModelFile,
    Parcel,
    ResultDamaged,
    Stopped,
    VolumeFull,
    go_on,
    in_thread,
    missing,
    plain_path,
    results_on_volume,
    too_large,
    unreadable,
)
from .pace import Pace

#: The proxy in front of the API cuts off what takes longer than about 100 s.
_PART = 16 << 20
_PIECE = 1 << 20
_LARGEST_PARTS = 9000
_NOT_THERE = {"404", "NoSuchKey", "NotFound"}
_REFUSED = {
    *("403", "AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "RequestTimeTooSkewed"),
    *("NoSuchBucket", "InvalidBucketName", "401", "Unauthorized", "AuthorizationHeaderMalformed"),
}


@dataclass(slots=True)
class _Upload:
    """One that was begun: what the server has of it."""

    upload_id: str
    parts: dict[int, str] = field(default_factory=dict)


class VolumeS3:
    """Carries without the endpoint, and so without being billed."""

    cost, reads = "", True

    def __init__(self, access: VolumeAccess, *, part: int = _PART, pace: Pace | None = None) -> None:
        self._pace = pace
        self._access = access
        self._part = part
        self._lock = threading.Lock()
        self._made: Any = None
        self._uploads: dict[str, _Upload] = {}

    async def put(self, parcel: Parcel, *, uploader: str, again: bool = False) -> None:
        await in_thread(lambda stop: self._put(parcel, again, stop))

    async def bring(self, model: ModelFile) -> None:
        """Have a model on the volume; the same again goes on with what is there. Nothing is overwritten.

        Raises:
            BadInput: when another file of its name is there, or it cannot be read.
            ComfyRunPodError: when it cannot be sent.
        """
        await in_thread(lambda stop: self._bring(model, stop))

    async def fetch(self, entry: FileEntry, aside: Path) -> None:
        await in_thread(lambda stop: self._fetch(entry, aside, stop))

    async def read(self, path: PurePosixPath) -> bytes | None:
        return await asyncio.to_thread(self._read, path)

    async def listed(self, folder: PurePosixPath) -> list[Listed] | None:
        return await asyncio.to_thread(self._listed, folder)

    async def drop(self, entries: Sequence[FileEntry]) -> None:
        await asyncio.to_thread(self._drop, entries)

    async def close(self) -> None:
        if self._made is not None:
            await asyncio.to_thread(self._made.close)

    def _bring(self, model: ModelFile, stop: threading.Event) -> None:
        with self._trouble(f"{model.name} cannot be sent"):
            there = self._size(str(model.stored_at))
        if there not in (None, model.size):
            raise BadInput(
                f"The volume has another {model.name}, of {there} bytes instead of {model.size}.",
                hint="Rename one of the two.",
            )
        self._put(model, False, stop)

    def _put(self, parcel: Parcel | ModelFile, again: bool, stop: threading.Event) -> None:
        client, bucket, key = self._client(), self._access.volume_id, str(parcel.stored_at)
        with self._trouble(f"{parcel.name} cannot be sent"):
            if not again and self._size(key) == parcel.size:
                return
            begun = time.monotonic()
            try:
                with parcel.path.open("rb") as file:
                    if parcel.size <= self._part:
                        body = file.read()
                        client.put_object(Bucket=bucket, Key=key, Body=body, ContentMD5=_md5(body))
                    else:
                        self._in_parts(file, key, parcel, stop)
            except OSError as error:
                raise unreadable(parcel.path, error) from error
            # RunPod's API has said that a file is there, and it was not.
            if self._size(key) != parcel.size:
                raise Unreachable(f"{parcel.name} was sent, and the volume does not have all of it.")
            if self._pace is not None:
                self._pace.note(parcel.size, time.monotonic() - begun)

    def _in_parts(self, file: BinaryIO, key: str, parcel: Parcel | ModelFile, stop: threading.Event) -> None:
        client, place = self._client(), {"Bucket": self._access.volume_id, "Key": key}
        length = max(self._part, -(-parcel.size // _LARGEST_PARTS))
        upload = self._uploads.get(key)
        if upload is None:
            upload = _Upload(client.create_multipart_upload(**place)["UploadId"])
            self._uploads[key] = upload
        try:
            for number in range(1, -(-parcel.size // length) + 1):
                go_on(stop)
                if number in upload.parts:
                    continue
                file.seek((number - 1) * length)
                body = file.read(length)
                told = client.upload_part(
                    **place,
                    UploadId=upload.upload_id,
                    PartNumber=number,
                    Body=body,
                    ContentMD5=_md5(body),
                )
                upload.parts[number] = told["ETag"]
            parts = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(upload.parts.items())]
            del self._uploads[key]
            client.complete_multipart_upload(
                **place, UploadId=upload.upload_id, MultipartUpload={"Parts": parts}
            )
        except Stopped:
            # Parts use the volume's room until then.
            self._uploads.pop(key, None)
            client.abort_multipart_upload(**place, UploadId=upload.upload_id)
            raise
        except importlib.import_module("botocore.exceptions").ClientError as error:
            if _code(error) == "NoSuchUpload":
                self._uploads.pop(key, None)
            raise

    def _fetch(self, entry: FileEntry, aside: Path, stop: threading.Event) -> None:
        client, key = self._client(), str(plain_path(entry))
        there = aside.stat().st_size if aside.is_file() else 0
        with self._trouble(f"{entry.filename} cannot be read", lambda: missing(entry)):
            size = self._size(key)
            if size is None:
                raise missing(entry)
            if entry.size is not None and size != entry.size:
                raise ResultDamaged(f"{entry.filename} has {size} bytes instead of {entry.size}.")
            there = there if there <= size else 0
            with aside.open("ab") as file:
                file.truncate(there)
                if there < size:
                    span = {"Range": f"bytes={there}-"} if there else {}
                    body = client.get_object(Bucket=self._access.volume_id, Key=key, **span)["Body"]
                    for piece in body.iter_chunks(_PIECE):
                        go_on(stop)
                        file.write(piece)
                file.flush()
                os.fsync(file.fileno())

    def _listed(self, folder: PurePosixPath) -> list[Listed]:
        found: list[Listed] = []
        with self._trouble(f"{folder} cannot be listed"):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._access.volume_id, Prefix=f"{folder}/"):
                for each in page.get("Contents", ()):
                    path = PurePosixPath(each["Key"])
                    # Empty folders are listed too, with a stroke at their end.
                    if (
                        not each["Key"].endswith("/")
                        and ".." not in path.parts
                        and path.is_relative_to(folder)
                    ):
                        found.append(Listed(path, each["Size"], each["LastModified"].timestamp()))
                if len(found) > MOST_LISTED:
                    break
        return found

    def _read(self, path: PurePosixPath) -> bytes | None:
        with self._trouble(f"{path.name} cannot be read"):
            size = self._size(str(path))
            if size is None:
                return None
            if size > MOST_READ:
                raise too_large(path)
            body = self._client().get_object(Bucket=self._access.volume_id, Key=str(path))["Body"]
            content: bytes = body.read(MOST_READ)
        return content

    def _drop(self, entries: Sequence[FileEntry]) -> None:
        with self._trouble("Fetched results stay on the volume"):
            for path in results_on_volume(entries):
                self._client().delete_object(Bucket=self._access.volume_id, Key=str(path))

    def _size(self, key: str) -> int | None:
        """None when it is not there."""
        refused = importlib.import_module("botocore.exceptions").ClientError
        try:
            size: int = self._client().head_object(Bucket=self._access.volume_id, Key=key)["ContentLength"]
        except refused as error:
            if _code(error) in _NOT_THERE:
                return None
            raise
        return size

    @contextmanager
    def _trouble(self, what: str, not_there: Callable[[], Exception] | None = None) -> Iterator[None]:
        """The library's errors as ours."""
        library = importlib.import_module("botocore.exceptions")
        try:
            yield
        except library.ClientError as error:
            code = _code(error)
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if not_there is not None and code in _NOT_THERE:
                raise not_there() from error
            if status == 507:
                raise VolumeFull(
                    f"{what}: the volume {self._access.volume_id} is full.",
                    hint="Make room on it, or enlarge it.",
                ) from error
            if code in _REFUSED or status in (401, 403):
                raise CannotCarry(
                    f"{what}: the volume {self._access.volume_id} answers {code}.",
                    hint="Check the S3 key, the volume's id and its datacenter in Settings, and this clock.",
                ) from error
            raise Unreachable(f"{what}: the volume's S3 API answers {code}.") from error
        except (library.BotoCoreError, library.HTTPClientError) as error:
            raise Unreachable(
                f"{what}: the volume's S3 API cannot be reached ({type(error).__name__})."
            ) from error

    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._access.client()
            return self._made


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code") or "an error")


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
