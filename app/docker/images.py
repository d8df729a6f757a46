"""What the engine knows of its images."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .cli import Cli, failed, json_in
from .model import HistoryLine, ImageInfo

_ABSENT = re.compile(r"no such (?:image|object)|image (?:not known|does not exist)", re.IGNORECASE)


async def inspect(cli: Cli, name: str) -> ImageInfo | None:
    """What is known of an image; None when there is none."""
    ended = await cli.run("image", "inspect", name)
    if ended.code and any(_ABSENT.search(line) for line in ended.lines):
        return None
    said = json_in(ended.lines)
    if ended.code or not (isinstance(said, list) and said and isinstance(said[0], dict)):
        raise failed("Looking at the image", ended)
    return _info(said[0])


async def history(cli: Cli, name: str) -> tuple[HistoryLine, ...]:
    """How an image came about, the newest line first."""
    words = ("history", "--no-trunc", "--human=false", "--format", "{{json .}}", name)
    lines = await cli.told("Reading the image's history", *words)
    return tuple(_line(said) for line in lines if isinstance(said := _object(line), dict))


async def remove(cli: Cli, name: str) -> bool:
    """Take a name from an image, and the image with its last; whether there was one."""
    ended = await cli.run("image", "rm", name)
    if ended.code and any(_ABSENT.search(line) for line in ended.lines):
        return False
    if ended.code:
        raise failed("Removing the image", ended)
    return True


async def layer_sizes(cli: Cli, info: ImageInfo) -> dict[str, int]:
    """The bytes of each unpacked layer; empty when the history does not tell which is whose."""
    added = [line.size for line in reversed(await history(cli, info.id)) if line.size]
    return dict(zip(info.layers, added, strict=True)) if len(added) == len(info.layers) else {}


def _info(said: Mapping[str, Any]) -> ImageInfo:
    config, root = said.get("Config"), said.get("RootFS")
    labels = config.get("Labels") if isinstance(config, dict) else None
    layers = root.get("Layers") if isinstance(root, dict) else None
    return ImageInfo(
        id=str(said.get("Id", "")),
        digests=_strings(said.get("RepoDigests")),
        size=_size(said.get("Size")),
        created=_moment(said.get("Created")),
        labels={str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {},
        layers=_strings(layers),
        architecture=str(said.get("Architecture") or ""),
    )


def _line(said: Mapping[str, Any]) -> HistoryLine:
    return HistoryLine(
        str(said.get("CreatedBy") or ""), _size(said.get("Size")), _moment(said.get("CreatedAt"))
    )


def _object(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _size(value: Any) -> int:
    text = str(value)
    return int(text) if re.fullmatch(r"\d{1,18}", text) else 0


def _moment(value: Any) -> float | None:
    try:
        moment = datetime.fromisoformat(value).timestamp() if isinstance(value, str) else 0.0
    except (ValueError, OverflowError, OSError):
        return None
    # Before that nobody built an image: a date that is not told is written as the year 1.
    return moment if moment > 0 else None
