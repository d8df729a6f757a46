"""Whatever happens in whatever order: every job is in one place, and no two workers have the same one."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.endpoint.queue import JobQueue
from app.endpoint.states import LOST_TWICE, State
from tests.unit.endpoint.helpers import Clock, make_config

WORKERS = ("w1", "w2", "w3")


class QueueMachine(RuleBasedStateMachine):
    """Keeps its own simple account of the queue and compares."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.config = make_config(Path(self.folder.name))
        self.path = Path(self.folder.name) / "q.sqlite3"
        self.queue = JobQueue(self.path, self.config, clock=self.clock)
        self.waiting: list[str] = []
        self.holder: dict[str, str] = {}
        self.ended: dict[str, State] = {}
        self.losses: dict[str, int] = {}
        self.order: dict[str, int] = {}

    def teardown(self) -> None:
        self.queue.close()
        self.folder.cleanup()

    def _to_front(self, jobs: list[str]) -> None:
        self.waiting = sorted([*self.waiting, *jobs], key=lambda job: self.order[job])

    def _any(self, data: st.DataObject, jobs: list[str]) -> str:
        # Ids are random: only the order of submits is the same when an example is run again.
        return data.draw(st.sampled_from(sorted(jobs, key=lambda job: self.order[job])))

    @rule(sync=st.booleans())
    def submit(self, sync: bool) -> None:
        job = self.queue.submit({"input": {"n": len(self.order)}}, sync=sync).id
        self.order[job] = max(self.order.values(), default=0) + 1
        self.losses[job] = 0
        self.waiting.append(job)

    @rule(worker=st.sampled_from(WORKERS), count=st.integers(1, 3))
    def take(self, worker: str, count: int) -> None:
        self.clock.now += 1
        taken = [job for job, _ in self.queue.take(worker, count)]
        assert taken == self.waiting[:count]
        assert not set(taken) & set(self.holder)
        self.waiting = self.waiting[count:]
        self.holder |= dict.fromkeys(taken, worker)

    @precondition(lambda self: self.holder)
    @rule(data=st.data(), failed=st.booleans(), poster=st.sampled_from(WORKERS))
    def done(self, data: st.DataObject, failed: bool, poster: str) -> None:
        job = self._any(data, list(self.holder))
        self.queue.done(poster, job, {"error": "bad"} if failed else {"output": 1})
        if self.holder[job] == poster:
            del self.holder[job]
            self.ended[job] = State.FAILED if failed else State.COMPLETED

    @rule(worker=st.sampled_from(WORKERS))
    def lose(self, worker: str) -> None:
        self.queue.give_back(worker)
        back = []
        for job in [job for job, holder in self.holder.items() if holder == worker]:
            del self.holder[job]
            if self.losses[job]:
                self.ended[job] = State.FAILED
                reply = json.loads(self.queue.reply(self.queue.get(job)))  # type: ignore[arg-type]
                assert reply["error"] == LOST_TWICE
            else:
                back.append(job)
            self.losses[job] += 1
        self._to_front(back)

    @rule()
    def restart(self) -> None:
        self.queue.close()
        self.queue = JobQueue(self.path, self.config, clock=self.clock)
        assert self.queue.recover() == len(self.holder)
        self._to_front(list(self.holder))
        self.holder.clear()

    @precondition(lambda self: self.order)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        alive = [*self.waiting, *self.holder, *self.ended]
        if not alive:
            return
        job = self._any(data, alive)
        self.queue.cancel(self.queue.get(job))  # type: ignore[arg-type]
        if job not in self.ended:
            self.holder.pop(job, None)
            self.waiting = [other for other in self.waiting if other != job]
            self.ended[job] = State.CANCELLED

    @precondition(lambda self: State.FAILED in self.ended.values())
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        job = self._any(data, [job for job, state in self.ended.items() if state == State.FAILED])
        assert self.queue.retry(self.queue.get(job)) is not None  # type: ignore[arg-type]
        del self.ended[job]
        self.losses[job] = 0
        self.order[job] = max(self.order.values()) + 1
        self.waiting.append(job)

    @rule()
    def purge(self) -> None:
        assert self.queue.purge() == len(self.waiting)
        self.waiting.clear()

    @invariant()
    def every_job_is_where_we_think(self) -> None:
        for job in self.order:
            found = self.queue.get(job)
            if job in self.waiting:
                assert found is not None
                assert found.state == State.IN_QUEUE
                assert found.worker is None
            elif job in self.holder:
                assert found is not None
                assert (found.state, found.worker) == (State.IN_PROGRESS, self.holder[job])
            elif job in self.ended:
                assert found is not None
                assert found.state == self.ended[job]
            else:
                assert found is None
        counts = self.queue.counts()
        assert (counts["inQueue"], counts["inProgress"]) == (len(self.waiting), len(self.holder))


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
