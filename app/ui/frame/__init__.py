"""The window's frame: rail, top bar, toasts, and what belongs to no page."""
