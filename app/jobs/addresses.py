"""Fetching a result from the address in a worker's bucket. The address is a key too: it is never shown."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import aiohttp
from yarl import URL

from worker.contract import FileEntry

from ..errors import Unreachable
from .carriers.base import ResultDamaged, ResultMissing

_PIECE = 1 << 20
#: Of a file whose size was not told, more than this is none that we asked for.
_MOST_BYTES = 8 << 30
_ELSEWHERE, _MOST_STEPS = {301, 302, 303, 307, 308}, 4
_HERE = {"127.0.0.1", "localhost", "::1"}
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=60)


async def download(entry: FileEntry, aside: Path) -> None:
    """Bring the file to ``aside``; a part of it that is there is gone on with.

    Raises:
        ResultDamaged: when the address cannot be used, has expired, or gives more than was told.
        Unreachable: for a passing fault.
    """
    url = _checked(entry)
    there = await asyncio.to_thread(lambda: aside.stat().st_size if aside.is_file() else 0)
    if there and there == entry.size:
        return
    try:
        # A session of its own: nothing that others were sent goes along.
        async with aiohttp.ClientSession(timeout=_TIMEOUT, auto_decompress=False) as session:
            for _ in range(_MOST_STEPS):
                headers = {"Range": f"bytes={there}-"} if there else {}
                async with session.get(url, headers=headers, allow_redirects=False) as response:
                    if response.status not in _ELSEWHERE:
                        _check(response, entry)
                        await _write(response, aside, entry, there if response.status == 206 else 0)
                        return
                    url = _checked(entry, response.headers.get("Location", ""), url)
    except (aiohttp.ClientError, TimeoutError) as error:
        # The library's own text may hold the address.
        raise Unreachable(
            f"{entry.filename} cannot be fetched from the bucket at present ({type(error).__name__})."
        ) from None
    raise ResultDamaged(f"{entry.filename} is said to lie elsewhere again and again.")


def _checked(entry: FileEntry, raw: str | None = None, base: URL | None = None) -> URL:
    """An address that nobody on the way can read: https, or one that does not leave this computer."""
    try:
        url = URL(entry.data if raw is None else raw)
    except ValueError:
        url = URL()
    url = url if base is None else base.join(url)
    if url.host and (url.scheme == "https" or (url.scheme == "http" and url.host in _HERE)):
        return url
    raise ResultDamaged(f"{entry.filename} lies at an address that is no https one.")


def _check(response: aiohttp.ClientResponse, entry: FileEntry) -> None:
    if response.status in (200, 206):
        return
    if response.status in (408, 425, 429) or response.status >= 500:
        raise Unreachable(
            f"{entry.filename} cannot be fetched at present: the bucket says {response.status}."
        )
    raise ResultMissing(
        f"{entry.filename} is no longer in the worker's bucket, or its address has expired "
        f"(the bucket says {response.status})."
    )


async def _write(response: aiohttp.ClientResponse, aside: Path, entry: FileEntry, there: int) -> None:
    most = _MOST_BYTES if entry.size is None else entry.size
    file = await asyncio.to_thread(aside.open, "ab")
    try:
        await asyncio.to_thread(file.truncate, there)
        async for piece in response.content.iter_chunked(_PIECE):
            there += len(piece)
            if there > most:
                raise ResultDamaged(f"{entry.filename} is larger than the {most} bytes that were told.")
            await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(file.flush)
        await asyncio.to_thread(os.fsync, file.fileno())
    finally:
        file.close()
