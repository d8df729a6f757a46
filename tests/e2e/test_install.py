"""ComfyUI installed by the program itself into an empty folder, then started, used, given a node, stopped.

The repository that stands for ComfyUI here holds a ``main.py`` that is the demo engine; git, uv and the new
environment are real. With COMFYUI_DIR and ``--long`` the same is done with the real ComfyUI, its PyTorch too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from app.comfyui.install_steps import MARKER
from tests.e2e.conftest import ROOT, WORKFLOWS, Cli, until
from tests.engines import REAL_DIR
from tests.unit.comfyui.made import TORCH, commit, git, only_these, uv, wheel
from worker.process import wait_for_end

#: Run by the new environment, which has no aiohttp: goes on in ours as the demo engine.
_MAIN = """
import os, sys
if sys.executable != {python!r}:
    os.execv({python!r}, [{python!r}, __file__, *sys.argv[1:]])
sys.path.insert(0, {root!r})
from app.demo.__main__ import main
sys.exit(main(["--base-directory", os.path.dirname(os.path.abspath(__file__)), *sys.argv[1:]]))
"""


def comfyui_in(folder: Path) -> Path:
    """A repository that stands for ComfyUI, with one release."""
    files = {
        "main.py": _MAIN.format(python=sys.executable, root=str(ROOT)),
        "comfyui_version.py": '__version__ = "0.3.64"\n',
        "requirements.txt": "torch\npictures>=1\n",
        "models/checkpoints/put_checkpoints_here": "",
        "custom_nodes/websocket_image_save.py": "",
    }
    commit(folder, files, "v0.3.64")
    return folder


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of our own: what is removed goes to the trash in it."""
    base = tmp_path.resolve()
    (base / "home").mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(base / "home" / "share"))
    monkeypatch.setenv("UV", str(uv()))
    return base


