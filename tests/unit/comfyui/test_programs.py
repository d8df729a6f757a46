"""Running programs, and git by the real one: what is told, what is hidden, and that cancelling ends it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comfyui.causes import failed
from app.comfyui.programs import Ended, find_git, find_uv, masked, run, secrets_in
from app.comfyui.repositories import Git, checked_address, checked_version, newest_release, part_done
from app.errors import BadInput, NeedsSetup, ProcessFailed
from tests.unit.comfyui.made import commit, git
from worker.process import clean_environment, wait_for_end

UNKNOWN = "0123456789abcdef0123456789abcdef01234567"


async def python(script: str, *words: str, **options: object) -> Ended:
    return await run([sys.executable, "-u", "-c", script, *words], env=clean_environment(), **options)  # type: ignore[arg-type]


# -- a program -------------------------------------------------------------------------------------------


async def test_lines_and_redrawn_lines_are_told_apart(tmp_path: Path) -> None:
    lines, redrawn = list[str](), list[str]()
    script = r"""
import os, sys, time
for piece in (b"one\r\n", b" 1%\r 2%\r", b" 3%\n", b"two\n\nhalf"):
    os.write(1 if piece[0:1] != b" " else 2, piece)
    time.sleep(0.01)
sys.exit(3)
"""
    log = tmp_path / "deep" / "program.log"
    ended = await python(script, log_file=log, on_line=lines.append, on_redraw=redrawn.append)
    assert ended == Ended(3, ("one", " 3%", "two", "", "half"))
    assert tuple(lines) == ended.lines
    assert redrawn == [" 1%", " 2%"]
    assert log.read_text().endswith("one\n 3%\ntwo\n\nhalf\n")
    assert log.read_text().startswith("$ ")


async def test_a_line_without_an_end_is_taken_in_pieces() -> None:
    ended = await python("import os; [os.write(1, b'x' * 50_000) for _ in range(6)]")
    assert len(ended.lines) > 1
    assert sum(map(len, ended.lines)) == 300_000


async def test_no_secret_of_an_address_or_the_environment_is_told(tmp_path: Path) -> None:
    lines, log = list[str](), tmp_path / "x.log"
    env = {
        "HTTPS_PROXY": "http://me:pr0xy@127.0.0.1:9",
        "UV_INDEX_OURS_PASSWORD": "inde%78",
        "PATH": os.environ["PATH"],
    }
    argv = [sys.executable, "-c", "import os, sys; print(sys.argv[1:], dict(os.environ), 'a b t@k/n')"]
    argv += ["https://t0ken@example.org/x", "https://me:t%40k%2Fn@example.org/x"]
    ended = await run(argv, env=env, log_file=log, on_line=lines.append, redact=["given"])
    shown = repr(ended) + repr(lines) + log.read_text()
    assert "example.org" in shown
    for secret in ("t0ken", "t%40k%2Fn", "t@k/n", "pr0xy", "inde%78"):
        assert secret not in shown


async def test_cancelling_ends_it_and_its_children(tmp_path: Path) -> None:
    script = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
    pids = asyncio.Queue[str]()
    running = asyncio.create_task(python(script, on_line=pids.put_nowait))
    pid = int(await pids.get())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asyncio.to_thread(wait_for_end, pid, 10)


async def test_one_cancelled_before_it_began_is_ended_too() -> None:
    family = set(psutil.Process().children())
    running = asyncio.create_task(python("import time; time.sleep(600)"))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    new = set(psutil.Process().children()) - family
    assert [child for child in new if child.status() != psutil.STATUS_ZOMBIE] == []


async def test_one_that_cannot_be_started_is_said(tmp_path: Path) -> None:
    with pytest.raises(NeedsSetup, match="There is no program nothing at"):
        await run([str(tmp_path / "nothing")], env={})
    with pytest.raises(ProcessFailed, match="cannot be started"):
        await run([sys.executable], env={}, cwd=tmp_path / "nothing")


# -- secrets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:token@example.org/x.git", "https://***@example.org/x.git"),
        ("get https://token@a/x and https://b/y@z", "get https://***@a/x and https://b/y@z"),
        ("https://me:p@ss@example.org", "https://***@example.org"),
        ("ssh://git@example.org/x, git@example.org:x", "ssh://git@example.org/x, git@example.org:x"),
        ("ssh://me:pass@example.org/x", "ssh://***@example.org/x"),
        ("file:///home/me@work/x", "file:///home/me@work/x"),
    ],
)
def test_addresses_are_shown_without_secrets(text: str, shown: str) -> None:
    assert masked(text) == shown


LETTERS = st.text(
    st.characters(codec="ascii", exclude_characters="/@: \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"), min_size=1
)


@given(LETTERS, LETTERS, st.text())
def test_what_is_masked_is_known_as_a_secret(user: str, token: str, before: str) -> None:
    address = f"https://{user}:{token}@example.org/x"
    assert masked(f"{before} {address}").endswith("https://***@example.org/x")
    assert {token, f"{user}:{token}"} <= secrets_in(f"{before} {address}")
    assert masked(masked(address)) == masked(address)


# -- what went wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("fatal: write error: No space left on device", "the disk is full"),
        (
            "fatal: unable to access 'https://x/': Could not resolve host: x",
            "there is no network, or the server's",
        ),
        ("fatal: x: SSL certificate problem: self-signed certificate", "the server's certificate was not"),
        ("error: x\n  cause: invalid peer certificate: UnknownIssuer", "the server's certificate was not"),
        (
            "fatal: could not read Username for 'https://x': terminal prompts disabled",
            "it is private or does not",
        ),
        ("warning: no certificate problem\nerror: something new.", "something new"),
        ("something else", "something else"),
        ("", "it said nothing"),
    ],
)
def test_what_went_wrong_is_said_in_plain_words(said: str, cause: str) -> None:
    error = failed("Doing it", said.splitlines())
    assert str(error).startswith(f"Doing it failed: {cause}")
    assert error.details["log"] == said.splitlines()


# -- where they are --------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="programs have other names there")
def test_uv_is_found_where_it_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for name in ("UV", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    with pytest.raises(NeedsSetup, match="uv") as caught:
        find_uv()
    assert "pip install uv" in caught.value.hint
    with pytest.raises(NeedsSetup, match="git is not installed") as caught:
        find_git()
    assert "git" in caught.value.hint

    def put(place: str) -> Path:
        program = tmp_path / place
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        return program

    # The strongest last.
    for place in (
        ".local/share/comfy-runpod/uv/bin/uv",
        ".cargo/bin/uv",
        ".local/bin/uv",
        "path/uv",
        "venv/uv",
    ):
        program = put(place)
        assert find_uv() == program
    monkeypatch.setenv("UV", str(tmp_path / "nothing"))
    assert find_uv() == tmp_path / "venv" / "uv"
    monkeypatch.setenv("UV", str(put("mine")))
    assert find_uv() == tmp_path / "mine"
    assert put("path/git") == find_git()


# -- git -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("origin") / "with blank é"
    commit(folder, {"a.txt": "1"}, "v1.0")
    commit(folder, {"a.txt": "2"})
    git(folder, "tag", "--annotate", "v1.1", "--message", "annotated")
    git(folder, "branch", "topic/next")
    commit(folder, {"a.txt": "3"})
    git(folder, "branch", "v1.0/not")
    return folder


@pytest.mark.parametrize(
    ("version", "content"),
    [("", "3"), ("v1.0", "1"), ("v1.1", "2"), ("topic/next", "2"), ("full", "2"), ("short", "2")],
)
async def test_a_repository_is_cloned_at_a_version(
    origin: Path, tmp_path: Path, version: str, content: str
) -> None:
    second = git(origin, "rev-parse", "topic/next")
    parts = list[float]()
    made = Git(find_git(), tmp_path / "git.log")
    given_version = {"full": second, "short": second[:9]}.get(version, version)
    found = await made.clone(checked_address(str(origin)), given_version, tmp_path / "clone", parts.append)
    assert (tmp_path / "clone" / "a.txt").read_text() == content
    assert found == git(tmp_path / "clone", "rev-parse", "HEAD")
    assert parts == sorted(parts)
    assert git(tmp_path / "clone", "remote", "get-url", "origin") == origin.as_uri()


async def test_what_is_new_is_fetched_by_branch_and_by_commit(origin: Path, tmp_path: Path) -> None:
    origin = shutil.copytree(origin, tmp_path / "origin")
    made, clone = Git(find_git()), tmp_path / "clone"
    first = git(origin, "rev-parse", "v1.0")
    newest = await made.clone(origin.as_uri(), "", clone)
    commit(origin, {"a.txt": "4"})
    assert await made.fetch(clone, "main") == git(origin, "rev-parse", "main")
    assert await made.fetch(clone, "HEAD") == git(origin, "rev-parse", "main")
    assert await made.fetch(clone, first) == first
    assert await made.fetch(clone, git(origin, "rev-parse", "v1.1^{commit}")[:8])
    assert await made.commit_of(clone) == newest
    with pytest.raises(ProcessFailed, match="there is no such version"):
        await made.fetch(clone, "no-such-branch")


@pytest.mark.parametrize(
    ("address", "version", "sentence"),
    [
        ("", "v9", r"Asking file://.* for v9 failed: there is no such version\."),
        ("", "v1", "there is no such version"),
        ("", UNKNOWN, "there is no such version"),
        ("", UNKNOWN[:8], "there is no such version"),
        (
            "file:///nowhere/at/all.git",
            "",
            r"Downloading file:///nowhere/at/all\.git failed: nothing was found",
        ),
        ("https://me:t0ken@127.0.0.1:9/x.git", "", r"https://\*\*\*@127.* failed: the server did not answer"),
        ("http://127.0.0.1:9/x.git", "", "only https, ssh and file addresses are used"),
        ("ext::sh -c exit", "", "only https, ssh and file addresses are used"),
    ],
)
async def test_the_likely_cause_is_named(
    origin: Path, tmp_path: Path, address: str, version: str, sentence: str
) -> None:
    made = Git(find_git(), tmp_path / "git.log")
    with pytest.raises(ProcessFailed, match=sentence) as caught:
        await made.clone(address or origin.as_uri(), version, tmp_path / "clone")
    assert "t0ken" not in repr(caught.value.problem) + (tmp_path / "git.log").read_text()


async def test_what_a_clone_was_had_from_is_not_told(origin: Path, tmp_path: Path) -> None:
    lines = list[str]()
    made, clone = Git(find_git(), tmp_path / "git.log", lines.append), tmp_path / "clone"
    await made.clone(origin.as_uri(), "", clone, lambda _part: None)
    git(clone, "remote", "set-url", "origin", "https://me:t0ken@127.0.0.1:9/x.git")
    assert "t0ken" not in repr(await made.told(clone, "Asking", "remote", "--verbose"))
    with pytest.raises(ProcessFailed, match="the server did not answer") as caught:
        await made.fetch(clone, "main", lambda _part: None)
    assert "t0ken" not in repr((caught.value.problem, lines)) + (tmp_path / "git.log").read_text()


async def test_hooks_of_a_repository_are_not_run(origin: Path, tmp_path: Path) -> None:
    made, clone = Git(find_git()), tmp_path / "clone"
    await made.clone(origin.as_uri(), "", clone)
    hook = clone / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path / 'ran'}'\n")
    hook.chmod(0o755)
    await made.told(clone, "Going back", "checkout", "--detach", "HEAD")
    assert not (tmp_path / "ran").exists()


@given(st.text())
def test_no_address_is_an_option_or_a_program(text: str) -> None:
    try:
        address = checked_address(text)
    except BadInput:
        return
    assert address.startswith(("https://", "ssh://", "file:///")) or re.match(r"\w[\w.-]*@\w", address)
    assert address.isprintable()
    assert checked_address(address) == address


@given(st.from_regex(r"(?!-)[ -~]{0,30}", fullmatch=True) | st.text())
def test_no_version_is_an_option_or_a_range(text: str) -> None:
    try:
        version = checked_version(text)
    except BadInput:
        return
    assert not re.search(r"^-|\.\.|[\s:^~?*\[\\@{]|//", version)


@pytest.mark.parametrize(
    ("tags", "newest"),
    [
        (("v0.3.9", "v0.3.64", "v0.1.1113", "latest"), "v0.3.64"),
        (("1.0", "v0.9.9", "v2.0-rc1", "v2"), "1.0"),
        (("latest",), ""),
        ((), ""),
    ],
)
def test_the_newest_release_is_the_highest(tags: tuple[str, ...], newest: str) -> None:
    assert newest_release(dict.fromkeys(tags, "")) == newest


@given(st.text() | st.from_regex(r"(Receiving objects|Resolving deltas|Updating files): +\d{1,4}%.*"))
def test_any_line_is_a_part_or_none(line: str) -> None:
    part = part_done(line)
    assert part is None or 0 <= part <= 1


def test_the_parts_of_a_clone_follow_each_other() -> None:
    said = ("Receiving objects:   0% (0/9)", "Receiving objects: 100% (9/9)", "Resolving deltas:  50% (1/2)")
    parts = [part_done(line) for line in (*said, "Updating files: 100% (2/2)")]
    assert parts == [0.0, 0.8, pytest.approx(0.85), 1.0]
    assert part_done("remote: Counting objects: 100% (9/9), done.") is None
