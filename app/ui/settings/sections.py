"""What stands on the Settings page beside the account: each setting's words and control, by section."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtWidgets import QWidget

from ... import __version__
from ...files import resource
from ...settings import arguments_of, as_line
from ..desktop import open_path
from ..theme import Theme
from ..widgets.basics import Button
from .editors import (
    Editor,
    LimitField,
    PathField,
    SegmentsField,
    SwitchField,
    TextField,
    in_units_of,
    short_path,
    typed_in_units_of,
)
from .rows import SettingRow


def names_of(text: str) -> list[str]:
    """Names with commas or blanks between them."""
    return text.replace(",", " ").split()


API_WHY = "Kept in the system's keyring, never in a file or a log. A new one is tested first."
S3_WHY = (
    "RunPod's S3 keys are separate from the API key. Create one in RunPod's console under Settings, "
    "S3 API keys. With it large files go straight to the volume, without starting a worker."
)
#: In their order: key, title, icon.
SECTIONS = (
    ("runpod", "RunPod", "key-round"),
    ("jobs", "Queue and limits", "list-video"),
    ("volume", "Models and volume", "boxes"),
    ("docker", "Docker", "container"),
    ("comfyui", "ComfyUI", "workflow"),
    ("appearance", "Appearance", "palette"),
    ("advanced", "Advanced", "sliders-horizontal"),
    ("about", "About and licences", "info"),
)
#: What a daily limit begins with when it is switched on.
_USUAL_LIMIT_USD = 10.0
_NO_ADDRESS = "An address begins with http:// or https://."
_NO_PATH = "This is no path."
_MINUTE, _HOUR = 60, 3600
#: Of names of images, as Docker has it.
_SMALL = "Small letters and digits, with . _ - or / between them"


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting.

    Attributes:
        wrong: what is said about a value that cannot be used.
        read_only: shown here, and changed elsewhere.
    """

    name: str
    title: str
    text: str
    editor: Editor
    wrong: str = "This cannot be used."
    read_only: bool = False


def jobs(theme: Theme) -> list[Entry]:
    time_limit = TextField(
        theme, "Job time limit", width=72, unit="minutes",
        read=typed_in_units_of(_MINUTE), show=in_units_of(_MINUTE),
    )  # fmt: skip
    lifetime = TextField(
        theme, "Job lifetime", width=72, unit="hours", read=typed_in_units_of(_HOUR), show=in_units_of(_HOUR)
    )
    interval = TextField(theme, "Endpoint checks", width=72, unit="seconds", read=float, show="{:g}".format)
    return [
        Entry("output_dir", "Save outputs to", "The same folder for every place to run.",
              PathField(theme, "Save outputs to"), _NO_PATH),
        Entry("execution_timeout_s", "Job time limit", "Jobs that run longer are ended.", time_limit,
              "Enter a number of minutes, from 0.1 to 10080, which is 7 days."),
        Entry("job_ttl_s", "Job lifetime",
              "How long RunPod knows a job, its waiting included. Then it is gone, even while it runs.",
              lifetime, "Enter a number of hours, from 0.01 to 168, which is 7 days."),
        Entry("health_interval_s", "Endpoint checks",
              "How often workers and queue are asked for while jobs run.", interval,
              "Enter a number of seconds, from 0.1 to 3600."),
        Entry("daily_limit_usd", "Daily limit", "New RunPod jobs wait once today's spend reaches this.",
              LimitField(theme, "Daily limit", _USUAL_LIMIT_USD), "Enter an amount above $ 0."),
        Entry("tray", "Tray icon", "Says in the system's tray how many jobs run and wait.",
              SwitchField(theme, "Tray icon")),
        Entry("system_notices", "System notifications",
              "Tells about finished jobs while the window is not in front.",
              SwitchField(theme, "System notifications")),
    ]  # fmt: skip


def volume(theme: Theme) -> list[Entry]:
    return [
        Entry("runpod_datacenter", "Data centre", "Where the volume is. The S3 address follows from it.",
              TextField(theme, "Data centre", width=200, prompt="EU-RO-1"),
              "Letters, digits and hyphens only, as in EU-RO-1."),
        Entry("runpod_s3_url", "S3 address", "Only needed when it does not follow from the data centre.",
              TextField(theme, "S3 address", prompt="https://"), _NO_ADDRESS),
    ]  # fmt: skip


def docker(theme: Theme) -> list[Entry]:
    def name(what: str) -> TextField:
        return TextField(theme, what, width=240)

    return [
        Entry("docker_registry", "Registry", "Your account on Docker Hub, or a registry's address.",
              name("Registry"), f"{_SMALL}; a registry's address may have a port, as in ghcr.io/someone."),
        Entry("docker_image", "Image", "What the image is called there.", name("Image"), f"{_SMALL}."),
        Entry("docker_tag", "Tag", "Of an image that is built and pushed.", name("Tag"),
              "Letters, digits, and . _ - after the first one; 128 at most."),
        Entry("docker_program", "Docker program", "Only needed when it is not on PATH.",
              PathField(theme, "Docker program"), "There is no program at this path."),
    ]  # fmt: skip


