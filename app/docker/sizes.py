"""Amounts as Docker prints them."""

from __future__ import annotations

import re

#: A number with its unit, for use in patterns.
SIZE = r"\d{1,15}(?:\.\d{1,9})?(?:e\+\d{1,2})? ?[kKMGTP]?i?B"

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?(?:e\+\d{1,2})?) ?([kKMGTP]?)(i?)B")
_LARGEST = 1 << 60


def bytes_of(text: str) -> int | None:
    """The bytes that ``3.1MB``, ``512B`` or ``2.5GiB`` mean; None for anything else."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    power = " kmgtp".index(match[2].lower() or " ")
    amount = float(match[1]) * (1024.0 if match[3] else 1000.0) ** power
    return round(min(amount, _LARGEST))
