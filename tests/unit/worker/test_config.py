"""Settings from the environment: what cannot be used is named."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from worker.config import Config
from worker.process import clean_environment

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("value", ["five", "-1", "nan", "inf", "1e999"])
@pytest.mark.parametrize("name", ["COMFYUI_PORT", "EXECUTION_TIMEOUT", "MAX_INLINE_BYTES"])
def test_a_number_that_is_none_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is .*{value}"):
        Config.from_env({name: value})


@pytest.mark.parametrize("value", ["python main.py", "[]", "{}", '"python"', '["python", 5]'])
def test_a_command_that_is_no_list_of_words_is_named(value: str) -> None:
    with pytest.raises(ValueError, match=r"^COMFYUI_COMMAND is no JSON list of words"):
        Config.from_env({"COMFYUI_COMMAND": value})


def test_an_address_without_http_is_named() -> None:
    with pytest.raises(ValueError, match=r"^COMFYUI_URL is no address"):
        Config.from_env({"COMFYUI_URL": "127.0.0.1:8188"})


def test_defaults_and_both_modes(tmp_path: Path) -> None:
    own = Config.from_env(
        {"COMFYUI_DIR": str(tmp_path), "VOLUME_PATH": str(tmp_path / "none"), "COMFYUI_PORT": ""}
    )
    assert own.owns_comfyui
    assert own.command == (sys.executable, str(tmp_path / "main.py"), "--disable-auto-launch")
    assert (own.port, own.listen, own.volume, own.execution_timeout_s) == (8188, "127.0.0.1", None, 300)
    assert (own.input_dir, own.output_dir) == (tmp_path / "input", tmp_path / "output")
    attached = Config.from_env(
        {
            "COMFYUI_URL": "http://127.0.0.1:8188/",
            "VOLUME_PATH": str(tmp_path),
            "COMFYUI_COMMAND": '["a", "b"]',
        }
    )
    assert not attached.owns_comfyui
    assert (attached.attach_url, attached.volume) == ("http://127.0.0.1:8188", tmp_path)
    assert attached.command == ("a", "b")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("COMFYUI_COMMAND", "main.py", "no JSON list"),
        ("COMFYUI_COMMAND", '["/no-such-program"]', "no-such-program"),
    ],
)
def test_a_worker_that_cannot_begin_says_why_and_ends_with_2(
    tmp_path: Path, name: str, value: str, says: str
) -> None:
    environment = clean_environment({"COMFYUI_DIR": str(tmp_path), "HOME": str(tmp_path), name: value})
    ran = subprocess.run(
        [sys.executable, "-m", "worker"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 2
    assert "The worker cannot start: " in ran.stderr
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


class Noting(dict[str, str]):
    """An environment that notes what it is asked for."""

    def __init__(self, given: dict[str, str]) -> None:
        super().__init__(given)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


def test_the_readme_names_every_variable_and_every_code() -> None:
    readme = (ROOT / "worker" / "README.md").read_text("utf-8")
    named = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", readme))
    env = Noting({"BUCKET_ENDPOINT_URL": "https://s3", "BUCKET_ACCESS_KEY_ID": "a"})
    env["BUCKET_SECRET_ACCESS_KEY"] = "b"
    Config.from_env(env)
    asked = {name for name in env.asked if not name.startswith("RUNPOD_")}
    assert len(asked) > 40
    assert asked <= named
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "worker").glob("*.py"))
    codes = set(re.findall(r"""(?:JobError\(\s*|\bcode ?= ?)"([a-z_]+)\"""", source))
    assert len(codes) > 30
    assert codes <= set(re.findall(r"`([a-z_]+)`", readme))
