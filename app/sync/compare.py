"""How the two sides stand to each other: by size and hash, never by time (the volume's is the upload's)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from worker.contract import safe_name

from ..s3.bucket import Bucket, Stat
from ..s3.check import same_etag, spot_check
from ..s3.flow import Flow
from ..s3.records import FileMark, Hashes, Upload
from ..s3.survey import Survey
from .known import Truncated, read_header
from .manifest import Manifest
from .model import Entry, LocalFile, Standing
from .scan import Rules, Scan, twins

#: Parts of names that are none, and signs that some system takes for a divider.
_UNSAFE = re.compile(r"^\.{0,2}$|[\x00-\x1f\\:]")


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known besides names and sizes.

    Attributes:
        hashes: of local files, by path as text, with the mark that they are of.
        proofs: of files on the volume, by key: ETag, size, SHA-256.
        uploads: those begun and not ended, by key.
    """

    manifest: Manifest
    hashes: Mapping[str, tuple[FileMark, Hashes]]
    proofs: Mapping[str, tuple[str, int, str]]
    uploads: Mapping[str, Upload]

    def of_local(self, file: LocalFile) -> Hashes | None:
        mark, hashes = self.hashes.get(str(file.place), (None, None))
        return hashes if mark == file.mark else None

    def sha256_there(self, path: PurePosixPath, there: Stat) -> str | None:
        """Of a file on the volume as it is now; None when nobody wrote it down.

        Empty: it is known to be another file than its ETag says.
        """
        etag, size, sha256 = self.proofs.get(there.key, ("", -1, ""))
        if (etag, size) == (there.etag, there.size):
            return sha256
        listed = self.manifest.files.get(path)
        if listed is not None and listed.etag and (listed.etag, listed.size) == (there.etag, there.size):
            return listed.sha256
        return None


def compare(scan: Scan, survey: Survey, prefix: str, rules: Rules, known: Knowledge) -> list[Entry]:
    """All paths, sorted. Nothing is read but the headers of files that only this side has. Blocks."""
    here = {each.path: each for each in scan.files}
    there: dict[PurePosixPath, Stat] = {}
    left_out: dict[PurePosixPath, Entry] = {
        path: Entry(path, file, None, Standing.LEFT_OUT, why) for path, why, file in scan.left_out
    }
    strange: list[Entry] = []
    for stat in survey.files:
        name = stat.key[len(prefix) :]
        if not rules.take(PurePosixPath(name)):
            continue
        try:
            # The name as it came: a path would mend `a//b`, which is another file than `a/b`.
            there[safe_name(name)] = stat
        except ValueError as error:
            strange.append(Entry(_to_show(name), None, stat, Standing.LEFT_OUT, str(error)))
    folders = {PurePosixPath(each[len(prefix) :].rstrip("/")) for each in survey.folders}
    sides = _Sides(here, there, folders, {parent for path in here for parent in path.parents})
    entries = [
        _entry(path, sides, known, prefix) for path in here.keys() | there.keys() if path not in left_out
    ]
    pairs = twins(iter(here.keys() | there.keys()))
    entries = [_with_twin(each, pairs) for each in entries]
    return sorted([*entries, *strange, *left_out.values()], key=lambda each: str(each.path).casefold())


@dataclass(frozen=True, slots=True)
class _Sides:
    """The files of both sides, and their folders."""

    here: Mapping[PurePosixPath, LocalFile]
    there: Mapping[PurePosixPath, Stat]
    folders_there: Set[PurePosixPath]
    folders_here: Set[PurePosixPath]


def _to_show(name: str) -> PurePosixPath:
    """Of a name that leads elsewhere, something that does not: it is shown, and nothing is done with it."""
    parts = (_UNSAFE.sub("\N{REPLACEMENT CHARACTER}", part) for part in name.split("/"))
    return PurePosixPath(*parts)


