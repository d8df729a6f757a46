"""The store of pictures: the newest wish first, a bounded queue, a cache on disk, and little memory."""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import pytest
from PySide6.QtCore import QBuffer, QIODevice
from PySide6.QtGui import QColor, QImage

from app.ui.queue import pictures as module
from app.ui.queue.pictures import PictureStore
from tests.gui.harness import on_loop, picture, until


def cached(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def thumbnail(store: PictureStore, path: Path) -> QImage:
    return (await until(lambda: store.thumbnail(str(path)))).toImage()


class Gate:
    """Holds the store's thread inside its first piece of work, and notes the order of the rest."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.order: list[str] = []
        self.held, self.free = threading.Event(), threading.Event()
        monkeypatch.setattr(module, "_thumbnail", self._make)

    def _make(self, path: Path, _cache: Path) -> QImage:
        self.order.append(path.name)
        self.held.set()
        assert self.free.wait(20)
        return QImage(4, 4, QImage.Format.Format_RGB32)


@on_loop
async def test_the_newest_wish_is_fulfilled_first(
    pictures: PictureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    pictures.thumbnail("first")
    await until(gate.held.is_set)
    for name in ("a", "b", "c", "b"):
        assert pictures.thumbnail(name) is None
    gate.free.set()
    await until(lambda: len(gate.order) == 4)
    assert gate.order == ["first", "c", "b", "a"]
    await until(lambda: not pictures._asked)


@on_loop
async def test_wishes_that_scrolled_away_are_dropped_and_may_come_again(
    pictures: PictureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    pictures.thumbnail("first")
    await until(gate.held.is_set)
    for number in range(1000):
        pictures.thumbnail(str(number))
    assert len(pictures._worker._work) == module._WAITING
    pictures.thumbnail("0")
    gate.free.set()
    await until(lambda: not pictures._asked)
    assert gate.order[:3] == ["first", "0", "999"]
    assert len(gate.order) == 1 + module._WAITING


@on_loop
async def test_a_second_start_takes_the_thumbnail_from_disk(tmp_path: Path) -> None:
    source = picture(tmp_path / "large.png", "#33CC66", (900, 600))
    cache = tmp_path / "cache"
    store = PictureStore(cache)
    made = await thumbnail(store, source)
    store.close()
    assert (made.width(), made.height()) == (256, 170)
    [kept] = cached(cache)
    assert kept.suffix == ".jpg"
    # What is on disk is what is shown: it is given another colour behind the store's back.
    picture(kept, "#CC3366", (256, 170))
    again = PictureStore(cache)
    shown = await thumbnail(again, source)
    again.close()
    assert abs(shown.pixelColor(9, 9).red() - 0xCC) < 8
    assert len(cached(cache)) == 1
    for each in (store, again):
        each.deleteLater()


@on_loop
async def test_a_result_that_was_written_anew_gets_a_new_thumbnail(
    pictures: PictureStore, tmp_path: Path
) -> None:
    source = picture(tmp_path / "x.png", "#CC3333")
    await thumbnail(pictures, source)
    picture(source, "#3333CC", (300, 200))
    other = PictureStore(tmp_path / "thumbnails")
    shown = await thumbnail(other, source)
    other.close()
    other.deleteLater()
    assert abs(shown.pixelColor(9, 9).blue() - 0xCC) < 8
    assert len(cached(tmp_path / "thumbnails")) == 2


@on_loop
async def test_see_through_pictures_stay_so(pictures: PictureStore, tmp_path: Path) -> None:
    image = QImage(600, 400, QImage.Format.Format_ARGB32)
    image.fill(QColor(200, 40, 40, 90))
    source = tmp_path / "alpha.png"
    assert image.save(str(source))
    shown = await thumbnail(pictures, source)
    assert shown.hasAlphaChannel()
    assert abs(shown.pixelColor(5, 5).alpha() - 90) <= 2
    assert [path.suffix for path in cached(tmp_path / "thumbnails")] == [".png"]


@on_loop
async def test_small_pictures_are_not_made_larger(pictures: PictureStore, tmp_path: Path) -> None:
    shown = await thumbnail(pictures, picture(tmp_path / "small.png", size=(40, 30)))
    assert (shown.width(), shown.height()) == (40, 30)


@on_loop
async def test_damaged_missing_and_foreign_files_give_no_picture(
    pictures: PictureStore, tmp_path: Path
) -> None:
    whole = picture(tmp_path / "whole.png", size=(400, 400)).read_bytes()
    files = {
        "empty.png": b"", "noise.png": b"\x89PNG\r\n\x1a\n" + bytes(200), "text.png": b"hello",
        "cut.jpg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
        "huge.png": whole[:16] + b"\x7f\xff\xff\xff" * 2 + whole[24:],
    }  # fmt: skip
    paths = [tmp_path / "gone.png", tmp_path]
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        paths.append(tmp_path / name)
    arrived: list[str] = []
    pictures.arrived.connect(arrived.append)
    for path in paths:
        pictures.thumbnail(str(path))
    await until(lambda: len(arrived) == len(paths))
    assert [pictures.thumbnail(str(path)) for path in paths] == [None] * len(paths)
    assert not pictures._asked
    assert cached(tmp_path / "thumbnails") == []


@on_loop
async def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    store = PictureStore(tmp_path / "cache")
    assert not (await thumbnail(store, picture(tmp_path / "x.png"))).isNull()
    store.close()
    store.deleteLater()


@on_loop
async def test_memory_is_bounded_and_what_was_used_last_stays(
    pictures: PictureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT_BYTES", 5 * 96 * 64 * 4)
    paths = [picture(tmp_path / f"{n}.png") for n in range(12)]
    for path in paths:
        await thumbnail(pictures, path)
        await thumbnail(pictures, paths[0])
    assert pictures._bytes <= 5 * 96 * 64 * 4
    assert list(pictures._kept) == [str(p) for p in (*paths[8:], paths[0])]


@on_loop
async def test_a_picture_larger_than_the_bound_is_kept_alone(
    pictures: PictureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT_BYTES", 10)
    for name in ("a", "b"):
        await thumbnail(pictures, picture(tmp_path / f"{name}.png"))
    assert len(pictures._kept) == 1


def encoded(size: int = 64, kind: str = "JPG") -> str:
    image = QImage(size, size, QImage.Format.Format_RGB32)
    image.fill(QColor("#884422"))
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    assert image.save(buffer, kind)
    return base64.b64encode(buffer.data().data()).decode()


@on_loop
async def test_live_previews_come_go_and_are_never_trusted(pictures: PictureStore) -> None:
    pictures.put_preview("job", encoded())
    preview = await until(lambda: pictures.preview("job"))
    assert preview.width() == 64
    for bad in (
        "",
        "not base64!",
        base64.b64encode(b"no picture").decode(),
        "A" * (module._LARGEST_PREVIEW + 1),
    ):
        pictures.put_preview("job", bad)
        pictures.put_preview("other", bad)
    pictures.put_preview("last", encoded(32, "PNG"))
    await until(lambda: pictures.preview("last"))
    await until(lambda: not pictures._asked)
    assert pictures.preview("other") is None
    assert pictures.preview("job") is not None
    pictures.drop_preview("job")
    assert pictures.preview("job") is None


@on_loop
async def test_a_preview_that_is_still_decoded_when_its_job_ends_is_not_kept(pictures: PictureStore) -> None:
    for _ in range(20):
        pictures.put_preview("job", encoded(512))
        pictures.drop_preview("job")
    await until(lambda: not pictures._asked)
    assert pictures.preview("job") is None


def test_closing_ends_the_thread_and_drops_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PictureStore(tmp_path / "cache")
    for number in range(100):
        store.thumbnail(str(tmp_path / f"{number}.png"))
    store.close()
    assert store._worker.isFinished()
    assert not store._worker._work
    assert store.thumbnail("after") is None
    store.deleteLater()


@on_loop
async def test_a_file_that_appears_later_is_shown(tmp_path: Path) -> None:
    store = PictureStore(tmp_path / "cache", try_again_s=0.0)
    path = tmp_path / "late.png"
    arrived: list[str] = []
    store.arrived.connect(arrived.append)
    assert store.thumbnail(str(path)) is None
    await until(lambda: arrived)
    picture(path)
    await until(lambda: store.thumbnail(str(path)) is not None)
    store.close()
    store.deleteLater()
