"""The local endpoint's configuration: what its starter decides, as one file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..files import write_private

#: Counts up when a running endpoint of an older version must not be adopted by a newer panel.
_GENERATION = 1
#: Said by an endpoint that finds another one on its folder.
ALREADY_RUNS = "Another local endpoint already runs on"
#: A header of requests that only look: they do not keep an endpoint from ending when it has nothing to do.
UNCOUNTED = "X-Comfy-Runpod-Look"
_NAME = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """Everything `python -m app.endpoint` needs to know.

    Args:
        worker_argv: how one worker is started.
        worker_env: added to the workers' cleaned environment; ``$RUNPOD_POD_ID`` becomes the worker's id.
        volume_dir: the workers' volume (``VOLUME_PATH``).
        run_retention_s, sync_retention_s: how long a finished job can be asked for.
        worker_lost_after_s: silence after which a worker that has spoken once is given up.
        poll_hold_s: how long a worker's poll is held open.
        max_run_bytes, max_sync_bytes: limit of requests and of results, by how the job was submitted.
        strict_progress: a progress that arrives after the result replaces it, as reported of RunPod
            (runpod-python #250).
        idle_exit_s: end after that long without a request or an unfinished job; None = never.
        port: 0 = any free one.
        listen: the address to listen on.
        worker_host: what workers call this computer: a container may know it under another name.
    """

    endpoint_id: str
    data_dir: Path
    worker_argv: tuple[str, ...]
    volume_dir: Path
    worker_env: dict[str, str] = field(default_factory=dict)
    workers: int = 1
    execution_timeout_ms: int = 600_000
    ttl_ms: int = 86_400_000
    run_retention_s: float = 1800
    sync_retention_s: float = 60
    ping_interval_ms: int = 2000
    worker_lost_after_s: float = 15.0
    poll_hold_s: float = 20.0
    max_run_bytes: int = 10_000_000
    max_sync_bytes: int = 20_000_000
    strict_progress: bool = False
    idle_exit_s: float | None = None
    port: int = 0
    listen: str = "127.0.0.1"
    worker_host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.endpoint_id):
            raise BadInput(
                f"“{self.endpoint_id}” cannot be an endpoint's id: use letters, digits, . _ and -."
            )
        if not self.worker_argv:
            raise BadInput("The local endpoint has no command to start its workers with.")

    @property
    def digest(self) -> str:
        """The same for two configurations that give the same results.

        How many workers there are, on which port, and for how long, makes no other endpoint.
        """
        same = dataclasses.replace(self, workers=1, port=0, idle_exit_s=None)
        return hashlib.sha256(f"{_GENERATION}{same._text()}".encode()).hexdigest()

    def limit(self, sync: bool) -> int:
        """How many bytes a request or result may have."""
        return self.max_sync_bytes if sync else self.max_run_bytes

    def to_file(self, path: Path) -> None:
        """Write it, readable by us alone: ``worker_env`` may hold secrets."""
        write_private(path, self._text())

    @classmethod
    def from_file(cls, path: Path) -> EndpointConfig:
        """Read it; raises BadInput when it is not a configuration."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                **{
                    **data,
                    "data_dir": Path(data["data_dir"]),
                    "volume_dir": Path(data["volume_dir"]),
                    "worker_argv": tuple(data["worker_argv"]),
                }
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BadInput(f"{path.name} is not a configuration of the local endpoint: {error}") from error

    def _text(self) -> str:
        data: dict[str, Any] = dataclasses.asdict(self)
        data |= {"data_dir": str(self.data_dir), "volume_dir": str(self.volume_dir)}
        return json.dumps(data, sort_keys=True, indent=1)
