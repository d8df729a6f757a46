"""The Queue page: rows of jobs, the inspector, and what can be done with them."""
