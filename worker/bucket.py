"""Results by S3. The library is imported when the first one goes out, and not without a bucket.

The addresses are presigned for a week, as the SDK's own upload has them.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, BinaryIO

from .config import Bucket

_VALID_S = 7 * 86_400
#: Servers take more in one piece, but a piece that fails is sent again as a whole.
_PIECE = 64 << 20


class NotUploaded(Exception):
    """The bucket did not take a file; the text says why and holds no secret."""


def upload(bucket: Bucket, key: str, content: Callable[[], BinaryIO], size: int, media_type: str) -> str:
    """Lay a file into the bucket and see it there; its address. Blocks.

    Raises:
        NotUploaded: when the server refuses, does not answer, or has another size afterwards.
    """
    exceptions = importlib.import_module("botocore.exceptions")
    ours = importlib.import_module("boto3.exceptions").Boto3Error
    name = bucket.name or time.strftime("%m-%y")
    try:
        client = client_of(bucket)
        _put(client, name, key, content, size, media_type)
        there = _size_there(client, name, key, exceptions.ClientError)
        address: str = client.generate_presigned_url(
            "get_object", Params={"Bucket": name, "Key": key}, ExpiresIn=_VALID_S
        )
    except exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code") or "an error")
        raise NotUploaded(f"the bucket {name!r} answers {code}") from error
    except (exceptions.BotoCoreError, ours, ValueError) as error:
        raise NotUploaded(f"the bucket's server cannot be used ({type(error).__name__})") from error
    if there not in (None, size):
        raise NotUploaded(f"the bucket has {there} of {size} bytes")
    return address


def _put(
    client: Any, name: str, key: str, content: Callable[[], BinaryIO], size: int, media_type: str
) -> None:
    if size <= _PIECE:
        with content() as source:
            body = source.read()
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        client.put_object(Bucket=name, Key=key, Body=body, ContentMD5=md5, ContentType=media_type)
        return
    pieces = importlib.import_module("boto3.s3.transfer").TransferConfig(
        multipart_threshold=_PIECE,
        multipart_chunksize=_PIECE,
        max_concurrency=4,
        preferred_transfer_client="classic",
    )
    with content() as source:
        more = {"ContentType": media_type}
        client.upload_fileobj(source, name, key, ExtraArgs=more, Config=pieces)


def _size_there(client: Any, name: str, key: str, refused: type[Exception]) -> int | None:
    """None when our key may write and not look."""
    try:
        size: int = client.head_object(Bucket=name, Key=key)["ContentLength"]
    except refused as error:
        if getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode") == 403:
            return None
        raise
    return size


@lru_cache(maxsize=1)
def client_of(bucket: Bucket) -> Any:
    """The library's client of the bucket's server; it may be used by several threads."""
    config = importlib.import_module("botocore.config").Config(
        s3={"addressing_style": "path"},
        signature_version="s3v4",
        # Checksums in trailers, the library's default, are not understood by every server.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"mode": "standard", "max_attempts": 4},
        connect_timeout=15,
        read_timeout=120,
    )
    session = importlib.import_module("boto3.session").Session(
        aws_access_key_id=bucket.access_key, aws_secret_access_key=bucket.secret_key
    )
    region = bucket.region or _region_of(bucket.endpoint)
    return session.client("s3", endpoint_url=bucket.endpoint, region_name=region, config=config)


def _region_of(endpoint: str) -> str:
    for pattern in (
        r"\.s3[.-]([a-z0-9-]+)\.",
        r"//s3[.-]([a-z0-9-]+)\.",
        r"//s3api-([a-z0-9-]+)\.runpod\.io",
        r"//(?:[^/]*\.)?([a-z0-9-]+)\.digitaloceanspaces\.com",
    ):
        found = re.search(pattern, endpoint)
        if found:
            return found[1].upper() if "runpod" in endpoint else found[1]
    return "us-east-1"
