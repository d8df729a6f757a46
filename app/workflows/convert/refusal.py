"""Why a workflow in the browser's form cannot be converted, and at which node."""

from __future__ import annotations

from ..refusal import NotAWorkflow

_HINT = "Open it in ComfyUI, repair it there and save it again, or use 'Export (API)'."


class CannotConvert(NotAWorkflow):
    """A workflow in the browser's form that no API form can be made of.

    ``node_id`` and ``node_type`` are empty when no single node is to blame. ``reason`` is a short code:
    ``shape`` (it is no workflow), ``cycle`` (subgraphs that hold themselves) or ``size`` (too much of it).
    """

    def __init__(
        self, why: str, *, reason: str, node_id: str = "", node_type: str = "", name: str = "This workflow"
    ) -> None:
        where = f" (node {node_id}{f', {node_type}' if node_type else ''})" if node_id else ""
        text = f"{why}{where}."
        summary = f"{name} cannot be converted: {text[0].lower()}{text[1:]}"
        super().__init__(f"{name} cannot be converted", text, summary, hint=_HINT)
        self.why = why
        self.reason = reason
        self.node_id = node_id
        self.node_type = node_type

    def named(self, name: str) -> CannotConvert:
        """The same of a file with this name."""
        return CannotConvert(
            self.why, reason=self.reason, node_id=self.node_id, node_type=self.node_type, name=name
        )
