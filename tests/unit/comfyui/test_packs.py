"""Packs of nodes: listed from the disk and ComfyUI's log, and changed by the real git and the real uv."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comfyui.installation import Installation
from app.comfyui.pack_changes import Change, Need, changes_in, conflicts_of, need_of
from app.comfyui.pack_clone import name_of
from app.comfyui.pack_list import Pack, PackState, list_packs, node_folder
from app.comfyui.pack_logs import ImportResult, import_results
from app.comfyui.packs import Packs
from app.comfyui.programs import find_git
from app.errors import BadInput, ProcessFailed
from tests.unit.comfyui.made import commit, git, only_these, uv, wheel

LOG = """\
Checkpoint files will always be loaded safely.
Traceback (most recent call last):
  File "/c/nodes.py", line 1, in load_custom_node
    loader.exec_module(module)
ModuleNotFoundError: No module named 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/c/custom_nodes/broken/__init__.py", line 3, in <module>
    import b
ModuleNotFoundError: No module named 'b'

Cannot import /c/custom_nodes/broken module for custom nodes: No module named 'b'
Traceback (most recent call last):
  File "/c/custom_nodes/with blank/__init__.py", line 1
    def (
        ^
SyntaxError: invalid syntax

Cannot import /c/custom_nodes/with blank module for custom nodes: invalid syntax (__init__.py, line 1)
Skip /c/custom_nodes/none module for custom nodes due to the lack of NODE_CLASS_MAPPINGS.
Error while calling comfy_entrypoint in /c/custom_nodes/entry: no such model: x

Import times for custom nodes:
   0.0 seconds: /c/custom_nodes/single.py
   0.1 seconds (IMPORT FAILED): /c/custom_nodes/none
   0.1 seconds (IMPORT FAILED): /c/custom_nodes/entry
   0.2 seconds (IMPORT FAILED): /c/custom_nodes/with blank
   1.5 seconds (IMPORT FAILED): /c/custom_nodes/broken
  12.3 seconds: /c/custom_nodes/good

Starting server
"""


# -- the log ---------------------------------------------------------------------------------------------


def test_the_log_tells_how_each_import_went() -> None:
    results = import_results(LOG.splitlines())
    base = "/c/custom_nodes/"
    assert results[base + "good"] == ImportResult(loaded=True, seconds=12.3)
    assert results[base + "single.py"] == ImportResult(loaded=True, seconds=0.0)
    broken = results[base + "broken"]
    assert (broken.loaded, broken.seconds) == (False, 1.5)
    assert broken.error == "ModuleNotFoundError: No module named 'b'"
    assert broken.traceback.startswith("Traceback")
    assert broken.traceback.count("Traceback") == 2
    assert broken.traceback.endswith(broken.error)
    assert results[base + "with blank"].error == "SyntaxError: invalid syntax"
    assert "'b'" not in results[base + "with blank"].traceback
    assert results[base + "none"].error.startswith("the lack of NODE_CLASS_MAPPINGS")
    assert results[base + "entry"].error == "no such model: x"
    assert len(results) == 6


def test_with_times_before_the_lines_it_is_the_same() -> None:
    timed = [f"[2026-01-02 03:04:05.678] {line}" for line in LOG.splitlines()]
    assert import_results(timed) == import_results(LOG.splitlines())


def test_the_last_start_counts_and_one_that_goes_on() -> None:
    again = LOG + "Import times for custom nodes:\n   0.5 seconds: /c/custom_nodes/broken\n\n"
    assert import_results(again.splitlines()) == {"/c/custom_nodes/broken": ImportResult(True, 0.5)}
    begun = again + "Cannot import /c/custom_nodes/broken module for custom nodes: new\n"
    assert import_results(begun.splitlines())["/c/custom_nodes/broken"] == ImportResult(False, None, "new")


LINES = st.sampled_from(LOG.splitlines()) | st.text()


@given(st.lists(LINES))
def test_any_log_can_be_read(lines: list[str]) -> None:
    for path, result in import_results(lines).items():
        assert path
        assert result.loaded <= (not result.error)
        assert "\n" not in result.error or any("\n" in line for line in lines)


PATHS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1).map("/n/".__add__)


@given(st.lists(st.tuples(st.integers(0, 9999), PATHS, st.booleans()), unique_by=lambda row: row[1]))
def test_a_table_is_read_as_it_is_written(rows: list[tuple[int, str, bool]]) -> None:
    table = ["", "Import times for custom nodes:"]
    for tenths, path, loaded in rows:
        failed = "" if loaded else " (IMPORT FAILED)"
        table.append(f"{tenths / 10:6.1f} seconds{failed}: {path}")
    results = import_results([*table, "", "more"])
    assert results == {path: ImportResult(loaded, tenths / 10) for tenths, path, loaded in rows}


# -- the list --------------------------------------------------------------------------------------------


def installation_at(folder: Path, *args: str) -> Installation:
    (folder / "custom_nodes").mkdir(parents=True)
    (folder / "main.py").write_text("")
    return Installation.at(folder, Path(sys.executable), args)


def listed(folder: Path, log: str = "") -> dict[str, Pack]:
    return {pack.name: pack for pack in list_packs([folder], import_results(log.splitlines()))}


def test_packs_are_listed_without_running_them(tmp_path: Path) -> None:
    folder = tmp_path / "custom_nodes"
    trap = {
        "__init__.py": f"open({str(tmp_path / 'ran')!r}, 'w')",
        "pyproject.toml": "[project]\nversion = '1.2'",
    }
    hash_ = commit(folder / "Clone", trap)
    git(folder / "Clone", "remote", "add", "other", "https://example.org/other")
    git(folder / "Clone", "remote", "add", "origin", "https://me:t0ken@example.org/x.git")
    git(folder / "Clone", "config", "core.fsmonitor", f"touch '{tmp_path / 'ran'}'")
    for name in ("Plain.disabled", "__pycache__", ".hidden.disabled", ".disabled/managed@1_0"):
        (folder / name).mkdir(parents=True)
    for name in ("single.py", "off.py.disabled", "example.txt"):
        (folder / name).write_text("raise SystemExit")
    packs = listed(folder)
    assert list(packs) == ["Clone", "managed", "off.py", "Plain", "single.py"]
    clone = packs["Clone"]
    assert (clone.repository, clone.commit, clone.version) == ("https://***@example.org/x.git", hash_, "1.2")
    states = {name: pack.state for name, pack in packs.items() if pack.state is PackState.DISABLED}
    assert list(states) == ["managed", "off.py", "Plain"]
    assert packs["single.py"] == Pack("single.py", folder / "single.py")
    assert not (tmp_path / "ran").exists()
    git(folder / "Clone", "config", "--unset", "core.fsmonitor")
    git(folder / "Clone", "pack-refs", "--all")
    assert listed(folder)["Clone"].commit == hash_
    git(folder / "Clone", "checkout", "--quiet", "--detach")
    assert listed(folder)["Clone"].commit == hash_


def test_how_the_last_start_went_is_in_the_list(tmp_path: Path) -> None:
    folder = tmp_path / "custom_nodes"
    for name in ("broken", "good", "none.disabled", "with blank", "new"):
        (folder / name).mkdir(parents=True)
    log = LOG.replace("/c/custom_nodes/good", str(folder / "good"))
    packs = listed(folder, log)
    assert (packs["good"].state, packs["good"].import_s) == (PackState.ENABLED, 12.3)
    # Its path is another one there, but only one has that name.
    assert (packs["broken"].state, packs["broken"].import_s) == (PackState.FAILED, 1.5)
    assert packs["broken"].error == "ModuleNotFoundError: No module named 'b'"
    assert packs["none"].state is PackState.DISABLED
    assert packs["new"] == Pack("new", folder / "new")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".git", "gitdir: /elsewhere"),
        (".git/HEAD", "ref: ../../../secret"),
        (".git/HEAD", "ref: refs/heads/../../../secret"),
        (".git/HEAD", "\0"),
        (".git/config", "[remote"),
        (".git/config", '[remote "origin"]\nurl ='),
        ("pyproject.toml", "[project"),
        ("pyproject.toml", "project = 5"),
        ("pyproject.toml", "[project]\nversion = [1]"),
        ("pyproject.toml", "x = " + "[" * 5000),
        ("pyproject.toml", "[project]\nversion = 'a\\u001bb'".replace("'", '"')),
    ],
)
def test_odd_files_tell_nothing(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "secret").write_text("0" * 40)
    path = tmp_path / "custom_nodes" / "odd" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert listed(tmp_path / "custom_nodes")["odd"] == Pack("odd", tmp_path / "custom_nodes" / "odd")


@given(st.text(), st.text(), st.text())
def test_whatever_is_in_its_files_a_pack_is_listed(
    tmp_path_factory: pytest.TempPathFactory, head: str, config: str, project: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any" / "custom_nodes"
    (folder / "x" / ".git").mkdir(parents=True, exist_ok=True)
    files = {".git/HEAD": head, ".git/config": '[remote "origin"]\n' + config, "pyproject.toml": project}
    for name, text in files.items():
        (folder / "x" / name).write_text(text, "utf-8", errors="replace")
    assert listed(folder)["x"].commit in (None, head.strip())


def test_a_folder_that_is_none_is_empty(tmp_path: Path) -> None:
    assert list_packs([tmp_path / "nothing"]) == []


@pytest.mark.parametrize(
    ("args", "base"), [((), "c"), (("--base-directory", "b"), "c/b"), (("--x", "--base-directory={}/d"), "d")]
)
def test_packs_lie_where_comfyui_looks(tmp_path: Path, args: tuple[str, ...], base: str) -> None:
    words = [word.format(tmp_path) for word in args]
    assert node_folder(installation_at(tmp_path / "c", *words)) == tmp_path / base / "custom_nodes"


# -- names and needs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://example.org/me/ComfyUI-Pack.git", "ComfyUI-Pack"),
        ("https://example.org/me/pack/", "pack"),
        ("git@example.org:me/pack.git", "pack"),
        ("git@example.org:pack", "pack"),
        ("file:///srv/my%2Dpack", "my-pack"),
    ],
)
def test_a_pack_is_called_like_its_repository(address: str, name: str) -> None:
    assert name_of(address) == name


@pytest.mark.parametrize(
    "last", ["..", ".git", "con", "LPT1.x", "%2e%2e", "a b", "x.disabled", "x.Disabled.git", "x.py", "é"]
)
def test_a_name_that_is_no_folder_everywhere_is_refused(last: str) -> None:
    with pytest.raises(BadInput):
        name_of(f"https://example.org/{last}")


@given(st.text())
def test_a_name_never_leaves_its_folder(text: str) -> None:
    try:
        name = name_of("https://example.org/" + text)
    except BadInput:
        return
    assert Path("nodes", name).resolve().parent == Path("nodes").resolve()
    assert not name.startswith((".", "-"))


def test_changes_are_read_from_what_uv_says() -> None:
    said = [
        "Resolved 3 packages", " - Num_Py==1.5", " + num-py==2.1", " + new==1.0", " - old==3", " ~ same==1",
        " + by-url @ https://me:t0ken@example.org/x.whl", " - torch==2.0", " + torch==2.0 (from file:///x)",
    ]  # fmt: skip
    assert changes_in(said) == (
        Change("by-url", None, "https://***@example.org/x.whl"),
        Change("new", None, "1.0"),
        Change("num-py", "1.5", "2.1"),
        Change("old", "3", None),
    )


@given(st.lists(st.text() | st.from_regex(r" [-+~] [a-z]{1,3}==[0-9]")))
def test_any_output_gives_changes(lines: list[str]) -> None:
    changes = changes_in(lines)
    assert len({change.name for change in changes}) == len(changes)
    assert all(change.before != change.after for change in changes)


def needs(*texts: str) -> list[Need]:
    environment = {"python_version": "3.12", "sys_platform": "linux"}
    return [need for text in texts if (need := need_of("Sci.Py", text, environment))]


def test_needs_are_those_that_count_here() -> None:
    texts = [
        "num>=1,<2; python_version < '3.13'",
        "odd; sys_platform == 'win32'",
        "any",
        "x[y]>=1; extra == 'y'",
    ]
    assert [str(need) for need in needs(*texts, "x @ https://example.org/x", "!!", "-r other.txt")] == [
        "num<2,>=1"
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (Change("num", "1.5", "2.1"), "Sci.Py needs num<2, but 1.5 would become 2.1."),
        (Change("num", "1.5", None), "Sci.Py needs num<2, which would be removed."),
        (Change("num", "1.5", "1.9"), ""),
        (Change("num", None, "2.1"), ""),
        (Change("num", "1.5", "file:///x.whl"), ""),
        (
            Change("torch", "2.0+cu1", "2.1"),
            "torch would change from 2.0+cu1 to 2.1 and might lose the GPU.",
        ),
    ],
)
def test_who_would_be_worse_off_is_said(change: Change, sentence: str) -> None:
    assert conflicts_of([change], needs("num<2")) == ((sentence,) if sentence else ())
    # With a new version it has new needs.
    assert not conflicts_of([Change("num", "1", "3"), Change("sci-py", "1", "2")], needs("num<2"))


# -- changed ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Packages, and a ComfyUI with an environment of its own, in which num is 1.5 because sci needs it."""
    folder = tmp_path_factory.mktemp("ready")
    for name, version, requires in [
        ("num", "1.5", ()), ("num", "2.1", ()), ("sci", "1.0", ("num<2",)), ("extra", "1.0", ()),
        ("either", "1.0", ()), ("either", "2.0", ("num>=2",)), ("torch", "2.0", ()), ("torch", "2.1", ()),
    ]:  # fmt: skip
        wheel(folder / "wheels", name, version, requires)
    made = installation_at(folder / "ComfyUI").folder
    (made / "requirements.txt").write_text("torch  # any\nsci>=1\n")
    with pytest.MonkeyPatch.context() as monkeypatch:
        only_these(monkeypatch, folder / "wheels", cache)
        subprocess.run([uv(), "venv", "-q", "--python", sys.executable, made / ".venv"], check=True)
        words = ["pip", "install", "-q", "--python", Installation.at(made).python]
        subprocess.run([uv(), *words, "sci", "torch==2.0", "either==1.0"], check=True)
    return folder


@pytest.fixture
def wheels(tmp_path: Path, ready: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(ready / "wheels", tmp_path / "wheels")
    only_these(monkeypatch, tmp_path / "wheels", cache)
    return tmp_path / "wheels"


@pytest.fixture
def packs(tmp_path: Path, ready: Path, wheels: Path) -> Packs:
    shutil.copytree(ready / "ComfyUI", tmp_path / "ComfyUI", symlinks=True)
    installation = Installation.at(tmp_path / "ComfyUI")
    (tmp_path / "trash").mkdir()
    return Packs(
        installation,
        uv(),
        find_git(),
        tmp_path / "packs.log",
        trash=lambda path: shutil.move(path, tmp_path / "trash"),
    )


@pytest.fixture
def origin(tmp_path: Path, ready: Path) -> Path:
    folder = ready / "my-pack"
    if not folder.exists():
        commit(folder, {"__init__.py": "1", "requirements.txt": "extra\n"}, "v1")
    return shutil.copytree(folder, tmp_path / "my-pack")


def there(packs: Packs) -> list[str]:
    return sorted(path.name for path in packs.folders[0].iterdir())


def has(packs: Packs, name: str) -> str | None:
    """The version of an installed package."""
    about = packs.installation.python.parents[1].glob(f"**/{name}-*.dist-info")
    return next((path.name.removesuffix(".dist-info").rpartition("-")[2] for path in about), None)


async def test_a_pack_is_looked_at_and_then_installed(packs: Packs, origin: Path) -> None:
    commit(origin, {"install.py": "raise SystemExit"})
    parts, lines = list[float](), list[str]()
    preview = await packs.prepare(str(origin), on_part=parts.append, on_line=lines.append)
    assert (preview.pack_name, preview.before) == ("my-pack", None)
    assert preview.changes == (Change("extra", None, "1.0"),)
    assert preview.conflicts == ()
    assert preview.has_install_script
    assert parts == sorted(parts)
    assert has(packs, "extra") is None
    assert await packs.listed() == []

    done = await packs.commit(preview, on_line=lines.append)
    assert (done.name, done.before) == ("my-pack", None)
    assert done.commit == git(origin, "rev-parse", "HEAD")
    assert has(packs, "extra") == "1.0"
    assert there(packs) == ["my-pack"]
    (pack,) = await packs.listed()
    assert (pack.name, pack.commit, pack.repository) == ("my-pack", done.commit, origin.as_uri())
    with pytest.raises(BadInput, match="my-pack is there already"):
        await packs.prepare(str(origin))
    with pytest.raises(BadInput, match="no longer there"):
        await packs.commit(preview)


async def test_a_preview_can_be_thrown_away(packs: Packs, origin: Path) -> None:
    preview = await packs.prepare(str(origin), "v1")
    assert there(packs) == [preview.workshop.name]
    assert preview.workshop.name.endswith(".disabled")  # so ComfyUI does not load it
    await packs.discard(preview)
    assert there(packs) == []
    with pytest.raises(BadInput):
        await packs.discard(preview)


async def test_one_that_would_break_others_says_whom(packs: Packs, origin: Path) -> None:
    commit(origin, {"requirements.txt": "num>=2\ntorch>2.0"})
    preview = await packs.prepare(str(origin))
    assert preview.changes == (Change("num", "1.5", "2.1"), Change("torch", "2.0", "2.1"))
    assert preview.conflicts == (
        "sci needs num<2, but 1.5 would become 2.1.",
        "torch would change from 2.0 to 2.1 and might lose the GPU.",
    )
    assert preview.effects.possible
    await packs.commit(preview)
    assert (has(packs, "num"), has(packs, "torch")) == ("2.1", "2.1")


async def test_others_are_spared_where_that_can_be(packs: Packs, origin: Path, wheels: Path) -> None:
    """By itself uv would take the newest version, which needs what breaks others."""
    wheel(wheels, "wants", "1.0", ["num>=1"])
    wheel(wheels, "wants", "2.0", ["num>=2"])
    commit(origin, {"requirements.txt": "wants"})
    preview = await packs.prepare(str(origin))
    assert preview.changes == (Change("wants", None, "1.0"),)
    assert preview.conflicts == ()
    await packs.commit(preview)
    assert (has(packs, "num"), has(packs, "wants")) == ("1.5", "1.0")


async def test_other_packs_are_spared_too(packs: Packs, origin: Path, wheels: Path) -> None:
    other = packs.folders[0] / "Other" / "requirements.txt"
    other.parent.mkdir()
    other.write_text("# its own\n-r nothing.txt\neither<2  # older\ntorch>=99\n")
    commit(origin, {"requirements.txt": "either>=2"})
    preview = await packs.prepare(str(origin))
    assert preview.conflicts == (
        "sci needs num<2, but 1.5 would become 2.1.",
        "Other needs either<2, but 1.0 would become 2.0.",
    )


async def test_one_whose_requirements_fight_is_not_installed(packs: Packs, origin: Path) -> None:
    commit(origin, {"requirements.txt": "num>=2\nnum<2\n"})
    preview = await packs.prepare(str(origin))
    assert preview.conflicts == ("you require num>=2 and num<2.",)
    assert not preview.effects.possible
    with pytest.raises(BadInput, match="cannot be met: you require num>=2 and num<2"):
        await packs.commit(preview)
    await packs.discard(preview)
    assert there(packs) == []


async def test_a_failed_or_cancelled_one_leaves_nothing(packs: Packs, origin: Path, wheels: Path) -> None:
    commit(origin, {"requirements.txt": "extra !! 1"})
    with pytest.raises(ProcessFailed, match="Looking at what would be installed failed"):
        await packs.prepare(str(origin))
    assert there(packs) == []
    commit(origin, {"requirements.txt": "extra"})
    running = asyncio.create_task(packs.prepare(str(origin), on_part=lambda _part: running.cancel()))
    with pytest.raises(asyncio.CancelledError):
        await running
    assert there(packs) == []

    preview = await packs.prepare(str(origin))
    (wheels / "extra-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ProcessFailed, match="Installing the requirements of my-pack failed"):
        await packs.commit(preview)
    wheel(wheels, "extra")
    assert (await packs.commit(preview)).name == "my-pack"


async def test_an_update_can_be_gone_back_from(packs: Packs, origin: Path) -> None:
    first = (await packs.commit(await packs.prepare(str(origin)))).commit
    folder = packs.folders[0] / "my-pack"
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "mine.bin").write_text("unknown to git")
    (pack,) = await packs.listed()
    newest = commit(origin, {"__init__.py": "2", "requirements.txt": "extra\neither\n", "install.py": ""})
    preview = await packs.prepare_update(pack)
    assert (preview.before, preview.commit, preview.changes) == (first, newest, ())
    assert preview.has_install_script
    assert (folder / "__init__.py").read_text() == "1"
    done = await packs.commit(preview)
    assert (done.before, done.commit) == (first, newest)
    assert (folder / "__init__.py").read_text() == "2"
    assert git(folder, "symbolic-ref", "--short", "HEAD") == "main"
    assert there(packs) == ["my-pack"]

    back = await packs.commit(await packs.prepare_update(pack, first))
    assert (back.before, back.commit) == (newest, first)
    assert (folder / "__init__.py").read_text() == "1"
    assert not (folder / "install.py").exists()
    again = await packs.prepare_update(pack)
    assert (again.before, again.commit) == (first, newest)
    await packs.discard(again)
    await packs.commit(await packs.prepare_update(pack, "v1"))
    assert (folder / "__pycache__" / "mine.bin").exists()


async def test_one_at_a_commit_is_updated_too(packs: Packs, origin: Path) -> None:
    first = git(origin, "rev-parse", "HEAD")
    await packs.commit(await packs.prepare(str(origin), first))
    (pack,) = await packs.listed()
    assert pack.commit == first
    newest = commit(origin, {"requirements.txt": "extra>=1"})
    assert (await packs.commit(await packs.prepare_update(pack))).commit == newest


async def test_work_of_the_users_is_not_touched(packs: Packs, origin: Path) -> None:
    await packs.commit(await packs.prepare(str(origin)))
    (pack,) = await packs.listed()
    newest = commit(origin, {"__init__.py": "2", "new.txt": "theirs"})
    (pack.folder / "__init__.py").write_text("mine")
    with pytest.raises(BadInput, match=r"changes of yours, in __init__\.py\.") as caught:
        await packs.prepare_update(pack)
    assert caught.value.details["files"] == ["__init__.py"]
    assert (pack.folder / "__init__.py").read_text() == "mine"

    git(pack.folder, "checkout", "--quiet", ".")
    preview = await packs.prepare_update(pack)
    (pack.folder / "new.txt").write_text("mine")
    with pytest.raises(ProcessFailed, match="files that are not part of it are in the way"):
        await packs.commit(preview)
    assert (pack.folder / "new.txt").read_text() == "mine"
    assert git(pack.folder, "rev-parse", "HEAD") == preview.before
    (pack.folder / "new.txt").unlink()

    commit(pack.folder, {"__init__.py": "mine"})
    with pytest.raises(BadInput, match="was changed meanwhile"):
        await packs.commit(preview)
    with pytest.raises(BadInput, match="commits of its own"):
        await packs.prepare_update(pack)
    git(pack.folder, "reset", "--quiet", "--hard", newest)
    assert (await packs.prepare_update(pack)).before == newest


async def test_packs_are_switched_off_and_on_and_removed(packs: Packs, tmp_path: Path) -> None:
    folder = packs.folders[0]
    for name in ("pack", "both", "both.disabled", ".disabled/managed@1_0"):
        (folder / name).mkdir(parents=True)
    (folder / "single.py").write_text("")

    def named(name: str) -> Pack:
        return next(pack for pack in list_packs(packs.folders) if pack.name == name)

    for name in ("pack", "single.py"):
        assert await packs.disable(named(name)) == folder / f"{name}.disabled"
        assert named(name).state is PackState.DISABLED
        with pytest.raises(BadInput, match="disabled already"):
            await packs.disable(named(name))
        assert await packs.enable(named(name)) == folder / name
        with pytest.raises(BadInput, match="enabled already"):
            await packs.enable(named(name))
    managed = replace(named("managed"), name="../../elsewhere")
    assert await packs.enable(managed) == folder / "managed"
    with pytest.raises(BadInput, match="is there already"):
        await packs.disable(named("both"))

    gone = named("pack")
    await packs.remove(gone)
    assert (tmp_path / "trash" / "pack").is_dir()
    for attempt in (packs.remove, packs.disable, packs.prepare_update):
        with pytest.raises(BadInput, match="no longer there"):
            await attempt(gone)
    with pytest.raises(BadInput, match="was not installed with git"):
        await packs.prepare_update(named("managed"))


async def test_what_is_no_pack_of_this_comfyui_is_not_touched(packs: Packs, tmp_path: Path) -> None:
    for folder in (
        tmp_path / "ComfyUI",
        packs.folders[0],
        packs.folders[0] / "..",
        packs.folders[0] / "a" / "b",
    ):
        for attempt in (packs.remove, packs.disable, packs.prepare_update):
            with pytest.raises(BadInput, match="is in no folder of packs"):
                await attempt(Pack("x", folder))


async def test_a_trash_that_fails_is_said(packs: Packs) -> None:
    def fails(path: Path) -> None:
        raise OSError(f"{path.name} is on a disk without trash")

    (packs.folders[0] / "pack").mkdir()
    (pack,) = await packs.listed()
    failing = Packs(packs.installation, Path("uv"), Path("git"), Path("log"), trash=fails)
    with pytest.raises(BadInput, match="on a disk without trash"):
        await failing.remove(pack)
    assert pack.folder.is_dir()
