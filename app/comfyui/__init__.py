"""The user's ComfyUI: where its folders are, and starting, adopting and stopping it.

The one place that owns the process of "This computer"; the worker only attaches to it.
"""

from .house import ComfyState, ComfyStatus, House
from .installation import Installation
from .locate import Folders, folders_of
from .supervisor import Supervisor

__all__ = ["ComfyState", "ComfyStatus", "Folders", "House", "Installation", "Supervisor", "folders_of"]
