"""RunPod's job API: a client for it, and a RunPod endpoint of our own on this computer.

May import ``app.errors``, ``app.settings``, ``worker.process`` and ``worker.contract``; never the SDK nor Qt.
"""
