"""What ``docker push`` prints, to a pipe and to a terminal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.docker.model import LayerState, Pushed, PushProgress
from app.docker.pushing import PushOutput
from app.docker.sizes import bytes_of
from tests.unit.docker.scripted import recorded


def fed(output: PushOutput, text: str) -> list[PushProgress]:
    """As a terminal's reader cuts it: where a line ends or is drawn over."""
    seen = []
    for piece in re.split(r"\r\n|\n|\r", text):
        output.feed(piece)
        seen.append(output.progress())
    return seen


def test_a_terminal_shows_bytes() -> None:
    output = PushOutput()
    seen = fed(output, recorded("docker-20.10-push-terminal.txt"))
    there, sent = seen[-1].layers
    assert there.state is LayerState.EXISTS
    assert (sent.state, sent.done, sent.total) == (LayerState.SENT, 9_000_000, 9_000_000)
    assert output.pushed is not None
    assert output.pushed.digest.startswith("sha256:1590384ab2e43886")
    assert output.pushed.size == 734
    moved = [layer.done for progress in seen for layer in progress.layers[1:] if layer.done is not None]
    assert len(set(moved)) > 4
    assert moved == sorted(moved)
    assert seen[-1].part == 1.0


def test_with_a_bar_it_shows_the_same() -> None:
    output = PushOutput({"sha256:" + "a3c5dce97915".ljust(64, "0"): 597_076_868})
    fed(output, "a3c5dce97915: Pushing [=>       ]  13.43MB/597.1MB\r")
    (layer,) = output.progress().layers
    assert (layer.state, layer.done, layer.total) == (LayerState.SENDING, 13_430_000, 597_076_868)
    fed(output, "a3c5dce97915: Pushing [=======>]  605.5MB\r")
    assert output.progress().part == 1.0


def test_a_pipe_shows_layers_and_their_known_sizes() -> None:
    text = recorded("docker-20.10-push.txt")
    ids = list(dict.fromkeys(re.findall(r"^([0-9a-f]{12}):", text, re.MULTILINE)))
    output = PushOutput({"sha256:" + id_.ljust(64, "0"): 1_000 * (at + 1) for at, id_ in enumerate(ids)})
    seen = fed(output, text)
    parts = [progress.part for progress in seen if progress.part is not None]
    assert parts == sorted(parts)
    assert (parts[0], parts[-1]) == (0.0, 1.0)
    assert sum(layer.done or 0 for layer in seen[-1].layers) == 10_000
    assert output.pushed == Pushed(
        "sha256:8c0c95075d864a8d5ceb3a1bc9a9e847db90d92116e18d4f2a3810c9696f9a7a", 1155
    )


def test_a_layer_that_docker_sends_again_is_shown() -> None:
    output = PushOutput()
    seen = fed(output, recorded("docker-20.10-push-retry-terminal.txt"))
    retrying = [progress for progress in seen if progress.note]
    assert retrying
    assert any(layer.state is LayerState.RETRYING for layer in retrying[0].layers)
    assert re.fullmatch(r"Layer [0-9a-f]{12}: Retrying in \d+ seconds?\.", retrying[0].note)
    output.fail()
    assert {layer.state for layer in output.progress().layers} <= {LayerState.FAILED, LayerState.EXISTS}


def test_other_lines_come_back() -> None:
    output = PushOutput()
    assert output.feed("\x1b[1B\x1b[2Kdenied: no") == "denied: no"
    assert output.feed("a3c5dce97915: Pushed") is None


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512B", 512),
        ("3.1MB", 3_100_000),
        ("2.5 GiB", 2_684_354_560),
        ("33.28kB", 33_280),
        ("1.5e+03MB", 1_500_000_000),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert bytes_of(text) == size


_WORDS = st.sampled_from(
    ["a3c5dce97915: ", "aaaaaaaaaaaa: ", "Pushing ", "[==> ] ", "3MB/2MB", "0B/0B", "9e+99PB", "Pushed"]
) | st.sampled_from(
    ["Retrying in 3 seconds", "Layer already exists", "Waiting", f"1: digest: sha256:{'b' * 64} size: 5"]
)


@given(st.lists(st.lists(_WORDS | st.text(max_size=6), max_size=5).map("".join), max_size=30))
def test_no_output_breaks_it(lines: list[str]) -> None:
    output = PushOutput({"sha256:" + "a" * 64: 10})
    for line in lines:
        output.feed(line)
        progress = output.progress()
        assert progress.part is None or 0.0 <= progress.part <= 1.0
        assert all(layer.total is None or (layer.done or 0) <= layer.total for layer in progress.layers)
    assert len(output.progress().layers) <= 500
