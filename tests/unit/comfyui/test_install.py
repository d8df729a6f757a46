"""ComfyUI installed by the real git and the real uv, from repositories and packages on this disk."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comfyui.environments import unsolvable
from app.comfyui.install import Installer, InstallPlan, Step, StepProgress, StepState
from app.comfyui.install_steps import MARKER, Note, is_unfinished, read_note
from app.comfyui.installation import Installation
from app.comfyui.programs import find_git
from app.errors import BadInput, NeedsSetup, ProcessFailed
from tests.unit.comfyui.made import TORCH, commit, git, only_these, uv, wheel

FILES = {
    "main.py": "print('I am ComfyUI')\n",
    "comfyui_version.py": '__version__ = "0.3.9"\n',
    "requirements.txt": "torch\npictures>=1\n",
    "models/checkpoints/put_checkpoints_here": "",
}
ALL_DONE = [(step, StepState.DONE) for step in Step]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def wheels(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    wheel(folder, "torch", "2.8.0", files=TORCH)
    for name in ("torchvision", "torchaudio", "pictures", "pip", "requests"):
        wheel(folder, name)
    only_these(monkeypatch, folder, cache)
    return folder


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of ComfyUI with two releases, and something newer."""
    folder = tmp_path_factory.mktemp("origin") / "ComfyUI"
    commit(folder, {**FILES, "comfyui_version.py": '__version__ = "0.3.10"\n'}, "v0.3.10")
    commit(folder, FILES, "v0.3.9")
    git(folder, "tag", "latest")
    commit(folder, {"comfyui_version.py": '__version__ = "0.4.0.dev"\n'})
    return folder


@pytest.fixture
def make(tmp_path: Path, origin: Path, wheels: Path) -> Callable[..., Installer]:
    def make(folder: Path = tmp_path / "my ComfyUI", **changes: str) -> Installer:
        plan = InstallPlan(folder, **{"address": str(origin), "python": sys.executable, **changes})
        return Installer(plan, uv(), find_git(), tmp_path / "logs" / "install.log")

    return make


def states(installer: Installer) -> list[tuple[Step, StepState]]:
    return [(each.step, each.state) for each in installer.steps]


async def downloaded(installer: Installer) -> str:
    """Only the first step of it; which version it brought."""

    def stop(told: StepProgress) -> None:
        if told.step is Step.ENVIRONMENT and told.state is StepState.RUNNING:
            running.cancel()

    running = asyncio.create_task(installer.run(stop))
    with pytest.raises(asyncio.CancelledError):
        await running
    return (installer.plan.folder / "comfyui_version.py").read_text()


def left(folder: Path) -> list[str]:
    """What is in the folder that holds an installation's, beside what these tests made."""
    known = ("wheels", "logs", "other")
    return sorted(path.name for path in folder.iterdir() if path.name not in known)


# -- all goes well ---------------------------------------------------------------------------------------


async def test_it_is_installed_and_can_be_run(make: Callable[..., Installer], tmp_path: Path) -> None:
    installer, told, lines = make(), list[StepProgress](), list[str]()
    installed = await installer.run(told.append, lines.append)
    folder = tmp_path / "my ComfyUI"
    assert (installed.folder, installed.version) == (folder, "0.3.10")
    assert (installed.torch, installed.device) == ("2.8.0", "cpu")
    assert Installation.at(folder).python == installed.python
    assert states(installer) == ALL_DONE
    assert left(tmp_path) == ["my ComfyUI"]
    assert not is_unfinished(folder)
    assert git(folder, "describe", "--tags") == "v0.3.10"
    assert git(folder, "status", "--porcelain") in ("", "?? .venv/")

    begun = [each.step for each in told if each.state is StepState.RUNNING]
    assert list(dict.fromkeys(begun)) == list(Step)
    parts = [each.part for each in told if each.step is Step.DOWNLOAD and each.part is not None]
    assert parts == sorted(parts)
    assert parts[-1] == 1.0
    assert installer.steps[0].text.startswith("v0.3.10 (")
    log = (tmp_path / "logs" / "install.log").read_text()
    assert " + pictures==1.0" in log
    assert " + pictures==1.0" in lines

    # What is whole is neither taken away nor done again.
    assert await make().discard()
    with pytest.raises(BadInput, match="is not empty"):
        await make().run()
    assert Installation.at(folder).python == installed.python


