"""A bad way to an S3 server: a proxy hands requests on as they are, and does to some what a test says."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

from tests.e2e.proxies import Proxy

_WHOLE = aiohttp.ClientTimeout(total=120)
_CODES = {
    403: "AccessDenied",
    404: "NoSuchUpload",
    413: "EntityTooLarge",
    500: "InternalError",
    502: "BadGateway",
    503: "SlowDown",
    507: "InsufficientStorage",
    524: "Timeout",
}


@dataclass
class Rule:
    """What befalls the next ``times`` requests that fit.

    ``how``: a status (the server never sees the request), ``reset`` (the connection ends, and the server
    never sees it), ``done STATUS`` and ``done reset`` (the server does it, and the answer is lost),
    ``pretend`` (success without the server), ``hold`` (nothing until :meth:`S3Proxy.let_go`), ``other etag``
    (the server's answer with a wrong checksum), ``same page`` (a list that never gets on), ``skewed`` (the
    client's clock is off).
    """

    how: str
    fits: Callable[[str, URL], bool]
    times: int
    seen: int = 0


@dataclass
class Seen:
    """A request: what it was, the status it got, and the bytes of its body."""

    method: str
    url: URL
    status: int
    size: int

    @property
    def part(self) -> int | None:
        number = self.url.query.get("partNumber")
        return None if number is None else int(number)


@dataclass
class S3Proxy(Proxy):
    """In front of ``behind``. ``seen`` has every request in the order of their ends."""

    behind: str
    rules: list[Rule] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._go_on = threading.Event()
        self.is_gone = False

    def befall(
        self, how: str, method: str = "", about: str = "", times: int = 1, *, part: int | None = None
    ) -> Rule:
        """Have this happen to requests of a method whose address has ``about`` in it, or to one part."""

        def fits(its: str, url: URL) -> bool:
            if part is not None and url.query.get("partNumber") != str(part):
                return False
            return (not method or its == method) and about in str(url)

        rule = Rule(how, fits, times)
        self.rules.append(rule)
        return rule

    def let_go(self) -> None:
        self._go_on.set()

    def bodies(self) -> int:
        """The bytes of all that was sent to be stored."""
        return sum(each.size for each in self.seen if each.method == "PUT")

    def puts(self) -> list[Seen]:
        return [each for each in self.seen if each.method == "PUT"]

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        rule = None if self.is_gone else self._rule(request.method, request.url)
        how = "reset" if self.is_gone else rule.how if rule is not None else ""
        if how == "hold":
            while not self._go_on.is_set():
                await asyncio.sleep(0.01)
            how = ""
        done, _, then = how.partition("done ")
        if done and done != "other etag":
            return self._answered(request, body, done)
        answer = await self._asked(request, body)
        if then:
            return self._answered(request, body, then)
        if how == "other etag":
            answer.headers["ETag"] = f'"{"0" * 32}"'
        self.seen.append(Seen(request.method, request.url, answer.status, len(body)))
        return answer

    def _answered(self, request: web.Request, body: bytes, how: str) -> web.StreamResponse:
        status = {"reset": 0, "pretend": 200, "same page": 200, "skewed": 403}.get(how) or int(
            how if how.isdecimal() else 0
        )
        self.seen.append(Seen(request.method, request.url, status, len(body)))
        if how == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if how == "pretend":
            xml = "<CompleteMultipartUploadResult><ETag>x-1</ETag></CompleteMultipartUploadResult>"
            return web.Response(text=xml, content_type="application/xml", headers={"ETag": '"x"'})
        if how == "same page":
            xml = "<ListBucketResult><IsTruncated>true</IsTruncated>"
            xml += "<NextContinuationToken>again</NextContinuationToken></ListBucketResult>"
            return web.Response(text=xml, content_type="application/xml")
        code = "RequestTimeTooSkewed" if how == "skewed" else _CODES.get(status, "Odd")
        xml = f"<Error><Code>{code}</Code><Message>as the test says</Message></Error>"
        return web.Response(status=status, text=xml, content_type="application/xml")

    def _rule(self, method: str, url: URL) -> Rule | None:
        for rule in self.rules:
            if rule.seen < rule.times and rule.fits(method, url):
                rule.seen += 1
                return rule
        return None

    async def _asked(self, request: web.Request, body: bytes) -> web.Response:
        # With the headers as they are, the host's name too: they are signed.
        kept = {k: v for k, v in request.headers.items() if k.lower() not in ("content-length", "expect")}
        url = URL(self.behind + request.raw_path, encoded=True)
        async with self.session.request(
            request.method, url, headers=kept, data=io.BytesIO(body) if body else b"", timeout=_WHOLE,
            skip_auto_headers=("Accept-Encoding", "Content-Type", "User-Agent", "Accept"),
        ) as answer:  # fmt: skip
            passing = (
                "content-length",
                "transfer-encoding",
                "content-encoding",
                "connection",
                "date",
                "server",
            )
            headers = {k: v for k, v in answer.headers.items() if k.lower() not in passing}
            content = await answer.read()
            if request.method == "HEAD":
                headers["Content-Length"] = answer.headers.get("Content-Length", "0")
            return web.Response(status=answer.status, body=content or None, headers=headers)
