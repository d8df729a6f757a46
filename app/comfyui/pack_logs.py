"""What ComfyUI's log says about the import of each pack of nodes."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TABLE = "Import times for custom nodes:"
#: ComfyUI-Manager's own log begins each line with the time.
_TIME = re.compile(r"\[\d{4}-\d\d-\d\d[^\]]*\] ?")
_ROW = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?) seconds( \(IMPORT FAILED\))?: (.+)")
_CANNOT = re.compile(r"Cannot import (.+?) module for custom nodes: ?(.*)")
_OTHERS = (
    re.compile(r"Skip (?P<path>.+?) module for custom nodes due to (?P<error>.+)"),
    re.compile(r"Error while calling comfy_entrypoint in (?P<path>.+?): (?P<error>.*)"),
    re.compile(
        r"comfy_entrypoint in (?P<path>.+?) (?P<error>is not callable|did not return .+?), skipping\."
    ),
)
_BEGIN = "Traceback (most recent call last):"
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(: .*)?")
_LONGEST = 400
#: So much of the end of a log is looked at, in bytes.
_LOG_END = 4 << 20


@dataclass(frozen=True, slots=True)
class ImportResult:
    """How the import of a pack went.

    Attributes:
        seconds: how long it took; None when ComfyUI has not said so yet.
        error: why it failed, in one line.
        traceback: Python's, its newest lines; empty when there was none.
    """

    loaded: bool
    seconds: float | None = None
    error: str = ""
    traceback: str = ""


def import_results(lines: Iterable[str]) -> dict[str, ImportResult]:
    """The results of the last start in a log, by the path of the pack as ComfyUI has it."""
    results: dict[str, ImportResult] = {}
    failures: dict[str, ImportResult] = {}
    traceback: deque[str] = deque(maxlen=_LONGEST)
    in_table = False
    for raw in lines:
        line = _TIME.sub("", raw.rstrip("\r\n"), count=1) if raw.startswith("[") else raw.rstrip("\r\n")
        if in_table:
            row = _ROW.fullmatch(line)
            if row is not None:
                failure = failures.pop(row[3], ImportResult(loaded=False))
                seconds = float(row[1])
                results[row[3]] = (
                    ImportResult(
                        loaded=False, seconds=seconds, error=failure.error, traceback=failure.traceback
                    )
                    if row[2]
                    else ImportResult(loaded=True, seconds=seconds)
                )
                continue
            # What is left belongs to an earlier start.
            in_table, failures = False, {}
        if line.strip() == _TABLE:
            in_table, results = True, {}
        elif cannot := _CANNOT.fullmatch(line):
            failures[cannot[1]] = _failure(cannot[2], list(traceback))
            traceback.clear()
        elif other := next((match for each in _OTHERS if (match := each.fullmatch(line))), None):
            failures[other["path"]] = ImportResult(loaded=False, error=other["error"])
        else:
            if line == _BEGIN and not _goes_on(traceback):
                traceback.clear()
            if line == _BEGIN or traceback:
                traceback.append(line)
    return results | failures


def _goes_on(traceback: deque[str]) -> bool:
    """Whether the next traceback explains this one."""
    last = next((line for line in reversed(traceback) if line.strip()), "")
    return last.startswith(_CHAINED)


def _failure(message: str, traceback: list[str]) -> ImportResult:
    while traceback and not traceback[-1].strip():
        traceback.pop()
    raised = [line for line in traceback if _RAISED.fullmatch(line)]
    exact = next((line for line in reversed(raised) if line.endswith(f": {message}")), "")
    error = exact or (raised[-1] if raised else message)
    return ImportResult(loaded=False, error=error, traceback="\n".join(traceback))


def import_results_of(log: Path) -> dict[str, ImportResult]:
    """Those of the last start that a log file tells of; empty when there is none. Blocks."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_END))
            return import_results(file.read().decode("utf-8", "replace").splitlines())
    except OSError:
        return {}
