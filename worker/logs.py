"""What the worker says on its standard output: one JSON object a line on RunPod, plain lines elsewhere.

A line is written by a thread of its own from a queue that never blocks, so that nobody who reads our output
slowly keeps a job, or the ComfyUI whose lines we pass on, waiting.
"""

from __future__ import annotations

import atexit
import json
import logging
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from logging.handlers import QueueHandler, QueueListener
from typing import TextIO

#: The job in hand, for the lines that are said while it runs.
current_job: ContextVar[str | None] = ContextVar("current_job", default=None)
_MOST_WAITING = 10_000
#: In characters; RunPod cuts lines too.
_LONGEST_MESSAGE = 8000


def set_up(env: Mapping[str, str], secrets: Sequence[str], stream: TextIO) -> Callable[[], None]:
    """Have everything that is logged printed; call what comes back to have the rest printed at the end.

    ``LOG_FORMAT`` is ``json`` or ``text``; without it RunPod's own variable decides, as for its SDK.
    """
    wanted = env.get("LOG_FORMAT") or ("json" if env.get("RUNPOD_ENDPOINT_ID") else "text")
    if wanted not in ("json", "text"):
        raise ValueError(f"LOG_FORMAT is neither json nor text: {wanted!r}.")
    printer = logging.StreamHandler(stream)
    printer.setFormatter(_JsonLines() if wanted == "json" else _PlainLines())
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(_MOST_WAITING)
    handler = _Patient(waiting)
    handler.addFilter(_Prepared(secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # They tell of every connection.
    for loud in ("botocore", "boto3", "urllib3", "asyncio"):
        logging.getLogger(loud).setLevel(logging.WARNING)
    listener = QueueListener(waiting, printer)
    listener.start()
    ended = False

    def finish() -> None:
        nonlocal ended
        if not ended:
            ended = True
            listener.stop()

    atexit.register(finish)
    return finish


class _Patient(QueueHandler):
    """Leaves out what finds no room, and says how much that was as soon as there is room again."""

    _left_out = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._left_out += 1
            return
        if self._left_out:
            said = f"{self._left_out} lines were left out: nobody reads fast enough."
            self._left_out = 0
            self.enqueue(logging.LogRecord("worker", logging.WARNING, "", 0, said, None, None))


class _Prepared(logging.Filter):
    """Notes the job while we are still in its context, and blots the secrets out."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._secrets = [secret for secret in secrets if len(secret) >= 8]

    def filter(self, record: logging.LogRecord) -> bool:
        record.job = current_job.get()
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + logging.Formatter().formatException(record.exc_info)
        for secret in self._secrets:
            message = message.replace(secret, "***")
        record.msg, record.args, record.exc_info = message[:_LONGEST_MESSAGE], None, None
        return True


class _JsonLines(logging.Formatter):
    """With the keys of RunPod's own lines, so that both can be searched alike."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "requestId": getattr(record, "job", None),
            "message": _said(record),
            "level": record.levelname,
            "logger": record.name,
            "time": f"{moment}.{int(record.msecs):03d}Z",
        }
        return json.dumps(line)


class _PlainLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        job = getattr(record, "job", None)
        return f"{record.levelname:<7} | {f'{job} | ' if job else ''}{_said(record)}"


def _said(record: logging.LogRecord) -> str:
    return f"[ComfyUI] {record.getMessage()}" if record.name == "ComfyUI" else record.getMessage()
