"""Names: which paths may be sent, and the flat name that each has on its way.

runpodctl keeps no folders of files that it is given, so every file needs a name of its own. Names are made of
harmless ASCII: runpodctl takes ``*`` for a pattern, and the sender's drive may know no upper case.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from ...errors import BadInput

#: A file system's limit for one name, in bytes.
_LONGEST_PART = 255
_LONGEST_PATH = 1000
#: Windows counts the whole path, the staging folder's included.
_LONGEST_NAME = 120
_LONGEST_SUFFIX = 16
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_DRIVE = re.compile(r"[A-Za-z]:")
#: Names of devices on Windows, whatever follows their first dot.
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)")

#: How the names of the files begin that go along, and of zips.
_OURS = re.compile(r"(?i)comfy-|sha256sums")


def checked_path(path: PurePosixPath) -> str:
    """A path below the models folder as text, with ``/`` between its parts.

    Raises:
        BadInput: when it leaves the folder, or cannot be a name on a pod.
    """
    text = str(path)
    problem = ""
    if not path.parts or path.is_absolute() or ".." in path.parts or _DRIVE.match(text):
        problem = "it is no path below the models folder"
    elif "\\" in text or any(ord(char) < 32 or ord(char) == 127 for char in text):
        problem = "it holds a backslash or a control character"
    elif any(0xD800 <= ord(char) <= 0xDFFF for char in text):
        problem = "its name is not in Unicode"
    elif len(text.encode()) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_PART for part in path.parts):
        problem = "its name is too long"
    if problem:
        raise BadInput(f"{text!r} cannot be sent: {problem}.", hint="Rename it or leave it out.")
    return text


def flat_names(paths: Iterable[str]) -> Mapping[str, str]:
    """A flat name for each path; two paths never have one, also where upper case does not count.

    A path's name depends on others only when it clashes with them: then each of them carries a digest of its
    path. None is a name that we give to the files that go along.
    """
    wanted = {path: _readable(path) for path in sorted(set(paths))}
    reserved: set[str] = set()
    names: dict[str, str] = {}
    digits = 0
    while wanted:
        seen: dict[str, list[str]] = {}
        for path in wanted:
            seen.setdefault(_named(path, wanted[path], digits).casefold(), []).append(path)
        for key, those in seen.items():
            if len(those) == 1 and key not in reserved:
                names[those[0]] = _named(those[0], wanted[those[0]], digits)
        reserved |= {name.casefold() for name in names.values()}
        wanted = {path: name for path, name in wanted.items() if path not in names}
        digits += 12
    return names


def _readable(path: str) -> str:
    name = _UNSAFE.sub("_", path.replace("/", "__"))
    # A dash would begin an option, and a dot hides a file.
    if name[0] in ".-" or _DEVICES.match(name) or _OURS.match(name):
        name = "_" + name
    # Windows drops a dot at the end.
    return name[:-1] + "_" if name.endswith(".") else name


def _named(path: str, name: str, digits: int) -> str:
    if not digits and len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(path.encode()).hexdigest()[: digits or 12]
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix) > _LONGEST_SUFFIX:
        stem, dot, suffix = name, "", ""
    room = _LONGEST_NAME - len(digest) - len(dot + suffix) - 1
    return f"{stem[:room]}-{digest}{dot}{suffix}"
