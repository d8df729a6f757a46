"""Keys are planted wherever a user has them; nothing that the program writes, prints or starts has one."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from tests.e2e.conftest import ROOT, WORKFLOWS, Cli, blur_chain, color_workflow, until, written
from tests.e2e.proxies import Proxy

#: Where keys are in the environment of somebody who uses RunPod.
IN_ENVIRONMENT = (
    *("RUNPOD_API_KEY", "RUNPOD_S3_ACCESS_KEY", "RUNPOD_S3_SECRET_KEY"),
    *("HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "RUNPOD_AI_API_KEY"),
)
IN_KEYRING = ("runpod_api_key", "runpod_s3_access_key", "runpod_s3_secret_key")
REFUSES, FAILS = "refuses-and-tells", "fails-and-tells"


class Telltale(Proxy):
    """Every server there is, as bad as can be: it says in its errors what it was given."""

    def __init__(self) -> None:
        super().__init__()
        #: Each request's path and what it gave away.
        self.told: list[tuple[str, str]] = []

    async def serve(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        given = request.headers.get("Authorization", "")
        self.told.append((request.path, given))
        words = request.path.split("/")
        if words[-1] == "run" and FAILS in words:
            return web.json_response({"id": "job-1", "status": "IN_QUEUE"})
        if "status" in words:
            output = {"images": [], "note": given}
            error = f"Handler failed with headers {dict(request.headers)}"
            return web.json_response({"id": "job-1", "status": "FAILED", "error": error, "output": output})
        said = f"The key in '{given}' is wrong, {dict(request.headers)}"
        if "serverless" in words:
            return web.json_response({"detail": said, "title": said, "errors": [said]}, status=422)
        return web.json_response({"error": said}, status=401, headers={"X-Given": given})


class Plot:
    """What is planted, and where."""

    def __init__(self, folder: Path, cli: Cli) -> None:
        self.folder = folder
        self.values: dict[str, str] = {}
        self._places: dict[Path, bytes] = {}
        for name in IN_ENVIRONMENT:
            self.values[name] = self._new(name)
        kept = {f"comfy-runpod/{name}": self._new(f"keyring {name}") for name in IN_KEYRING}
        self._file(folder / "keyring.json", json.dumps(kept))
        toml = f'[default]\napi_key = "{self._new("config.toml")}"\n'
        self._file(folder / "home" / ".runpod" / "config.toml", toml)
        settings = {"runpod_api_key": self._new("settings"), "hf_token": self._new("settings hf")}
        self._file(cli.data / "settings.yaml", json.dumps(settings))
        self.env = {
            **{name: self.values[name] for name in IN_ENVIRONMENT},
            "HOME": str(folder / "home"),
            "PYTHON_KEYRING_BACKEND": "tests.keyrings.FileKeyring",
            "TEST_KEYRING": str(folder / "keyring.json"),
            "RUNPOD_VOLUME_ID": "volume",
        }

    def without_keys(self) -> dict[str, str]:
        """The environment of somebody who has the keys in the keyring only."""
        return {name: value for name, value in self.env.items() if name not in IN_ENVIRONMENT}

    def found(self, text: bytes) -> list[str]:
        """Which of the planted are in a text, as they are or in base64."""
        return [name for name, value in self.values.items() if any(form in text for form in _forms(value))]

    def is_nowhere_else(self) -> None:
        """Every file that there is now; where something was planted, nothing changed."""
        for path, before in self._places.items():
            assert path.read_bytes() == before, path
        looked_at = [path for path in self.folder.rglob("*") if path.is_file() and path not in self._places]
        names = {path.name for path in looked_at}
        assert {"jobs.sqlite", "endpoint-config.json", "endpoint.log", "worker-1.log"} <= names, names
        bad = {str(path): hit for path in looked_at if (hit := self.found(path.read_bytes()))}
        assert not bad, bad

    def _new(self, where: str) -> str:
        # Looks like no key of a known kind, so that nothing is hidden for its looks.
        value = self.values[where] = "Zq" + secrets.token_hex(16)
        return value

    def _file(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        self._places[path] = text.encode()


def _forms(value: str) -> Iterator[bytes]:
    """A value as it is, and its inner part in base64 wherever it begins."""
    raw = value.encode()
    yield raw
    for shift in range(3):
        encoded = base64.b64encode(b"." * shift + raw)
        # The ends depend on what stands beside it.
        yield encoded[4:-4]


@pytest.fixture
def plot(cli: Cli, tmp_path: Path) -> Plot:
    return Plot(tmp_path, cli)


@pytest.fixture
def telltale() -> Iterator[Telltale]:
    with Telltale() as server:
        yield server


def test_what_is_looked_for_is_found(plot: Plot) -> None:
    """Else the other tests would say nothing."""
    for name, value in plot.values.items():
        for text in (f"a {value} b", f"Bearer {value}"):
            for before in ("", "x", "xy"):
                whole = (before + text).encode()
                assert plot.found(whole) == [name]
                assert plot.found(base64.b64encode(whole)) == [name]
    (plot.folder / "data" / "logs").mkdir(parents=True)
    (plot.folder / "data" / "logs" / "x.log").write_text(plot.values["HF_TOKEN"])
    with pytest.raises(AssertionError):
        plot.is_nowhere_else()


def environments(cli: Cli) -> dict[str, Mapping[str, str]]:
    """Of everything that works for the program, by its command; not of the commands that we ran ourselves."""
    found: dict[str, Mapping[str, str]] = {}
    for process in cli.processes():
        try:
            words, environment = process.cmdline(), process.environ()
        except psutil.Error:
            continue
        if "app.cli" not in words:
            found[f"{process.pid} {' '.join(words)}"] = environment
    return found


def test_no_key_is_where_it_does_not_belong(cli: Cli, plot: Plot, telltale: Telltale, tmp_path: Path) -> None:
    elsewhere = {
        "RUNPOD_ENDPOINT_BASE_URL": f"{telltale.url}/v2",
        "RUNPOD_API_BASE_URL": f"{telltale.url}/v2",
        "RUNPOD_S3_URL": telltale.url,
    }
    cli.extra = {**plot.env, **elsewhere}
    out = ("--output", tmp_path / "out")
    printed: list[tuple[str, str]] = []

    def ran(code: int, *words: str | Path) -> subprocess.CompletedProcess[str]:
        done = cli.run("-v", *words)
        assert done.returncode == code, done.stderr
        printed.append((" ".join(map(str, words)), done.stdout + done.stderr))
        return done

    # A job on this computer, and what works on it.
    slow = cli.start("-v", "run", written(tmp_path / "slow.json", blur_chain(25)), "--target", "demo", *out)
    until(lambda: any(" app.demo" in words for words in environments(cli)), 60)
    until(lambda: (jobs := cli.jobs()) and jobs[0]["state"] == "running", 60)
    seen = environments(cli)
    for module in ("app.endpoint", "worker", "app.demo"):
        assert any(f"-m {module}" in words for words in seen), seen.keys()
    for words, environment in seen.items():
        assert not plot.found(json.dumps([words, dict(environment)]).encode()), words
        # Not even an empty one: nothing there has to do with an account.
        assert not {"RUNPOD_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"} & set(environment), words
    printed.append(("slow", "".join(slow.communicate(timeout=90))))
    assert slow.returncode == 0, printed[-1]

    # Jobs that fail: here, and at servers that tell what they were given.
    bad = color_workflow(1, "x")
    bad["1"]["inputs"]["width"] = 0
    ran(1, "run", written(tmp_path / "bad.json", bad), "--target", "demo", "--json", *out)
    big = tmp_path / "big.png"
    big.write_bytes(os.urandom(9_000_000))
    for env in (plot.env, plot.without_keys()):
        cli.extra = {**env, **elsewhere}
        told = len(telltale.told)
        ran(1, "run", WORKFLOWS / "hello.json", "--target", REFUSES, *out)
        ran(1, "run", WORKFLOWS / "hello.json", "--target", FAILS, "--json", *out)
        given = ("--image", f"photo.png={big}")
        ran(1, "run", WORKFLOWS / "photo.json", "--target", REFUSES, *given, *out)
        ran(1, "endpoint", "health", "--target", REFUSES)
        ran(1, "key", "test")
        ran(1, "endpoint", "list")
        ran(1, "endpoint", "list", "--json")
        # All of them were given away; the S3 key by its name, which is in what S3 calls a signature.
        api, access = IN_ENVIRONMENT[:2] if env is plot.env else [f"keyring {n}" for n in IN_KEYRING[:2]]
        for path, name in ((REFUSES, api), (FAILS, api), ("/v2/serverless", api), ("/volume/", access)):
            assert any(path in at and plot.values[name] in given for at, given in telltale.told[told:]), name
    ids = [job["id"] for job in cli.jobs()]
    ran(0, "jobs", "show", *ids)
    ran(0, "jobs", "show", *ids, "--json")
    ran(0, "jobs", "list", "--json")

    for words, text in printed:
        assert not plot.found(text.encode()), (words, text)
    # What the servers said is told, with the key blotted out.
    assert sum("***" in text for _, text in printed) > 4
    # A database that is open has more in the file beside it.
    with sqlite3.connect(cli.data / "jobs.sqlite") as db:
        db.execute("PRAGMA wal_checkpoint")
        plot.is_nowhere_else()


#: The program, in which something fails that nobody has thought of, with a key in the error's text.
FAILS_UNEXPECTEDLY = """
import sys
from app.endpoint.client import JobClient

