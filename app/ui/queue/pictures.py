"""Thumbnails and live previews, decoded off the GUI thread and kept on disk and in memory."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QObject, QSize, Qt, QThread, Signal
from PySide6.QtGui import QImage, QImageReader, QPixmap

log = logging.getLogger(__name__)

_SIDE = 256
_KEPT_BYTES = 96 * 1024 * 1024
_WAITING = 120
_LARGEST_PREVIEW = 256 * 1024
_QUALITY = 85
#: Seconds until a picture that could not be read is tried again.
_TRY_AGAIN_S = 2.0
_LARGE_SIDE, _FULL_SIDE = 2048, 16384
#: What kind of picture a key is for; a bare path is a thumbnail's.
_PREVIEW, _LARGE, _FULL = "preview:", "large:", "full:"


class _Worker(QThread):
    """Does the newest piece of work first; what nobody waits for any more falls out at the other end.

    Signals:
        done: key and picture, on the GUI thread.
    """

    done = Signal(str, QImage)

    def __init__(self) -> None:
        super().__init__()
        self._work: OrderedDict[str, Callable[[], QImage]] = OrderedDict()
        self._there_is = threading.Condition()
        self._ended = False

    def ask(self, key: str, work: Callable[[], QImage]) -> list[str]:
        """Have it done soon; the keys that were dropped for it."""
        dropped = []
        with self._there_is:
            self._work[key] = work
            self._work.move_to_end(key)
            while len(self._work) > _WAITING:
                dropped.append(self._work.popitem(last=False)[0])
            self._there_is.notify()
        return dropped

    def end(self) -> None:
        with self._there_is:
            self._ended = True
            self._work.clear()
            self._there_is.notify()
        self.wait()

    def run(self) -> None:
        while True:
            with self._there_is:
                while not self._work and not self._ended:
                    self._there_is.wait()
                if self._ended:
                    return
                key, work = self._work.popitem()
            self.done.emit(key, work())


class PictureStore(QObject):
    """Gives pictures that are there and gets those that are not.

    Args:
        cache_dir: where thumbnails are kept.
        try_again_s: seconds until a picture that could not be read is tried again.

    Signals:
        arrived: the path or job id whose picture is there now.
        full: path and picture; a null one when it cannot be read.
    """

    arrived = Signal(str)
    full = Signal(str, QImage)

    def __init__(
        self, cache_dir: Path, parent: QObject | None = None, *, try_again_s: float = _TRY_AGAIN_S
    ) -> None:
        super().__init__(parent)
        self._cache_dir, self._try_again_s = cache_dir, try_again_s
        self._failed_at: dict[str, float] = {}
        self._kept: OrderedDict[str, QPixmap] = OrderedDict()
        self._bytes = 0
        self._asked: set[str] = set()
        self._previews: dict[str, QPixmap] = {}
        self._running: set[str] = set()
        self._worker = _Worker()
        self._worker.done.connect(self._take_in, Qt.ConnectionType.QueuedConnection)
        self._worker.start(QThread.Priority.LowPriority)

    def close(self) -> None:
        """End the thread."""
        self._worker.end()

    def thumbnail(self, path: str) -> QPixmap | None:
        """A result, at most 256 pixels wide and high; None while it is not there, or cannot be made."""
        return self._kept_or_asked(path, lambda: _thumbnail(Path(path), self._cache_dir))

    def picture(self, path: str) -> QPixmap | None:
        """A result for looking at, at most 2048 pixels wide and high; told of as ``large:<path>``."""
        return self._kept_or_asked(f"{_LARGE}{path}", lambda: _read(QImageReader(path), _LARGE_SIDE))

    def ask_full(self, path: str) -> None:
        """Have a result in its full size told of with ``full``; it is not kept."""
        self._ask(f"{_FULL}{path}", lambda: _read(QImageReader(path), _FULL_SIDE))

    def preview(self, job_id: str) -> QPixmap | None:
        """The newest live preview of a running job."""
        return self._previews.get(job_id)

    def put_preview(self, job_id: str, picture: str) -> None:
        """Take in a preview from a job's progress: JPEG or PNG in base64."""
        self._running.add(job_id)
        if len(picture) <= _LARGEST_PREVIEW:
            self._ask(f"{_PREVIEW}{job_id}", lambda: _preview(picture))

    def drop_preview(self, job_id: str) -> None:
        """Its job has ended; a preview that is still decoded is not kept either."""
        self._running.discard(job_id)
        self._previews.pop(job_id, None)

    def _kept_or_asked(self, key: str, work: Callable[[], QImage]) -> QPixmap | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
            return found
        # A file that could not be read may be there by now; not at each painting is it looked for.
        if time.monotonic() - self._failed_at.get(key, float("-inf")) >= self._try_again_s:
            self._ask(key, work)
        return None

    def _ask(self, key: str, work: Callable[[], QImage]) -> None:
        is_preview = key.startswith(_PREVIEW)
        if key not in self._asked or is_preview:
            self._asked.add(key)
            self._asked.difference_update(self._worker.ask(key, work))

    def _take_in(self, key: str, image: QImage) -> None:
        self._asked.discard(key)
        if key.startswith(_PREVIEW):
            job_id = key.removeprefix(_PREVIEW)
            if not image.isNull() and job_id in self._running:
                self._previews[job_id] = QPixmap.fromImage(image)
                self.arrived.emit(job_id)
            return
        if key.startswith(_FULL):
            self.full.emit(key.removeprefix(_FULL), image)
            return
        if image.isNull():
            self._failed_at[key] = time.monotonic()
            self.arrived.emit(key)
            return
        self._failed_at.pop(key, None)
        pixmap = QPixmap.fromImage(image)
        self._kept[key] = pixmap
        self._bytes += _size(pixmap)
        while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= _size(self._kept.popitem(last=False)[1])
        self.arrived.emit(key)