async def test_a_version_can_be_named(make: Callable[..., Installer], origin: Path) -> None:
    installer = make(version=git(origin, "rev-parse", "v0.3.9"))
    assert "0.3.9" in await downloaded(installer)


async def test_without_a_release_it_is_the_default_branch(
    make: Callable[..., Installer], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    commit(other, {**FILES, "comfyui_version.py": '__version__ = "9.9"\n'}, "nightly")
    (tmp_path / "my ComfyUI").mkdir()
    assert "9.9" in await downloaded(make(address=str(other)))


async def test_torch_comes_from_the_index_that_is_given(
    make: Callable[..., Installer], tmp_path: Path, wheels: Path
) -> None:
    index = tmp_path / "wheels" / "index"
    for name in ("torch", "torchvision", "torchaudio"):
        page = index / name
        built = wheel(page, name, "2.9.0", files={f"{name}/__init__.py": "__version__ = '2.9.0+rocm'\n"})
        (page / "index.html").write_text(f'<a href="{built.name}">{built.name}</a>')
        (wheels / f"{name}-{'2.8.0' if name == 'torch' else '1.0'}-py3-none-any.whl").unlink()
    installed = await make(torch_index=index.as_uri()).run()
    assert (installed.torch, installed.device) == ("2.9.0+rocm", "cpu")


# -- it does not -----------------------------------------------------------------------------------------


async def test_after_a_failure_it_goes_on_where_it_was(
    make: Callable[..., Installer], wheels: Path, tmp_path: Path
) -> None:
    (wheels / "pictures-1.0-py3-none-any.whl").unlink()
    installer, folder = make(), tmp_path / "my ComfyUI"
    with pytest.raises(ProcessFailed, match="Installing ComfyUI's requirements failed: ") as caught:
        await installer.run()
    assert any("pictures" in line for line in caught.value.details["log"])
    assert states(installer)[3:] == [(Step.REQUIREMENTS, StepState.FAILED), (Step.CHECK, StepState.WAITING)]
    assert is_unfinished(folder)
    assert left(tmp_path) == ["my ComfyUI"]

    wheel(wheels, "pictures")
    (folder / "models" / "mine.safetensors").write_text("mine")
    again, told = make(), list[StepProgress]()
    await again.run(told.append)
    begun = {each.step for each in told if each.state is StepState.RUNNING}
    assert begun == {Step.REQUIREMENTS, Step.CHECK}
    assert states(again) == ALL_DONE
    assert not is_unfinished(folder)


async def test_what_was_done_with_something_else_is_done_again(
    make: Callable[..., Installer], wheels: Path
) -> None:
    (wheels / "torchaudio-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ProcessFailed, match=r"Installing PyTorch failed: .*torchaudio"):
        await make().run()
    assert "0.3.9" in await downloaded(make(version="v0.3.9"))


async def test_one_that_lost_its_environment_gets_a_new_one(
    make: Callable[..., Installer], wheels: Path, tmp_path: Path
) -> None:
    (wheels / "torch-2.8.0-py3-none-any.whl").unlink()
    with pytest.raises(ProcessFailed, match="PyTorch"):
        await make().run()
    wheel(wheels, "torch", "2.8.0", files=TORCH)
    shutil.rmtree(tmp_path / "my ComfyUI" / ".venv")
    assert (await make().run()).torch == "2.8.0"


async def test_a_torch_that_cannot_be_imported_is_found_out(
    make: Callable[..., Installer], wheels: Path, tmp_path: Path
) -> None:
    wheel(
        wheels, "torch", "2.8.0", files={"torch/__init__.py": "raise ImportError('libgomp.so.1 is missing')"}
    )
    installer = make()
    with pytest.raises(ProcessFailed, match=r"Checking the installation failed: .*libgomp\.so\.1 is missing"):
        await installer.run()
    assert states(installer)[-1] == (Step.CHECK, StepState.FAILED)
    assert is_unfinished(tmp_path / "my ComfyUI")


@pytest.mark.parametrize("until", [Step.DOWNLOAD, Step.TORCH])
async def test_a_cancelled_one_ends_its_programs_and_can_go_on(
    make: Callable[..., Installer], tmp_path: Path, until: Step
) -> None:
    installer = make()

    def stop_at(told: StepProgress) -> None:
        if told.step is until and told.state is StepState.RUNNING:
            running.cancel()

    running = asyncio.create_task(installer.run(stop_at))
    with pytest.raises(asyncio.CancelledError):
        await running
    assert dict(states(installer))[until] is StepState.WAITING
    folder = tmp_path / "my ComfyUI"
    assert left(tmp_path) == ([] if until is Step.DOWNLOAD else ["my ComfyUI"])
    assert until is Step.DOWNLOAD or is_unfinished(folder)
    assert (await make().run()).folder == folder


async def test_an_address_that_is_no_comfyui_leaves_nothing(
    make: Callable[..., Installer], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    commit(other, {"README.md": "something else"})
    with pytest.raises(BadInput, match=r"is not ComfyUI: it has no main\.py"):
        await make(address=str(other)).run()
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"address": "https://me:t0ken@127.0.0.1:9/x.git"}, "failed: the server did not answer"),
        ({"python": "3.99"}, "Making the Python environment failed: that Python is not on this computer"),
    ],
)
async def test_the_likely_cause_is_named_and_no_secret(
    make: Callable[..., Installer], tmp_path: Path, changes: dict[str, str], sentence: str
) -> None:
    told, lines = list[StepProgress](), list[str]()
    with pytest.raises(ProcessFailed, match=sentence) as caught:
        await make(**changes).run(told.append, lines.append)
    assert caught.value.details["log"]
    shown = (tmp_path / "logs" / "install.log").read_text() + repr((caught.value.problem, told, lines))
    assert "t0ken" not in shown


