"""One result per job, however often it is asked for and by however many workers on one volume.

A worker that takes a job creates a claim; another one that finds a living claim waits for the result.
A claim is never rewritten by others: it is taken over by creating the next one, ``claim.2``, ``claim.3`` …,
each exclusively, so that of any number of workers only one gets it.

    jobs/<client_job_id>/job.json     the platform's id, for a client whose submit got no answer
                         claim…       who works on it, and since when nothing was heard
                         result.json  the answer of the success, under the hash of its input
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .errors import JobError
from .life import Life
from .pieces import pieces
from .tasks import to_the_end

log = logging.getLogger(__name__)

Answer = dict[str, Any]
_CLAIM = re.compile(r"claim(?:\.(\d{1,9}))?")
_LONGEST_POLL_S = 2.0


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim file says. ``beat`` is the holder's clock at its last heartbeat, 0 when it let go."""

    worker: str
    digest: str
    life: Mapping[str, Any]
    beat: float


class Ledger:
    """The jobs below one folder. Times are in seconds.

    Args:
        beat_s: how often a claim's holder is heard of; ``stale_s``: how long it may be silent.
    """

    def __init__(
        self,
        folder: Path,
        worker_id: str,
        *,
        beat_s: float = 10.0,
        stale_s: float = 60.0,
        poll_s: float = 0.2,
    ) -> None:
        self._folder = folder
        self._worker = worker_id
        self._beat_s = beat_s
        self._stale_s = stale_s
        self._poll_s = poll_s
        self._life = Life.own().to_json()

    async def once(
        self,
        client_job_id: str,
        digest: str,
        run: Callable[[], Awaitable[Answer]],
        *,
        patience_s: float,
        usable: Callable[[Answer], bool] = lambda _: True,
    ) -> Answer:
        """The stored answer to this input, another worker's when it is done, or that of ``run``.

        ``usable`` says whether a stored answer is still worth something.

        Raises:
            JobError: ``id_conflict`` when the id has another input; ``still_running`` when another worker
                does not end within ``patience_s``; and what ``run`` raises.
        """
        room = self._folder / client_job_id
        watch = _Watch(self._beat_s, self._stale_s)
        deadline = time.monotonic() + patience_s
        pause = self._poll_s
        try:
            while True:
                stored = await asyncio.to_thread(self._stored, room, digest, usable)
                if stored is not None:
                    return stored
                number = await self._claimed(room, digest, watch)
                if number is not None:
                    break
                if time.monotonic() >= deadline:
                    raise _still_running(client_job_id)
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_POLL_S)
        except OSError as error:
            log.warning("Job %s runs without a claim; the volume refuses: %s", client_job_id, error)
            return await run()
        async with self._held(room, number, digest):
            # The one before may have ended between our two looks.
            stored = await asyncio.to_thread(self._stored, room, digest, usable)
            if stored is not None:
                return stored
            answer = await run()
            return await to_the_end(asyncio.to_thread(self._publish, room, digest, answer))

    def _stored(self, room: Path, digest: str, usable: Callable[[Answer], bool]) -> Answer | None:
        path = room / "result.json"
        try:
            kept = json.loads(path.read_text("utf-8"))
            answer, known = kept["answer"], kept["input_sha256"]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, RecursionError):
            path.unlink(missing_ok=True)
            return None
        if known != digest:
            raise _conflict(room.name)
        if isinstance(answer, dict) and usable(answer):
            return answer
        path.unlink(missing_ok=True)
        return None

    async def _claimed(self, room: Path, digest: str, watch: _Watch) -> int | None:
        work = asyncio.ensure_future(asyncio.to_thread(self._claim, room, digest, watch))
        try:
            return await to_the_end(work)
        except asyncio.CancelledError:
            number = work.result() if work.done() and not work.exception() else None
            if number is not None:  # we have it, and nobody will ever use it
                let_go = self._told(digest, 0.0)
                await to_the_end(asyncio.to_thread(self._write, room / _name(number), let_go))
            raise

    def _claim(self, room: Path, digest: str, watch: _Watch) -> int | None:
        """Our claim's number, or None while somebody else's lives."""
        room.mkdir(parents=True, exist_ok=True)
        last = max((n for path in room.iterdir() if (n := _number(path.name))), default=0)
        if last:
            path = room / _name(last)
            claim = _read(path)
            if not watch.is_over(path, claim):
                if claim is not None and claim.digest != digest:
                    raise _conflict(room.name)
                return None
            log.info("Claim %d on job %s is over; taking the job over.", last, room.name)
        try:
            with (room / _name(last + 1)).open("x", encoding="utf-8") as file:
                file.write(self._told(digest, time.time()))
        except FileExistsError:
            return None  # another worker was faster
        return last + 1

    @asynccontextmanager
    async def _held(self, room: Path, number: int, digest: str) -> AsyncIterator[None]:
        """Keep the claim alive, and let go of it in the end whatever happens."""
        path = room / _name(number)
        beating = asyncio.create_task(self._beat(path, digest), name="claim")
        try:
            yield
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating
            await to_the_end(asyncio.to_thread(self._write, path, self._told(digest, 0.0)))

    async def _beat(self, path: Path, digest: str) -> None:
        while True:
            await asyncio.sleep(self._beat_s)
            await to_the_end(asyncio.to_thread(self._write, path, self._told(digest, time.time())))

    def _told(self, digest: str, beat: float) -> str:
        told = {"worker": self._worker, "input_sha256": digest, "life": self._life, "beat": beat}
        return json.dumps(told)

    def _write(self, path: Path, text: str) -> None:
        try:
            _written(path, [text], lambda aside: aside.replace(path))
        except OSError as error:
            log.warning("The claim %s cannot be kept up: %s", path.name, error)

    def _publish(self, room: Path, digest: str, answer: Answer) -> Answer:
        """Store the answer; the stored one, which is another worker's when that was first."""
        path = room / "result.json"

        def first(aside: Path) -> None:
            try:
                os.link(aside, path)
            except FileExistsError:
                raise
            except OSError:  # no links on this file system
                if path.exists():
                    raise FileExistsError(str(path)) from None
                aside.replace(path)

        try:
            _written(path, pieces({"input_sha256": digest, "answer": answer}), first)
        except FileExistsError:
            with contextlib.suppress(JobError, OSError):
                return self._stored(room, digest, lambda _: True) or answer
        except OSError as error:
            log.warning("The result of job %s cannot be stored: %s", room.name, error)
        return answer