async def run(self, *_, **__):
    raise RuntimeError(f"nobody thought of {self._headers}")

JobClient.run = run
from app.cli import main
sys.exit(main(sys.argv[1:]))
"""
#: The window's log, and a mistake of ours in it.
LOGS_A_MISTAKE = """
import logging, os
from app.main import log_to_file
from app.settings import Settings
from app.vault import read

settings = Settings.load()
log_to_file(settings)
kept = read("runpod_api_key")
try:
    raise RuntimeError(f"with {settings.runpod_api_key.reveal()} and {kept.reveal()}")
except RuntimeError:
    logging.getLogger("x").exception("It ended with %s", {"key": settings.runpod_s3_secret_key.reveal()})
logging.getLogger("x").error("Of %r", settings)
"""


def program(cli: Cli, code: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=ROOT, env=cli.env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_no_key_is_in_the_log_of_a_mistake(cli: Cli, plot: Plot) -> None:
    cli.extra = plot.env
    done = program(cli, LOGS_A_MISTAKE)
    assert done.returncode == 0, done.stderr
    log = (cli.data / "logs" / "panel.log").read_text()
    assert "RuntimeError: with *** and ***" in log
    assert "It ended with {'key': '***'}" in log
    assert not plot.found((log + done.stdout + done.stderr).encode())


def test_no_key_is_in_what_a_crash_prints(cli: Cli, plot: Plot, telltale: Telltale, tmp_path: Path) -> None:
    cli.extra = {**plot.env, "RUNPOD_ENDPOINT_BASE_URL": f"{telltale.url}/v2"}
    words = ("run", WORKFLOWS / "hello.json", "--target", REFUSES, "--output", tmp_path / "out")
    done = program(cli, FAILS_UNEXPECTEDLY, *words)
    assert done.returncode != 0
    assert "nobody thought of" in done.stderr
    assert not plot.found((done.stdout + done.stderr).encode()), done.stderr[-3000:]
