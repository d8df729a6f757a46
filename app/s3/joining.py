"""Having the parts of a file joined, and seeing it: the server may go on after its answer was lost."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ComfyRunPodError
from .body import hashes_of
from .bucket import Bucket, Stat
from .errors import Busy, FileChanged, Offline, UploadGone
from .layout import slices
from .outgoing import Outgoing, is_md5
from .patience import Patience
from .records import Hashes, Records, Upload

#: RunPod's own helper waits for the joining of parts at least so long, and so long for each GB, in seconds.
_JOIN_S, _JOIN_S_PER_GB = 60.0, 5.0
_LOOKS, _TURNS = 8, 6


class Joining:
    """Completes uploads."""

    def __init__(self, bucket: Bucket, records: Records, patience: Patience) -> None:
        self._bucket, self._records, self._patience = bucket, records, patience

    def complete(self, upload: Upload, file: Outgoing, have: Mapping[int, str], expected: str) -> Stat:
        """The whole file, as the volume has it.

        Args:
            have: number to MD5 of all parts.
            expected: its ETag, if the server gives the form that most do.

        Raises:
            UploadGone: when neither the upload nor the file is there.
            ComfyRunPodError: when the server does not get it done.
        """
        flow = file.flow
        parts = [(each.number, have[each.number]) for each in slices(file.size, upload.layout)]
        limit_s = max(_JOIN_S, _JOIN_S_PER_GB * file.size / 1e9)
        trouble: ComfyRunPodError = UploadGone("The parts of the file were not joined.")
        for turn in range(1, _TURNS + 1):
            answered, trouble = self._asked(upload, parts, limit_s)
            stat = self._seen(upload, file, expected, trouble, answered=answered)
            if stat is not None:
                return stat
            if isinstance(trouble, UploadGone):
                raise trouble
            limit_s *= 2
            self._patience.wait(turn, str(trouble), flow.stop, flow.tell)
        raise trouble

    def hashed(self, file: Outgoing) -> Hashes:
        """The hashes of the file here, from one more read if they are not known. Raises FileChanged."""
        known = self._records.hashes(file.path, file.mark)
        if known is None or not known.md5:
            try:
                known = Hashes(*hashes_of(file.path, file.flow.stop))
            except OSError as error:
                raise FileChanged(f"{file.path.name} cannot be read: {error.strerror}.") from error
            file.look()
            self._records.note_hashes(file.path, file.mark, known)
        return known

    def _asked(
        self, upload: Upload, parts: list[tuple[int, str]], limit_s: float
    ) -> tuple[bool, ComfyRunPodError]:
        """Whether the server said that it is done, and what to say if it is not."""
        try:
            self._bucket.complete(upload.key, upload.upload_id, parts, limit_s)
        except (Busy, Offline, UploadGone) as error:
            return False, error
        return True, UploadGone("The volume says that the file is there, and has it not.")

    def _seen(
        self, upload: Upload, file: Outgoing, expected: str, trouble: ComfyRunPodError, *, answered: bool
    ) -> Stat | None:
        """Look for the whole file, again and again for a while."""
        flow = file.flow
        for look in range(1, _LOOKS + 1):
            stat = self._patience.attempt(lambda: self._bucket.head(upload.key), flow.stop, flow.tell)
            if stat is not None and stat.size == file.size:
                is_new = stat.etag == expected or stat.etag != upload.before
                if is_new or answered or self._is_same(file, stat):
                    return stat
            if look < _LOOKS:
                self._patience.wait(look, str(trouble), flow.stop, flow.tell)
        return None

    def _is_same(self, file: Outgoing, stat: Stat) -> bool:
        """Whether what was there before is the same file: then nobody can tell, and nobody needs to."""
        return is_md5(stat.etag) and self.hashed(file).md5 == stat.etag
