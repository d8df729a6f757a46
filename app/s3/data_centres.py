"""Network volumes: where they have RunPod's S3 API, and under which address."""

from __future__ import annotations

from pathlib import PurePosixPath

#: Where workers and pods look for models, relative to the volume.
MODELS = PurePosixPath("comfyui", "models")
#: As RunPod's pages listed them on 2026-07-27.
S3_DATA_CENTRES = frozenset({
    "EU-CZ-1", "EU-RO-1", "EUR-IS-1", "EUR-NO-1", "US-CA-2", "US-GA-2", "US-IL-1", "US-KS-2", "US-MD-1",
    "US-MO-1", "US-MO-2", "US-NC-1", "US-NC-2", "US-NE-1", "US-WA-1",
})  # fmt: skip


def has_s3(data_centre: str) -> bool:
    """Whether volumes there can be reached without a worker."""
    return data_centre.upper() in S3_DATA_CENTRES


def s3_url(data_centre: str) -> str:
    """The address of the S3 API of a data centre, should it have one."""
    return f"https://s3api-{data_centre.lower()}.runpod.io"
