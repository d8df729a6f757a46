"""The parts of one file: which the volume has, and sending the others, several at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import Future, wait
from functools import partial
from io import FileIO

from .body import md5_of
from .bucket import Bucket
from .errors import PartTooLarge, UploadGone
from .flow import Crew, Flow, Slots
from .layout import MIB, Slice, slices, smaller
from .outgoing import Outgoing, is_md5
from .patience import Patience
from .records import Hashes, Records, Upload


class Parts:
    """Sends the parts of files.

    Args:
        least: they are not made smaller, in bytes.
    """

    def __init__(
        self, bucket: Bucket, records: Records, crew: Crew, slots: Slots, patience: Patience, least: int
    ) -> None:
        self._bucket, self._records = bucket, records
        self._crew, self._slots = crew, slots
        self._patience, self._least = patience, least

    def kept(self, upload: Upload, file: Outgoing) -> dict[int, str]:
        """Which parts need not be sent again: number to MD5. Those count as sent.

        A part may be there without being on record, when the program ended in between: the file itself tells.

        Raises:
            UploadGone: when the volume knows no such upload.
        """
        flow = file.flow
        listed = self._patience.attempt(
            lambda: self._bucket.parts(upload.key, upload.upload_id), flow.stop, flow.tell
        )
        on_server = {part.number: part for part in listed}
        have: dict[int, str] = {}
        with file.opened() as handle:
            for each in slices(file.size, upload.layout):
                part = on_server.get(each.number)
                if part is None or part.size != each.size:
                    continue
                on_record = upload.parts.get(each.number)
                if on_record is None:
                    on_record = md5_of(handle, each.offset, each.size, flow.stop).hex()
                if part.etag == on_record or not is_md5(part.etag):
                    have[each.number] = on_record
                    flow.had(each.size)
        return have

    def send(
        self, upload: Upload, file: Outgoing, have: Mapping[int, str], known: Hashes | None
    ) -> tuple[Upload, dict[int, str], Hashes | None]:
        """Send what is missing: the upload as it is then, number to MD5 of all parts, and the file's hashes.

        Args:
            have: number to MD5 of those that are there.
            known: the file's hashes; without them its SHA-256 is computed on the way.

        Raises:
            ComfyRunPodError: when a part does not get there. Those that did are on record.
            Stopped: when asked to stop.
        """
        hasher = _Hasher(known)
        while True:
            try:
                return upload, self._send(upload, file, have, hasher), hasher.hashes(known)
            except _TooLarge as error:
                upload, have = self._smaller(upload, error.number, have)

    def _send(
        self, upload: Upload, file: Outgoing, have: Mapping[int, str], hasher: _Hasher
    ) -> dict[int, str]:
        done, flow = dict(have), file.flow
        under_way: list[Future[None]] = []
        failure: BaseException | None = None
        try:
            with file.opened() as handle:
                for each in slices(file.size, upload.layout):
                    flow.go()
                    digest = hasher.part(handle, each, flow, needs_md5=each.number not in have)
                    if digest is None:
                        continue
                    self._take_slot(flow)
                    failure = _failure(under_way, 0)
                    if failure is not None:
                        self._slots.give_back()
                        break
                    done[each.number] = digest.hex()
                    under_way.append(self._crew.start(partial(self._send_one, upload, file, each, digest)))
        finally:
            # Asked to stop, nobody waits for them: each that arrives is on record all the same.
            while under_way and not flow.stop.is_set():
                failure = _failure(under_way, 0.1) or failure
        if failure is not None:
            raise failure
        flow.go()
        return done

    def _take_slot(self, flow: Flow) -> None:
        """Raises Stopped. While there is rest no slot is held: nothing new begins."""
        while True:
            flow.go()
            self._slots.take(flow.stop)
            if not flow.rest.is_set():
                return
            self._slots.give_back()

    def _send_one(self, upload: Upload, file: Outgoing, part: Slice, digest: bytes) -> None:
        """In a thread of the crew; gives its slot back."""
        try:
            with file.opened() as handle:
                body = file.body(handle, part.offset, part.size)

                def send() -> str:
                    return self._bucket.part(upload.key, upload.upload_id, part.number, body, digest)

                file.arrive(send, body, digest, self._slots, self._patience)
            file.look()
            self._records.note_part(upload, part.number, part.size, digest.hex())
        except PartTooLarge as error:
            raise _TooLarge(part.number, str(error)) from error
        finally:
            self._slots.give_back()

    def _smaller(self, upload: Upload, number: int, have: Mapping[int, str]) -> tuple[Upload, dict[int, str]]:
        """Halve the parts from a number on; what was sent of them goes again."""
        layout = smaller(upload.layout, number, self._least)
        if layout is None:
            size = upload.layout[-1][1]
            raise PartTooLarge(
                f"The volume does not take parts of {size / MIB:.3g} MiB, and smaller ones are not made.",
                hint="Try again later, or use the transfer by runpodctl.",
            )
        self._records.lay_out(upload, layout, number)
        access = self._bucket.access
        again = self._records.upload(access.url, access.volume_id, upload.key)
        if again is None:
            raise UploadGone("The record of the upload is gone.")
        return again, {each: md5 for each, md5 in {**have, **again.parts}.items() if each < number}


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
        end = part.offset + part.size
        unread = self._sha256 is not None and end > self._at
        if self._sha256 is not None and unread and (part.offset != self._at or not needs_md5):
            # Parts were made smaller, and some of this one was read already; or it is there.
            md5_of(file, self._at, end - self._at, flow.stop, self._sha256)
            self._at, unread = end, False
        if not needs_md5:
            return None
        if self._sha256 is None or not unread:
            return md5_of(file, part.offset, part.size, flow.stop)
        self._at = end
        return md5_of(file, part.offset, part.size, flow.stop, self._sha256)

    def hashes(self, known: Hashes | None) -> Hashes | None:
        """Of the whole file; the MD5 is empty where nobody computed it."""
        return known if self._sha256 is None else Hashes(self._sha256.hexdigest(), "")


def _failure(under_way: list[Future[None]], timeout: float) -> BaseException | None:
    """The gravest failure of those that end so soon; they are no longer under way."""
    ended = wait(under_way, timeout=timeout).done
    under_way[:] = [each for each in under_way if each not in ended]
    found = [error for each in ended if (error := each.exception()) is not None]
    too_large = [error for error in found if isinstance(error, _TooLarge)]
    others = [error for error in found if not isinstance(error, _TooLarge)]
    return others[0] if others else min(too_large, key=lambda error: error.number, default=None)
