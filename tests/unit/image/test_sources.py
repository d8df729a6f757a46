"""Sources: from real git, and from a Comfy Registry on loopback with archives of all kinds."""

from __future__ import annotations

import asyncio
import io
import stat
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comfyui.programs import find_git
from app.comfyui.repositories import Git
from app.errors import BadInput, ComfyRunPodError, Refused, Unreachable
from app.image.model import NodePin
from app.image.sources import Sources, unpack
from tests.unit.comfyui.made import commit

PIN = NodePin("Pack", registry_id="pack", version="1.2")


def packed(files: dict[str, bytes], modes: dict[str, int] | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return out.getvalue()


class Registry:
    """What it answers: whether there is such a version, and the archive of it."""

    def __init__(self) -> None:
        self.archive = packed({"__init__.py": b"NODES = {}\n", "run.sh": b"", "deep/er/a.txt": b"a"})
        self.is_known = True
        self.asked: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked.append(self.path)
                if self.path == "/nodes/pack/install?version=1.2" and owner.is_known:
                    address = f"{owner.url}/pack.zip"
                    self._say(200, f'{{"version": "1.2", "downloadUrl": "{address}"}}'.encode())
                elif self.path == "/pack.zip":
                    self._say(200, owner.archive)
                else:
                    self._say(404, b'{"message": "not found"}')

            def _say(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def registry() -> Iterator[Registry]:
    made = Registry()
    thread = threading.Thread(target=partial(made.server.serve_forever, poll_interval=0.02))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def sources(tmp_path: Path, registry: Registry) -> Sources:
    return Sources(tmp_path / "sources", Git(find_git()), registry=registry.url)


async def test_a_repository_is_fetched_once_without_its_history(tmp_path: Path, sources: Sources) -> None:
    at = commit(tmp_path / "origin", {"a.py": "1"})
    commit(tmp_path / "origin", {"a.py": "2"})
    pin = NodePin("Pack", (tmp_path / "origin").as_uri(), at)
    folder = await sources.fetch(pin)
    assert (folder / "a.py").read_text() == "1"
    assert not (folder / ".git").exists()
    (tmp_path / "origin").rename(tmp_path / "gone")
    assert await sources.fetch(pin) == folder


async def test_a_node_of_the_registry_is_fetched_at_its_version(sources: Sources, registry: Registry) -> None:
    folder = await sources.fetch(PIN)
    assert (folder / "__init__.py").read_bytes() == b"NODES = {}\n"
    assert (folder / "deep/er/a.txt").read_bytes() == b"a"
    asked = list(registry.asked)
    await sources.fetch(PIN)
    assert registry.asked == asked


async def test_what_the_registry_does_not_have_is_refused(sources: Sources, registry: Registry) -> None:
    registry.is_known = False
    with pytest.raises(Refused):
        await sources.fetch(PIN)


async def test_nothing_half_done_stays(tmp_path: Path, sources: Sources, registry: Registry) -> None:
    registry.archive = registry.archive[:100]
    with pytest.raises(BadInput, match="damaged"):
        await sources.fetch(PIN)
    assert list((tmp_path / "sources").iterdir()) == []


async def test_cancelled_it_leaves_nothing(tmp_path: Path, sources: Sources) -> None:
    pin = NodePin("Pack", (tmp_path / "origin").as_uri(), commit(tmp_path / "origin", {"a.py": "1"}))
    fetching = asyncio.create_task(sources.fetch(pin))
    await asyncio.sleep(0.02)
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    assert list((tmp_path / "sources").glob(".*")) == []


async def test_a_registry_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unreachable):
        await Sources(tmp_path, Git(find_git()), registry="http://127.0.0.1:9").fetch(PIN)


@pytest.mark.parametrize(
    ("files", "modes"),
    [
        ({"../out.py": b""}, {}),
        ({"a/../../out.py": b""}, {}),
        ({"/etc/out.py": b""}, {}),
        ({"..\\out.py": b""}, {}),
        ({"C:/out.py": b""}, {}),
        ({"link": b"/etc/passwd"}, {"link": stat.S_IFLNK | 0o777}),
    ],
)
def test_no_archive_writes_elsewhere(tmp_path: Path, files: dict[str, bytes], modes: dict[str, int]) -> None:
    (tmp_path / "a.zip").write_bytes(packed(files, modes))
    with pytest.raises(BadInput, match="leaves its folder"):
        unpack(tmp_path / "a.zip", tmp_path / "into", "Pack")
    assert {path.name for path in tmp_path.rglob("*")} <= {"a.zip", "into"}


@given(st.text(max_size=30), st.binary(max_size=30))
def test_any_name_stays_inside_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    top = tmp_path_factory.mktemp("top")
    try:
        (top / "a.zip").write_bytes(packed({name: content}))
    except (ValueError, UnicodeError):
        return
    with suppress(ComfyRunPodError, OSError):
        unpack(top / "a.zip", top / "into", "Pack")
    assert {path.name for path in top.iterdir()} <= {"a.zip", "into"}
