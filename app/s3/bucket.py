"""The calls of a volume's S3 API, one try each, with the library's errors as ours. The bucket is the volume.

All methods block. No error holds a secret: the library's never do, and addresses carry none.
"""

from __future__ import annotations

import base64
import importlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ..errors import Unreachable
from ..threads import Stopped
from .access import VolumeAccess
from .body import PIECE, Body
from .errors import (
    AccessRefused,
    Busy,
    Damaged,
    FileChanged,
    NotThere,
    Offline,
    PartTooLarge,
    UploadGone,
    VolumeFull,
)

_NOT_THERE = {"404", "NoSuchKey", "NotFound"}
_REFUSED = {
    *("403", "AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "RequestTimeTooSkewed"),
    *("NoSuchBucket", "InvalidBucketName", "401", "Unauthorized", "AuthorizationHeaderMalformed"),
}
_DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"}
_BUSY = {"SlowDown", "RequestTimeout", "RequestTimeoutException", "InternalError", "ServiceUnavailable"}
#: Where the server keeps the parts of uploads that are not complete.
_HIDDEN = ".s3compat_uploads"
#: After one call went well a refusal may pass: RunPod's API refuses at random.
_PASSING_REFUSALS = 2


@dataclass(frozen=True, slots=True)
class Stat:
    """A file on the volume: its key, size in bytes, ETag without quotes, and change time since 1970."""

    key: str
    size: int
    etag: str
    changed_at: float


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies directly in a folder: files, and the prefixes of folders, each with ``/`` at its end."""

    files: tuple[Stat, ...]
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A part that the server has of an upload."""

    number: int
    size: int
    etag: str


class TwiceTheSamePage(Unreachable):
    """The server gave the same continuation token twice, as RunPod's does while it is slow."""


class Bucket:
    """Calls to one volume; safe to use from several threads."""

    def __init__(self, access: VolumeAccess) -> None:
        self.access = access
        self._lock = threading.Lock()
        self._made: dict[float | None, Any] = {}
        self._went_well, self._refusals = False, 0

    @property
    def name(self) -> str:
        return self.access.volume_id

    def head(self, key: str) -> Stat | None:
        """None when it is not there."""
        try:
            with self._said():
                told = self._client().head_object(Bucket=self.name, Key=key)
        except NotThere:
            return None
        return Stat(key, told["ContentLength"], _bare(told), told["LastModified"].timestamp())

    def put(self, key: str, body: Body | bytes, md5: bytes) -> str:
        """Have a whole file there; its ETag.

        Raises:
            Damaged: when it did not arrive as it was sent.
        """
        with self._said():
            told = self._client().put_object(Bucket=self.name, Key=key, Body=body, ContentMD5=_b64(md5))
            return _bare(told)

    def begin(self, key: str) -> str:
        """Open an upload in parts; its id."""
        with self._said():
            told: str = self._client().create_multipart_upload(Bucket=self.name, Key=key)["UploadId"]
            return told

    def part(self, key: str, upload_id: str, number: int, body: Body, md5: bytes) -> str:
        """Send one part; its ETag."""
        with self._said():
            told = self._client().upload_part(
                Bucket=self.name,
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                Body=body,
                ContentMD5=_b64(md5),
            )
            return _bare(told)

    def parts(self, key: str, upload_id: str) -> list[Part]:
        """What the server has of an upload.

        Raises:
            UploadGone: when it has no such upload.
        """
        found: list[Part] = []
        marker = 0
        while True:
            with self._said():
                page = self._client().list_parts(
                    Bucket=self.name, Key=key, UploadId=upload_id, PartNumberMarker=marker
                )
            found += [Part(each["PartNumber"], each["Size"], _bare(each)) for each in page.get("Parts", ())]
            following = page.get("NextPartNumberMarker") or 0
            if not page.get("IsTruncated") or following <= marker:
                return found
            marker = following

    def complete(self, key: str, upload_id: str, parts: Sequence[tuple[int, str]], limit_s: float) -> str:
        """Have the parts joined, which may take long; the ETag of the whole.

        Args:
            parts: number and ETag of each.
            limit_s: when to give up waiting. The server goes on.
        """
        listed = {"Parts": [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in parts]}
        with self._said():
            told = self._client(limit_s).complete_multipart_upload(
                Bucket=self.name, Key=key, UploadId=upload_id, MultipartUpload=listed
            )
            return _bare(told)

    def abort(self, key: str, upload_id: str) -> None:
        """Drop an upload of ours with its parts, if the server still has it."""
        try:
            with self._said():
                self._client().abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload_id)
        except (UploadGone, NotThere):
            pass

    @contextmanager
    def reading(self, key: str, start: int, end: int | None = None) -> Iterator[tuple[str, Iterator[bytes]]]:
        """The ETag and the bytes of a file from ``start`` up to, without, ``end``."""
        span = "" if not start and end is None else f"bytes={start}-{'' if end is None else end - 1}"
        with self._said():
            told = self._client().get_object(Bucket=self.name, Key=key, **({"Range": span} if span else {}))
        body = told["Body"]
        try:
            yield _bare(told), self._pieces(body)
        finally:
            body.close()

    def _pieces(self, body: Any) -> Iterator[bytes]:
        with self._said():
            yield from body.iter_chunks(PIECE)

    def folder(self, prefix: str) -> Folder:
        """What lies directly below ``prefix``, which is empty or ends with ``/``.

        Raises:
            TwiceTheSamePage: the list cannot be had to its end now.
        """
        files: list[Stat] = []
        folders: list[str] = []
        token: str | None = None
        while True:
            with self._said():
                more = {"ContinuationToken": token} if token else {}
                page = self._client().list_objects_v2(Bucket=self.name, Prefix=prefix, Delimiter="/", **more)
            for each in page.get("Contents", ()):
                # Empty folders are listed as files whose names end with a stroke.
                if _is_plain(each["Key"]) and not each["Key"].endswith("/"):
                    files.append(_stat(each))
            folders += [
                each["Prefix"]
                for each in page.get("CommonPrefixes", ())
                if _is_plain(each["Prefix"].rstrip("/")) and each["Prefix"] != f"{_HIDDEN}/"
            ]
            if not page.get("IsTruncated"):
                return Folder(tuple(files), tuple(folders))
            following = page.get("NextContinuationToken")
            if not following or following == token:
                raise TwiceTheSamePage(f"The volume {self.name} gave the same page of its list twice.")
            token = following

    def delete(self, key: str) -> None:
        with self._said():
            self._client().delete_object(Bucket=self.name, Key=key)

    def close(self) -> None:
        with self._lock:
            made, self._made = list(self._made.values()), {}
        for each in made:
            each.close()

    def _client(self, read_s: float | None = None) -> Any:
        with self._lock:
            if read_s not in self._made:
                self._made[read_s] = (
                    self.access.client() if read_s is None else self.access.client(read_s=read_s)
                )
            return self._made[read_s]

    @contextmanager
    def _said(self) -> Iterator[None]:
        """The library's errors as ours."""
        library = importlib.import_module("botocore.exceptions")
        try:
            yield
        except library.ClientError as error:
            raise self._meant(error) from error
        except library.FlexibleChecksumError as error:
            raise Damaged("What came from the volume is not what is there.") from error
        except (library.BotoCoreError, library.HTTPClientError, OSError) as error:
            ours = getattr(error, "kwargs", {}).get("error")
            if isinstance(ours, Stopped | FileChanged):
                # The library read from our file, and takes that for a trouble with the connection.
                raise ours from None
            raise Offline(
                f"The volume's S3 API cannot be reached ({type(error).__name__}).",
                hint="It is tried again by itself.",
            ) from error
        else:
            self._went_well, self._refusals = True, 0

    def _meant(self, error: Any) -> Exception:
        code = str(error.response.get("Error", {}).get("Code") or "an error")
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
        said = f"The volume {self.name} answers {code}."
        if code == "NoSuchUpload":
            return UploadGone(said)
        if code in _NOT_THERE:
            return NotThere(said)
        if status == 507 or code == "InsufficientStorage":
            return VolumeFull(f"The volume {self.name} is full.", hint="Make room on it, or enlarge it.")
        if status == 413 or code == "EntityTooLarge":
            return PartTooLarge(said)
        if code in _DAMAGED:
            return Damaged(said, hint="The connection may be at fault.")
        if code == "AccessDenied" and self._went_well and self._refusals < _PASSING_REFUSALS:
            self._refusals += 1
            return Busy(said, status=status)
        if code == "NoSuchBucket":
            return AccessRefused(
                f"There is no volume {self.name} in this data centre.",
                hint="Check the volume's id and its data centre in Settings.",
            )
        if code in _REFUSED or status in (401, 403):
            return AccessRefused(
                f"{said} Key, secret or volume id is wrong, or the clock is off.",
                hint="Check the S3 key, the volume's id and its data centre in Settings, and this clock.",
            )
        if code in _BUSY or status >= 500 or status == 429:
            late = (
                " RunPod's proxy gave up waiting; the server may still be working." if status == 524 else ""
            )
            return Busy(said + late, status=status)
        return Unreachable(said, status=status)


def _stat(each: Any) -> Stat:
    return Stat(each["Key"], each["Size"], _bare(each), each["LastModified"].timestamp())


def _is_plain(key: str) -> bool:
    """A server's names are data: one that leads elsewhere is not listed at all."""
    return ".." not in PurePosixPath(key).parts and not key.startswith("/") and "\x00" not in key


def _bare(told: Any) -> str:
    return str(told.get("ETag") or "").strip('"')


def _b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
