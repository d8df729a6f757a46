"""Where models come from: addresses that are allowed, and the worker's own bucket. Everything blocks."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from .bucket import client_of
from .config import Bucket, ModelDownloads
from .download import Downloader, Stop
from .errors import BadRequest, JobError

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
#: Which token goes to which host, and to no other.
_HF, _CIVITAI = "huggingface.co", "civitai.com"


class Reads(Protocol):
    def read1(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Opened:
    """What a server gives. ``first`` is the byte it begins with; ``size`` is the whole file's."""

    stream: Reads
    host: str
    first: int
    size: int | None
    version: str | None


class Source(Protocol):
    """One file somewhere."""

    def opened(self, first: int, version: str | None, stop: Stop) -> AbstractContextManager[Opened]:
        """The file from byte ``first`` on if it is still this version, else from its beginning.

        Raises:
            JobError: when it cannot be had; ``download_failed`` is worth another try.
        """


@dataclass(frozen=True, slots=True)
class FromWeb:
    """A file at an https address on a host that is allowed, and so is each one it leads to."""

    url: str
    downloader: Downloader
    rules: ModelDownloads

    @contextlib.contextmanager
    def opened(self, first: int, version: str | None, stop: Stop) -> Iterator[Opened]:
        def headers(host: str) -> dict[str, str]:
            told = {"Range": f"bytes={first}-", **({"If-Range": version} if version else {})} if first else {}
            token = (
                self.rules.hf_token if host == _HF else self.rules.civitai_token if host == _CIVITAI else None
            )
            return told | ({"Authorization": f"Bearer {token}"} if token else {})

        opening = self.downloader.opened(self.url, stop, headers=headers, allowed=self.allows)
        with opening as (answer, host):
            if answer.status == 416 and first:  # the file is another one by now
                yield Opened(answer, host, -1, None, None)
                return
            if answer.status not in (200, 206):
                raise _refused(host, answer.status)
            if (answer.headers.get("Content-Type") or "").lower().startswith("text/html"):
                raise JobError(
                    "download_refused",
                    f"A model could not be fetched from {host}: it answers with a web page.",
                    hint=_TOKEN_HINT,
                )
            tag = answer.headers.get("ETag") or ""
            # A weak one says that two files mean the same, not that their bytes are.
            known = None if tag.startswith("W/") else tag or answer.headers.get("Last-Modified")
            if answer.status == 206:
                begins, size = _range(answer.headers.get("Content-Range"))
                yield Opened(answer, host, begins, size, known or version)
            else:
                yield Opened(answer, host, 0, answer.length, known)

    def allows(self, host: str) -> bool:
        return any(
            allowed == "*" or host == allowed or host.endswith(f".{allowed}") for allowed in self.rules.hosts
        )


@dataclass(frozen=True, slots=True)
class FromBucket:
    """An object that the worker's own keys may read."""

    account: Bucket
    bucket: str
    key: str

    @contextlib.contextmanager
    def opened(self, first: int, version: str | None, stop: Stop) -> Iterator[Opened]:
        errors = importlib.import_module("botocore.exceptions")
        try:
            answer = self._asked(first, version, errors.ClientError)
            size = answer["ContentLength"]
            begins, whole = _range(answer["ContentRange"]) if answer.get("ContentRange") else (0, size)
            with contextlib.closing(answer["Body"]) as body:
                yield Opened(_Stoppable(body, stop), self.bucket, begins, whole, answer.get("ETag"))
        except errors.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code") or "an error")
            raise JobError(
                "download_refused",
                f"A model could not be fetched from the bucket {self.bucket!r}: it answers {code}.",
                hint="Is the address right, and may the worker's BUCKET keys read it?",
            ) from error
        except (errors.BotoCoreError, OSError) as error:
            raise _broken(f"the bucket {self.bucket!r}", type(error).__name__) from error

    def _asked(self, first: int, version: str | None, refused: type[Exception]) -> Any:
        client, where = client_of(self.account), {"Bucket": self.bucket, "Key": self.key}
        if not first:
            return client.get_object(**where)
        try:
            same = {"IfMatch": version} if version else {}
            return client.get_object(**where, Range=f"bytes={first}-", **same)
        except refused as error:
            status = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status not in (412, 416):
                raise
            return client.get_object(**where)


@dataclass(frozen=True, slots=True)
class _Stoppable:
    body: Any
    stop: Stop

    def read1(self, size: int, /) -> bytes:
        if self.stop.is_set:
            raise _broken("the bucket", "it was stopped")
        data: bytes = self.body.read(size)
        return data


def _range(told: str | None) -> tuple[int, int | None]:
    found = _RANGE.fullmatch(told or "")
    if found is None:
        return -1, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


_TOKEN_HINT = (
    "Is the address right? Some models need a token: set HF_TOKEN or CIVITAI_API_TOKEN on the worker."
)


def _refused(host: str, status: int) -> JobError:
    why = f"A model could not be fetched from {host}: it answers with status {status}."
    # What is busy now may not be so in a moment; what is forbidden stays so.
    if status in (408, 429) or status >= 500:
        return JobError("download_failed", why, hint="Send the same request again: it goes on where it was.")
    return JobError("download_refused", why, hint=_TOKEN_HINT)


def _broken(where: str, why: str) -> JobError:
    return JobError(
        "download_failed",
        f"A model could not be fetched from {where}: {why}.",
        hint="Send the same request again: it goes on where it was.",
    )


def no_bucket() -> BadRequest:
    return BadRequest(
        "A model is wanted from a bucket, and this worker has none.",
        hint="Set BUCKET_ENDPOINT_URL and its keys on the worker.",
    )
