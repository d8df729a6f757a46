"""What an endpoint's workers cost, in sentences."""

from __future__ import annotations

from app.endpoint.prices import Rate
from app.endpoint.terms import terms


def test_each_thing_that_costs_is_said_with_its_price() -> None:
    said = terms(Rate(0.001), workers_min=2, workers_max=3, idle_s=30)
    assert said == [
        "2 workers are always on and charged also when nothing runs, "
        "at most $7.20 an hour and $172.80 a day.",
        "At most 3 workers at once: $0.00300 / s.",
        "A worker waits 30 s for the next job, $0.030 each time.",
    ]


def test_without_a_price_it_is_said_all_the_same() -> None:
    assert terms(None, workers_min=0, workers_max=1, idle_s=5) == [
        "No worker is always on: the first job after a pause waits for a cold start.",
        "At most 1 worker at once.",
        "A worker waits 5 s for the next job.",
    ]
    assert terms(None, workers_min=0, workers_max=0, idle_s=5) == [
        "No worker may start: no job runs, and nothing is charged."
    ]
