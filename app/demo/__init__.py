"""The demo engine: ComfyUI's protocol with model-free nodes, run on the CPU with Pillow.

It lets a newcomer and the tests go the whole way without GPU, models or downloads. It imports nothing of the
panel; of the worker it uses the child process helper alone.
"""
