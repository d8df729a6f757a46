"""Why a file is no workflow, in words for a window and for the command line."""

from __future__ import annotations

from ..errors import BadInput

ACCEPTED = "Accepted are workflows (.json) and the pictures, videos and sounds that ComfyUI saved."


class NotAWorkflow(BadInput):
    """A file that holds no workflow that can be run.

    Args:
        title: what is wrong in a few words, with the file's name.
        text: one or two sentences more.
        summary: all of it in one sentence.
    """

    def __init__(self, title: str, text: str, summary: str, *, hint: str = ACCEPTED) -> None:
        super().__init__(summary, hint=hint)
        self.title = title
        self.text = text
