"""The menus of the Queue page: of one or several jobs, and of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtWidgets import QMenu, QWidget

from ...jobs.model import Job
from ...jobs.states import State
from ..widgets.menus import menu
from .actions import Actions
from .model import JobModel

#: Text, what it does, and whether that is possible now; no text: a line between.
Item = tuple[str, Callable[[], None], bool]
_LINE: Item = ("", lambda: None, True)
_FAILED = (State.FAILED, State.TIMED_OUT)


def job_menu(parent: QWidget, actions: Actions, model: JobModel, ids: Sequence[str]) -> QMenu:
    """What can be done with these jobs; it deletes itself when it is closed."""
    jobs = [model.jobs[job_id].job for job_id in ids if job_id in model.jobs]
    active, ended = any(not job.is_final for job in jobs), any(job.is_final for job in jobs)
    one = ids[0] if len(ids) == 1 else ""
    other = actions.other_place(ids)
    can_elsewhere = ended and bool(other)
    return menu(
        parent,
        [
            ("Open outputs", lambda: actions.open_outputs(one), bool(one and jobs and jobs[0].outputs)),
            ("Cancel\tDel", lambda: actions.cancel(ids), active),
            ("Run again\tR", lambda: actions.retry(ids), ended),
            ("Change and run…\tE", lambda: actions.tune(one), bool(one)),
            (
                f"Run again on {other or 'another place'}\tShift+R",
                lambda: actions.run_on_other(ids),
                can_elsewhere,
            ),
            *_of_batch(actions, model, jobs),
            _LINE,
            ("Ask a worker what it lacks…", lambda: actions.ask_worker(one), bool(one)),
            ("Copy prompt", lambda: actions.copy_prompt(one), bool(one)),
            ("Copy workflow", lambda: actions.copy_workflow(one), bool(one)),
            ("Save workflow…", lambda: actions.save_workflow(one), bool(one)),
            ("Copy job id", lambda: actions.copy_id(one), bool(one)),
            ("Copy diagnostics", lambda: actions.copy_diagnostics(one), bool(one)),
            _LINE,
            ("Remove from list\tDel", lambda: actions.remove(ids), ended and not active),
        ],
    )


def _of_batch(actions: Actions, model: JobModel, jobs: Sequence[Job]) -> list[Item]:
    """What can be done with the whole batch that one job is of."""
    batches = {job.batch for job in jobs}
    batch = batches.pop() if len(batches) == 1 else ""
    if not batch:
        return []
    members = [entry.job for entry in model.jobs.values() if entry.job.batch == batch]
    active = [job.id for job in members if not job.is_final]
    again = [job.id for job in members if job.state in (*_FAILED, State.CANCELLED)]
    return [
        _LINE,
        (f"Show its batch ({len(members)})", lambda: actions.show_batch(batch), True),
        (f"Cancel its batch ({len(active)})", lambda: actions.cancel(active), bool(active)),
        (f"Retry what failed of its batch ({len(again)})", lambda: actions.retry(again), bool(again)),
    ]


def more_menu(parent: QWidget, actions: Actions, model: JobModel, select_all: Callable[[], None]) -> QMenu:
    """What can be done with all jobs, shown or not."""
    jobs = [entry.job for entry in model.jobs.values()]
    failed = [job.id for job in jobs if job.state in _FAILED]
    waiting = [job.id for job in jobs if not job.is_final and job.state is not State.RUNNING]
    ended = [job.id for job in jobs if job.is_final]
    return menu(
        parent,
        [
            ("Open workflow…\tCtrl+O", actions.choose_files, True),
            ("Select all\tCtrl+A", select_all, True),
            _LINE,
            (f"Retry failed jobs ({len(failed)})", lambda: actions.retry(failed), bool(failed)),
            (f"Cancel waiting jobs ({len(waiting)})", lambda: actions.cancel(waiting), bool(waiting)),
            (f"Remove finished jobs ({len(ended)})", lambda: actions.remove(ended), bool(ended)),
        ],
    )