async def test_missing_programs_are_named(make: Callable[..., Installer], tmp_path: Path) -> None:
    plan, nothing = make().plan, tmp_path / "nothing"
    with pytest.raises(NeedsSetup, match="no program nothing at"):
        await Installer(plan, uv(), nothing, tmp_path / "install.log").run()
    with pytest.raises(NeedsSetup, match="no program nothing at"):
        await Installer(plan, nothing, find_git(), tmp_path / "install.log").run()


# -- the folder ------------------------------------------------------------------------------------------


async def test_a_folder_with_something_in_it_is_left_alone(
    make: Callable[..., Installer], tmp_path: Path
) -> None:
    folder = tmp_path / "my ComfyUI"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    for run in (make().run, make(folder / "mine.txt").run):
        with pytest.raises(BadInput, match="is not empty"):
            await run()
    assert await make().discard()
    assert left(tmp_path) == ["my ComfyUI"]
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


async def test_two_at_once_are_refused(make: Callable[..., Installer]) -> None:
    first, second = make(), make()
    begun = asyncio.Event()
    running = asyncio.create_task(first.run(lambda _told: begun.set()))
    await begun.wait()
    for attempt in (second.run, second.discard):
        with pytest.raises(BadInput, match="is being installed"):
            await attempt()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_strangers_folder_in_the_way_is_left_alone(
    make: Callable[..., Installer], tmp_path: Path
) -> None:
    stranger = tmp_path / ".my ComfyUI.installing" / "mine.txt"
    stranger.parent.mkdir()
    stranger.write_text("mine")
    with pytest.raises(BadInput, match="is in the way"):
        await make().run()
    assert stranger.read_text() == "mine"


@pytest.mark.parametrize("was_there", [True, False])
async def test_discarding_removes_what_was_made(
    make: Callable[..., Installer], wheels: Path, tmp_path: Path, was_there: bool
) -> None:
    folder = tmp_path / "my ComfyUI"
    if was_there:
        folder.mkdir()
    (wheels / "pictures-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ProcessFailed):
        await make().run()
    assert await make().discard()
    assert left(tmp_path) == (["my ComfyUI"] if was_there else [])
    assert not was_there or not list(folder.iterdir())


async def test_discarding_keeps_what_others_put_there(
    make: Callable[..., Installer], wheels: Path, tmp_path: Path
) -> None:
    (wheels / "pictures-1.0-py3-none-any.whl").unlink()
    with pytest.raises(ProcessFailed):
        await make().run()
    folder, elsewhere = tmp_path / "my ComfyUI", tmp_path / "logs" / "main.py"
    model = folder / "models" / "checkpoints" / "mine.safetensors"
    model.write_text("mine")
    elsewhere.write_text("mine too")
    (folder / "linked").symlink_to(elsewhere.parent, target_is_directory=True)
    assert not await make().discard()
    assert elsewhere.exists()
    kept = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert sorted(kept) == ["models/checkpoints/mine.safetensors"]
    with pytest.raises(BadInput, match="is not empty"):
        await make().run()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"done": []}', '{"done": {"x": ""}}', "[" * 100_000])
