"""What can go wrong with a volume's S3 API, as far as anybody does something about it."""

from __future__ import annotations

from ..errors import ComfyRunPodError, Unreachable


class NotThere(ComfyRunPodError):
    """The volume has no such file."""

    code = "not_there"


class AccessRefused(ComfyRunPodError):
    """The key, the volume's id or the clock is wrong; waiting does not help."""

    code = "refused"


class VolumeFull(ComfyRunPodError):
    """The volume has no room (status 507)."""

    code = "volume_full"


class PartTooLarge(ComfyRunPodError):
    """A part, or a whole file, is larger than the server takes in one request (413)."""

    code = "too_large"


class UploadGone(ComfyRunPodError):
    """The server knows no such upload: it was completed, or somebody ended it."""

    code = "upload_gone"


class Damaged(ComfyRunPodError):
    """What arrived is not what was sent, or what was sent is not what is there."""

    code = "damaged"


class FileChanged(ComfyRunPodError):
    """A file of this computer changed, or went away, while it was sent."""

    code = "file_changed"


class Offline(Unreachable):
    """No connection, or one that broke. It comes back by itself."""


class Busy(Unreachable):
    """The server answered, but not now (5xx, SlowDown); ``status`` is its HTTP status."""

    def __init__(self, summary: str, *, status: int, hint: str = "") -> None:
        super().__init__(summary, hint=hint, status=status)
        self.status = status
