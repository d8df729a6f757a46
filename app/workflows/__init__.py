"""Reading workflow files and changing single values in them. Knows nothing of targets and jobs."""

from .edit import set_values
from .inputs import inputs_from
from .read import Workflow, read_workflow

__all__ = ["Workflow", "inputs_from", "read_workflow", "set_values"]
