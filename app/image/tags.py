"""Tags for images: proposed so that one says when it was made and of what."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from .model import Manifest


def proposed_tag(manifest: Manifest, day: date, taken: Collection[str] = ()) -> str:
    """Date and manifest, such as ``2026-11-28-3f9c1a``; a number is added to one that is taken."""
    base = f"{day.isoformat()}-{manifest.digest[:6]}"
    number, tag = 2, base
    while tag in taken:
        tag = f"{base}-{number}"
        number += 1
    return tag
