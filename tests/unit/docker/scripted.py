"""A program in Docker's place that answers what it is told to, and the outputs that real ones printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

RECORDED = Path(__file__).parent / "recorded"

#: An exit code and what is printed; of several answers each call takes the next, and the last stays.
Answer = tuple[int, str]

VERSION = {"Client": {"Version": "28.2.2"}, "Server": {"Version": "28.2.2"}}
INFO = {"OSType": "linux", "Architecture": "x86_64", "DockerRootDir": "/var/lib/docker", "Name": "elsewhere"}
READY: Mapping[str, Answer | Sequence[Answer]] = {
    "version": (0, json.dumps(VERSION)),
    "buildx version": (0, "github.com/docker/buildx v0.24.0 abc"),
    "info": (0, json.dumps(INFO)),
}

_PROGRAM = r"""
import json, os, sys
folder = sys.argv[0] + ".d/"
words = " ".join(sys.argv[1:])
with open(folder + "asked", "a") as asked:
    asked.write(json.dumps([sys.argv[1:], dict(os.environ), sys.stdout.isatty()]) + "\n")
with open(folder + "answers") as file:
    answers = json.load(file)
begin = max((key for key in answers if words.startswith(key)), key=len, default=None)
if begin is None:
    sys.exit("docker: unknown command: docker " + words)
left = answers[begin]
code, text = left[0]
if len(left) > 1:
    del left[0]
    with open(folder + "answers", "w") as file:
        json.dump(answers, file)
sys.stdout.write(text)
sys.exit(code)
"""


def program(folder: Path, answers: Mapping[str, Answer | Sequence[Answer]]) -> Path:
    """An executable named docker; the key of an answer is how the words of the command begin."""
    if sys.platform == "win32":
        pytest.skip("A script is no program there.")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "docker"
    path.write_text(f"#!{sys.executable} -IS\n{_PROGRAM}", "utf-8")
    path.chmod(0o755)
    (folder / "docker.d").mkdir()
    listed = {key: [said] if isinstance(said[0], int) else list(said) for key, said in answers.items()}
    (folder / "docker.d" / "answers").write_text(json.dumps(listed), "utf-8")
    return path


def asked(program: Path) -> list[tuple[list[str], dict[str, str], bool]]:
    """Each call's words, its environment, and whether it wrote to a terminal."""
    lines = (program.parent / "docker.d" / "asked").read_text("utf-8").splitlines()
    return [(words, env, terminal) for words, env, terminal in map(json.loads, lines)]


def recorded(name: str) -> str:
    return (RECORDED / name).read_bytes().decode("utf-8")
