"""Inputs from addresses: fetched from the open internet alone, whatever a name or a redirect says."""

from __future__ import annotations

import datetime
import hashlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from worker.download import Downloader, Stop, checked_url, is_public
from worker.errors import BadRequest, JobError

PUBLIC = "93.184.216.34"
SECRET = "signature=very-secret"
PRIVATE = (
    *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
    *("100.64.0.1", "100.100.100.200", "192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "168.63.129.16"),
    *("255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1"),
    *(
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "::127.0.0.1",
        "fe80::1%eth0",
    ),
    *("", "localhost", "1", "0x7f.1"),
)
Answer = Callable[[BaseHTTPRequestHandler], None]


def certificate(host: str, folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    kind = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))
    return cert, private


class Web:
    """A TLS server on this computer that stands for ``pictures.example`` at a public address.

    Attributes:
        names: what the names resolve to, one list after the other; the last one stays.
        asked: the names that were resolved; ``dialled`` the addresses that were connected to.
        answer: what the server does with a request; ``seen`` the requests.
    """

    def __init__(self, folder: Path) -> None:
        self.names: list[Sequence[str]] = [[PUBLIC]]
        self.asked: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self.seen: list[tuple[str, str]] = []
        self.answer: Answer = lambda request: reply(request, b"the picture")
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.seen.append((self.headers["Host"], self.path))
                web.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                pass

        cert, private = certificate("pictures.example", folder)
        server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_side.load_cert_chain(cert, private)
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.socket = server_side.wrap_socket(self.server.socket, server_side=True)
        self.context = ssl.create_default_context(cafile=str(cert))

    def downloader(self, **changes: Any) -> Downloader:
        given = {"timeout_s": 10, "resolve": self.resolve, "connect": self.connect, "context": self.context}
        return Downloader(**{**given, **changes})

    def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.names.pop(0) if len(self.names) > 1 else self.names[0]

    def connect(self, address: tuple[str, int], timeout_s: float) -> socket.socket:
        """The only way out: what is dialled is an address, never a name, and goes to our server."""
        ip_address(address[0])
        self.dialled.append(address)
        return socket.create_connection(self.server.server_address[:2], timeout_s)