async def test_a_spoilt_note_is_said(make: Callable[..., Installer], tmp_path: Path, content: str) -> None:
    folder = tmp_path / "my ComfyUI"
    folder.mkdir()
    (folder / MARKER).write_text(content)
    for attempt in (make().run, make().discard):
        with pytest.raises(BadInput, match="cannot be read"):
            await attempt()
    assert (folder / MARKER).read_text() == content


@given(
    st.dictionaries(st.sampled_from(Step), st.text(max_size=9)),
    st.frozensets(st.text(max_size=9)),
    st.booleans(),
)
def test_a_note_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, done: dict[Step, str], files: frozenset[str], was_there: bool
) -> None:
    folder = tmp_path_factory.getbasetemp()
    note = Note(done, files, was_there)
    note.save(folder)
    assert read_note(folder) == note


# -- what is asked for -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "ext::sh -c touch% x"},
        {"address": "--upload-pack=touch x"},
        {"address": "-oProxyCommand=x"},
        {"address": "ssh://-oProxyCommand=x/y"},
        {"address": "ssh://me@-oProxyCommand=x/y"},
        {"address": "http://example.org/x.git"},
        {"address": "git://example.org/x.git"},
        {"address": "https://example.org/x.git\nhttps://y"},
        {"address": "https://example.org/x?token=1"},
        {"address": ""},
        {"address": "no/such/folder"},
        {"version": "--upload-pack=x"},
        {"version": "a..b"},
        {"version": "a b"},
        {"version": "x:y"},
        {"version": "main^{commit}"},
        {"torch_index": "--extra-index-url=https://x"},
        {"torch_index": "ftp://example.org"},
        {"torch_index": "https://example.org/simple?key=1"},
        {"python": "--no-config"},
        {"python": ""},
    ],
)
def test_what_git_or_uv_could_take_for_something_else_is_refused(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    with pytest.raises(BadInput):
        InstallPlan(tmp_path / "ComfyUI", **changes)


@pytest.mark.parametrize(
    "address",
    [
        "https://github.com/comfyanonymous/ComfyUI.git",
        "https://me:token@example.org/x",
        "ssh://git@example.org:2222/x/y.git",
        "git@example.org:x/y.git",
        "file:///srv/git/x.git",
    ],
)
def test_addresses_as_people_have_them(tmp_path: Path, address: str) -> None:
    plan = InstallPlan(Path("ComfyUI"), address=f" {address} ", version="v0.3.64")
    assert plan.address == address
    assert plan.folder == Path("ComfyUI").absolute()
    assert "token" not in repr(plan)
    folder = tmp_path / "with blank % and é"
    folder.mkdir()
    assert InstallPlan(tmp_path, address=str(folder)).address == folder.resolve().as_uri()


def test_the_root_is_no_folder_for_it() -> None:
    with pytest.raises(BadInput):
        InstallPlan(Path(Path.cwd().anchor))


# -- what uv says ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "error: No solution found when resolving dependencies\n"
            "  cause: Because you require num>=2 and num<2, we can conclude that nothing fits.",
            "you require num>=2 and num<2",
        ),
        (
            "  × No solution found when resolving dependencies:\n"
            "  ╰─▶ Because all versions of new depend on num>=2 and you require\n"
            "      num<2, we can conclude that new cannot be used.\n"
            "      And because you require new, we can conclude that it fails.\n\n"
            "      hint: something",
            "all versions of new depend on num>=2 and you require num<2",
        ),
        ("No solution found", "its requirements cannot be met together"),
        ("error: something else", ""),
    ],
)
def test_what_does_not_go_together_is_half_a_sentence(said: str, reason: str) -> None:
    assert unsolvable(said.splitlines()) == reason


@given(st.lists(st.text() | st.just("No solution found") | st.text().map("  cause: Because ".__add__)))
def test_whatever_uv_says_can_be_taken(lines: list[str]) -> None:
    said = json.dumps(unsolvable([line for text in lines for line in text.splitlines()]))
    assert "\\n" not in said or "\\n" in "".join(map(json.dumps, lines))
