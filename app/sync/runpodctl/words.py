"""What runpodctl's errors mean, in a sentence and a next step."""

from __future__ import annotations

from collections.abc import Sequence

_COPY = "Start again, and copy the new code's command."
_AGAIN = "Start the batch again with a new code: it goes on with what the pod has."

#: What a line holds (lower case), and what that means. The first that fits counts.
_CAUSES = (
    ("list of relays", "runpodctl could not get its list of relays.", "Check the network, then start again."),
    ("does not exist", "runpodctl did not find a staged file.", "Stage the files again."),
    ("no such file", "runpodctl did not find a staged file.", "Stage the files again."),
    ("could not connect", "runpodctl could not reach its relay.", "Check network and firewall; try again."),
    ("password mismatch", "The code on the pod was another.", _COPY),
    ("pake not successful", "The code on the pod was another.", _COPY),
    ("could not secure channel", "The connection to the pod was lost before it stood.", _AGAIN),
    ("room not ready", "The pod connected too early.", _AGAIN),
    ("refusing files", "The pod refused the files.", _AGAIN),
    ("unknown command", "This runpodctl cannot send.", "Install a newer one."),
    ("unknown flag", "This runpodctl cannot send.", "Install a newer one."),
    ("peer error", "The pod's side of the transfer failed.", _AGAIN),
)  # fmt: skip


def cause_of(
    errors: Sequence[tuple[str, bool]], *, exit_code: int, could_connect: bool, missing: int, script: str
) -> tuple[str, str]:
    """One sentence and what to do, for a run that did not send everything.

    Args:
        errors: its error lines, and whether each is of a panic.
        could_connect: the receiver could have connected.
        missing: how many files were not sent to their end.
        script: the name of the extraction script.
    """
    for text, _panic in errors:
        for part, summary, hint in _CAUSES:
            if part in text.lower():
                return summary, hint
    if any(panic for _text, panic in errors):
        return "runpodctl crashed.", _AGAIN
    if errors and not missing and not exit_code:
        hint = f"Run `python3 {script}` on the pod: it says whether the files are whole."
        return f"runpodctl sent everything, and then told of an error: {_short(errors[0][0])}.", hint
    if errors:
        return f"The transfer broke off: {_short(errors[0][0])}.", _AGAIN
    if not could_connect:
        return f"runpodctl ended (exit code {exit_code}) before the pod could connect.", "Start again."
    files = "1 file" if missing == 1 else f"{missing} files"
    if missing:
        return f"runpodctl ended without an error, but {files} did not reach 100 %.", _AGAIN
    return f"runpodctl ended with exit code {exit_code}.", _AGAIN


def _short(text: str) -> str:
    return text.strip().rstrip(".")[:200]