@pytest.fixture
def wheels(
    base: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The only packages that uv knows."""
    folder = base / "wheels"
    wheel(folder, "torch", "2.8.0", files=TORCH)
    for name in ("torchvision", "torchaudio", "pictures", "pip", "requests", "extra"):
        wheel(folder, name)
    only_these(monkeypatch, folder, tmp_path_factory.getbasetemp() / "uv-cache")
    # The proxy that goes nowhere is for the world outside.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HOME", str(base / "home"))
    return folder


@pytest.fixture
def comfyui(base: Path, wheels: Path) -> Path:
    return comfyui_in(base / "origins" / "ComfyUI")


@pytest.fixture
def cli(base: Path) -> Iterator[Cli]:
    program = Cli(base / "data")
    yield program
    program.clean_up()


def told(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON object that a command printed."""
    assert ran.returncode in (0, 1), ran.stderr
    (line,) = ran.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def state(cli: Cli) -> tuple[str, int]:
    ran = cli.run("comfyui", "status", "--json")
    return str(told(ran)["state"]), ran.returncode


def install(folder: Path, origin: Path, *more: str) -> tuple[str | Path, ...]:
    return ("comfyui", "install", folder, "--from", origin, "--python", sys.executable, "--json", *more)


def goes_all_the_way(cli: Cli, origin: Path, pack: Path, timeout: float = 90) -> dict[str, Any]:
    """Install, start, run, add and remove a node, stop; what the installation told."""
    base, folder = cli.data.parent, cli.data.parent / "ComfyUI"
    ran = cli.run(*install(folder, origin), timeout=timeout)
    assert ran.returncode == 0, ran.stderr
    installed = told(ran)
    assert installed["folder"] == str(folder)
    assert state(cli) == ("stopped", 1)

    started = told(cli.run("comfyui", "start", "--json", timeout=timeout))
    assert started["url"].startswith("http://127.0.0.1:"), started
    output = ("--target", "local", "--output", base / "out")
    ran = cli.run("run", WORKFLOWS / "hello.json", *output, timeout=timeout)
    assert ran.returncode == 0, ran.stderr + cli.logs()
    (picture,) = map(Path, ran.stdout.splitlines())
    assert picture.parent == base / "out"
    with Image.open(picture) as made:
        assert made.size == (256, 256)

    ran = cli.run("comfyui", "nodes", "install", pack, "--yes", timeout=timeout)
    assert ran.returncode == 0, ran.stderr
    ran = cli.run("comfyui", "nodes", "list", "--json")
    listed = {each["name"]: each for each in map(json.loads, ran.stdout.splitlines())}
    assert sorted(listed) == [pack.name, "websocket_image_save.py"]
    assert listed[pack.name]["repository"] == pack.as_uri()
    assert listed[pack.name]["commit"] == git(pack, "rev-parse", "HEAD")
    assert (folder / "custom_nodes" / pack.name / "__init__.py").is_file()
    # Elsewhere the system's trash is the user's own, and cannot be put aside.
    if sys.platform == "linux":
        assert cli.run("comfyui", "nodes", "remove", pack.name).returncode == 0
        assert not (folder / "custom_nodes" / pack.name).exists()
        trashed = base / "home" / "share" / "Trash" / "files" / pack.name
        assert (trashed / "__init__.py").is_file()

    assert state(cli) == ("running", 0), "it was left running, and no other command ends it"
    pid = json.loads((cli.data / "comfyui" / "comfyui.json").read_text("utf-8"))["pid"]
    assert psutil.pid_exists(pid)
    assert told(cli.run("comfyui", "stop", "--json"))["state"] == "stopped"
    assert wait_for_end(pid, 0), "it has ended when the command says so"
    return installed


def pack_in(folder: Path, requirements: str) -> Path:
    commit(folder, {"__init__.py": "NODE_CLASS_MAPPINGS = {}\n", "requirements.txt": requirements}, "v1")
    return folder


def test_from_an_empty_folder_to_a_picture(cli: Cli, comfyui: Path, base: Path) -> None:
    installed = goes_all_the_way(cli, comfyui, pack_in(base / "origins" / "my-pack", "extra\n"))
    assert (installed["version"], installed["torch"], installed["device"]) == ("0.3.64", "2.8.0", "cpu")


def test_what_is_missing_is_said_and_then_it_goes_on(
    cli: Cli, comfyui: Path, base: Path, wheels: Path
) -> None:
    folder = base / "ComfyUI"
    torch = wheels / "torch-2.8.0-py3-none-any.whl"
    torch.rename(wheels / "elsewhere")
    ran = cli.run(*install(folder, comfyui))
    assert ran.returncode == 1
    assert told(ran)["error"].startswith("Installing PyTorch failed: ")
    said = [line for line in ran.stderr.splitlines() if line.startswith("comfy-runpod: ")]
    assert len(said) == 1, ran.stderr
    assert "torch" in said[0]
    assert "Traceback" not in ran.stderr

    # It is no ComfyUI yet: nobody chose it, and who does so is told what is missing.
    settings = cli.data / "settings.yaml"
    assert not settings.exists()
    cli.extra = {"COMFYUI_DIR": str(folder)}
    ran = cli.run("comfyui", "start", "--json")
    assert (ran.returncode, told(ran)["error"]) == (
        1,
        f"The installation of ComfyUI in {folder} was not finished.",
    )
    cli.extra = {}

    (wheels / "elsewhere").rename(torch)
    ran = cli.run(*install(folder, comfyui))
    assert ran.returncode == 0, ran.stderr
    assert "1/5 download  done · done before" in ran.stderr
    assert f"comfyui_dir: {folder}" in settings.read_text("utf-8")


def test_what_is_half_installed_can_be_discarded(cli: Cli, comfyui: Path, base: Path, wheels: Path) -> None:
    folder = base / "ComfyUI"
    (wheels / "torch-2.8.0-py3-none-any.whl").unlink()
    assert cli.run(*install(folder, comfyui)).returncode == 1
    assert (folder / MARKER).is_file()
    assert told(cli.run("comfyui", "install", folder, "--discard", "--json")) == {"discarded": True}
    assert sorted(path.name for path in base.iterdir()) == ["data", "home", "origins", "wheels"]


@pytest.mark.skipif(sys.platform == "win32", reason="no other process can be sent a Ctrl+C")
def test_ctrl_c_ends_git_and_uv_and_it_goes_on_later(cli: Cli, comfyui: Path, base: Path) -> None:
    folder = base / "ComfyUI"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # Takes calls and never says anything: whoever asks it waits.
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        asks_git = ("comfyui", "install", folder, "--from", f"https://{where}/ComfyUI.git")
        asks_uv = install(folder, comfyui, "--torch-index", f"http://{where}/simple")
        interrupted(cli, "git", asks_git, signal.SIGINT, 130)
        # The terminal was closed.
        interrupted(cli, "git", asks_git, signal.SIGHUP, 129)
        assert not folder.exists()
        interrupted(cli, "uv", asks_uv, signal.SIGINT, 130)
        assert (folder / MARKER).is_file()
    ran = cli.run(*install(folder, comfyui))
    assert ran.returncode == 0, ran.stderr
    assert "2/5 environment  done · done before" in ran.stderr
    assert not (folder / MARKER).exists()


def interrupted(
    cli: Cli, program: str, command: tuple[str | Path, ...], number: signal.Signals, code: int
) -> None:
    """Send a signal to an installation that waits for the network."""
    running = cli.start(*command)
    until(lambda: [each for each in children(running.pid) if waits(each, program)])
    running.send_signal(number)
    _, err = running.communicate(timeout=20)
    assert running.returncode == code, err
    assert "Traceback" not in err
    assert [each.cmdline() for each in cli.processes()] == []


def children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def waits(process: psutil.Process, program: str) -> bool:
    """Whether this is git or uv, or a part of it, with an open line to somebody."""
    try:
        return process.name().startswith(program) and bool(process.net_connections("tcp"))
    except psutil.Error:
        return False


# -- the real one ----------------------------------------------------------------------------------------


def copied(checkout: Path, folder: Path) -> Path:
    """A repository with the files of a checkout, of which git may not have all objects."""
    for name in filter(None, git(checkout, "ls-tree", "-r", "-z", "--name-only", "HEAD").split("\0")):
        if (checkout / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(checkout / name, folder / name)
    commit(folder, {}, "v0.3.64")
    return folder


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(REAL_DIR is None, reason="needs a real ComfyUI")
def test_the_real_comfyui_is_installed_and_runs(
    base: Path,
    trusting: Callable[[Mapping[str, str]], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a copy of the one that COMFYUI_DIR names, with the packages of the usual indexes: some GB."""
    for name, value in trusting(os.environ).items():
        monkeypatch.setenv(name, value)
    # Its packages go with the folder, and are not kept twice.
    monkeypatch.setenv("UV_CACHE_DIR", str(base / "cache"))
    cli = Cli(base / "data", {"COMFYUI_ARGS": "--cpu --disable-api-nodes"})
    try:
        origin = copied(Path(str(REAL_DIR)), base / "origins" / "ComfyUI")
        goes_all_the_way(cli, origin, pack_in(base / "origins" / "my-pack", "packaging\n"), timeout=900)
    finally:
        cli.clean_up()
        for name in ("ComfyUI", "cache", "origins"):
            shutil.rmtree(base / name, ignore_errors=True)
