"""What a file is when it is no workflow that can be run, in words for a window and a command line."""

from __future__ import annotations

import re
from pathlib import Path

from .refusal import ACCEPTED, NotAWorkflow

_SHORTCUTS = re.compile(
    r"\s*(\[InternetShortcut\]|\[Desktop Entry\]|<\?xml.{0,300}<plist.{0,300}<key>URL</key>)", re.DOTALL
)
_SETTINGS = re.compile(r"^Steps: \d+, ?\w|\bSteps: \d+, ?Sampler: ", re.MULTILINE)
_LOOKED_AT = 20_000


def no_file(path: Path) -> NotAWorkflow:
    found = "a folder" if path.is_dir() else "not there"
    return NotAWorkflow(f"{path.name} is {found}", ACCEPTED, f"{path} is {found}.")


def address(path: Path) -> NotAWorkflow:
    text = "Save what it leads to, and use that file."
    return NotAWorkflow(f"{path.name} is on the web", text, f"{path} is a web address, no file.", hint=text)


def unreadable(path: Path, error: OSError) -> NotAWorkflow:
    text = f"{path} cannot be read: {error.strerror}."
    return NotAWorkflow(f"{path.name} cannot be read", f"{error.strerror}.", text)


def too_large(name: str) -> NotAWorkflow:
    text = f"{name} is larger than 64 MB, too large for a workflow."
    return NotAWorkflow(f"{name} is too large", "No workflow is larger than 64 MB.", text)


def empty(name: str) -> NotAWorkflow:
    return NotAWorkflow(f"{name} is empty", "There is nothing in it.", f"{name} is no workflow: it is empty.")


def recognised(name: str, text: str) -> NotAWorkflow | None:
    """Texts of other kinds that people take for workflows; None for what may be one."""
    start = text[:_LOOKED_AT]
    if start.lstrip()[:1] in ("{", ""):
        return None
    if _SHORTCUTS.match(start):
        why = "a shortcut to a web page"
        return NotAWorkflow(
            f"{name} is a shortcut", "Save the file that it leads to, and use that.", f"{name} is {why}."
        )
    if _SETTINGS.search(start):
        return _other_program(name, f"{name} holds settings of another program as text, no workflow.")
    return None


def settings_only(name: str, noun: str) -> NotAWorkflow:
    """The text that A1111 and its kin write."""
    return _other_program(
        name, f"{name} is a {noun} of another program: it has settings as text, no workflow."
    )


def _other_program(name: str, summary: str) -> NotAWorkflow:
    text = "It was made with another program, such as A1111, and holds its settings only."
    return NotAWorkflow(f"No workflow in {name}", text, summary)


def nothing_embedded(name: str, noun: str) -> NotAWorkflow:
    return NotAWorkflow(
        f"No workflow in {name}",
        f"ComfyUI {noun}s carry one. This {noun} has none.",
        f"{name} is a {noun} without an embedded workflow.",
    )


def damaged(name: str, noun: str) -> NotAWorkflow:
    summary = f"{name} is a damaged {noun}."
    return NotAWorkflow(f"{name} is damaged", f"The {noun} cannot be read.", summary)


def no_json(name: str, why: str) -> NotAWorkflow:
    text = f"It is not JSON ({why})."
    return NotAWorkflow(f"{name} is not a workflow", text, f"{name} is no workflow: it is not JSON ({why}).")


def other_json(name: str) -> NotAWorkflow:
    text = "It is JSON, but no workflow."
    return NotAWorkflow(f"{name} is not a workflow", text, f"{name} is JSON, but no workflow.")


def too_deep(name: str) -> NotAWorkflow:
    text = f"{name} is nested too deeply for a workflow."
    return NotAWorkflow(f"{name} is not a workflow", "It is nested too deeply for one.", text)


def bad_node(name: str, why: str) -> NotAWorkflow:
    text = f"{why[0].upper()}{why[1:]}"
    return NotAWorkflow(f"{name} is not a workflow", text, f"{name} is no workflow: {why}")


def nothing_runs(name: str) -> NotAWorkflow:
    text = "All its nodes are muted, bypassed or notes."
    return NotAWorkflow(f"Nothing to run in {name}", text, f"{name} is a workflow in which nothing runs.")
