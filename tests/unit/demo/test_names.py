"""No name a client can send leads out of the engine's folders."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.demo.files import Folders, OutsideFolder, inside, split_annotation
from app.demo.server import DemoEngine

PARTS = st.sampled_from(
    ["..", ".", "", "a", "b.png", "link", "%2e%2e", "\\", "~", "C:", "x y", "a\0b", "%width%", " [temp]"]
)
NAMES = st.one_of(
    st.lists(PARTS, max_size=6).map("/".join),
    st.lists(PARTS, max_size=6).map(lambda parts: "/" + "/".join(parts)),
    st.text(max_size=20),
)


def _surrogate_free(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


NAMES = NAMES.filter(_surrogate_free)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    base = tmp_path_factory.mktemp("names")
    found = Folders.below(base / "inner")
    found.prepare()
    if os.name != "nt":
        (found.input / "link").symlink_to(base)
        (found.output / "link").symlink_to(base)
    return found


@given(name=NAMES)
def test_inside_gives_a_path_below_the_root_or_raises(folders: Folders, name: str) -> None:
    try:
        path = inside(folders.input, name)
    except OutsideFolder:
        return
    assert Path(os.path.realpath(path)).is_relative_to(folders.input)
    assert ".." not in path.parts


@given(name=NAMES)
def test_annotated_names_stay_in_the_folder_they_name(folders: Folders, name: str) -> None:
    _, kind = split_annotation(name)
    try:
        path = folders.annotated(name)
    except OutsideFolder:
        return
    root = folders.of_kind(kind or "input")
    assert root is not None
    assert Path(os.path.realpath(path)).is_relative_to(root)


@given(prefix=NAMES)
def test_saved_files_stay_in_the_output_folder(folders: Folders, prefix: str) -> None:
    try:
        place = folders.save_place(prefix, "output", (8, 8))
    except (OutsideFolder, OSError):
        return
    target = place.folder / place.name(0)
    assert Path(os.path.realpath(target)).is_relative_to(folders.output)
    assert place.name(0) == Path(place.name(0)).name


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=8))
def test_uploads_and_views_stay_inside(tmp_path: Path, names: list[tuple[str, str]]) -> None:
    asyncio.run(_upload_and_view(tmp_path, names))


async def _upload_and_view(tmp_path: Path, names: list[tuple[str, str]]) -> None:
    base = tmp_path / "inner"
    (tmp_path / "b.png").write_bytes(b"secret")
    (tmp_path / "a").write_bytes(b"secret")
    async with TestClient(TestServer(DemoEngine(Folders.below(base)).build())) as client:
        for filename, subfolder in names:
            form = FormData(quote_fields=False)
            clean = "".join(c if c.isprintable() and c != '"' else "_" for c in filename) or "x"
            form.add_field("image", b"sent", filename=clean)
            form.add_field("subfolder", subfolder)
            answer = await client.post("/upload/image", data=form)
            assert answer.status in (200, 400, 500)
            query = {"filename": filename, "subfolder": subfolder, "type": "input"}
            answer = await client.get("/view", params=query)
            assert b"secret" not in await answer.read()
    assert {path.name for path in tmp_path.iterdir()} == {"inner", "b.png", "a"}
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a").read_bytes() == b"secret"
    assert {path.name for path in base.iterdir()} == {"input", "output"}
    assert not list((base / "output").iterdir())
