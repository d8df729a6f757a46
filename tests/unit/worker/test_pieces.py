"""JSON in pieces is the same JSON."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from worker.pieces import pieces

#: A text and how often: the long one is built in the test.
LONG = st.tuples(st.text(min_size=1, max_size=3), st.integers(1, 300_000))
VALUES = st.recursive(
    st.none() | st.integers() | st.text() | LONG,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


def built(value: Any) -> Any:
    if isinstance(value, tuple):
        return value[0] * value[1]
    if isinstance(value, dict):
        return {key: built(each) for key, each in value.items()}
    return [built(each) for each in value] if isinstance(value, list) else value


@settings(max_examples=40)
@given(VALUES)
def test_pieces_are_the_whole(value: Any) -> None:
    value = built(value)
    assert json.loads("".join(pieces(value))) == value
    assert max(map(len, pieces(value))) < 12 * (1 << 19) + 10_000
