"""What it takes to reach a volume's S3 API, and the library's client for it."""

from __future__ import annotations

import importlib
import logging
import re
from dataclasses import dataclass
from typing import Any

from ...endpoint.volumes import s3_url
from ...errors import BadInput
from ...settings import Secret, Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VolumeAccess:
    """What it takes to reach a volume."""

    volume_id: str
    url: str
    region: str
    access_key: Secret
    secret_key: Secret

    @classmethod
    def of(cls, settings: Settings) -> VolumeAccess | None:
        """As the settings have it; None unless everything is there."""
        place = settings.runpod_datacenter
        url = settings.runpod_s3_url or (s3_url(place) if place else None)
        keys = settings.runpod_s3_access_key, settings.runpod_s3_secret_key
        if url is None or not settings.runpod_volume_id or not all(keys):
            if any(keys):
                log.warning(
                    "The volume's S3 key is not used: volume, datacenter or half of the key is not set."
                )
            return None
        return cls(settings.runpod_volume_id, url, place or _region_of(url), *keys)

    def client(self) -> Any:
        """A client of the library. Raises BadInput. Blocks: the first one takes a while."""
        config = importlib.import_module("botocore.config").Config(
            s3={"addressing_style": "path"},
            signature_version="s3v4",
            # Checksums in trailers, the library's default, are not understood by every server.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            retries={"mode": "standard", "max_attempts": 5},
            connect_timeout=15,
            read_timeout=120,
        )
        session = importlib.import_module("boto3.session").Session(
            aws_access_key_id=self.access_key.reveal(), aws_secret_access_key=self.secret_key.reveal()
        )
        try:
            return session.client("s3", endpoint_url=self.url, region_name=self.region, config=config)
        except ValueError as error:
            raise BadInput("The address of the volume's S3 API cannot be used.", url=self.url) from error


def _region_of(url: str) -> str:
    found = re.search(r"//s3api-([a-z0-9-]+)\.runpod\.io", url)
    return found[1].upper() if found else "us-east-1"