def _entry(path: PurePosixPath, sides: _Sides, known: Knowledge, prefix: str) -> Entry:
    here, there = sides.here.get(path), sides.there.get(path)
    if here is None:
        if path in sides.folders_here:
            return Entry(path, None, there, Standing.LEFT_OUT, "This computer has a folder of this name.")
        if any(parent in sides.here for parent in path.parents):
            return Entry(path, None, there, Standing.LEFT_OUT, "This computer has a file for its folder.")
        return Entry(path, None, there, Standing.THERE)
    if there is None:
        upload = known.uploads.get(prefix + str(path))
        begun = 0 if upload is None else sum(_sizes(upload))
        if path in sides.folders_there:
            return Entry(path, here, None, Standing.LEFT_OUT, "The volume has a folder of this name.")
        if any(parent in sides.there for parent in path.parents):
            return Entry(path, here, None, Standing.LEFT_OUT, "The volume has a file for its folder.")
        return Entry(path, here, None, Standing.HERE, begun=begun)
    if here.mark.size != there.size:
        return Entry(path, here, there, Standing.DIFFERS, _sizes_differ(here.mark.size, there.size))
    hashes, sha256 = known.of_local(here), known.sha256_there(path, there)
    if hashes is not None and sha256 is not None:
        if hashes.sha256 == sha256:
            return Entry(path, here, there, Standing.SAME)
        return Entry(path, here, there, Standing.DIFFERS, "They have the same size and another content.")
    if hashes is not None and hashes.md5 and hashes.md5 == there.etag:
        return Entry(path, here, there, Standing.SAME)
    return Entry(path, here, there, Standing.UNVERIFIED, "They have the same size; nobody compared them yet.")


def checked(entry: Entry) -> Entry:
    """The entry, with a file that is to be sent looked at: one that misses its end is found now. Blocks."""
    if entry.here is None or entry.standing not in (Standing.HERE, Standing.DIFFERS):
        return entry
    try:
        read_header(entry.here.place)
    except Truncated as error:
        return replace(entry, standing=Standing.BROKEN, why=str(error))
    except OSError as error:
        return replace(entry, standing=Standing.LEFT_OUT, why=f"It cannot be read: {error.strerror}.")
    return entry


def proved(
    entry: Entry,
    hashes: Hashes,
    known: Knowledge,
    bucket: Bucket,
    flow: Flow,
    *,
    read_back: bool = False,
    always: bool = False,
) -> tuple[Entry, str]:
    """An entry of one size, its contents compared, with how that was known. Blocks.

    Args:
        hashes: of the file here.
        read_back: read pieces from the volume where nothing else tells; ``always``: even where hashes agree,
            as the server may have an ETag from before a pod wrote to the file.

    Raises:
        ComfyRunPodError: when a side cannot be read.
    """
    here, there = entry.here, entry.there
    if here is None or there is None:
        return entry, ""
    sha256 = known.sha256_there(entry.path, there)
    if sha256 or (sha256 is not None and not always):
        same: bool | None = sha256 == hashes.sha256
        how = "sha256"
    else:
        listed = known.manifest.files.get(entry.path)
        part = None if listed is None else listed.part_size
        same, how = same_etag(there.etag, here.place, here.mark.size, hashes.md5, flow, part), "etag"
    if read_back and (same is None or (same and always)):
        agrees = spot_check(bucket, there.key, here.place, here.mark.size, flow)
        if same is None or not agrees:
            same, how = agrees, "spot"
    if same is None:
        return entry, ""
    if same:
        return replace(entry, standing=Standing.SAME, why=""), how
    return replace(entry, standing=Standing.DIFFERS, why="They have the same size and another content."), how


def _with_twin(entry: Entry, pairs: Mapping[PurePosixPath, PurePosixPath]) -> Entry:
    twin = pairs.get(entry.path)
    if twin is None:
        return entry
    what = "letter case" if _nfc(twin) == _nfc(entry.path) else "how accents are written"
    why = f"{twin.name} differs from it in {what} only."
    if entry.standing is Standing.THERE:
        # Here one of them might replace the other.
        return replace(entry, standing=Standing.LEFT_OUT, why=why)
    return replace(entry, why=" ".join(part for part in (entry.why, why) if part))


def _nfc(path: PurePosixPath) -> bool:
    return unicodedata.is_normalized("NFC", str(path))


def _sizes_differ(here: int, there: int) -> str:
    return f"{here:,} bytes here, {there:,} on the volume."


def _sizes(upload: Upload) -> list[int]:
    from ..s3.layout import slices

    return [each.size for each in slices(upload.mark.size, upload.layout) if each.number in upload.parts]


def place_here(folder: Path, path: PurePosixPath) -> Path:
    """Where a file of the volume belongs in the models folder."""
    return folder.joinpath(*path.parts)
