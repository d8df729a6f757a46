"""The folders of a ComfyUI that runs: only what its own lists prove."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.comfyui.locate import Folders, folders_of
from app.demo.files import Folders as DemoFolders
from app.demo.server import DemoEngine
from app.errors import NeedsSetup, Unreachable


@asynccontextmanager
async def engine(base: Path, *argv: str) -> AsyncIterator[str]:
    """A demo engine below ``base`` that says it was started with ``argv``."""
    async with TestServer(DemoEngine(DemoFolders.below(base), argv=["main.py", *argv]).build()) as server:
        yield str(server.make_url("")).rstrip("/")


@asynccontextmanager
async def saying(**answers: Any) -> AsyncIterator[str]:
    """A server with scripted answers, by the last word of the path; an int is an error status."""

    async def answer(request: web.Request) -> web.Response:
        said = answers.get(request.path.rpartition("/")[2], 404)
        return web.Response(status=said) if isinstance(said, int) else web.json_response(said)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def says(base: Path, *argv: str, **changes: Any) -> dict[str, Any]:
    """What a ComfyUI below ``base`` says; ``changes`` are other answers."""
    listed = {
        kind: [f"{path.name} [{kind}]" for path in (base / kind).glob("*")] for kind in ("input", "output")
    }
    stats = {"system": {"argv": ["main.py", *argv]}}
    paths = {"custom_nodes": [str(base / "custom_nodes")]}
    return {"system_stats": stats, "folder_paths": paths, **listed, **changes}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    made = tmp_path / "ComfyUI"
    for kind in ("input", "output", "custom_nodes"):
        (made / kind).mkdir(parents=True)
        (made / kind / f"my {kind} [x].png").write_bytes(b"x")
    return made


def below(base: Path) -> Folders:
    return Folders(base / "input", base / "output")


@pytest.mark.parametrize("form", ["--base-directory={}", "--base-directory {}"])
async def test_of_an_engine_by_its_base(base: Path, tmp_path: Path, form: str) -> None:
    async with engine(base, *form.format(base).split(" ")) as url:
        assert await folders_of(url) == below(base)
        assert await folders_of(url, tmp_path / "elsewhere") == below(base)


async def test_of_an_engine_by_where_it_lies(base: Path, tmp_path: Path) -> None:
    async with engine(base) as url:
        assert await folders_of(url, base) == below(base)
        with pytest.raises(NeedsSetup):
            await folders_of(url, tmp_path / "elsewhere")


@pytest.mark.parametrize("form", ["{option}={value}", "{option} {value}"])
async def test_of_a_comfyui_by_its_own_options(base: Path, tmp_path: Path, form: str) -> None:
    other = tmp_path / "other"
    (base / "input").rename(other)
    given = [("--base-directory", base), ("--input-directory", other)]
    words = [word for o, v in given for word in form.format(option=o, value=v).split(" ")]
    answers = says(base, *words, folder_paths=[], input=["my input [x].png [input]"])
    async with saying(**answers) as url:
        assert await folders_of(url) == Folders(other, base / "output")


async def test_an_output_folder_that_is_yet_to_be_made(base: Path) -> None:
    """ComfyUI makes it with its first result; until then it cannot list it."""
    for file in (base / "output").iterdir():
        file.unlink()
    (base / "output").rmdir()
    async with saying(**says(base, output=500)) as url:
        assert await folders_of(url) == below(base)
    (base / "output").mkdir()
    (base / "output" / "of another ComfyUI.png").write_bytes(b"x")
    async with saying(**says(base, output=500)) as url:
        with pytest.raises(NeedsSetup):
            await folders_of(url)


@pytest.mark.parametrize(
    "changes",
    [
        {"input": ["on the other machine.png [input]"]},
        {"output": ["on the other machine.png [output]"]},
        {"input": []},
        {"output": []},
        {"input": 404, "output": 404},
        {"input": 500},
        {"input": "text", "output": {}},
        {"folder_paths": 404},
        {"folder_paths": {"custom_nodes": ["relative/custom_nodes", 5, "\0"]}},
        {"folder_paths": {"custom_nodes": "text"}},
    ],
)
async def test_what_is_not_proved_is_not_taken(base: Path, changes: dict[str, Any]) -> None:
    """It runs on another machine, or its lists and this disk do not agree."""
    async with saying(**says(base, **changes)) as url:
        with pytest.raises(NeedsSetup, match="cannot be found on this computer") as caught:
            await folders_of(url)
    assert "COMFYUI_DIR" in caught.value.hint


async def test_lists_that_cannot_be_had_prove_nothing(base: Path) -> None:
    """Empty folders agree with anything."""
    for file in [*(base / "input").iterdir(), *(base / "output").iterdir()]:
        file.unlink()
    async with saying(**says(base, input=404, output=404)) as url:
        with pytest.raises(NeedsSetup):
            await folders_of(url)


async def test_of_several_folders_the_one_that_agrees(base: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    for kind in ("input", "output"):
        (wrong / kind).mkdir(parents=True)
    paths = {"custom_nodes": [str(wrong / "custom_nodes"), str(base / "custom_nodes")]}
    async with saying(**says(base, "--base-directory", str(wrong), folder_paths=paths)) as url:
        assert await folders_of(url, wrong) == below(base)


async def test_a_folder_that_may_not_be_read_is_not_taken(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_path: Path) -> Any:
        raise PermissionError(13, "not yours")

    answers = says(base, input=[])
    monkeypatch.setattr(Path, "iterdir", refuses)
    async with saying(**answers) as url:
        with pytest.raises(NeedsSetup):
            await folders_of(url)


@pytest.mark.parametrize("stats", [404, [], {"system": []}, {"system": {"argv": "text"}}, {"system": {}}])
async def test_a_comfyui_that_tells_little_is_found_by_its_paths(base: Path, stats: Any) -> None:
    async with saying(**says(base, system_stats=stats)) as url:
        assert await folders_of(url) == below(base)


async def test_nobody_there_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for url in (f"http://127.0.0.1:{port}", "nonsense", "http://"):
            with pytest.raises(Unreachable, match="not answering") as caught:
                await folders_of(url)
            assert "COMFYUI_URL" in caught.value.hint


async def test_a_page_that_is_no_json_is_unreachable() -> None:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<html>Sign in</html>")

    app = web.Application()
    app.router.add_get("/{path:.*}", page)
    async with TestServer(app) as server:
        with pytest.raises(Unreachable):
            await folders_of(str(server.make_url("")).rstrip("/"))
