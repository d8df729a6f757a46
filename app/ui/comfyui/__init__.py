"""The ComfyUI page: its process and log, the interception node, the installation and its custom nodes."""
