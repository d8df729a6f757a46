"""What it takes to reach a volume's S3 API, and the library's client for it."""

from __future__ import annotations

import importlib
import io
import logging
import re
import threading
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from ..errors import BadInput
from ..settings import Secret, Settings
from .data_centres import s3_url

log = logging.getLogger(__name__)
#: In seconds. The proxy in front of the API cuts off what takes longer than about 100 s.
_READ_S = 120.0
_CONNECTIONS = 24
_USER_AGENT = "comfy-runpod"


@dataclass(frozen=True, slots=True)
class VolumeAccess:
    """What it takes to reach a volume."""

    volume_id: str
    url: str
    region: str
    access_key: Secret
    secret_key: Secret

    @classmethod
    def of(
        cls, settings: Settings, volume_id: str | None = None, data_centre: str | None = None
    ) -> VolumeAccess | None:
        """As the settings have it; None unless everything is there.

        Args:
            volume_id: another volume than that of the settings.
            data_centre: where it lies; that of the settings when it is not known.
        """
        volume = volume_id or settings.runpod_volume_id
        place = data_centre or settings.runpod_datacenter
        url = settings.runpod_s3_url or (s3_url(place) if place else None)
        keys = settings.runpod_s3_access_key, settings.runpod_s3_secret_key
        if url is None or not volume or not all(keys):
            if any(keys):
                log.warning(
                    "The volume's S3 key is not used: volume, datacenter or half of the key is not set."
                )
            return None
        return cls(volume, url, place or _region_of(url), *keys)

    def client(self, *, read_s: float = _READ_S) -> Any:
        """A client of the library that tries once only: trying again is the caller's, who can show it.

        Raises BadInput. Blocks: the first one takes a while.
        """
        config = importlib.import_module("botocore.config").Config(
            # Each body goes with its MD5: to hash it for the signature too would cost half as much again.
            s3={"addressing_style": "path", "payload_signing_enabled": False},
            signature_version="s3v4",
            # Checksums in trailers, the library's default, are not understood by every server.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=15,
            read_timeout=read_s,
            max_pool_connections=_CONNECTIONS,
            # Its own it builds anew for each request, out of twenty pieces.
            user_agent=_USER_AGENT,
        )
        keys = {
            "aws_access_key_id": self.access_key.reveal(),
            "aws_secret_access_key": self.secret_key.reveal(),
        }
        try:
            with _making:
                made = _session().create_client(
                    "s3", endpoint_url=self.url, region_name=self.region, config=config, **keys
                )
        except ValueError as error:
            raise BadInput("The address of the volume's S3 API cannot be used.", url=self.url) from error
        made.meta.events.register_last("before-call.s3", _in_one_piece)
        return made


def _in_one_piece(params: dict[str, Any], **_: Any) -> None:
    """What is in memory goes at once: the library would ask first whether it may, and wait for the answer."""
    body = params.get("body")
    if isinstance(body, io.BytesIO):
        params["body"] = body.getvalue()
        params["headers"].pop("Expect", None)


#: Sessions of the library may not make two clients at once.
_making = threading.Lock()


@cache
def _session() -> Any:
    """One for all: it reads a megabyte of descriptions. It is given no keys, and looks for none."""
    session = importlib.import_module("botocore.session").Session()
    parse = importlib.import_module("botocore.utils").parse_timestamp

    def time_of(text: Any) -> Any:
        try:
            found = datetime.fromisoformat(text)
        except (TypeError, ValueError):
            return parse(text)
        return found if found.tzinfo else parse(text)

    # Its own way, which knows every form there is, takes longer than all else that is done with a list.
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=time_of)
    return session


def _region_of(url: str) -> str:
    found = re.search(r"//s3api-([a-z0-9-]+)\.runpod\.io", url)
    return found[1].upper() if found else "us-east-1"