def _size(pixmap: QPixmap) -> int:
    return pixmap.width() * pixmap.height() * 4


def _preview(picture: str) -> QImage:
    try:
        data = base64.b64decode(picture, validate=True)
    except (binascii.Error, ValueError):
        return QImage()
    buffer = QBuffer()
    buffer.setData(QByteArray(data))
    buffer.open(QIODevice.OpenModeFlag.ReadOnly)
    return _read(QImageReader(buffer), 1024)


def _thumbnail(path: Path, cache_dir: Path) -> QImage:
    """From the cache, else made and kept there. Blocks. A null image when the file cannot be read."""
    try:
        stat = path.stat()
    except OSError:
        return QImage()
    key = hashlib.sha256(os.fsencode(f"{path}|{stat.st_mtime_ns}|{stat.st_size}")).hexdigest()
    for suffix in (".jpg", ".png"):
        kept = QImage(str(cache_dir / key[:2] / f"{key}{suffix}"))
        if not kept.isNull():
            return kept
    image = _read(QImageReader(str(path)), _SIDE)
    if not image.isNull():
        _keep(image, cache_dir / key[:2] / key)
    return image


def _read(reader: QImageReader, side: int) -> QImage:
    reader.setAutoTransform(True)
    size = reader.size()
    if size.isValid() and (size.width() > side or size.height() > side):
        reader.setScaledSize(size.scaled(QSize(side, side), Qt.AspectRatioMode.KeepAspectRatio))
    image = reader.read()
    # In the format that is drawn, so that the GUI thread has nothing to convert.
    alpha, plain = QImage.Format.Format_ARGB32_Premultiplied, QImage.Format.Format_RGB32
    return image if image.isNull() else image.convertToFormat(alpha if image.hasAlphaChannel() else plain)


def _keep(image: QImage, stem: Path) -> None:
    suffix, quality = (".png", -1) if image.hasAlphaChannel() else (".jpg", _QUALITY)
    path = stem.with_name(f"{stem.name}{suffix}")
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if image.save(str(aside), quality=quality):
            aside.replace(path)
    except OSError as error:
        log.info("The thumbnail of a result cannot be kept: %s", error)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
