"""A program in Docker's place that keeps images and containers in a folder, for what needs more than answers.

It builds nothing: a build tells its steps, and then there is an image of that name. A container of an image
is a worker that answers RunPod's jobs with a small picture. POSIX only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


class FakeDocker:
    """The program, what it shall do, and what it was asked.

    What can be told with :meth:`tell`: ``daemon``: False: it is not running. ``build``: ``fail`` or ``hang``
    in its second step. ``push``: ``denied``. ``run``: ``fail`` or ``hang``.
    """

    def __init__(self, folder: Path, object_info: dict[str, Any]) -> None:
        self.folder, self.program = folder, folder / "docker"
        (folder / "containers").mkdir(parents=True)
        (folder / "object_info.json").write_text(json.dumps(object_info), encoding="utf-8")
        self.told: dict[str, Any] = {}
        self.tell()
        call = f"sys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom fake_docker_program import main\n"
        text = f"#!{sys.executable} -IS\nimport sys\n{call}main({str(folder)!r})\n"
        self.program.write_text(text, encoding="utf-8")
        self.program.chmod(0o755)

    def tell(self, **told: Any) -> None:
        self.told |= told
        (self.folder / "told.json").write_text(json.dumps(self.told), encoding="utf-8")

    def leave_container(self, name: str, label: str) -> None:
        """One that somebody's end has left behind."""
        text = json.dumps({"labels": [label], "pid": 0})
        (self.folder / "containers" / name).write_text(text, encoding="utf-8")

    def have_image(self, name: str) -> None:
        """One that was built before."""
        (self.folder / "images.json").write_text(json.dumps({name: {}}), encoding="utf-8")

    @property
    def containers(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "containers").iterdir())

    @property
    def images(self) -> list[str]:
        path = self.folder / "images.json"
        return sorted(json.loads(path.read_text("utf-8"))) if path.exists() else []

    def asked(self, word: str) -> list[list[str]]:
        """The calls that begin with a word, or with two of them."""
        lines = (self.folder / "asked").read_text("utf-8").splitlines()
        calls = [json.loads(line) for line in lines]
        return [call for call in calls if " ".join(call).startswith(word)]
