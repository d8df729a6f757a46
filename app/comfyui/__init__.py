"""The user's ComfyUI: where its folders are, and starting, adopting and stopping it.

The one place that owns the process of "This computer"; the worker only attaches to it.
"""
