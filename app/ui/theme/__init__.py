"""How everything looks: tokens, fonts, icons, and the one object that hands them out."""

from .theme import Theme

__all__ = ["Theme"]