def reply(request: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    for name, value in ({"Content-Length": str(len(body))} | headers).items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    (tmp_path / "tls").mkdir()
    web = Web(tmp_path / "tls")
    thread = threading.Thread(target=web.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield web
    web.server.shutdown()
    thread.join()
    web.server.server_close()


def refused(
    web: Web, tmp_path: Path, url: str = f"https://pictures.example/x?{SECRET}", **more: Any
) -> JobError:
    with pytest.raises(JobError) as caught:
        web.downloader(**more).fetch(url, tmp_path / "target", Stop())
    told = f"{caught.value.summary} {caught.value.hint} {caught.value.details}"
    assert SECRET not in told
    assert "\n" not in told
    return caught.value


def test_a_file_is_fetched_from_the_address_that_was_looked_at(web: Web, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    web.answer = lambda request: reply(request, content)
    web.names = [[PUBLIC, "2606:2800:220:1::1"], ["127.0.0.1"]]
    url = "https://pictures.example:444/ä/b?q=ü#part"
    digest = web.downloader().fetch(url, tmp_path / "x", Stop())
    assert (tmp_path / "x").read_bytes() == content
    assert digest == hashlib.sha256(content).hexdigest()
    # Resolved once; a second look would have found our own computer.
    assert (web.asked, web.dialled) == (["pictures.example"], [(PUBLIC, 444)])
    assert web.seen == [("pictures.example:444", "/%C3%A4/b?q=%C3%BC")]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_inside_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_outside_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("found", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["::1", PUBLIC], ["169.254.169.254"]])
def test_a_name_that_leads_inside_is_refused_and_never_dialled(
    web: Web, tmp_path: Path, found: list[str]
) -> None:
    web.names = [found]
    error = refused(web, tmp_path)
    assert (error.code, web.dialled) == ("bad_input", [])
    assert error.summary == (
        "An input's address at pictures.example is refused: it leads into a private network."
    )


def test_the_system_s_resolver_is_checked_as_well(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "0"):
        with pytest.raises(JobError) as caught:
            Downloader(timeout_s=5).fetch(f"https://{host}:9/", tmp_path / "x", Stop())
        assert caught.value.code in ("bad_input", "download_failed")
        assert "Refused" not in caught.value.summary, "it was dialled"


def test_a_redirect_is_looked_at_like_the_first_address(web: Web, tmp_path: Path) -> None:
    def on(request: BaseHTTPRequestHandler) -> None:
        if request.path.startswith("/x"):
            reply(request, b"", 302, Location="https://pictures.example/second")
        else:
            reply(request, b"the second")

    web.answer = on
    web.downloader().fetch("https://pictures.example/x", tmp_path / "target", Stop())
    assert (tmp_path / "target").read_bytes() == b"the second"
    web.names = [[PUBLIC], ["192.168.1.1"]]
    assert refused(web, tmp_path).code == "bad_input"
    assert web.dialled == [(PUBLIC, 443)] * 3


@pytest.mark.parametrize(
    "to", ["http://pictures.example/", "file:///etc/passwd", "ftp://x/", "https://user@x/", "gopher:x"]
)
def test_a_redirect_to_another_kind_of_address_is_refused(web: Web, tmp_path: Path, to: str) -> None:
    web.answer = lambda request: reply(request, b"", 301, Location=to)
    assert refused(web, tmp_path).code == "bad_input"


def test_redirects_without_end_are_given_up(web: Web, tmp_path: Path) -> None:
    web.answer = lambda request: reply(request, b"", 307, Location="/again")
    error = refused(web, tmp_path)
    assert (error.code, len(web.dialled)) == ("download_failed", 6)
    assert "leads on more than 5 times" in error.summary


@pytest.mark.parametrize("honest", [True, False])
def test_what_is_too_large_is_refused(web: Web, tmp_path: Path, honest: bool) -> None:
    def big(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        if honest:
            request.send_header("Content-Length", "2000000")
        request.end_headers()
        request.wfile.write(bytes(2_000_000))

    web.answer = big
    assert refused(web, tmp_path, max_bytes=1_000_000).code == "input_too_large"
    assert (tmp_path / "target").stat().st_size <= 1_500_000


def test_what_breaks_off_is_refused(web: Web, tmp_path: Path) -> None:
    web.answer = lambda request: reply(request, b"half", **{"Content-Length": "8"})
    assert "it broke off after 4 of 8 bytes" in refused(web, tmp_path).summary


@pytest.mark.parametrize("status", [404, 403, 500, 204, 206])
def test_a_status_is_told(web: Web, tmp_path: Path, status: int) -> None:
    web.answer = lambda request: reply(request, b"", status)
    assert f"answers with status {status}" in refused(web, tmp_path).summary


def drips(request: BaseHTTPRequestHandler) -> None:
    """Never silent for long, and never done."""
    request.send_response(200)
    request.end_headers()
    for _ in range(400):
        request.wfile.write(b".")
        request.wfile.flush()
        time.sleep(0.05)


def test_a_server_that_drips_is_given_up_in_time(web: Web, tmp_path: Path) -> None:
    web.answer = drips
    began = time.monotonic()
    error = refused(web, tmp_path, timeout_s=0.5)
    assert error.summary.endswith("it takes longer than 0.5 s.")
    assert time.monotonic() - began < 2


def test_a_download_is_stopped_at_once(web: Web, tmp_path: Path) -> None:
    stop = Stop()
    web.answer = drips
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    with pytest.raises(JobError, match="it was stopped"):
        web.downloader().fetch("https://pictures.example/", tmp_path / "x", stop)
    assert time.monotonic() - began < 2
    with pytest.raises(JobError, match="it was stopped"):
        web.downloader().fetch("https://pictures.example/", tmp_path / "x", stop)


def test_another_name_s_certificate_is_refused(web: Web, tmp_path: Path) -> None:
    assert (
        "its certificate is not valid" in refused(web, tmp_path, f"https://other.example/?{SECRET}").summary
    )
    assert "its certificate" in refused(web, tmp_path, context=ssl.create_default_context()).summary


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://x/",
            "ftp://x/",
            "https://",
            "https:///x",
            "x",
            "",
            None,
            5,
            "https://u:p@x/",
            "https://x:0/",
        ),
        *("https://x:99999/", "https://x/\n", "https://x /", "https://[::1/", "https://x\\@y/", "//x/y"),
        *("https://" + "x" * 64 + ".com/", "https://x/" + "y" * 9000, "https://x%00y/", "https://@x/"),
    ],
)
def test_what_is_no_https_address_is_refused(url: Any) -> None:
    with pytest.raises(ValueError, match=r"^it .*\.$|^only https is fetched\.$"):
        checked_url(url)


HOSTS = st.sampled_from([*PRIVATE, "[::1]", "a.example", "2130706433", "a@b", "ü.example", "0177.1", "x:5"])
URLS = st.text() | st.builds("https://{}{}".format, HOSTS | st.text(), st.text())


@given(URLS, st.lists(st.sampled_from([*PRIVATE, PUBLIC]), max_size=3))
def test_no_address_reaches_the_inside_and_none_breaks_anything(url: str, found: list[str]) -> None:
    def connect(address: tuple[str, int], timeout_s: float) -> socket.socket:
        assert is_public(address[0])
        raise ConnectionRefusedError

    downloader = Downloader(resolve=lambda *_: found, connect=connect)
    with pytest.raises(JobError) as caught:
        downloader.fetch(url, Path("/nowhere/x"), Stop())
    assert isinstance(caught.value, BadRequest) or caught.value.code == "download_failed"
