"""Reading workflow files and changing single values in them. Knows nothing of targets and jobs."""

from .edit import set_values
from .read import Workflow, inputs_from, read_workflow

__all__ = ["Workflow", "inputs_from", "read_workflow", "set_values"]
