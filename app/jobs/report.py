"""What is wrong with a job, to show and to hand on: the error's card, log, traceback, and a report.

The report goes into forums and tickets, so nothing in it may be a secret or tell who the user is.
"""

from __future__ import annotations

import getpass
import platform
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from .. import __version__
from .cards import (
    ErrorCard,
    Missing,
    available,
    closest,
    error_card,
    log_lines,
    missing_name,
    traceback_text,
)
from .figures import duration, ended_at, ran_s, waited_s
from .model import Job, Move
from .words import pill, target_name

__all__ = [
    "ErrorCard",
    "Missing",
    "available",
    "closest",
    "diagnostics",
    "error_card",
    "log_lines",
    "mask",
    "missing_name",
    "traceback_text",
]

_LOG_LINES: Final = 50
_HIDDEN: Final = "***"
#: A shorter value of a telling name is no key, and would blot out half of a log.
_SHORTEST: Final = 8
_BEARER: Final = re.compile(r"\b(bearer|basic)\s+[^\s\"',]+", re.IGNORECASE)
_IN_ADDRESS: Final = re.compile(r"(?<=://)[^\s/@]+@")
_NAMED: Final = re.compile(
    r"""((?<![\w.-])[\w.-]*(?:key|token|secret|passw(?:or)?d|authorization)[\w.-]*\\*["']?\s*[:=]\s*)"""
    r"""(\\*"[^"\n]*"|\\*'[^'\n]*'|\\*["']?[^\s"',;&}\])]+)""",
    re.IGNORECASE,
)
#: Keys that are known by their beginning: RunPod's, Hugging Face's, GitHub's, and the many ``sk-``.
_KEYS: Final = re.compile(
    r"(?:rp[as]_|hf_|gh[pousr]_|github_pat_|(?<![A-Za-z0-9])(?:sk|pk)-|AKIA)[A-Za-z0-9_-]{8,}"
)
#: Accounts that tell nothing about a person.
_NOBODY: Final = frozenset({"root", "user", "admin", "runner", "ubuntu"})


def diagnostics(
    job: Job,
    moves: Sequence[Move],
    *,
    now: float | None = None,
    secrets: Iterable[str] = (),
    home: Path | None = None,
    user: str | None = None,
) -> str:
    """A report on a job in Markdown, masked.

    Args:
        now: seconds since 1970; the present when not given.
        secrets: keys that are known, to be hidden whatever they look like.
        home, user: the user's, when other than the system says.
    """
    card = error_card(job)
    parts = [
        f"# Comfy RunPod: {job.name}",
        "\n".join(f"- {label}: {text}" for label, text in _facts(job, time.time() if now is None else now)),
        _section("Timeline", [f"{_clock(move.at)}  {move.state}  {move.note}".rstrip() for move in moves]),
    ]
    if job.error is not None:
        said = [card.title, card.text, card.place, card.hint, f"Code: {job.error.get('code')}"]
        parts.append(_section("Error", [line for line in said if line]))
    parts += [_section(f"Available in {kind}", names) for kind, names in available(job).items()]
    parts.append(_section("Log", log_lines(job)[-_LOG_LINES:]))
    parts.append(_section("Traceback", traceback_text(job).splitlines()))
    text = "\n\n".join(part for part in parts if part) + "\n"
    return mask(text, secrets=secrets, home=home, user=user)


def mask(text: str, *, secrets: Iterable[str] = (), home: Path | None = None, user: str | None = None) -> str:
    """``text`` without keys, without the user's name, and with ``~`` in the place of the home folder."""
    for secret in sorted((secret for secret in secrets if secret), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    text = _BEARER.sub(rf"\1 {_HIDDEN}", text)
    text = _IN_ADDRESS.sub(f"{_HIDDEN}@", text)
    text = _NAMED.sub(_without_value, text)
    text = _KEYS.sub(_HIDDEN, text)
    text = _home_pattern(home or Path.home()).sub("~", text)
    return _without_user(text, user if user is not None else _user())


def _facts(job: Job, now: float) -> list[tuple[str, str]]:
    waited, ran = waited_s(job, now), ran_s(job, now)
    facts = [
        ("App", f"{__version__}, Python {platform.python_version()}"),
        ("System", platform.platform()),
        ("Runs on", target_name(job.target)),
        ("Worker", job.worker_id or ""),
        ("Job", job.id),
        ("Endpoint's job", f"{job.remote_id}, {job.remote_word}" if job.remote_id else ""),
        ("State", pill(job).text),
        ("Queued", _clock(job.created_at)),
        ("Ended", _clock(ended_at(job)) if job.is_final else ""),
        ("Waited", duration(waited) if waited is not None else ""),
        ("Ran", duration(ran) if ran is not None else ""),
        ("Run again by the platform", str(job.retries) if job.retries else ""),
        ("Repeats", job.retry_of or ""),
    ]
    return [(label, text) for label, text in facts if text]


def _section(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    text = "\n".join(lines)
    # Longer than any fence in the text, so that it does not end there.
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"## {title}\n\n{fence}\n{text}\n{fence}"


def _without_value(found: re.Match[str]) -> str:
    name, value = found[1], found[2]
    # Python's error of that name quotes what was looked for: no secret, and often the cause.
    is_secret = len(value.strip("\"'\\")) >= _SHORTEST and "KeyError" not in name
    return name + _HIDDEN if is_secret else found[0]


def _home_pattern(home: Path) -> re.Pattern[str]:
    """The home folder however it is written: with either slash, doubled as in JSON, in any case."""
    parts = [re.escape(part) for part in re.split(r"[\\/]+", str(home)) if part]
    if not parts:
        return re.compile(r"(?!)")
    slash = r"[\\/]+"
    lead = slash if str(home)[0] in "\\/" else ""
    return re.compile(lead + slash.join(parts) + r"(?![\w-])", re.IGNORECASE)


def _without_user(text: str, user: str) -> str:
    if len(user) < 2 or user.casefold() in _NOBODY:
        return text
    return re.sub(rf"(?<!\w){re.escape(user)}(?!\w)", "<user>", text, flags=re.IGNORECASE)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no account of that number, as in a container
        return ""


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
