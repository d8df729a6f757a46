"""Whether Docker is signed in, from its own store; no password is told."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.docker.model import SignIn, SignInState
from app.docker.names import checked_name, checked_reference, registry_of
from app.docker.signin import signed_in
from app.errors import BadInput

HUB = "https://index.docker.io/v1/"
OUT = SignIn(SignInState.SIGNED_OUT)
UNKNOWN = SignIn(SignInState.UNKNOWN)


def signed(user: str | None) -> SignIn:
    return SignIn(SignInState.SIGNED_IN, user)


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def store(folder: Path, config: Any) -> dict[str, str]:
    """The environment that names it."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config), "utf-8")
    return {"DOCKER_CONFIG": str(folder), "PATH": str(folder)}


@pytest.mark.parametrize(
    ("config", "registry", "answer"),
    [
        ({"auths": {HUB: auth("marta:pass:word")}}, "docker.io", signed("marta")),
        ({"auths": {HUB: auth("marta:pass")}}, "ghcr.io", OUT),
        ({"auths": {"ghcr.io": auth("m@example.org:pass")}}, "ghcr.io", signed("m@example.org")),
        ({"auths": {"https://reg.example.org:5000/v2/": auth("ab:c")}}, "reg.example.org:5000", signed("ab")),
        ({"auths": {"ghcr.io": {"identitytoken": "xyz"}}}, "ghcr.io", signed(None)),
        ({"auths": {"ghcr.io": {}}}, "ghcr.io", OUT),
        ({"auths": {"ghcr.io": {"auth": "not base64"}}}, "ghcr.io", signed(None)),
        ({"auths": []}, "ghcr.io", OUT),
        ({}, "docker.io", OUT),
        ("{", "docker.io", UNKNOWN),
        ("[]", "docker.io", UNKNOWN),
        ({"credsStore": "nobody-has-this"}, "docker.io", UNKNOWN),
        ({"credsStore": "../x"}, "docker.io", UNKNOWN),
    ],
)
async def test_what_the_file_says(tmp_path: Path, config: Any, registry: str, answer: SignIn) -> None:
    assert await signed_in(registry, store(tmp_path, config)) == answer


async def test_without_a_file_nobody_is_signed_in(tmp_path: Path) -> None:
    assert await signed_in("docker.io", {"DOCKER_CONFIG": str(tmp_path)}) == OUT


@pytest.mark.skipif(sys.platform == "win32", reason="A script is no program there.")
async def test_a_helper_is_asked_for_names_only(tmp_path: Path) -> None:
    listed = {HUB: "marta", HUB + "access-token": "marta", "https://ghcr.io": "<token>"}
    env = store(tmp_path, {"credsStore": "x", "credHelpers": {"broken.example.org": "y"}})
    begin = f"#!{sys.executable} -IS\nimport sys\n"
    script = f"{begin}assert sys.argv[1:] == ['list']\nprint({json.dumps(listed)!r})\n"
    for name, text in (
        ("x", script),
        ("y", f"{begin}sys.exit('not implemented')\n"),
    ):
        (tmp_path / f"docker-credential-{name}").write_text(text, "utf-8")
        (tmp_path / f"docker-credential-{name}").chmod(0o755)
    assert await signed_in("docker.io", env) == signed("marta")
    assert await signed_in("ghcr.io", env) == signed(None)
    assert await signed_in("example.org", env) == OUT
    assert await signed_in("broken.example.org", env) == UNKNOWN


# -- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "registry"),
    [
        ("curryberto/comfyui-serverless:latest", "docker.io"),
        ("ghcr.io/me/x", "ghcr.io"),
        ("127.0.0.1:5000/x:1", "127.0.0.1:5000"),
        ("localhost/x", "localhost"),
        ("base:1", "docker.io"),
    ],
)
def test_names(name: str, registry: str) -> None:
    assert checked_name(f" {name} ") == name
    assert registry_of(name) == registry


@pytest.mark.parametrize(
    "name", ["", "-x", "a b", "A/b", "a:b:c", "a/../b", "a@b", "a/", "x" * 500, "a\nb", "--all"]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(BadInput):
        checked_name(name)
    with pytest.raises(BadInput):
        checked_reference(name)


def test_digests_and_ids_are_references() -> None:
    digest = "sha256:" + "a" * 64
    for text in (f"ghcr.io/me/x@{digest}", f"ghcr.io/me/x:1@{digest}", digest, "a" * 12):
        assert checked_reference(text) == text


@given(st.text(max_size=30) | st.from_regex(r"[a-z:/@.\-]{1,20}", fullmatch=True))
def test_a_checked_name_is_one_word_and_no_option(text: str) -> None:
    try:
        name = checked_reference(text)
    except BadInput:
        return
    assert not name.startswith("-")
    assert name.isascii()
    assert not any(letter.isspace() for letter in name)
