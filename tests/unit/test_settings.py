"""Settings: which source wins, what is refused, and that a secret shows itself nowhere."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as checked
from hypothesis import strategies as st

from app.errors import BadInput
from app.settings import (
    RUNPOD_JOB_API,
    RedactingFilter,
    Secret,
    Settings,
    arguments_of,
    as_line,
    can_be,
    from_environment,
    masked,
    names_in_file,
    origin_of,
    save_settings,
)

KEY = "rpa_VERYSECRETKEY+0123456789"


def load(tmp_path: Path, text: str | None = None, **env: str) -> Settings:
    path = tmp_path / "settings.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    return Settings.load(env={"COMFY_RUNPOD_CONFIG": str(path), **env})


def test_limits_of_a_job_are_whole_seconds_in_runpods_bounds(tmp_path: Path) -> None:
    settings = load(tmp_path, "execution_timeout_s: 19.98\n", COMFY_RUNPOD_JOB_TTL="604800")
    assert (settings.execution_timeout_s, settings.job_ttl_s) == (20, 604_800)
    assert type(settings.execution_timeout_s) is type(settings.job_ttl_s) is int
    for name, value in (
        ("COMFY_RUNPOD_JOB_TTL", "9"), ("EXECUTION_TIMEOUT", "4"), ("HEALTH_CHECK_INTERVAL", "0"),
        ("HEALTH_CHECK_INTERVAL", "inf"), ("HEALTH_CHECK_INTERVAL", "3601"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=name):
            load(tmp_path, "", **{name: value})


def test_the_image_has_its_parts_and_its_variables(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.docker_registry, settings.docker_image) == ("curryberto", "comfyui-serverless")
    assert (settings.docker_tag, settings.docker_program) == ("latest", None)
    env = {"DOCKER_REGISTRY": " ghcr.io/me ", "DOCKER_IMAGE": "c", "DOCKER_TAG": "v1"}
    settings = load(tmp_path, **env, COMFY_RUNPOD_DOCKER="/opt/docker")
    assert (settings.docker_registry, settings.docker_image, settings.docker_tag) == ("ghcr.io/me", "c", "v1")
    assert settings.docker_program == Path("/opt/docker").absolute()
    with pytest.raises(BadInput, match="DOCKER_TAG"):
        load(tmp_path, DOCKER_TAG="no tag")


def test_without_anything_there_are_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert (settings.execution_timeout_s, settings.workers) == (300, 1)
    assert settings.runpod_base_url == RUNPOD_JOB_API
    assert not settings.runpod_api_key
    assert settings.data_dir.is_absolute()
    assert settings.output_dir.is_absolute()


def test_each_source_wins_over_the_one_before(tmp_path: Path) -> None:
    text = "execution_timeout_s: 10\nworkers: 3\nrunpod_endpoint_id: of-the-file\nof_a_newer_version: 1\n"
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    env = {"EXECUTION_TIMEOUT": "20", "RUNPOD_ENDPOINT_ID": " of-env ", "COMFY_RUNPOD_DATA": str(tmp_path)}
    settings = Settings.load(env=env, config_file=path, execution_timeout_s=30.0, runpod_endpoint_id=None)
    assert (settings.workers, settings.execution_timeout_s) == (3, 30)
    assert settings.runpod_endpoint_id == "of-env"
    assert settings.data_dir == tmp_path
    empty = dict.fromkeys(["EXECUTION_TIMEOUT", "RUNPOD_ENDPOINT_ID", "COMFYUI_DIR", "RUNPOD_API_KEY"], " ")
    assert Settings.load(env=empty, config_file=path).execution_timeout_s == 10


def test_file_and_environment_read_a_value_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    text = "comfyui_dir: ~/ComfyUI\ncomfyui_python: ~/py\ncomfyui_url: http://host:8188/\n"
    in_file = load(tmp_path, text)
    (tmp_path / "settings.yaml").unlink()
    env = {"COMFYUI_DIR": "~/ComfyUI", "COMFYUI_PYTHON": "~/py", "COMFYUI_URL": "http://host:8188//"}
    assert in_file.comfyui_dir == tmp_path / "ComfyUI"
    for name in ("comfyui_dir", "comfyui_python", "comfyui_url"):
        assert getattr(in_file, name) == getattr(load(tmp_path, **env), name)


def test_arguments_are_read_as_a_shell_does(tmp_path: Path) -> None:
    settings = load(tmp_path, COMFYUI_ARGS="--cpu  --preview-method none")
    assert settings.comfyui_args == ("--cpu", "--preview-method", "none")


@pytest.mark.skipif("os.name == 'nt'", reason="backslashes are no escapes there")
def test_a_path_in_the_arguments_may_hold_blanks(tmp_path: Path) -> None:
    settings = load(tmp_path, COMFYUI_ARGS="--base-directory '/my ComfyUI'")
    assert settings.comfyui_args == ("--base-directory", "/my ComfyUI")
    with pytest.raises(BadInput, match="COMFYUI_ARGS"):
        load(tmp_path, COMFYUI_ARGS="--base-directory '/my ComfyUI")


@pytest.mark.parametrize(
    "text", ["a: [", "- list", "text", "7", "\x00", "a: !!python/object/apply:os.getcwd []", "[" * 500]
)
def test_a_file_that_holds_no_settings_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput, match=r"settings\.yaml"):
        load(tmp_path, text)


def test_an_empty_file_and_bytes_and_a_folder(tmp_path: Path) -> None:
    assert load(tmp_path, "").workers == load(tmp_path, "# nothing").workers == 1
    (tmp_path / "settings.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(BadInput, match="cannot be read"):
        load(tmp_path)
    with pytest.raises(BadInput, match="cannot be read"):
        Settings.load(env={}, config_file=tmp_path)


BAD_SECONDS = ["abc", "nan", "inf", "-inf", "0", "-5", "1e9", "4", "604801"]


@pytest.mark.parametrize("value", BAD_SECONDS)
def test_a_time_that_cannot_be_is_named(tmp_path: Path, value: str) -> None:
    with pytest.raises(BadInput, match="EXECUTION_TIMEOUT"):
        load(tmp_path, EXECUTION_TIMEOUT=value)
    in_yaml = {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}.get(value, value)
    with pytest.raises(BadInput, match="execution_timeout_s"):
        load(tmp_path, f"execution_timeout_s: {in_yaml}")


@pytest.mark.parametrize(
    "line",
    [
        *(f"workers: {value}" for value in ("0", "-1", "1.5", "many", "true", "[1]")),
        *(f"execution_timeout_s: {value}" for value in ("true", "[1]", "{a: 1}", "1" * 400)),
        *(f"{key}: 5" for key in ("comfyui_dir", "output_dir", "comfyui_url", "runpod_endpoint_id")),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(BadInput, match=line.partition(":")[0]):
        load(tmp_path, line)


# -- the file, written --------------------------------------------------------------------------------


def test_only_what_is_given_is_written(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "settings.yaml"
    path.parent.mkdir()
    path.write_text("workers: 3\nof_a_newer_version: {a: [1, 2.5]}\ncomfyui_dir: /old\ntarget: demo\n")
    save_settings(path, {"comfyui_dir": Path("/new"), "target": None, "text_size": 125, "welcomed": True})
    assert yaml.safe_load(path.read_text()) == {
        "workers": 3,
        "of_a_newer_version": {"a": [1, 2.5]},
        "comfyui_dir": "/new",
        "text_size": 125,
        "welcomed": True,
    }
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["settings.yaml"]


def test_the_first_setting_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "settings.yaml"
    save_settings(path, {"workers": None})
    save_settings(path, {"comfyui_args": ["--cpu", "--base-directory", "/my ComfyUI"]})
    loaded = Settings.load(env={}, config_file=path)
    assert (loaded.comfyui_args, loaded.config_file) == (("--cpu", "--base-directory", "/my ComfyUI"), path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("workers", 0),
        ("text_size", 95),
        ("text_size", "100"),
        ("text_size", 100.0),
        ("text_size", True),
        ("appearance", "blue"),
        ("motion", 1),
        ("welcomed", "yes"),
        ("target", 5),
        ("comfyui_args", "--cpu"),
        ("comfyui_args", ["--cpu", 5]),
        ("comfyui_dir", ""),
        ("comfyui_dir", 5),
        ("comfyui_url", "localhost:8188"),
        ("execution_timeout_s", -1),
        ("runpod_api_key", KEY),
        ("no_such_setting", 1),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_and_nothing_is_written(
    tmp_path: Path, key: str, value: object
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("workers: 2 # mine\n")
    with pytest.raises(BadInput, match=key):
        save_settings(path, {"target": "demo", key: value})
    assert path.read_text() == "workers: 2 # mine\n"


@pytest.mark.parametrize("text", ["a: [", "- list", "text"])
def test_a_broken_file_is_not_written_over(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"settings\.yaml"):
        save_settings(path, {"workers": 2})
    assert path.read_text() == text


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"settings\.yaml"):
        save_settings(tmp_path / "file" / "settings.yaml", {"workers": 2})


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
FOREIGN = st.dictionaries(
    st.text().map(lambda text: f"x {text}"),
    st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5),
    max_size=3,
)
GOOD = st.fixed_dictionaries(
    {},
    optional={
        "output_dir": st.just(Path("/out dir").absolute()),
        "comfyui_url": st.just("http://host:8188"),
        "comfyui_args": st.lists(st.text()).map(tuple),
        "execution_timeout_s": st.integers(5, 604_800),
        "job_ttl_s": st.integers(10, 604_800),
        "health_interval_s": st.floats(0.1, 3600),
        "docker_registry": st.sampled_from(["me", "ghcr.io/me", "localhost:5000/a/b"]),
        "docker_tag": st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
        "workers": st.integers(1, 10**6),
        "runpod_endpoint_id": st.text(),
        "appearance": st.sampled_from(["system", "light", "dark"]),
        "text_size": st.sampled_from([90, 100, 110, 125]),
        "motion": st.sampled_from(["system", "reduced"]),
        "target": st.text(),
        "welcomed": st.booleans(),
    },
)


@checked(deadline=None, max_examples=50)
@given(before=FOREIGN, first=GOOD, then=GOOD)
def test_what_is_saved_is_loaded(before: dict[str, Any], first: dict[str, Any], then: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "settings.yaml")
        path.write_text(yaml.safe_dump(before), encoding="utf-8")
        save_settings(path, first)
        save_settings(path, then)
        loaded = Settings.load(env={}, config_file=path)
        for key, value in {**first, **then}.items():
            assert getattr(loaded, key) == value
            assert type(getattr(loaded, key)) is type(value) or key == "output_dir"
        save_settings(path, dict.fromkeys({**first, **then}))
        assert yaml.safe_load(path.read_text(encoding="utf-8")) == before


def test_what_the_environment_decides_is_known() -> None:
    env = {"COMFYUI_DIR": "/x", "RUNPOD_API_KEY": "k", "EXECUTION_TIMEOUT": " ", "PATH": "/bin"}
    assert from_environment(env) == {"comfyui_dir", "runpod_api_key"}
    assert from_environment({}) == frozenset()


# -- secrets ------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(tmp_path, RUNPOD_API_KEY=f" {KEY}\n")


def test_a_secret_is_shown_to_reveal_alone(settings: Settings) -> None:
    secret = settings.runpod_api_key
    assert secret.reveal() == KEY
    assert bool(secret)
    assert not Secret("")
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        "%s %r" % (secret, secret),  # noqa: UP031
        repr(settings),
        str(dataclasses.asdict(settings)),
        repr(copy.deepcopy(settings)),
        json.dumps([secret], default=str),
    ]
    assert not [text for text in shown if KEY in text]
    assert not hasattr(secret, "__dict__")


def test_it_is_never_read_from_the_file(tmp_path: Path) -> None:
    assert not load(tmp_path, f"runpod_api_key: {KEY}").runpod_api_key


@pytest.mark.parametrize("value", [f"{KEY}\r\nX-Other: 1", f"{KEY}\x00", f"{KEY}ß"])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(tmp_path: Path, value: str) -> None:
    with pytest.raises(BadInput, match="RUNPOD_API_KEY") as caught:
        load(tmp_path, RUNPOD_API_KEY=value)
    assert KEY not in f"{caught.value!r}{caught.value.hint}{caught.value.__cause__!r}{caught.value.details}"


def logged(settings: Settings, log: Any) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.addFilter(RedactingFilter(settings))
    logger = logging.Logger("of this test")  # noqa: LOG001 (one that nothing else listens to)
    logger.addHandler(handler)
    log(logger)
    return stream.getvalue()


def raised(text: str) -> RuntimeError:
    def fails() -> None:
        try:
            int(f"the cause knows {text}")
        except ValueError as error:
            raise RuntimeError(f"as does {text}") from error

    with pytest.raises(RuntimeError) as caught:
        fails()
    return caught.value


@pytest.mark.parametrize(
    "log",
    [
        lambda logger: logger.warning(" ".join(["in the text:", KEY, KEY])),
        lambda logger: logger.warning("in an argument: %s", KEY),
        lambda logger: logger.warning("in a deep one: %r", {"headers": [("Authorization", f"Bearer {KEY}")]}),
        lambda logger: logger.warning("by name: %(key)s", {"key": KEY}),
        lambda logger: logger.warning("an error as argument: %s", raised(KEY)),
        lambda logger: logger.error("a traceback", exc_info=raised(KEY)),
        lambda logger: logger.warning("with a stack", stack_info=True, extra={"note": KEY}),
        lambda logger: logger.warning("%d does not fit: ", KEY),
        lambda logger: logger.warning("too many: %s", KEY, KEY),
    ],
)
def test_no_log_line_holds_a_secret(settings: Settings, log: Any) -> None:
    text = logged(settings, log)
    assert text.startswith(("WARNING", "ERROR"))
    assert KEY not in text


def test_logs_stay_as_they_are_otherwise(settings: Settings, tmp_path: Path) -> None:
    def log(logger: logging.Logger) -> None:
        logger.error("%d of %s", 3, "jobs", exc_info=raised("nothing"))

    text = logged(settings, log)
    assert text.startswith("ERROR 3 of jobs\nTraceback")
    assert "RuntimeError: as does nothing" in text
    assert text == logged(load(tmp_path), log)
    assert logged(load(tmp_path), lambda logger: logger.error("***%s", "")) == "ERROR ***\n"


def test_a_stack_in_a_log_line_is_redacted_too(settings: Settings) -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "m", (), None, sinfo=f"at {KEY}")
    assert RedactingFilter(settings).filter(record)
    assert record.stack_info == "at ***"


# -- where a value comes from -------------------------------------------------------------------------


def test_each_source_is_named_and_the_strongest_wins(tmp_path: Path) -> None:
    settings = load(tmp_path, "workers: 3\nruns: 1\ntray: true\ntarget:\nrunpod_api_key: of-the-file\n")
    in_file = names_in_file(settings.config_file)
    assert in_file == {"workers", "tray"}
    env = {"COMFY_RUNPOD_TRAY": "no", "COMFY_RUNPOD_DATA": "/x", "EXECUTION_TIMEOUT": " "}

    def text(name: str, **more: Any) -> str:
        return origin_of(name, settings, env, in_file=in_file, **more).text

    assert text("workers") == "COMFY_RUNPOD_WORKERS · from the settings file"
    assert text("tray") == "COMFY_RUNPOD_TRAY · from the environment"
    assert text("data_dir") == "COMFY_RUNPOD_DATA · from the environment"
    assert text("execution_timeout_s") == "EXECUTION_TIMEOUT · default"
    assert text("tray", command_line=["tray"]) == "COMFY_RUNPOD_TRAY · from the command line"
    assert text("welcomed") == "default"
    assert text("runpod_api_key") == "RUNPOD_API_KEY · default"


def test_a_key_is_the_keyrings_unless_it_was_only_entered(settings: Settings) -> None:
    def source(env: dict[str, str], *only_here: str) -> str:
        return origin_of("runpod_api_key", settings, env, only_here=only_here).source

    assert source({}) == "keyring"
    assert source({}, "runpod_api_key") == "this session"
    assert source({"RUNPOD_API_KEY": KEY}, "runpod_api_key") == "environment"


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(Settings)])
def test_every_setting_has_a_variable(tmp_path: Path, name: str) -> None:
    origin = origin_of(name, load(tmp_path), {})
    assert origin.source == "default"
    assert (origin.variable is None) == (name in ("welcomed", "routing", "comfyui_env"))


def test_the_file_of_a_newer_or_broken_program_names_nothing(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    assert names_in_file(path) == frozenset()
    path.write_text("of_a_newer_version: 1\n")
    assert names_in_file(path) == frozenset()
    path.write_text("a: [")
    with pytest.raises(BadInput, match=r"settings\.yaml"):
        names_in_file(path)


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("COMFY_RUNPOD_OUTPUT", "/out", "output_dir", Path("/out").absolute()),
        ("COMFY_RUNPOD_WORKERS", " 4 ", "workers", 4),
        ("COMFY_RUNPOD_TARGET", " demo ", "target", "demo"),
        ("COMFY_RUNPOD_APPEARANCE", "Dark", "appearance", "dark"),
        ("COMFY_RUNPOD_TEXT_SIZE", "125", "text_size", 125),
        ("COMFY_RUNPOD_MOTION", "reduced", "motion", "reduced"),
        ("COMFY_RUNPOD_TRAY", "Yes", "tray", True),
        ("COMFY_RUNPOD_TRAY", "0", "tray", False),
        ("COMFY_RUNPOD_SYSTEM_NOTICES", "on", "system_notices", True),
    ],
)
def test_the_environment_decides_over_the_file(
    tmp_path: Path, variable: str, text: str, name: str, value: object
) -> None:
    found = getattr(load(tmp_path, "workers: 2\ntray: true\nappearance: light\n", **{variable: text}), name)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("COMFY_RUNPOD_WORKERS", "0"),
        ("COMFY_RUNPOD_WORKERS", "1.5"),
        ("COMFY_RUNPOD_APPEARANCE", "blue"),
        ("COMFY_RUNPOD_TEXT_SIZE", "95"),
        ("COMFY_RUNPOD_TEXT_SIZE", "large"),
        ("COMFY_RUNPOD_MOTION", "none"),
        ("COMFY_RUNPOD_TRAY", "maybe"),
        ("COMFY_RUNPOD_SYSTEM_NOTICES", "2"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(tmp_path: Path, variable: str, text: str) -> None:
    with pytest.raises(BadInput, match=variable):
        load(tmp_path, **{variable: text})


def test_what_the_file_takes_is_known_before_it_is_written() -> None:
    assert can_be("workers", 2)
    assert can_be("workers", None)
    assert can_be("tray", False)
    assert not can_be("workers", "2")
    assert not can_be("runpod_api_key", KEY)


@checked(deadline=None)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80))
def test_a_mask_shows_no_more_than_eight_letters_of_a_key(key: str) -> None:
    mask = masked(Secret(key))
    shown = mask.replace("•", "")
    assert len(shown) <= 8
    assert bool(mask) == bool(key)
    assert len(mask) in (0, 8, 16)
    if len(key) <= 12:
        assert shown == ""
    else:
        assert (key[:4], key[-4:]) == (shown[:4], shown[4:])


@checked(deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\0"))))
@pytest.mark.skipif("os.name == 'nt'", reason="there a line is split at blanks only")
def test_arguments_are_the_same_after_a_line(arguments: list[str]) -> None:
    assert arguments_of(as_line(arguments)) == tuple(arguments)


def test_a_quotation_mark_that_is_not_closed_is_said() -> None:
    with pytest.raises(BadInput, match="not closed"):
        arguments_of("--name 'open")
