"""Jobs that lack something where they shall run: on hold from their beginning, until the user's word."""

from __future__ import annotations

from pathlib import Path

from app.jobs.cards import error_card
from app.jobs.states import Hold, State
from app.jobs.words import second_line
from app.preflight.report import Lack, Report
from tests.unit.jobs.helpers import World

REPORT = Report(
    "local",
    "ComfyUI on this computer",
    (
        Lack("model", "ComfyUI on this computer has no a.safetensors in checkpoints.", "a.safetensors", "4"),
        Lack("value", "Perhaps too large.", node_id="5", certain=False),
    ),
)
LACKS = dict(REPORT.as_problem())


async def test_nothing_is_sent_before_the_users_word(world: World) -> None:
    job_id = await world.submit(lacks=LACKS)
    job = await world.job(job_id)
    assert (job.state, job.hold, job.lacks, job.is_stuck) == (State.ON_HOLD, Hold.MISSING, True, True)
    after = await world.submit()
    await world.reaches(after, State.WAITING)
    assert world.calls["run"] == 1
    await world.restart()
    assert (await world.job(job_id)).lacks
    assert (await world.runner.retry(job_id)).id == job_id
    job = await world.reaches(job_id, State.WAITING)
    assert job.error is None
    assert world.calls["run"] == 2
    # As from the browser, what can run of it runs; of a job that lacks nothing all must.
    taken = [(await world.take())[1] for _ in range(2)]
    assert [(each["client_job_id"], each.get("allow_partial")) for each in taken] == [
        (after, None),
        (job_id, True),
    ]


async def test_it_says_what_is_missing(world: World) -> None:
    job = await world.job(await world.submit(lacks=LACKS))
    card = error_card(job)
    assert (card.title, card.hint) == ("1 model missing", "Nothing was sent.")
    assert card.text == "ComfyUI on this computer has no a.safetensors in checkpoints."
    assert second_line(job, None, None, 0.0) == "1 model missing"


async def test_it_is_cancelled_at_once_and_its_repetition_lacks_nothing(world: World, tmp_path: Path) -> None:
    job_id = await world.submit(lacks=LACKS)
    assert (await world.runner.cancel(job_id)).state is State.CANCELLED
    again = await world.runner.run_again(job_id)
    assert again.retry_of == job_id
    await world.reaches(again.id, State.WAITING)
