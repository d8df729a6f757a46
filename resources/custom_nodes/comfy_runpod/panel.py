"""The panel's bridge, found anew for each question: a file says where it is, for the user alone to read."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from .host import Json

#: Names the file of the bridge.
ENV = "COMFY_RUNPOD_BRIDGE"
_ANSWER_S = 20.0
_LONGEST_LINE = 8 << 20
# Before Python 3.11 asyncio's is another one.
_FAULTS = (aiohttp.ClientError, asyncio.TimeoutError, TimeoutError, OSError, ValueError)
_SILENT = "The Comfy RunPod panel is not running"


class NotReached(Exception):
    """The panel does not answer. The text is a sentence for a person."""


class NotSent(Exception):
    """The panel refused. The text is its sentence."""


@dataclass(frozen=True)
class Address:
    """Where the bridge is. ``local_key`` is what the panel's own worker is known by; ``mode`` what was last
    in force.
    """

    port: int
    token: str
    local_key: str
    mode: str


class Panel:
    """Asks the panel. Must be used in one event loop; :meth:`close` ends its connections."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_env(cls) -> Panel:
        name = os.environ.get(ENV)
        return cls(Path(name) if name else None)

    def address(self) -> Address | None:
        """As the file has it now; None when there is none, or no panel has been here yet."""
        if self._file is None:
            return None
        try:
            raw = json.loads(self._file.read_text("utf-8"))
            return Address(int(raw["port"]), str(raw["token"]), str(raw["local_key"]), str(raw["mode"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    async def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        """One question.

        Raises:
            NotReached: when it is not there.
            NotSent: when it refuses.
        """
        try:
            async with self._open(method, path, body, _ANSWER_S) as answer:
                told = await answer.json(content_type=None)
        except _FAULTS as error:
            raise NotReached(_SILENT) from error
        told = told if isinstance(told, dict) else {}
        if answer.status != 200:
            raise NotSent(str(told.get("error") or f"The panel answered with status {answer.status}."))
        return told

    @asynccontextmanager
    async def lines(self, path: str) -> AsyncIterator[AsyncIterator[Json]]:
        """What the panel tells, a line at a time, for as long as both are there.

        Raises:
            NotReached: when it is not there, or no longer.
            NotSent: when it refuses.
        """
        try:
            async with self._open("GET", path, None, None) as answer:
                if answer.status != 200:
                    told = await answer.json(content_type=None)
                    raise NotSent(str(told.get("error") if isinstance(told, dict) else told))
                yield _read(answer.content)
        except _FAULTS as error:
            raise NotReached(_SILENT) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self, method: str, path: str, body: Json | None, limit_s: float | None) -> Any:
        address = self.address()
        if address is None:
            raise NotReached(_SILENT)
        if self._session is None:
            # Not through a proxy of the environment's: it is this computer.
            self._session = aiohttp.ClientSession(trust_env=False, read_bufsize=_LONGEST_LINE)
        return self._session.request(
            method,
            f"http://127.0.0.1:{address.port}{path}",
            json=body,
            headers={"Authorization": f"Bearer {address.token}"},
            timeout=aiohttp.ClientTimeout(total=limit_s, sock_connect=3.0),
        )


async def _read(content: aiohttp.StreamReader) -> AsyncIterator[Json]:
    async for line in content:
        told = json.loads(line)
        if isinstance(told, dict):
            yield told