def comfyui(theme: Theme) -> list[Entry]:
    arguments = TextField(theme, "Arguments of ComfyUI", prompt="--lowvram", read=arguments_of, show=as_line)
    return [
        Entry("comfyui_dir", "ComfyUI folder", "The folder that holds main.py. Its files stay as they are.",
              PathField(theme, "ComfyUI folder"), _NO_PATH),
        Entry("comfyui_python", "Python of ComfyUI",
              "Only needed when it is not in a venv in or beside that folder.",
              PathField(theme, "ComfyUI's Python"), _NO_PATH),
        Entry("comfyui_args", "Arguments", "Given to ComfyUI at its start.", arguments,
              "A quotation mark is not closed."),
        Entry("models_dir", "Models folder",
              "Your own models outside ComfyUI, in folders as on the volume: checkpoints, loras, vae …",
              PathField(theme, "Models folder"), _NO_PATH),
        Entry("comfyui_port", "Port", "Where ComfyUI answers. Empty: any free one.",
              TextField(theme, "Port of ComfyUI", width=72, prompt="8188", read=int),
              "Enter a number from 1024 to 65535."),
        Entry("comfyui_hosts", "Other names",
              "By which you open ComfyUI in a browser, beside 127.0.0.1. Its page may use RunPod there too.",
              TextField(theme, "Other names of this computer", prompt="my-pc, 192.168.1.20",
                        read=names_of, show=", ".join),
              "Names or addresses of computers, with commas between them."),
        Entry("keep_routing", "Keep routing",
              "At the next start ComfyUI's Queue button leads where it led last, not to Local.",
              SwitchField(theme, "Keep routing")),
        Entry("open_results", "Open results", "Of runs from ComfyUI's Queue button, as they arrive.",
              SegmentsField(theme, "Open results",
                            (("no", "No"), ("viewer", "In the default viewer"), ("panel", "Here")))),
        Entry("comfyui_url", "ComfyUI address", "Of a ComfyUI started elsewhere, instead of the folder.",
              TextField(theme, "ComfyUI address", prompt="http://127.0.0.1:8188"), _NO_ADDRESS),
    ]  # fmt: skip


def appearance(theme: Theme) -> list[Entry]:
    looks = (("system", "System"), ("light", "Light"), ("dark", "Dark"))
    sizes = tuple((size, f"{size} %") for size in (90, 100, 110, 125))
    return [
        Entry("appearance", "Theme", "System follows the desktop, and changes with it.",
              SegmentsField(theme, "Theme", looks)),
        Entry("text_size", "Text size", "Makes every text larger or smaller.",
              SegmentsField(theme, "Text size", sizes)),
        Entry("motion", "Reduce motion", "Nothing turns, slides or travels.",
              SwitchField(theme, "Reduce motion", on="reduced", off="system")),
    ]  # fmt: skip


def advanced(theme: Theme) -> list[Entry]:
    def address(name: str) -> TextField:
        return TextField(theme, name)

    def place(name: str) -> TextField:
        return TextField(theme, name, show=short_path)

    return [
        Entry("workers", "Workers of the demo engine", "How many sample jobs run at once.",
              TextField(theme, "Workers of the demo engine", width=72, read=int),
              "Enter a whole number above 0."),
        Entry("runpod_base_url", "Job API", "Where jobs are sent. Set in the environment only.",
              address("Job API"), read_only=True),
        Entry("runpod_api_url", "Management API",
              "Where endpoints and prices are asked for. Set in the environment only.",
              address("Management API"), read_only=True),
        Entry("data_dir", "Data folder", "Jobs, logs and thumbnails. Set in the environment only.",
              place("Data folder"), read_only=True),
        Entry("config_file", "Settings file", "What is changed on this page. Set in the environment only.",
              place("Settings file"), read_only=True),
    ]  # fmt: skip


def first_steps(theme: Theme, show: Callable[[], None]) -> SettingRow:
    again = Button(theme, "Show first steps")
    again.clicked.connect(show)
    return SettingRow(theme, "First steps", "Choose a ComfyUI or the demo engine once more.", again)


def about(theme: Theme, data_dir: Callable[[], Path]) -> list[SettingRow]:
    licences = Button(theme, "Show licences")
    licences.clicked.connect(lambda: open_path(resource("licences")))
    folder = Button(theme, "Open data folder")
    folder.clicked.connect(lambda: open_path(data_dir()))
    made_with = "Qt (LGPL), Inter and JetBrains Mono (SIL OFL 1.1), Lucide icons (ISC)."
    return [
        SettingRow(theme, f"Comfy RunPod {__version__}", "MIT licence.", QWidget()),
        SettingRow(theme, "Made with", made_with, licences),
        SettingRow(theme, "Files of this program", "The list of jobs, logs and thumbnails.", folder),
    ]
