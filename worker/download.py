"""Fetching an input from an https address, and from no address inside the house.

Each name is resolved once, all its addresses are looked at, and the connection goes to the very address that
was looked at: a name that resolves to another one a moment later gains nothing. Redirects are no exception.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from .errors import BadRequest, JobError, not_written

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_CHUNK = 1 << 18
_QUIET_S = 20.0
_LONGEST_URL = 8192
#: Addresses with an IPv4 address in their last four bytes, which a gateway may reach for us.
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
#: Public by number, and yet a cloud's door to itself.
_INNER = (IPv4Address("168.63.129.16"),)
_SAFE = "/%:@!$&'()*+,;=~-._?"

Resolve = Callable[[str, int], Sequence[str]]
Connect = Callable[[tuple[str, int], float], socket.socket]
#: The headers that a host gets, and whether it may be asked at all.
Headers = Callable[[str], Mapping[str, str]]
Allowed = Callable[[str], bool]


class Stop:
    """Ends a download from another thread, at once whatever it waits for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.is_set = False

    def set(self) -> None:
        with self._lock:
            self.is_set = True
            if self._socket is not None:
                _shut(self._socket)

    def guard(self, connection: socket.socket | None) -> None:
        with self._lock:
            self._socket = connection
            if self.is_set and connection is not None:
                _shut(connection)


def checked_url(raw: object) -> SplitResult:
    """An https address with a host and without a user.

    Raises:
        ValueError: with a sentence that never shows the address: it may hold a key.
    """
    if not isinstance(raw, str) or not raw or len(raw) > _LONGEST_URL:
        raise ValueError("it is no text, or too long.")
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in raw) or "\\" in raw:
        raise ValueError("it has blanks, control characters or backslashes.")
    try:
        parts = urlsplit(raw)
        host, port = (parts.hostname or "").encode("idna"), parts.port
    except (ValueError, UnicodeError) as error:
        raise ValueError("it cannot be understood.") from error
    if parts.scheme.lower() != "https":
        raise ValueError("only https is fetched.")
    if not host or b"%" in host or b"\0" in host or port == 0:
        raise ValueError("it has no usable host.")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it holds a user name or password.")
    return parts


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet: not private, local, shared or reserved."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and any(ip in network for network in _NAT64):
            inner = IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip in _LOCAL_NAT64:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved) and ip not in _INNER


