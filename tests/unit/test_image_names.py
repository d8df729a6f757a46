"""Names of images: what Docker reads is taken, nothing else is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import image_names
from app.image_names import LONGEST_PART, full_name

#: A reference with a tag, as distribution/reference has it, put together from its grammar.
_WORD = r"[a-z0-9]+(?:(?:\.|_|__|-*)[a-z0-9]+)*"
_PIECE = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
REFERENCE = re.compile(
    rf"(?:{_PIECE}(?:\.{_PIECE})*(?::[0-9]+)?/)?{_WORD}(?:/{_WORD})*:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}"
)

words = st.from_regex(r"[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}", fullmatch=True)
paths = st.lists(words, min_size=1, max_size=3).map("/".join)
hosts = st.from_regex(r"[a-z0-9]{1,5}(-[A-Za-z0-9]{1,4})?\.[a-z]{2,4}(:[0-9]{1,5})?", fullmatch=True)
accounts = st.tuples(words.filter(lambda word: "." not in word), paths).map("/".join)
registries = accounts | hosts | st.tuples(hosts, paths).map("/".join) | st.just("localhost:5000/me")
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)


@given(registry=registries, image=paths, tag=tags)
def test_what_the_grammar_makes_is_taken_and_makes_a_reference(registry: str, image: str, tag: str) -> None:
    parts = (image_names.registry(f" {registry} "), image_names.image(image), image_names.tag(tag))
    assert parts == (registry, image, tag)
    assert REFERENCE.fullmatch(full_name(*parts))


@given(
    registry=st.text("aA0./:_- é\n@", max_size=12),
    image=st.text("aA0./:_- é\n@", max_size=12),
    tag=st.text("aA0./:_- é\n@", max_size=12) | st.text(),
)
def test_what_is_taken_is_a_reference(registry: str, image: str, tag: str) -> None:
    try:
        name = full_name(image_names.registry(registry), image_names.image(image), image_names.tag(tag))
    except ValueError:
        return
    assert REFERENCE.fullmatch(name)


@pytest.mark.parametrize(
    ("part", "text"),
    [
        *(("registry", each) for each in (
            "", "https://ghcr.io", "ghcr.io/", "/me", "me/", "Me/you", "-me", "ghcr.io/Me", "host:port/me",
            "a" * (LONGEST_PART + 1), 5,
        )),
        *(("image", each) for each in ("", "Comfy", "comfy:1", "comfy@sha256:0", "a b", "a___b", "a..b", 5)),
        *(("tag", each) for each in ("", ".1", "-1", "v 1", "v/1", "a" * 129, 1)),
    ],
)  # fmt: skip
def test_what_docker_refuses_is_refused(part: str, text: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the settings turn any into a sentence
        getattr(image_names, part)(text)


def test_the_longest_that_is_taken_is_one_that_docker_takes() -> None:
    longest = "a" * LONGEST_PART
    name = full_name(image_names.registry(longest), image_names.image(longest), "latest")
    assert len(name.rpartition(":")[0]) == 255
