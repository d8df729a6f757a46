"""A bad line: a proxy that hands requests to an endpoint as they are, and does to some what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Self

from PIL import Image

from tests.e2e.conftest import Cli, color_workflow, written
from tests.e2e.places import Place

#: What may happen to a request. All but ``pass`` answer it otherwise than the endpoint would.
#: ``refuse`` ends the connection before the request is read, ``cut`` after the endpoint has answered it;
#: ``hold`` keeps the endpoint's answer back until :meth:`Line.let_go`. Beside these there is ``N% HOW``: the
#: answer's first N % of bytes, and then the connection is ``reset``, ``closed`` as usual, or closed with no
#: word before of how long the answer is (``bare``).
FAULTS = (
    *("pass", "refuse", "cut", "silence", "hold", "drip", "truncated", "garbage"),
    *("401", "404", "429", "500"),
)


@dataclass
class Fault:
    """``kind`` befalls the next ``times`` requests whose line has ``about`` in it.

    Attributes:
        holding: only those whose answer has this in it.
        apart: at most one such fault befalls the same request line.
    """

    kind: str
    about: str = ""
    times: int = 1
    holding: bytes = b""
    apart: bool = False
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
        self._go_on = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()
        self._apart: set[str] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def __call__(
        self, kind: str, about: str = "", times: int = 1, *, holding: bytes = b"", apart: bool = False
    ) -> Fault:
        """Have this befall the line from now on."""
        fault = Fault(kind, about, times, holding, apart)
        self.faults.append(fault)
        return fault

    def let_go(self) -> None:
        """Give the answers that were held back; none is held any more."""
        self._loop.call_soon_threadsafe(self._go_on.set)

    def cut_all(self) -> int:
        """Reset every connection that is open; how many there were."""

        async def cut() -> int:
            found = [writer for writer in self._open if not writer.is_closing()]
            for writer in found:
                _reset(writer)
            return len(found)

        return asyncio.run_coroutine_threadsafe(cut(), self._loop).result(10)

    def shut(self) -> None:
        """Listen no more: who connects is refused."""

        async def close() -> None:
            self._server.close()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)

    def reopen(self) -> None:
        """Listen again, where it was."""
        port = int(self.url.split(":")[2].split("/")[0])
        asyncio.run_coroutine_threadsafe(self._listen(port), self._loop).result(10)

    def count(self, about: str) -> int:
        return sum(about in request for request in self.requests)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        port = await self._listen(0)
        self.url = f"http://127.0.0.1:{port}/v2"
        self._ready.set()
        await self._over.wait()
        self._server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _listen(self, port: int) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 20)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._answer(reader, writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            writer.close()
            await writer.wait_closed()
        self._open.discard(writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # One request a connection: each meets its fault.
        head = await reader.readuntil(b"\r\n\r\n")
        line = head.split(b"\r\n", 1)[0].decode("latin-1")
        self.requests.append(line)
        kind = self._fault(line, None)
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
            kind = kind or self._fault(line, answer) or "pass"
            if kind == "hold":
                await self._go_on.wait()
            percent, _, how = kind.partition("% ")
            if how:
                await _part(writer, answer, int(percent), how)
            else:
                await _ANSWERS[kind](writer, answer)
        await writer.drain()

    def _fault(self, line: str, answer: bytes | None) -> str | None:
        """What befalls this request: what can be said before its answer is known, or else of the answer."""
        for fault in self.faults:
            if fault.seen >= fault.times or fault.about not in line or (fault.apart and line in self._apart):
                continue
            if (answer is None) == bool(fault.holding) or (answer and fault.holding not in answer):
                continue
            fault.seen += 1
            if fault.apart:
                self._apart.add(line)
            return fault.kind
        return None

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


async def _part(writer: asyncio.StreamWriter, answer: bytes, percent: int, how: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    if how == "bare":
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
        head = b"\r\n".join([*lines, b"Connection: close"])
    writer.write(head + b"\r\n\r\n" + body[: len(body) * percent // 100])
    await writer.drain()
    if how == "reset":
        # What was sent must get there first: a reset takes along what nobody has read yet.
        await asyncio.sleep(0.1)
        _reset(writer)


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
_ANSWERS: dict[str, Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]] = {
    "pass": _whole,
    "hold": _whole,
    "cut": _cut,
    "drip": _drip,
    "truncated": _truncated,
    "garbage": _garbage,
}


@contextmanager
def behind(at: Place, cli: Cli, *, silence_s: float = 1.0) -> Iterator[Line]:
    """A line to the endpoint, which the program takes for RunPod's while the block runs."""
    with Line(int(at.url.split(":")[2].split("/")[0]), silence_s) as line:
        cli.extra = {"RUNPOD_ENDPOINT_BASE_URL": line.url, "RUNPOD_API_KEY": at.key}
        yield line


def flows(folder: Path, count: int = 3) -> list[Path]:
    return [
        written(folder / "flows" / f"{n}.json", color_workflow(n * 5003 + 7, f"job{n}")) for n in range(count)
    ]


def results_are_whole(out: Path, count: int = 3) -> None:
    """The results of :func:`flows`, and nothing else, are in the folder."""
    names = sorted(path.name for path in out.iterdir())
    assert [name[:4] for name in names] == [f"job{n}" for n in range(count)], names
    for number, name in enumerate(names):
        color = number * 5003 + 7
        with Image.open(out / name) as picture:
            assert picture.getpixel((0, 0)) == (color >> 16 & 255, color >> 8 & 255, color & 255)


def hashes_are_right(cli: Cli) -> None:
    """Each result that a done job names is what the worker has made, by its SHA-256."""
    for job in cli.jobs():
        assert job["state"] == "done", job
        assert job["outputs"]
        for output in job["outputs"]:
            assert sha256(Path(output["path"]).read_bytes()).hexdigest() == output["sha256"], output


def pictures_are_whole(cli: Cli, out: Path, count: int) -> None:
    results_are_whole(out, count)
    hashes_are_right(cli)


def queued(at: Place) -> int:
    """How many jobs the endpoint has had."""
    jobs: dict[str, int] = at.ask("GET", "health")["jobs"]
    return sum(jobs[key] for key in ("completed", "failed", "inProgress", "inQueue"))
