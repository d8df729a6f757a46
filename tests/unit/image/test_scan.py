"""Known vulnerabilities: the real pip-audit with a database on loopback, and what image scanners say."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.image.scan import Finding, Severity, grype_findings, scan, trivy_findings
from tests.unit.comfyui.made import uv

#: As OSV's ``/v1/query`` and ``/v1/vulns/ID`` have it.
VULN: dict[str, Any] = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "summary": "Pictures run programs",
    "details": "Pictures run programs.\n\nLong text.",
    "aliases": ["CVE-2026-1"],
    "database_specific": {"severity": "HIGH"},
    "affected": [
        {
            "package": {"name": "pictures", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.1"}]}],
        }
    ],
}


class Osv:
    """The database: it knows one vulnerability, of one package."""

    def __init__(self) -> None:
        self.is_down = False
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                known = asked["package"]["name"] == "pictures"
                self._say({"vulns": [VULN]} if known else {})

            def do_GET(self) -> None:
                self._say(VULN if self.path == f"/vulns/{VULN['id']}" else {})

            def _say(self, data: Any) -> None:
                body = json.dumps(data).encode()
                self.send_response(503 if owner.is_down else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def osv(
    monkeypatch: pytest.MonkeyPatch, trusting: Callable[[Mapping[str, str]], dict[str, str]]
) -> Iterator[Osv]:
    for name, value in trusting(os.environ).items():
        monkeypatch.setenv(name, value)
    made = Osv()
    thread = threading.Thread(target=partial(made.server.serve_forever, poll_interval=0.02))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def _lock(folder: Path) -> Path:
    path = folder / "comfyui.lock"
    pins = ("pictures==2.0", "six==1.16.0")
    path.write_text("".join(f"{pin} \\\n    --hash=sha256:{'0' * 64}\n" for pin in pins))
    return path


async def test_what_is_known_of_a_lock_is_found_with_its_severity(tmp_path: Path, osv: Osv) -> None:
    found = await scan(uv(), [_lock(tmp_path)], None, osv=osv.url)
    (one,) = found.findings
    assert (one.package, one.version, one.fixed_in, one.where) == ("pictures", "2.0", "2.1", "comfyui.lock")
    assert {one.id, *one.aliases} == {"GHSA-aaaa-bbbb-cccc", "CVE-2026-1"}
    assert (one.severity, one.title) == (Severity.HIGH, "Pictures run programs")
    assert (found.looked_at, found.notes) == (("comfyui.lock",), ())
    assert found.to_json()["findings"][0]["severity"] == "high"


async def test_an_image_that_nobody_can_scan_is_said_to_be_unscanned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = await scan(Path("uv"), [], "an/image:1")
    assert found.notes == ("The image itself was not scanned: neither trivy nor grype is installed.",)


async def test_nothing_found_is_not_said_of_what_could_not_be_looked_at(tmp_path: Path, osv: Osv) -> None:
    osv.is_down = True
    found = await scan(uv(), [_lock(tmp_path)], None, osv=osv.url)
    assert (found.findings, found.looked_at) == ((), ())
    (note,) = found.notes
    assert "comfyui.lock" in note


def test_what_trivy_says() -> None:
    data = {
        "Results": [
            {
                "Target": "debian",
                "Vulnerabilities": [
                    {
                        "VulnerabilityID": "CVE-2026-2", "PkgName": "libssl3", "InstalledVersion": "3.0.1",
                        "FixedVersion": "3.0.2", "Severity": "CRITICAL", "Title": "A hole",
                    },
                    "odd",
                ],
            },
            {"Target": "python"},
        ]
    }  # fmt: skip
    assert trivy_findings(data) == [
        Finding("CVE-2026-2", "libssl3", "3.0.1", Severity.CRITICAL, "A hole", "image", "3.0.2")
    ]


def test_what_grype_says() -> None:
    data = {
        "matches": [
            {
                "vulnerability": {
                    "id": "CVE-2026-3", "severity": "Negligible", "description": "Small",
                    "fix": {"versions": [], "state": "wont-fix"},
                },
                "artifact": {"name": "zlib1g", "version": "1.2"},
            },
            {"vulnerability": None},
        ]
    }  # fmt: skip
    assert grype_findings(data) == [
        Finding("CVE-2026-3", "zlib1g", "1.2", Severity.LOW, "Small", "image", "")
    ]


@pytest.mark.parametrize("data", [None, [], {}, {"Results": {}}, {"matches": [1]}, {"Results": [{}]}])
def test_what_is_no_report_holds_nothing(data: Any) -> None:
    assert trivy_findings(data) == grype_findings(data) == []
