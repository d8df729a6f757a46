"""Starting the program with a window: files, a second start, no display, closing."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import WORKFLOWS, Cli, blur_chain, until, written


@pytest.fixture
def window(cli: Cli) -> Cli:
    """Draws off screen where there is no display."""
    cli.extra = {"QT_QPA_PLATFORM": os.environ.get("QT_QPA_PLATFORM", "offscreen")}
    return cli


def test_a_second_start_gives_its_files_to_the_window_that_is_open(window: Cli) -> None:
    first = window.start(WORKFLOWS / "hello.json")
    until(lambda: (window.data / "control.json").exists())
    second = window.run(
        WORKFLOWS / "batch.json", WORKFLOWS / "photo.json", WORKFLOWS / "photo.png", timeout=20
    )
    assert second.returncode == 0, second.stderr
    until(lambda: [job["state"] for job in window.jobs()] == ["done"] * 3, 60, every=0.3)
    assert [job["name"] for job in window.jobs()] == ["hello", "batch", "photo"]
    assert first.poll() is None
    first.terminate()
    _, err = first.communicate(timeout=15)
    assert first.returncode == 0, err


def test_a_second_start_without_files_brings_the_window_up_and_ends(window: Cli) -> None:
    first = window.start()
    until(lambda: (window.data / "control.json").exists())
    assert window.run(timeout=20).returncode == 0
    assert first.poll() is None
    first.terminate()
    first.communicate(timeout=15)


def test_it_ends_within_ten_seconds_with_a_job_under_way(window: Cli, tmp_path: Path) -> None:
    program = window.start(written(tmp_path / "slow.json", blur_chain(300)))
    until(lambda: [job["state"] for job in window.jobs()] == ["running"], 60, every=0.3)
    began = time.monotonic()
    program.terminate()
    program.communicate(timeout=12)
    assert time.monotonic() - began < 10
    assert program.returncode == 0


def test_the_panel_runs_a_command_lines_jobs_while_it_is_open(window: Cli, tmp_path: Path) -> None:
    program = window.start()
    until(lambda: (window.data / "control.json").exists())
    ran = window.run("run", WORKFLOWS / "hello.json", "--target", "demo", "--output", tmp_path / "out")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out" / "hello_00001_.png").is_file()
    program.terminate()
    program.communicate(timeout=15)


@pytest.mark.skipif(os.name == "nt", reason="Windows always has a display")
def test_without_a_display_it_says_so(cli: Cli) -> None:
    cli.extra = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "QT_QPA_PLATFORM": ""}
    ran = cli.run()
    assert ran.returncode == 1
    assert "There is no display" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_mistyped_command_is_no_file(window: Cli) -> None:
    ran = window.run("jbos", "list")
    assert ran.returncode == 2
    assert "jbos is neither a command nor a file" in ran.stderr
