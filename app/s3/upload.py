"""One file to the volume: whole if it is small, else in parts that survive the end of the program.

A part is on record once the server has answered for it, and the server's own list has the last word. So a
file goes on where it ended, and what is sent twice is at most what was under way. All methods block.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from .body import md5_of
from .bucket import Bucket, Stat
from .check import spot_check
from .errors import Damaged, PartTooLarge, UploadGone
from .flow import Crew, Flow, Slots
from .joining import Joining
from .layout import LEAST_PART, PART, joined_etag, part_size, slices
from .outgoing import Outgoing, is_md5
from .parts import Parts
from .patience import USUAL, Patience
from .records import Hashes, Records, Upload

log = logging.getLogger(__name__)

#: Up to so many bytes a body is held in memory, which saves a round trip.
_IN_HAND = 1 << 20


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
        self._bucket, self._records, self._slots = bucket, records, slots
        self._patience, self._part, self._least = patience, part, min(part, least_part)
        self._parts = Parts(bucket, records, crew, slots, patience, self._least)
        self._joining = Joining(bucket, records, patience)

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
        file = Outgoing.of(key, path, flow)
        known = self._records.hashes(path, file.mark)
        if file.size <= self._part and self._begun(key) is None:
            try:
                return self._whole(file, known, confirm=confirm)
            except PartTooLarge:
                if file.size <= self._least:
                    raise
        try:
            return self._in_parts(file, known, there)
        except UploadGone:
            # Somebody ended it, or the server lost it: from the start, once.
            log.warning("The upload of %s is gone from the volume; it starts again.", path.name)
            self._forget(key)
        try:
            return self._in_parts(file, known, there)
        except UploadGone as error:
            self._forget(key)
            raise Damaged(
                f"{path.name} was sent twice, and the volume has it not.",
                hint="The volume may be out of order: look at it in RunPod's console.",
            ) from error

    def discard(self, key: str) -> None:
        """Drop what the volume has of a file that was begun. Only uploads on our own record are touched."""
        upload = self._begun(key)
        if upload is not None:
            self._bucket.abort(key, upload.upload_id)
            self._records.end_upload(upload)

    def _begun(self, key: str) -> Upload | None:
        return self._records.upload(self._bucket.access.url, self._bucket.name, key)

    def _forget(self, key: str) -> None:
        upload = self._begun(key)
        if upload is not None:
            self._records.end_upload(upload)

    def _whole(self, file: Outgoing, known: Hashes | None, *, confirm: bool) -> Sent:
        sha256, flow, path = hashlib.sha256(), file.flow, file.path
        with self._slots.one(flow.stop), file.opened() as handle:
            digest = md5_of(handle, 0, file.size, flow.stop, *([] if known else [sha256]))
            body = file.body(handle, 0, file.size)

            def send() -> str:
                # In one piece it goes without asking first whether it may.
                held = body.read_all() if file.size <= _IN_HAND else body
                return self._bucket.put(file.key, held, digest)

            etag = file.arrive(send, body, digest, self._slots, self._patience)
        file.look()
        hashes = known or Hashes(sha256.hexdigest(), digest.hex())
        if confirm:
            stat = self._patience.attempt(lambda: self._bucket.head(file.key), flow.stop, flow.tell)
            if stat is None or stat.size != file.size:
                raise Damaged(f"{path.name} was sent, and the volume does not have all of it.")
        self._records.note_hashes(path, file.mark, hashes)
        self._records.note_proof(self._bucket.name, file.key, etag, file.size, hashes.sha256)
        proof = "etag" if etag == digest.hex() else "size"
        return Sent(file.size, hashes.sha256, etag, digest.hex(), None, proof)

    def _in_parts(self, file: Outgoing, known: Hashes | None, there: Stat | None) -> Sent:
        upload = self._begun(file.key)
        if upload is not None and (upload.mark.size, upload.mark.mtime_ns) != (file.size, file.mark.mtime_ns):
            # It is another file now; its parts would only take the volume's room.
            self.discard(file.key)
            upload = None
        have: dict[int, str] = {}
        if upload is None:
            upload = self._begin(file, there)
        else:
            try:
                have = self._parts.kept(upload, file)
            except UploadGone:
                # It may be complete: the answer to that was lost.
                stat = self._bucket.head(file.key)
                if stat is None or stat.size != file.size or stat.etag == upload.before:
                    raise
                return self._ended(upload, file, known, stat, None)
        upload, have, hashes = self._parts.send(upload, file, have, known)
        digests = [bytes.fromhex(have[each.number]) for each in slices(file.size, upload.layout)]
        expected = joined_etag(digests)
        stat = self._joining.complete(upload, file, have, expected)
        return self._ended(upload, file, hashes, stat, expected)

    def _begin(self, file: Outgoing, there: Stat | None) -> Upload:
        flow, access = file.flow, self._bucket.access
        upload_id = self._patience.attempt(lambda: self._bucket.begin(file.key), flow.stop, flow.tell)
        return self._records.begin_upload(
            access.url, access.volume_id, file.key, upload_id, file.path, file.mark,
            part_size(file.size, self._part), "" if there is None else there.etag,
        )  # fmt: skip

    def _ended(
        self, upload: Upload, file: Outgoing, known: Hashes | None, stat: Stat, expected: str | None
    ) -> Sent:
        """Prove what the volume has, and write it down.

        Args:
            expected: its ETag in the usual form; None when the parts are not known any more.
        """
        proof = "etag" if stat.etag == expected else ""
        if not proof and is_md5(stat.etag):
            # The plain form: the MD5 of the whole, which takes one more read.
            known = self._joining.hashed(file)
            proof = "etag" if known.md5 == stat.etag else ""
        usual = expected is not None and stat.etag.endswith(f"-{expected.rpartition('-')[2]}")
        if not proof and not usual and spot_check(self._bucket, file.key, file.path, file.size, file.flow):
            proof = "spot"
        if not proof:
            self._records.end_upload(upload)
            raise Damaged(f"{file.path.name} was sent, and what the volume has of it is another file.")
        known = known or self._joining.hashed(file)
        file.look()
        self._records.note_hashes(file.path, file.mark, known)
        self._records.note_proof(self._bucket.name, upload.key, stat.etag, file.size, known.sha256)
        self._records.end_upload(upload)
        return Sent(file.size, known.sha256, stat.etag, known.md5 or None, upload.layout[0][1], proof)
