"""One file to the volume: whole if it is small, else in parts that survive the end of the program.

A part is on record once the server has answered for it, and the server's own list has the last word. So a
file goes on where it ended, and what is sent twice is at most what was under way. All methods block.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

from ..errors import ComfyRunPodError
from .body import Body, hashes_of, md5_of
from .bucket import Bucket, Stat
from .check import spot_check
from .errors import Busy, Damaged, FileChanged, Offline, PartTooLarge, UploadGone
from .flow import Crew, Flow, Slots
from .patience import USUAL, Patience, proxy_gave_up
from .records import FileMark, Hashes, Records, Upload

log = logging.getLogger(__name__)

MIB = 1 << 20
#: Up to so many bytes a file goes in one request; and the size of a part.
PART = 64 * MIB
#: Parts are not made smaller than this, in bytes, unless they began so.
LEAST_PART = 8 * MIB
#: How many parts a file has at most, as the API was seen to fail with many thousands.
MOST_PARTS = 1000
#: Up to so many bytes a body is held in memory, which saves a round trip.
_IN_HAND = MIB
#: RunPod's own helper waits for the joining of parts at least so long, and so long for each GB, in seconds.
_JOIN_S, _JOIN_S_PER_GB = 60.0, 5.0
_LOOKS, _TURNS = 8, 6
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that is on the volume now.

    Attributes:
        md5: of the whole file, where it was computed.
        part_size: of its parts; None when it went whole.
        proof: how it is known: ``etag`` (the server's checksum is ours), ``spot`` (pieces were read back) or
            ``size``.
    """

    size: int
    sha256: str
    etag: str
    md5: str | None
    part_size: int | None
    proof: str


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a file: its number from 1, where it begins and how many bytes it has."""

    number: int
    offset: int
    size: int


def slices(size: int, layout: Sequence[tuple[int, int]]) -> Iterator[Slice]:
    """The parts of a file of ``size`` bytes; see :attr:`Upload.layout`."""
    number, offset = 1, 0
    for count, length in layout:
        left = count
        while offset < size and (left > 0 or count == 0):
            taken = min(length, size - offset)
            yield Slice(number, offset, taken)
            number, offset, left = number + 1, offset + taken, left - 1


def joined_etag(digests: Sequence[bytes]) -> str:
    """The ETag of a file that went in parts with these MD5s, in the form that most servers give."""
    whole = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
    return f"{whole}-{len(digests)}"


class Sender:
    """Sends files to one volume.

    Args:
        crew: threads for parts; shared by files that go at the same time, as ``slots`` is.
        part: the size of a part, and of the largest file that goes whole, in bytes.
    """

    def __init__(
        self,
        bucket: Bucket,
        records: Records,
        crew: Crew,
        slots: Slots,
        *,
        patience: Patience = USUAL,
        part: int = PART,
        least_part: int = LEAST_PART,
    ) -> None:
        self._bucket, self._records = bucket, records
        self._crew, self._slots = crew, slots
        self._patience, self._part, self._least = patience, part, min(part, least_part)

    def send(self, key: str, path: Path, flow: Flow, there: Stat | None, *, confirm: bool = True) -> Sent:
        """Have a file on the volume. One that was begun goes on.

        Args:
            there: what the volume has under this key now; it is replaced.
            confirm: look whether it is there. Else the caller does, for many at once.

        Raises:
            FileChanged: when the file did not stay what it was.
            ComfyRunPodError: when it cannot be sent. What the volume has of it stays for the next time.
            Stopped: when asked to stop.
        """
        try:
            mark = FileMark.of(path)
        except OSError as error:
            raise FileChanged(f"{path.name} cannot be read: {error.strerror}.") from error
        known = self._records.hashes(path, mark)
        if mark.size <= self._part and self._records.upload(*self._place, key) is None:
            try:
                return self._whole(key, path, mark, known, flow, confirm=confirm)
            except PartTooLarge:
                if mark.size <= self._least:
                    raise
        try:
            return self._in_parts(key, path, mark, known, flow, there)
        except UploadGone:
            # Somebody ended it, or the server lost it: from the start, once.
            log.warning("The upload of %s is gone from the volume; it starts again.", path.name)
            self._forget(key)
            try:
                return self._in_parts(key, path, mark, known, flow, there)
            except UploadGone as error:
                self._forget(key)
                raise Damaged(
                    f"{path.name} was sent twice, and the volume has it not.",
                    hint="The volume may be out of order: look at it in RunPod's console.",
                ) from error

    def discard(self, key: str) -> None:
        """Drop what the volume has of a file that was begun. Only uploads on our own record are touched."""
        upload = self._records.upload(*self._place, key)
        if upload is not None:
            self._bucket.abort(key, upload.upload_id)
            self._records.end_upload(upload)

    @property
    def _place(self) -> tuple[str, str]:
        return self._bucket.access.url, self._bucket.name

    def _forget(self, key: str) -> None:
        upload = self._records.upload(*self._place, key)
        if upload is not None:
            self._records.end_upload(upload)

    def _whole(
        self, key: str, path: Path, mark: FileMark, known: Hashes | None, flow: Flow, *, confirm: bool
    ) -> Sent:
        sha256 = hashlib.sha256()
        with self._slots.one(flow.stop), _opened(path, mark) as file:
            digest = md5_of(file, 0, mark.size, flow.stop, *([] if known else [sha256]))
            body = Body(file, 0, mark.size, limit=flow.limit, stop=flow.stop, count=flow.count)

            def put() -> str:
                # In one piece it goes without asking first whether it may.
                held = body.read_all() if mark.size <= _IN_HAND else body
                return self._bucket.put(key, held, digest)

            etag = self._attempt(put, body, digest, flow, lambda: _is_as_it_was(path, mark))
        _is_as_it_was(path, mark)
        hashes = known or Hashes(sha256.hexdigest(), digest.hex())
        if confirm:
            stat = self._patience.attempt(lambda: self._bucket.head(key), flow.stop, flow.tell)
            if stat is None or stat.size != mark.size:
                raise Damaged(f"{path.name} was sent, and the volume does not have all of it.")
        self._records.note_hashes(path, mark, hashes)
        self._records.note_proof(self._bucket.name, key, etag, mark.size, hashes.sha256)
        proof = "etag" if etag == digest.hex() else "size"
        return Sent(mark.size, hashes.sha256, etag, digest.hex(), None, proof)

    def _attempt(
        self, call: Callable[[], str], body: Body, digest: bytes, flow: Flow, look: Callable[[], None]
    ) -> str:
        """Send a body until its ETag says that it arrived; the ETag.

        Args:
            look: raises FileChanged when it cannot arrive as it was.
        """
        slow = 0

        def once() -> str:
            nonlocal slow
            body.seek(0)
            try:
                etag = call()
                _is_what_was_sent(etag, digest)
            except Exception as error:
                body.take_back()
                if isinstance(error, Damaged):
                    look()
                if proxy_gave_up(error):
                    slow += 1
                    if slow > 1:
                        self._slots.narrow()
                        raise PartTooLarge("The volume is too slow for parts of this size.") from error
                raise
            return etag

        return self._patience.attempt(once, flow.stop, flow.tell)

    # In parts.

    def _in_parts(
        self, key: str, path: Path, mark: FileMark, known: Hashes | None, flow: Flow, there: Stat | None
    ) -> Sent:
        upload = self._records.upload(*self._place, key)
        if upload is not None and (upload.mark.size, upload.mark.mtime_ns) != (mark.size, mark.mtime_ns):
            # It is another file now; its parts would only take the volume's room.
            self._bucket.abort(key, upload.upload_id)
            self._records.end_upload(upload)
            upload = None
        if upload is None:
            upload = self._begin(key, path, mark, there, flow)
            have: dict[int, str] = {}
        else:
            try:
                have = self._kept(upload, path, mark, flow)
            except UploadGone:
                # It may be complete: the answer to that was lost.
                stat = self._bucket.head(key)
                if stat is None or stat.size != mark.size or stat.etag == upload.before:
                    raise
                return self._ended(upload, path, mark, known, flow, stat, None)
        hasher = _Hasher(known)
        while True:
            try:
                have = self._send_parts(upload, path, mark, have, hasher, flow)
                break
            except _TooLarge as error:
                upload, have = self._smaller(upload, mark, error.number, have)
        digests = [bytes.fromhex(have[each.number]) for each in slices(mark.size, upload.layout)]
        stat = self._complete(upload, mark, have, joined_etag(digests), flow)
        return self._ended(upload, path, mark, hasher.hashes(known), flow, stat, joined_etag(digests))

    def _begin(self, key: str, path: Path, mark: FileMark, there: Stat | None, flow: Flow) -> Upload:
        length = self._part
        while -(-mark.size // length) > MOST_PARTS:
            length *= 2
        upload_id = self._patience.attempt(lambda: self._bucket.begin(key), flow.stop, flow.tell)
        before = "" if there is None else there.etag
        return self._records.begin_upload(*self._place, key, upload_id, path, mark, length, before)

    def _kept(self, upload: Upload, path: Path, mark: FileMark, flow: Flow) -> dict[int, str]:
        """Which parts need not be sent again: number to MD5. Those count as sent.

        A part may be there without being on record, when the program ended in between: the file itself tells.
        """
        listed = self._patience.attempt(
            lambda: self._bucket.parts(upload.key, upload.upload_id), flow.stop, flow.tell
        )
        on_server = {part.number: part for part in listed}
        have: dict[int, str] = {}
        with _opened(path, mark) as file:
            for each in slices(mark.size, upload.layout):
                part = on_server.get(each.number)
                if part is None or part.size != each.size:
                    continue
                on_record = upload.parts.get(each.number)
                if on_record is None:
                    on_record = md5_of(file, each.offset, each.size, flow.stop).hex()
                if part.etag == on_record or not _MD5.fullmatch(part.etag):
                    have[each.number] = on_record
                    flow.had(each.size)
        return have

    def _send_parts(
        self, upload: Upload, path: Path, mark: FileMark, have: Mapping[int, str], hasher: _Hasher, flow: Flow
    ) -> dict[int, str]:
        """Send what is missing; number to MD5 of all parts.

        Raises:
            _TooLarge: when parts must be smaller from some number on. Those that went are on record.
        """
        done = dict(have)
        under_way: list[Future[None]] = []
        failure: BaseException | None = None
        try:
            with _opened(path, mark) as file:
                for each in slices(mark.size, upload.layout):
                    flow.go()
                    digest = hasher.part(file, each, flow, needs_md5=each.number not in have)
                    if digest is None:
                        continue
                    self._slots.take(flow.stop)
                    failure = _failure(under_way, 0)
                    if failure is not None:
                        self._slots.give_back()
                        break
                    done[each.number] = digest.hex()
                    work = partial(self._send_part, upload, path, mark, each, digest, flow)
                    under_way.append(self._crew.start(work))
        finally:
            # Asked to stop, nobody waits for them: each that arrives is on record all the same.
            while under_way and not flow.stop.is_set():
                failure = _failure(under_way, 0.1) or failure
        if failure is not None:
            raise failure
        flow.go()
        return done

    def _send_part(
        self, upload: Upload, path: Path, mark: FileMark, part: Slice, digest: bytes, flow: Flow
    ) -> None:
        """Send one part, in a thread of the crew. Gives its slot back."""
        try:
            with _opened(path, mark) as file:
                body = Body(file, part.offset, part.size, limit=flow.limit, stop=flow.stop, count=flow.count)

                def put() -> str:
                    return self._bucket.part(upload.key, upload.upload_id, part.number, body, digest)

                self._attempt(put, body, digest, flow, lambda: _is_as_it_was(path, mark))
            _is_as_it_was(path, mark)
            self._records.note_part(upload, part.number, part.size, digest.hex())
        except PartTooLarge as error:
            raise _TooLarge(part.number, str(error)) from error
        finally:
            self._slots.give_back()

    def _smaller(
        self, upload: Upload, mark: FileMark, number: int, have: Mapping[int, str]
    ) -> tuple[Upload, dict[int, str]]:
        """Halve the parts from a number on; what was sent of them goes again."""
        length = next(each.size for each in slices(mark.size, upload.layout) if each.number == number)
        full = next(size for count, size in reversed(upload.layout) if count == 0)
        smaller = max(self._least, min(length, full) // 2)
        if smaller >= full:
            raise PartTooLarge(
                f"The volume does not take parts of {full // MIB} MB, and smaller ones are not made.",
                hint="Try again later, or use the transfer by runpodctl.",
            )
        runs: list[tuple[int, int]] = []
        left = number - 1
        for count, size in upload.layout:
            taken = left if count == 0 else min(count, left)
            if taken:
                runs.append((taken, size))
            left -= taken
        layout = (*runs, (0, smaller))
        self._records.lay_out(upload, layout, number)
        again = self._records.upload(*self._place, upload.key)
        if again is None:
            raise UploadGone("The record of the upload is gone.")
        kept = {each: md5 for each, md5 in {**have, **again.parts}.items() if each < number}
        return again, kept

    # The end.

    def _complete(
        self, upload: Upload, mark: FileMark, have: Mapping[int, str], expected: str, flow: Flow
    ) -> Stat:
        """Have the parts joined, and see it. The server may go on with that after its answer was lost."""
        parts = [(each.number, have[each.number]) for each in slices(mark.size, upload.layout)]
        limit_s = max(_JOIN_S, _JOIN_S_PER_GB * mark.size / 1e9)
        for turn in range(1, _TURNS + 1):
            answered = False
            trouble: ComfyRunPodError | None = None
            try:
                self._bucket.complete(upload.key, upload.upload_id, parts, limit_s)
                answered = True
            except (Busy, Offline, UploadGone) as error:
                trouble = error
            stat = self._seen(upload, mark, expected, flow, trouble, answered=answered)
            if stat is not None:
                return stat
            if answered or isinstance(trouble, UploadGone):
                raise UploadGone("The volume says that the file is there, and has it not.")
            limit_s *= 2
            self._patience.wait(turn, str(trouble), flow.stop, flow.tell)
        raise trouble or UploadGone("The parts of the file were not joined.")

    def _seen(
        self,
        upload: Upload,
        mark: FileMark,
        expected: str,
        flow: Flow,
        trouble: ComfyRunPodError | None,
        *,
        answered: bool,
    ) -> Stat | None:
        """Look for the whole file, again and again for a while."""
        for look in range(1, _LOOKS + 1):
            stat = self._patience.attempt(lambda: self._bucket.head(upload.key), flow.stop, flow.tell)
            if stat is not None and stat.size == mark.size:
                is_new = stat.etag == expected or stat.etag != upload.before
                if is_new or answered or self._same_content(upload, mark, stat, flow):
                    return stat
            if look < _LOOKS:
                self._patience.wait(look, str(trouble or "Looking for the file"), flow.stop, flow.tell)
        return None

    def _same_content(self, upload: Upload, mark: FileMark, stat: Stat, flow: Flow) -> bool:
        """Whether what was there before is the same file: then nobody can tell, and nobody needs to."""
        if not _MD5.fullmatch(stat.etag):
            return False
        return self._hashed(Path(upload.path), mark, flow).md5 == stat.etag

    def _hashed(self, path: Path, mark: FileMark, flow: Flow) -> Hashes:
        known = self._records.hashes(path, mark)
        if known is None or not known.md5:
            try:
                known = Hashes(*hashes_of(path, flow.stop))
            except OSError as error:
                raise FileChanged(f"{path.name} cannot be read: {error.strerror}.") from error
            _is_as_it_was(path, mark)
            self._records.note_hashes(path, mark, known)
        return known

    def _ended(
        self,
        upload: Upload,
        path: Path,
        mark: FileMark,
        known: Hashes | None,
        flow: Flow,
        stat: Stat,
        expected: str | None,
    ) -> Sent:
        proof, md5 = "size", known.md5 if known else ""
        if stat.etag == expected:
            proof = "etag"
        elif _MD5.fullmatch(stat.etag):
            # The plain form: the MD5 of the whole, which takes one more read.
            known = self._hashed(path, mark, flow)
            md5 = known.md5
            proof = "etag" if md5 == stat.etag else "size"
        elif expected is not None and stat.etag.endswith(f"-{expected.rpartition('-')[2]}"):
            self._records.end_upload(upload)
            raise Damaged(f"{path.name} was sent, and what the volume made of it is another file.")
        if proof == "size":
            proof = "spot" if spot_check(self._bucket, upload.key, path, mark.size, flow) else ""
            if not proof:
                self._records.end_upload(upload)
                raise Damaged(f"{path.name} was sent, and what the volume has of it is another file.")
        if known is None:
            known = self._hashed(path, mark, flow)
        _is_as_it_was(path, mark)
        self._records.note_hashes(path, mark, Hashes(known.sha256, md5))
        self._records.note_proof(self._bucket.name, upload.key, stat.etag, mark.size, known.sha256)
        self._records.end_upload(upload)
        return Sent(mark.size, known.sha256, stat.etag, md5 or None, upload.layout[0][1], proof)


class _TooLarge(Exception):
    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


class _Hasher:
    """MD5 of each part and SHA-256 of the whole in one pass over the file, in order."""

    def __init__(self, known: Hashes | None) -> None:
        self._sha256 = None if known else hashlib.sha256()
        self._at = 0

    def part(self, file: FileIO, part: Slice, flow: Flow, *, needs_md5: bool) -> bytes | None:
        """The MD5 digest of a part; None when it is not wanted."""
        fresh = self._sha256 is not None and part.offset + part.size > self._at
        if not needs_md5 and not fresh:
            return None
        if fresh and part.offset != self._at:
            # Parts were made smaller: some of this one was read already.
            assert self._sha256 is not None
            rest = part.offset + part.size - self._at
            md5_of(file, self._at, rest, flow.stop, self._sha256)
            self._at += rest
            fresh = False
        also = [self._sha256] if fresh and self._sha256 is not None else []
        digest = md5_of(file, part.offset, part.size, flow.stop, *also)
        if also:
            self._at = part.offset + part.size
        return digest if needs_md5 else None

    def hashes(self, known: Hashes | None) -> Hashes | None:
        """Of the whole file; the MD5 is empty where nobody computed it."""
        return known if self._sha256 is None else Hashes(self._sha256.hexdigest(), "")


def _is_what_was_sent(etag: str, digest: bytes) -> None:
    """An ETag of another form than an MD5 does not tell."""
    if _MD5.fullmatch(etag) and etag != digest.hex():
        raise Damaged("The volume got something else than what was sent.")


def _failure(under_way: list[Future[None]], timeout: float) -> BaseException | None:
    """The gravest failure of those that end so soon; they are no longer under way."""
    ended = wait(under_way, timeout=timeout).done
    under_way[:] = [each for each in under_way if each not in ended]
    found = [error for each in ended if (error := each.exception()) is not None]
    too_large = [error for error in found if isinstance(error, _TooLarge)]
    others = [error for error in found if not isinstance(error, _TooLarge)]
    return others[0] if others else min(too_large, key=lambda error: error.number, default=None)


@contextmanager
def _opened(path: Path, mark: FileMark) -> Iterator[FileIO]:
    """A handle of one's own, of the file as it was when it was looked at."""
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise FileChanged(f"{path.name} cannot be read: {error.strerror}.") from error
    with file:
        _is_as_it_was(path, mark)
        yield file


def _is_as_it_was(path: Path, mark: FileMark) -> None:
    try:
        now = FileMark.of(path)
    except OSError as error:
        raise FileChanged(f"{path.name} went away while it was sent.") from error
    if (now.size, now.mtime_ns) != (mark.size, mark.mtime_ns):
        raise FileChanged(
            f"{path.name} changed while it was sent.", hint="It is sent again once nobody writes to it."
        )
