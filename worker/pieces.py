"""Large answers as JSON, piece by piece: megabytes in one go would keep all other threads waiting."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

#: In characters.
_LONG = 100_000
_PIECE = 1 << 19


def pieces(value: Any) -> Iterator[str]:
    """The JSON text of ``value``. Each long text in it is encoded apart."""
    mark = uuid.uuid4().hex
    long: list[str] = []

    def shortened(part: Any) -> Any:
        if isinstance(part, str) and len(part) > _LONG:
            long.append(part)
            return mark
        if isinstance(part, dict):
            return {key: shortened(each) for key, each in part.items()}
        return [shortened(each) for each in part] if isinstance(part, list) else part

    first, *rest = json.dumps(shortened(value)).split(mark)
    yield first
    for text, after in zip(long, rest, strict=True):
        for start in range(0, len(text), _PIECE):
            yield json.dumps(text[start : start + _PIECE])[1:-1]
        yield after
