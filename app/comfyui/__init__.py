"""The user's ComfyUI: where its folders are, and starting, adopting and stopping it.

The one place that owns the process of "This computer"; the worker only attaches to it.
"""

from .locate import Folders, folders_of
from .supervisor import Installation, Supervisor

__all__ = ["Folders", "Installation", "Supervisor", "folders_of"]
