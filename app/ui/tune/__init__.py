"""Changing a workflow's values, and making many jobs of it."""