class _Watch:
    """Judges whether a claim is over, from one waiting worker's point of view.

    Two workers' clocks may differ: a claim that looks old is over only if no beat comes while we look.
    """

    def __init__(self, beat_s: float, stale_s: float) -> None:
        self._beat_s = beat_s
        self._stale_s = stale_s
        self._seen: tuple[str, float] | None = None
        self._since = 0.0

    def is_over(self, path: Path, claim: Claim | None) -> bool:
        """``claim`` None is a file that is being written, or that a crash left half written."""
        if claim is not None and (claim.beat == 0 or Life.parse(claim.life).is_over()):
            return True
        try:
            beat = claim.beat if claim is not None else path.stat().st_mtime
        except FileNotFoundError:
            return False
        now = time.monotonic()
        if self._seen != (path.name, beat):
            self._seen, self._since = (path.name, beat), now
        silent = now - self._since
        old = time.time() - beat >= self._stale_s
        return silent >= self._stale_s or (old and silent >= 1.5 * self._beat_s)


def _read(path: Path) -> Claim | None:
    try:
        raw = json.loads(path.read_text("utf-8"))
        claim = Claim(str(raw["worker"]), str(raw["input_sha256"]), raw["life"], float(raw["beat"]))
        return claim if isinstance(claim.life, dict) else replace(claim, life={})
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _written(path: Path, text: Iterable[str], place: Callable[[Path], object]) -> None:
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.writelines(text)
            file.flush()
            os.fsync(file.fileno())
        place(aside)
    finally:
        aside.unlink(missing_ok=True)


def _name(number: int) -> str:
    return "claim" if number == 1 else f"claim.{number}"


def _number(name: str) -> int:
    """0 for a file that is no claim."""
    found = _CLAIM.fullmatch(name)
    return 0 if found is None else int(found[1] or 1)


def _conflict(client_job_id: str) -> JobError:
    return JobError(
        "id_conflict",
        f"The client_job_id {client_job_id!r} belongs to a job with another input.",
        hint="Give each job an id of its own; send the same id only with the same input.",
    )


def _still_running(client_job_id: str) -> JobError:
    return JobError(
        "still_running",
        f"Another worker has the job {client_job_id!r} and did not end it within this job's time limit.",
        hint="Ask again later: its result will be kept.",
    )
