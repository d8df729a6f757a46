"""A bad line: a proxy that hands requests to an endpoint as they are, and does to some what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

#: What may happen to a request. All but ``pass`` answer it otherwise than the endpoint would.
#: ``refuse`` ends the connection before the request is read, ``cut`` after the endpoint has answered it.
FAULTS = ("pass", "refuse", "cut", "silence", "drip", "truncated", "garbage", "401", "404", "429", "500")


@dataclass
class Fault:
    """``kind`` befalls the next ``times`` requests whose line has ``about`` in it."""

    kind: str
    about: str = ""
    times: int = 1
    seen: int = 0


@dataclass
class Line:
    """The proxy, in a thread with a loop of its own. ``requests`` has the first line of each one.

    Args:
        port: of the endpoint behind.
        silence_s: how long a silent line stays so before it is cut.
    """

    port: int
    silence_s: float = 1.0
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def __call__(self, kind: str, about: str = "", times: int = 1) -> Fault:
        """Have this befall the line from now on."""
        fault = Fault(kind, about, times)
        self.faults.append(fault)
        return fault

    def count(self, about: str) -> int:
        return sum(about in request for request in self.requests)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2"
        self._ready.set()
        async with server:
            await self._over.wait()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # One request a connection: each meets its fault.
            head = await reader.readuntil(b"\r\n\r\n")
            line = head.split(b"\r\n", 1)[0].decode("latin-1")
            self.requests.append(line)
            fault = next((f for f in self.faults if f.seen < f.times and f.about in line), None)
            if fault is not None:
                fault.seen += 1
            kind = fault.kind if fault is not None else "pass"
            if kind == "refuse":
                _reset(writer)
                return
            body = await _body(reader, head)
            if kind in _WORDS:
                writer.write(_WORDS[kind])
            elif kind == "silence":
                await asyncio.sleep(self.silence_s)
                _reset(writer)
                return
            else:
                answer = await self._asked(head, body)
                await _ANSWERS[kind](writer, answer)
            await writer.drain()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            writer.close()
            await writer.wait_closed()

    async def _asked(self, head: bytes, body: bytes) -> bytes:
        """The endpoint's whole answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = [each for each in head.split(b"\r\n") if not each.lower().startswith(b"connection:")]
        lines.insert(1, b"Connection: close")
        writer.write(b"\r\n".join(lines) + body)
        try:
            return await reader.read()
        finally:
            writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End the connection as a router does that knows nothing of it."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return await reader.readexactly(int(value))
    return b""


async def _whole(writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer)


async def _cut(writer: asyncio.StreamWriter, answer: bytes) -> None:
    _reset(writer)


async def _drip(writer: asyncio.StreamWriter, answer: bytes) -> None:
    for at in range(0, len(answer), 40):
        writer.write(answer[at : at + 40])
        await writer.drain()
        await asyncio.sleep(0.02)


async def _truncated(writer: asyncio.StreamWriter, answer: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n" + body[: len(body) // 2])


async def _garbage(writer: asyncio.StreamWriter, answer: bytes) -> None:
    page = b"<html>Please log in to the hotel's network</html>"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n\r\n"
    writer.write(head.encode() + page)


def _status(code: int, word: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {code} {word}", "Content-Length: 2", "Connection: close", *headers, "", "{}"]
    return "\r\n".join(lines).encode()


_WORDS = {
    "401": _status(401, "Unauthorized"),
    "404": _status(404, "Not Found"),
    "429": _status(429, "Too Many Requests", "Retry-After: 1"),
    "500": _status(500, "Internal Server Error"),
}
_ANSWERS: dict[str, Callable[[asyncio.StreamWriter, bytes], object]] = {
    "pass": _whole,
    "cut": _cut,
    "drip": _drip,
    "truncated": _truncated,
    "garbage": _garbage,
}
