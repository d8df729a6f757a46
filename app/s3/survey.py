"""What the volume holds: its folders are listed one by one, as a list of everything can be slow or broken."""

from __future__ import annotations

import queue
import threading
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import partial

from .bucket import Bucket, Folder, Stat, TwiceTheSamePage
from .flow import Crew, Flow
from .patience import Patience

#: The server is slow when it gives a page twice: the next try comes so many first waits later, so often.
_SLOW_WAITS, _SLOW_TRIES = 5.0, 5
#: Folders; more than any volume has, and an end for a server that invents them.
MOST_FOLDERS = 20_000


@dataclass(frozen=True, slots=True)
class Survey:
    """Files below a prefix, and the prefixes of all folders there."""

    files: tuple[Stat, ...]
    folders: frozenset[str]


def survey(
    bucket: Bucket,
    prefix: str,
    crew: Crew,
    patience: Patience,
    flow: Flow,
    *,
    skip: Collection[str] = (),
    enough: threading.Event | None = None,
) -> Survey:
    """List everything below ``prefix`` (which ends with ``/``, or is empty). Blocks.

    Args:
        skip: prefixes that are passed over.
        enough: set, no more folders are looked into.

    Raises:
        ComfyRunPodError: when a folder cannot be listed.
        Stopped: when asked to stop.
    """
    files: list[Stat] = []
    folders: set[str] = set()
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    waiting.put(prefix)
    under_way: set[Future[Folder]] = set()
    while under_way or not waiting.empty():
        flow.go()
        while not waiting.empty():
            under_way.add(crew.start(partial(listed, bucket, waiting.get(), patience, flow)))
        done, under_way = wait(under_way, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in done:
            found = future.result()
            files += [each for each in found.files if each.key.startswith(prefix)]
            for each in found.folders:
                is_new = each.startswith(prefix) and each not in folders and each not in skip
                if is_new and len(folders) < MOST_FOLDERS and not (enough and enough.is_set()):
                    folders.add(each)
                    waiting.put(each)
    return Survey(tuple(files), frozenset(folders))


def listed(bucket: Bucket, prefix: str, patience: Patience, flow: Flow) -> Folder:
    """One folder. Blocks. Raises as :func:`survey`."""
    tries = 0
    while True:
        try:
            return patience.attempt(lambda: bucket.folder(prefix), flow.stop, flow.tell)
        except TwiceTheSamePage as error:
            tries += 1
            if tries == _SLOW_TRIES:
                raise
            slow = Patience(patience.tries, patience.base_s * _SLOW_WAITS, patience.most_s)
            slow.wait(1, str(error), flow.stop, flow.tell)
