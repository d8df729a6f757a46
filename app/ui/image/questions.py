"""Questions before the manifest is changed, and before something goes live."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from ..theme import Theme
from ..widgets.changes import ChangeList, versions
from ..widgets.floating import Question
from .shown import DeployQuestion, MatchQuestion
from .words import deploy_text


def deploy_question(theme: Theme, parent: QWidget, asked: DeployQuestion) -> Question:
    title = f"Deploy to {asked.endpoint}?"
    return Question(theme, parent, title, deploy_text(asked), "Not now", "Deploy", destroys=False)


def match_question(theme: Theme, parent: QWidget, asked: MatchQuestion) -> Question:
    """Lists what would be another in the manifest."""
    count = len(asked.changes)
    what = "1 entry of the manifest changes." if count == 1 else f"{count} entries of the manifest change."
    text = " ".join(part for part in (what, asked.note) if part)
    act = "Match and rebuild" if asked.rebuild else "Match"
    title = "Match the manifest to this computer?"
    made = Question(theme, parent, title, text, "Not now", act, destroys=False)
    changes = ChangeList(theme)
    changes.show_changes([(each.name, versions(each.before, each.after), False) for each in asked.changes])
    made.insert(changes)
    return made
