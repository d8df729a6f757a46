"""A volume on a real S3 server, behind a proxy that counts and strikes, and the program in sync with it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from aiohttp import web
from yarl import URL

from app.s3.access import VolumeAccess
from app.settings import Secret
from tests.e2e.conftest import Cli
from tests.s3 import ACCESS, SECRET, s3_server
from tests.s3_proxy import S3Proxy

MIB = 1 << 20
MODELS = "comfyui/models"
MANIFEST = f"{MODELS}/.sync-manifest.json"
_numbers = itertools.count(1)


@dataclass
class Strike:
    """Ends the program at the ``nth`` request that fits.

    ``when``: ``before`` the server sees it, ``after`` the server did it and before the answer goes out, or
    ``answered``: ``later_s`` after the answer goes out.
    """

    when: str
    fits: Callable[[str, URL], bool]
    end: Callable[[], None]
    nth: int = 1
    later_s: float = 0.0
    seen: int = 0


@dataclass
class Line(S3Proxy):
    """Counts what arrives of bodies, of those that break off too; ``stored`` are the requests that the server
    did, in the order of their ends, whether or not anybody got the answer."""

    strike: Strike | None = None
    arrived: int = 0
    busy: int = 0
    stored: list[tuple[str, URL]] = field(default_factory=list)
    begun: set[str] = field(default_factory=set)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.busy += 1
        try:
            return await super().serve(request)
        except ConnectionResetError:
            return web.Response()  # nobody is there any more
        finally:
            self.busy -= 1
            if request.method == "PUT":
                self.arrived += request.content.total_bytes

    async def _asked(self, request: web.Request, body: bytes) -> web.Response:
        strike = self.strike
        if strike is not None and strike.fits(request.method, request.url):
            strike.seen += 1
        hits = strike is not None and strike.seen == strike.nth
        if strike is None or not hits:
            return await self._done(request, body)
        self.strike = None
        if strike.when == "before":
            strike.end()
            return web.Response(status=500)
        answer = await self._done(request, body)
        if strike.when == "after":
            strike.end()
        else:
            asyncio.get_running_loop().call_later(strike.later_s, strike.end)
        return answer

    async def _done(self, request: web.Request, body: bytes) -> web.Response:
        answer = await super()._asked(request, body)
        if answer.status < 300:
            self.stored.append((request.method, request.url))
            if request.method == "POST" and "uploads" in request.url.query:
                told = bytes(answer.body or b"").decode()  # type: ignore[arg-type]
                self.begun.add(told.partition("<UploadId>")[2].partition("</UploadId>")[0])
        return answer

    def changes(self) -> list[tuple[str, str]]:
        """What was asked for that changes a volume."""
        return [(each.method, str(each.url)) for each in self.seen if each.method not in ("GET", "HEAD")]


@dataclass
class Volume:
    """``there`` is the volume's folder, ``here`` the models folder; all output of the program is kept."""

    cli: Cli
    line: Line
    kind: str
    there: Path
    here: Path
    said: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=lambda: [ACCESS, SECRET])

    @cached_property
    def api(self) -> Any:
        """The library's own client, past the proxy."""
        return VolumeAccess(self.there.name, self.line.behind, "X", Secret(ACCESS), Secret(SECRET)).client()

    @property
    def models(self) -> Path:
        return self.there / MODELS

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        return self.cli.start("sync", self.here, *words)

    def run(self, *words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.ended(self.start(*words), code)

    def ended(self, process: subprocess.Popen[str], code: int | None = 0) -> subprocess.CompletedProcess[str]:
        out, err = process.communicate(timeout=90)
        self.said += [out, err]
        assert code is None or process.returncode == code, f"{process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess([], process.returncode, out, err)

    def plan(self, *words: str | Path) -> dict[str, Any]:
        """The dry run, as JSON."""
        plan: dict[str, Any] = json.loads(self.run("--dry-run", "--json", *words).stdout)
        return plan

    def make(self, name: str, content: bytes | int = 3000, *, there: bool = False) -> Path:
        """A file of random bytes, or of these, on one side."""
        path = (self.models if there else self.here) / name
        content = os.urandom(content) if isinstance(content, int) else content
        if there:
            # Not behind the server's back: some know no ETag of such files.
            self.api.put_object(Bucket=self.there.name, Key=f"{MODELS}/{name}", Body=content)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return path

    def on_record(self) -> set[str]:
        """Ids of the uploads that the program knows of."""
        if not (self.cli.data / "transfers.sqlite").is_file():
            return set()
        with closing(sqlite3.connect(self.cli.data / "transfers.sqlite", timeout=30)) as db:
            try:
                return {upload_id for (upload_id,) in db.execute("SELECT upload_id FROM uploads")}
            except sqlite3.OperationalError:
                return set()  # it is being made

    def open_uploads(self) -> set[str]:
        """Those that the server has, by its own list."""
        told = self.api.list_multipart_uploads(Bucket=self.there.name)
        return {each["UploadId"] for each in told.get("Uploads", ())}

    def manifest(self) -> dict[str, Any]:
        files: dict[str, Any] = json.loads((self.there / MANIFEST).read_text("utf-8"))["files"]
        return files

    def keeps_secrets(self) -> None:
        """Nothing that the program wrote or printed has a key."""
        told = "\n".join(self.said).encode()
        places = [path for path in self.cli.data.rglob("*") if path.is_file()]
        for key in map(str.encode, self.secrets):
            assert key not in told
            assert [path for path in places if key in path.read_bytes()] == []


def hashes(folder: Path) -> dict[str, str]:
    """Of all files, by their paths below the folder; without what the sync itself keeps there."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in (".sync-manifest.json", "SHA256SUMS"):
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


@contextmanager
def server(folder: Path, kind: str) -> Iterator[tuple[str, Path, str]]:
    """Address, the folder with volumes, and kind."""
    # A server may look for its buckets once.
    with s3_server(folder, kind=kind) as url:
        yield url, folder, kind


@contextmanager
def volume(at: tuple[str, Path, str], cli: Cli, folder: Path) -> Iterator[Volume]:
    """A new, empty one; the program's settings name it."""
    url, volumes, kind = at
    name = f"vol{next(_numbers):04}"
    (volumes / name).mkdir()
    with Line(url) as line:
        cli.extra = {
            "RUNPOD_S3_URL": line.url,
            "RUNPOD_S3_ACCESS_KEY": ACCESS,
            "RUNPOD_S3_SECRET_KEY": SECRET,
            "RUNPOD_VOLUME_ID": name,
            "RUNPOD_DATACENTER": "EU-RO-1",
        }
        made = Volume(cli, line, kind, volumes / name, folder / "models")
        made.here.mkdir()
        yield made
        line.let_go()
        made.api.close()
        cli.clean_up()
    made.keeps_secrets()


def killed_by(process: subprocess.Popen[str], after_s: float) -> threading.Timer:
    """Kill -9 after so many seconds."""
    timer = threading.Timer(after_s, process.kill)
    timer.daemon = True
    timer.start()
    return timer
