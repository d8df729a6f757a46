"""Reading workflow files and changing single values in them. Knows nothing of targets and jobs."""

from .convert import NodeCatalogue
from .edit import set_values
from .inputs import inputs_from
from .read import Found, MissingNodes, Workflow, look_into

__all__ = [
    "Found",
    "MissingNodes",
    "NodeCatalogue",
    "Workflow",
    "inputs_from",
    "look_into",
    "set_values",
]
