"""From the browser's form of a workflow to the API form, as the official frontend 1.58.1 converts it.

``convert(ui, catalogue)`` is the whole of it. No Qt, no network: the caller brings the ``/object_info``.
"""

from .catalogue import NodeCatalogue
from .export import Converted, Note, convert
from .refusal import CannotConvert

__all__ = ["CannotConvert", "Converted", "NodeCatalogue", "Note", "convert"]
