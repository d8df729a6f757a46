"""The Image page over a Docker that is scripted, a real endpoint and RunPod's API on loopback: by clicks."""

from __future__ import annotations

import asyncio
import json
import sys
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QPushButton, QWidget

from app.image.lock import LOCK, TORCH_LOCK
from app.image.manifest import read_manifest
from app.image_board import ImageTies
from app.image_page import ImagePresenter
from app.panel import Panel
from app.settings import Secret, Settings
from app.ui.image.page import ImagePage
from app.ui.image.shown import Stage, StageState
from app.ui.notices import Notices
from app.ui.state import WindowState
from app.ui.tasks import TaskScope
from app.ui.theme import Theme
from app.ui.widgets.floating import Question
from app.ui.widgets.motion import Motion
from tests.docker.demo_comfyui import commit
from tests.fake_docker import FakeDocker
from tests.gui.harness import on_loop, until
from tests.unit.endpoint.management import KEY, Management

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="A script is no program there.")
S = StageState
NODES: dict[str, Any] = {
    "KSampler": {"input": {"required": {"steps": ["INT"]}}, "output": ["LATENT"], "python_module": "nodes"},
    "Wan": {"input": {}, "output": [], "python_module": "custom_nodes.wan"},
}


class Around:
    """A page in a window of its own with its presenter, and all that is around them."""

    def __init__(self, theme: Theme, docker: FakeDocker, settings: Settings) -> None:
        self.docker, self.settings = docker, settings
        self.window = QWidget()
        self.motion = Motion(self.window)
        self.page = ImagePage(theme, self.motion)
        self.page.setParent(self.window)
        self.page.resize(1248, 844)
        self.window.resize(1248, 844)
        self.notices = Notices()
        self.scope = TaskScope("test", self.notices.problem)
        self.local_url: str | None = None
        self.running = 0
        self.worked: list[tuple[str, str]] = []
        self.page.worked.connect(lambda *told: self.worked.append(told))
        self.presenter = self.made()

    def made(self) -> ImagePresenter:
        async def local_url() -> str | None:
            return self.local_url

        ties = ImageTies(lambda: self.settings, local_url, lambda _: self.running, lambda: None)
        state = WindowState(self.settings.data_dir / "window.ini")
        return ImagePresenter(self.page, self.notices, state, self.scope, ties)

    @property
    def image(self) -> Path:
        return self.settings.data_dir / "image"

    def states(self) -> list[StageState]:
        return [card.shown.state for card in self.page.pipeline.cards.values()]

    def detail(self, stage: Stage) -> str:
        return self.page.pipeline.cards[stage].shown.detail

    async def looked(self) -> None:
        await until(lambda: self.presenter._looking is None)

    async def ended(self) -> None:
        await until(lambda: not self.presenter.runs.is_running)

    def history(self) -> list[str]:
        lines = (self.image / "history.jsonl").read_text("utf-8").splitlines()
        return [f"{each['what']} {each['image']}" for each in map(json.loads, lines)]


@pytest.fixture
def docker(tmp_path: Path) -> FakeDocker:
    return FakeDocker(tmp_path / "docker", NODES)