def system_addresses(host: str, port: int) -> list[str]:
    """What the system's resolver says."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


@dataclass(frozen=True, slots=True)
class Downloader:
    """Fetches files; blocks. ``resolve`` and ``connect`` are the only ways to the network.

    ``what`` is what sentences call a file.
    """

    max_bytes: int = 1 << 30
    timeout_s: float = 120.0
    resolve: Resolve = system_addresses
    connect: Connect = socket.create_connection
    context: ssl.SSLContext | None = None
    what: str = "input"

    def fetch(self, url: str, target: Path, stop: Stop) -> str:
        """Write what is at ``url`` to ``target``; its SHA-256.

        Raises:
            BadRequest: for an address that must not be asked.
            JobError: ``download_failed``, ``input_too_large``.
        """
        with self.opened(url, stop) as (answer, host):
            return self._saved(answer, host, target)

    @contextlib.contextmanager
    def opened(
        self,
        url: str,
        stop: Stop,
        *,
        headers: Headers = lambda host: {},
        allowed: Allowed = lambda host: True,
    ) -> Iterator[tuple[http.client.HTTPResponse, str]]:
        """The answer of the last address that ``url`` leads to, and its host.

        Both functions are asked anew for each host on the way: what is for one is not for the next.

        Raises:
            BadRequest: for an address that must not be asked.
            JobError: ``download_failed``.
        """
        deadline = time.monotonic() + self.timeout_s
        for _ in range(_MOST_REDIRECTS + 1):
            try:
                parts = checked_url(url)
            except ValueError as error:
                raise BadRequest(f"{self._a}'s address leads to one that cannot be used: {error}") from error
            host = (parts.hostname or "").encode("idna").decode()
            if not allowed(host):
                raise BadRequest(
                    f"{self._a}'s address leads to {host}, which is not among the hosts allowed."
                )
            with (
                self._told(host, deadline, stop),
                self._asked(parts, host, deadline, stop, headers) as answer,
            ):
                if answer.status not in _REDIRECTS:
                    yield answer, host
                    if stop.is_set or time.monotonic() >= deadline:
                        raise TimeoutError  # its end was ours, not the file's
                    return
                url = urljoin(url, answer.headers.get("Location") or "")
        raise self._failed(host, f"it leads on more than {_MOST_REDIRECTS} times")

    @contextlib.contextmanager
    def _asked(
        self, parts: SplitResult, host: str, deadline: float, stop: Stop, headers: Headers
    ) -> Iterator[http.client.HTTPResponse]:
        port = parts.port or 443
        address = self._address(host, port)
        left = max(deadline - time.monotonic(), 0.001)
        plain = self.connect((address, port), min(left, _QUIET_S))
        alarm = threading.Timer(left, _shut, (plain,))
        alarm.daemon = True
        alarm.start()
        try:
            stop.guard(plain)
            if stop.is_set:
                raise ConnectionAbortedError
            plain.settimeout(min(left, _QUIET_S))
            context = self.context or ssl.create_default_context()
            with context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False) as secure:
                # From here on the connection is this object's.
                stop.guard(secure)
                alarm.args = (secure,)
                secure.do_handshake()
                connection = http.client.HTTPConnection(host, port)
                connection.sock = secure
                connection.request("GET", _path(parts), headers=_headers(parts, host) | dict(headers(host)))
                with contextlib.closing(connection.getresponse()) as answer:
                    yield answer
        finally:
            alarm.cancel()
            stop.guard(None)
            plain.close()

    def _address(self, host: str, port: int) -> str:
        """The one address that is then connected to."""
        literal = host.strip("[]")
        addresses = list(self.resolve(literal, port))
        if not addresses:
            raise self._failed(host, "its name is unknown")
        for address in addresses:
            if not is_public(address):
                raise BadRequest(
                    f"{self._a}'s address at {host} is refused: it leads into a private network.",
                    hint="Send the file itself, or lay it on the network volume.",
                )
        return addresses[0]

    def _saved(self, answer: http.client.HTTPResponse, host: str, target: Path) -> str:
        if answer.status != 200:
            raise self._failed(host, f"it answers with status {answer.status}")
        expected = answer.length
        digest, size = hashlib.sha256(), 0
        if expected is not None and expected > self.max_bytes:
            size = expected
        with target.open("wb") as file:
            while size <= self.max_bytes and (chunk := answer.read1(_CHUNK)):
                digest.update(chunk)
                size += _write(file, chunk)
        if size > self.max_bytes:
            raise JobError(
                "input_too_large",
                f"An input from {host} is larger than the {self.max_bytes} bytes that are allowed.",
                hint="Raise MAX_DOWNLOAD_BYTES, or lay the file on the network volume.",
            )
        if expected is not None and size != expected:
            raise self._failed(host, f"it broke off after {size} of {expected} bytes")
        return digest.hexdigest()

    @contextlib.contextmanager
    def _told(self, host: str, deadline: float, stop: Stop) -> Iterator[None]:
        """What the network raises, as one sentence."""
        try:
            yield
            return
        except socket.gaierror as error:
            problem: Exception = error
            why = "its name cannot be resolved"
        except ssl.SSLCertVerificationError as error:
            problem, why = error, f"its certificate is not valid: {error.verify_message}"
        except (OSError, http.client.HTTPException) as error:
            problem, why = error, f"{type(error).__name__}"
        except UnicodeError as error:
            problem, why = error, "its name cannot be resolved"
        if stop.is_set:
            why = "it was stopped"
        elif time.monotonic() >= deadline:
            why = f"it takes longer than {self.timeout_s:g} s"
        raise self._failed(host, why) from problem

    def _failed(self, host: str, why: str) -> JobError:
        return JobError(
            "download_failed",
            f"{self._a} could not be fetched from {host}: {why}.",
            hint="Is the address right, and still valid? Send the file itself if it is not public.",
        )

    @property
    def _a(self) -> str:
        return f"An {self.what}" if self.what[0] in "aeiou" else f"A {self.what}"


def _write(file: BinaryIO, chunk: bytes) -> int:
    try:
        return file.write(chunk)
    except OSError as error:  # the disk's fault, not the network's
        raise not_written("of an address", error) from error


def _path(parts: SplitResult) -> str:
    path = quote(parts.path or "/", safe=_SAFE)
    return f"{path}?{quote(parts.query, safe=_SAFE)}" if parts.query else path


def _headers(parts: SplitResult, host: str) -> dict[str, str]:
    shown = f"[{host}]" if ":" in host else host
    named = shown if parts.port in (None, 443) else f"{shown}:{parts.port}"
    return {"Host": named, "Accept-Encoding": "identity", "User-Agent": "comfy-runpod", "Connection": "close"}


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # closed already
        # Not the TLS object's own: it would go on to read the rest as plain text.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
