"""Who is at a port of this computer, in words for a person."""

from __future__ import annotations

import asyncio

import psutil

from ..errors import ProcessFailed
from .crash import Cause, Crash
from .status import system_stats


class PortTaken(ProcessFailed):
    """Somebody else is at the port that was chosen. ``details`` say who."""

    code = "port_taken"

    @property
    def crash(self) -> Crash:
        """As why ComfyUI does not run."""
        title = f"Port {self.details['port']} is in use"
        cause: Cause = "port_in_use" if self.details["comfyui"] is None else "comfyui_there"
        return Crash(cause, title, self.summary, self.hint)


async def port_taken(port: int) -> PortTaken:
    """The error for a port that is not free: by whom, and whether that is a ComfyUI."""
    stats = await system_stats(f"http://127.0.0.1:{port}")
    pid, program = await asyncio.to_thread(listener, port)
    who = f" (process {pid}, {program})" if pid is not None else ""
    system = (stats or {}).get("system")
    version = system.get("comfyui_version") if isinstance(system, dict) else None
    if version is not None:
        summary = f"Port {port} is in use: ComfyUI {version} answers there already{who}."
        hint = "Stop that one, use its address, or choose another port."
    else:
        summary, hint = f"Port {port} is in use by another program{who}.", "Choose another port."
    return PortTaken(summary, hint=hint, port=port, pid=pid, program=program, comfyui=version, log=[])


def listener(port: int) -> tuple[int | None, str]:
    """The process that listens at a port, and its program; None where the system does not tell. Blocks."""
    try:
        for connection in psutil.net_connections("inet"):
            at = connection.laddr
            if connection.status == psutil.CONN_LISTEN and at and at.port == port and connection.pid:
                return connection.pid, psutil.Process(connection.pid).name()
    except (psutil.Error, OSError):
        # macOS tells it to root alone.
        return None, ""
    return None, ""