@pytest.fixture
def settings(home: Path, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With a ComfyUI of a few files as the manifest's, and its one requirement beside it."""
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    source = home / "comfyui"
    sha = commit(source, {"main.py": "", "requirements.txt": "tiny\n", "comfyui_version.py": ""})
    wheels = home / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    for name, value in {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(wheels)}.items():
        monkeypatch.setenv(name, value)
    made = replace(Settings.load(), docker_program=docker.program, docker_registry="marta")
    write_manifest(made, source, sha)
    return made


def write_manifest(settings: Settings, source: Path, sha: str, *, locked: bool = True) -> None:
    project = settings.data_dir / "image" / "project"
    project.mkdir(parents=True, exist_ok=True)
    pin = {"repository": source.as_uri(), "commit": sha, "version": "0.3.64"}
    (project / "manifest.yaml").write_text(yaml.safe_dump({"comfyui": pin, "python": "3.12"}), "utf-8")
    mark = f"# manifest: {read_manifest(project / 'manifest.yaml').digest}\n" if locked else ""
    for name in (LOCK, TORCH_LOCK):
        (project / name).write_text(mark, "utf-8")


@pytest.fixture
def signed_in(home: Path) -> None:
    (home / ".docker").mkdir()
    auth = {"auths": {"https://index.docker.io/v1/": {"auth": "bWFydGE6c2VjcmV0"}}}
    (home / ".docker" / "config.json").write_text(json.dumps(auth), "utf-8")


@pytest.fixture
def around(app: QApplication, theme: Theme, docker: FakeDocker, settings: Settings) -> Iterator[Around]:
    made = Around(theme, docker, settings)
    yield made
    made.page.log.clear_lines(Stage)
    made.window.close()
    made.window.deleteLater()


@asynccontextmanager
async def open_page(around: Around) -> AsyncIterator[ImagePage]:
    around.window.show()
    try:
        await around.looked()
        yield around.page
    finally:
        await around.scope.close()


def press(root: QWidget, text: str) -> None:
    (button,) = [
        each
        for each in root.findChildren(QPushButton)
        if each.isVisible() and text in (each.text().strip(), each.accessibleName())
    ]
    assert button.isEnabled(), text
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


async def answer(around: Around, act: str) -> str:
    """What is asked, answered with a button."""
    asked: Callable[[], list[Question]] = lambda: [  # noqa: E731
        each for each in around.window.findChildren(Question) if each.isVisible()
    ]
    (question,) = await until(asked)
    text = " ".join(each.text() for each in question.findChildren(QWidget) if hasattr(each, "text"))
    press(question, act)
    return text


class RollOuts(Management):
    """An endpoint on version 6, whose three workers take another image at once."""

    def __init__(self) -> None:
        super().__init__()
        self.version = 6

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "PATCH":
            self.version += 1
        if request.path.endswith("/releases"):
            out = {"inProgress": False, "workersOnLatest": 3, "workersTotal": 3}
            return web.json_response({"endpointVersion": self.version, "rollout": out, "releases": []})
        return await super().answer(request)


@asynccontextmanager
async def account(around: Around) -> AsyncIterator[Management]:
    api, server = RollOuts(), web.Application()
    server.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v2"
        around.settings = replace(around.settings, runpod_api_key=Secret(KEY), runpod_api_url=url)
        yield api
    finally:
        await runner.cleanup()


@on_loop
async def test_one_click_builds_tests_pushes_and_deploys(around: Around, signed_in: None) -> None:
    around.running = 1
    around.docker.tell(lines=3_000)
    for name in (LOCK, TORCH_LOCK):
        (around.image / "project" / name).unlink()
    async with account(around) as api, open_page(around) as page:
        press(page.head, "Build")
        assert page.head.stop.isVisible()
        text = await answer(around, "Deploy")
        assert "Deploy to comfy-flux?" in text
        assert "1 job is running and finishes on the old image. New jobs use version 7." in text
        await around.ended()
        assert around.states() == [S.DONE] * 4, around.notices.all
        (image,) = around.docker.images
        assert image.startswith("marta/comfyui-serverless:20")
        done = [line.partition(" ")[0] for line in around.history()]
        assert done == ["built", "tested", "pushed", "deployed"]
        assert api.endpoints["ep-one"]["image"] == image
        # The lock was not of the manifest: it was made first.
        log = page.log.text()
        assert "1 package is locked." in log
        assert "Prepared package 2999" in log
        assert "Other output" not in log
        assert "5b" * 32 in log
        assert "3 of 3 workers on version 7" in log
        # What came of it.
        assert not page.log.test.result.thumbs[0].isHidden()
        assert not page.log.test.result._note.isHidden()
        report = json.loads(
            (around.image / "reports" / f"{image.rpartition(':')[2]}.json").read_text("utf-8")
        )
        assert report["image"] == image
        assert not report["gpu"]
        await until(lambda: page.live.isVisible())
        assert "Version 7 is live on comfy-flux." in page.live.accessibleName() + page.live._text.text()
        assert page.live.back.text().strip() == "Go back to version 6"
        await until(lambda: page.side._groups["layers"])
        assert page.side._groups["history"][0].entries[0].title.startswith("Deployed")
        assert around.docker.containers == []
        assert around.worked[-1] == ("", "")
        assert "Pushing image" in [what for what, _ in around.worked]
        # The way back, and again forward: the same stage alone, which asks, too.
        press(page.live, "Go back to version 6")
        assert "the image of version 6" in await answer(around, "Deploy")
        await around.ended()
        assert api.endpoints["ep-one"]["image"] == "someone/comfy:1"
        await until(lambda: page.live.back.text().strip() == "Go back to version 7")


@on_loop
async def test_a_failed_step_shows_why_and_its_retry_runs_the_rest(around: Around) -> None:
    around.docker.tell(build="fail")
    async with open_page(around) as page:
        page.run_wanted.emit((Stage.BUILD, Stage.PUSH, Stage.DEPLOY), False)
        await around.ended()
        assert around.states() == [S.FAILED, S.TO_COME, S.TO_COME, S.TO_COME]
        assert page.failure.isVisible()
        assert "exit code 2" in page.failure.accessibleName()
        assert "uv pip sync comfyui.lock" in page.failure._place.text()
        assert around.docker.images == []
        around.docker.tell(build="")
        press(page.failure, "Retry from here")
        await until(lambda: around.states()[2] is S.DONE)
        await around.ended()
        assert not page.failure.isVisible()
        # Without a key a run of several stages ends before the deployment.
        assert around.states()[3] is S.SKIPPED
        assert len(around.docker.images) == 1
        # A refused push leaves what was built; it names the command that signs in.
        around.docker.tell(push="denied")
        page.run_wanted.emit((Stage.PUSH,), False)
        await around.ended()
        assert around.states()[0] is S.DONE
        assert around.states()[2] is S.FAILED
        assert page.sign_in.accessibleName() == "Not signed in: docker login"
        assert page.failure.accessibleName().startswith("Registry refused the push.")
        # And another build is made under another tag, since that one names a build there is.
        page.run_wanted.emit((Stage.BUILD,), True)
        await around.ended()
        assert len(around.docker.images) == 2
        assert "--no-cache" in around.docker.asked("buildx build")[-1]


@on_loop
async def test_stop_ends_a_build_and_a_test_and_leaves_nothing(around: Around) -> None:
    around.docker.tell(build="hang")
    async with open_page(around) as page:
        page.run_wanted.emit(tuple(Stage), False)
        await until(lambda: "Prepared package 2" in page.log.text())
        assert around.states()[0] is S.RUNNING
        press(page.head, "Stop")
        assert page.head.stop.is_busy
        await around.ended()
        assert around.states() == [S.CANCELLED, S.TO_COME, S.TO_COME, S.TO_COME]
        assert page.head.build.isVisible()
        assert around.notices.all == []
        around.docker.tell(run="hang")
        around.docker.have_image("marta/comfyui-serverless:old")
        page.tag_wanted.emit("old")
        page.run_wanted.emit((Stage.TEST,), False)
        await until(lambda: "Loading custom nodes" in page.log.text())
        press(page.head, "Stop")
        await around.ended()
        assert around.states()[:2] == [S.CANCELLED, S.CANCELLED]
        assert around.docker.containers == []
        assert not (around.image / "trial").exists()


@on_loop
async def test_without_docker_the_page_says_so_and_finds_it_by_itself(around: Around) -> None:
    around.docker.tell(daemon=False)
    around.docker.leave_container("comfy-runpod-trial-old", "comfy-runpod.trial=old")
    around.docker.leave_container("somebodys", "other=1")
    around.presenter.poll_s = 0.05
    async with open_page(around) as page:
        await until(lambda: page._whole.currentIndex() == 1)
        assert page._empty._title.text() == "Docker is not running"
        assert not page.head.build.isEnabled()
        # The manifest is shown all the same.
        await until(lambda: page.side._groups["manifest"])
        around.docker.tell(daemon=True)
        await until(lambda: page._whole.currentIndex() == 0)
        assert page.head.build.isEnabled()
        # What a kill has left of a test is removed, and nothing else.
        await until(lambda: around.docker.containers == ["somebodys"])
        await until(lambda: page.sign_in.isVisible())
        # A test that fails tells what the image said.
        assert around.docker.images == []
        page.run_wanted.emit((Stage.TEST,), False)
        await around.ended()
        assert "to test. Build it first." in page.failure.accessibleName()


@on_loop
async def test_a_tag_is_checked_and_latest_is_not_deployed(around: Around) -> None:
    async with account(around), open_page(around) as page:
        proposed = page.head.tag._image.tag
        assert proposed == page.head.tag._image.proposals[0].tag
        page.head.tag.open_form()
        form = page.head.tag.form
        assert form is not None
        form.field.setText("-x")
        assert not form.use.isEnabled()
        form.field.setText("latest")
        assert form.use.isEnabled()
        form.use.click()
        assert page.head.tag._image.tag == "latest"
        assert "not given `latest`" in page.log.deploy.strip._refusal.text()
        page.run_wanted.emit((Stage.DEPLOY,), False)
        await around.ended()
        assert around.states()[3] is S.FAILED
        assert "no way back" in page.failure.accessibleName()
        assert not page.failure.retry.isVisible()
        page.tag_wanted.emit(proposed)
        assert page.log.deploy.strip._refusal.text() == ""
        # A question that is answered with no deploys nothing.
        page.run_wanted.emit((Stage.DEPLOY,), False)
        assert "It was not pushed from this computer." in await answer(around, "Not now")
        await around.ended()
        assert around.states()[3] is S.SKIPPED
        assert not (around.image / "history.jsonl").exists()


@on_loop
async def test_matching_this_computer_asks_then_locks_and_compares_again(around: Around, home: Path) -> None:
    here = home / "here"
    sha = commit(here, {"main.py": "", "requirements.txt": "tiny\n", "comfyui_version.py": ""})
    (here / ".git" / "config").write_text(f'[remote "origin"]\n\turl = {here.as_uri()}\n', "utf-8")
    around.settings = replace(around.settings, comfyui_dir=here, comfyui_python=Path(sys.executable))
    async with open_page(around) as page:
        page.head.match_wanted.emit()
        assert "ComfyUI" in await answer(around, "Match")
        await until(lambda: "package locked" in around.detail(Stage.BUILD))
        await around.ended()
        manifest = yaml.safe_load((around.image / "project" / "manifest.yaml").read_text("utf-8"))
        assert manifest["comfyui"]["commit"] == sha
        assert manifest["python"] == f"3.{sys.version_info[1]}"
        await until(lambda: not page.side._notes["manifest"])
        await until(lambda: page.side._said["manifest"] == "compared with local")
        # What goes with nothing is explained, and tried again without a build.
        commit(here, {"requirements.txt": "tiny==1.0\ntiny<1\n"})
        page.head.match_wanted.emit()
        await answer(around, "Match")
        for _ in range(2):
            await until(lambda: page.failure.isVisible())
            await around.ended()
            assert page.failure.accessibleName().startswith("Packages do not fit together.")
            assert "tiny<1" in page.log.text()
            press(page.failure, "Retry from here")
            assert not page.failure.isVisible() or around.presenter.runs.is_running
        assert around.docker.asked("buildx build") == []


@on_loop
async def test_a_secret_in_the_sources_is_shown_as_refused(around: Around, home: Path) -> None:
    source = home / "comfyui"
    token = "hf_" + "a" * 40
    sha = commit(source, {"notes.txt": f"{token}\n"})
    write_manifest(around.settings, source, sha)
    async with open_page(around) as page:
        page.run_wanted.emit((Stage.BUILD,), False)
        await around.ended()
        assert page.failure.accessibleName().startswith("A secret was found.")
        assert page.side.view == "findings"
        entry = page.side._groups["findings"][0].entries[0]
        assert (entry.title, entry.detail) == ("comfyui/notes.txt, line 1", "a Hugging Face token")
        assert token not in page.log.text()


@on_loop
async def test_in_the_window_it_begins_when_its_page_is_shown_and_ends_with_it(
    theme: Theme, home: Path, settings: Settings, docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMFY_RUNPOD_DOCKER", str(docker.program))
    monkeypatch.setenv("DOCKER_REGISTRY", "marta")
    panel = Panel(theme, Settings.load())
    going = asyncio.create_task(panel.run([]), name="panel-under-test")
    try:
        await until(lambda: panel.desk.is_runner)
        assert panel.images.presenter is None
        panel.window.show_page("image")
        await until(lambda: panel.images.presenter is not None)
        await until(lambda: panel.window.image.head.build.isEnabled())
        assert docker.asked("buildx build") == []
        panel.window.image.run_wanted.emit((Stage.PUSH,), False)
        panel.window.show_page("queue")
        # The user hears of it elsewhere.
        await until(lambda: [each.title for each in panel.notices.all] == ["The push failed"])
        docker.tell(build="hang")
        panel.window.image.run_wanted.emit((Stage.BUILD,), False)
        await until(lambda: "Prepared package 2" in panel.window.image.log.text())
    finally:
        panel.end()
        await going
        panel.window.deleteLater()
