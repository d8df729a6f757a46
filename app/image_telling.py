"""The stages of a run as they go: how each is, for how long, and what it says, shown some times a second."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .log_lines import Line, LineReader
from .ui.image.page import ImagePage
from .ui.image.shown import Stage, StageShown, StageState, StepShown, StepState

_TICK_S = 1.0
#: So many lines are read at once, that the window never stands still for them: each takes some 20 µs.
_A_BATCH, _BETWEEN_S = 250, 0.02
_MOST_WAITING = 20_000
_MOST_HELD = 5_000


class StageTeller:
    """Belongs to the loop's thread.

    Attributes:
        running: the stage that runs.
    """

    def __init__(self, page: ImagePage) -> None:
        self._page = page
        self._stages = {stage: StageShown(stage) for stage in Stage}
        self._steps: dict[str, StepShown] = {}
        self._since: dict[str, float] = {}
        self._readers: dict[tuple[Stage, str], LineReader] = {}
        self._waiting: deque[tuple[Stage, str, str, float]] = deque(maxlen=_MOST_WAITING)
        self._due: asyncio.TimerHandle | None = None
        self._held: dict[str, list[Line]] = {}
        self._begun = 0.0
        self.running: Stage | None = None

    # Stages.

    def reset(self, stages: Sequence[Stage]) -> None:
        """These are to come again; what they said is forgotten."""
        if Stage.BUILD in stages:
            self._steps.clear()
            self._held.clear()
        for key in [key for key in self._readers if key[0] in stages]:
            del self._readers[key]
        self._page.clear_log(stages)
        self._show([StageShown(stage) for stage in stages])

    def begin(self, stage: Stage, detail: str = "") -> None:
        self.running, self._begun = stage, time.monotonic()
        self.tell(StageShown(stage, StageState.RUNNING, detail, part=None))

    def tell(self, shown: StageShown) -> None:
        """How the stage that runs is."""
        self._show([replace(shown, took_s=self._took_s)])

    async def end(self, shown: StageShown) -> None:
        """How the stage that ran has ended, once all that it said is shown."""
        await self.said()
        self._end(shown)

    def fail(self, state: StageState, detail: str = "") -> None:
        """The stage that runs has ended before its end, and with it whatever step was under way."""
        if self.running is None:
            return
        while len(self._waiting) > _A_BATCH:
            self._waiting.popleft()
        self._read()
        was = self._stages[self.running]
        self._end_steps(StepState.FAILED if state is StageState.FAILED else StepState.CANCELLED)
        self._end(StageShown(self.running, state, detail, part=was.part or 0.0))

    def _end(self, shown: StageShown) -> None:
        self._feed_held(list(self._held))
        took_s = self._took_s if self.running is shown.stage else None
        self.running = None
        self._show([replace(shown, took_s=took_s)])

    def state(self, stage: Stage) -> StageState:
        return self._stages[stage].state

    async def tick(self) -> None:
        """Let the time of the stage that runs go on, until cancelled."""
        while True:
            await asyncio.sleep(_TICK_S)
            if self.running is not None:
                self.tell(self._stages[self.running])

    @property
    def _took_s(self) -> float:
        return time.monotonic() - self._begun

    def _show(self, stages: Sequence[StageShown]) -> None:
        self._stages |= {shown.stage: shown for shown in stages}
        self._page.show_stages(stages)

    # Steps of the build.

    def steps(self, steps: Iterable[StepShown]) -> None:
        """Those that are new or another than before are shown."""
        changed = [step for step in steps if self._steps.get(step.id) != step]
        if changed:
            self._steps |= {step.id: step for step in changed}
            self._page.show_steps(changed)
            self._feed_held(step.id for step in changed)

    def begin_step(self, key: str, title: str) -> None:
        """A step of ours, beside those that BuildKit tells."""
        self._since[key] = time.monotonic()
        self.steps([StepShown(key, title, StepState.RUNNING)])

    def note_step(self, key: str, note: str) -> None:
        self.steps([replace(self._steps[key], note=note)])

    def end_step(self, key: str) -> None:
        took_s = time.monotonic() - self._since[key]
        self.steps([replace(self._steps[key], state=StepState.DONE, took_s=took_s, note="")])

    def is_under_way(self, key: str) -> bool:
        return key in self._steps and self._steps[key].state is StepState.RUNNING

    def _end_steps(self, state: StepState) -> None:
        under_way = [step for step in self._steps.values() if step.state is StepState.RUNNING]
        self.steps(replace(step, state=state, note="") for step in under_way)

    # What is said.

    def line(self, text: str, step: str = "") -> None:
        """A line of the stage that runs."""
        if self.running is not None:
            self._waiting.append((self.running, step, text, time.time()))
            if self._due is None:
                self._due = asyncio.get_running_loop().call_later(_BETWEEN_S, self._read)

    async def said(self) -> None:
        """Wait until all lines have been handed to the page."""
        while self._waiting:
            self._read()
            await asyncio.sleep(_BETWEEN_S / 4)

    def _read(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        for _ in range(min(len(self._waiting), _A_BATCH)):
            stage, step, text, at = self._waiting.popleft()
            reader = self._readers.setdefault((stage, step), LineReader())
            self._feed(stage, reader.read(text, at), step)
        if self._waiting:
            self._due = asyncio.get_running_loop().call_later(_BETWEEN_S, self._read)

    def error(self, text: str, step: str = "") -> None:
        """A line that says what went wrong."""
        if self.running is not None:
            self._feed(self.running, [Line(text, "error", time.time())], step)

    @property
    def has_said(self) -> bool:
        """Whether the stage that runs has said anything."""
        return any(stage is self.running for stage, _ in self._readers)

    def _feed(self, stage: Stage, lines: Sequence[Line], step: str) -> None:
        if not step or step in self._steps:
            self._page.feed(stage, lines, step)
            return
        # A step is told some times a second, and its lines would go to those of none until then.
        held = self._held.setdefault(step, [])
        held += lines
        del held[:-_MOST_HELD]

    def _feed_held(self, steps: Iterable[str]) -> None:
        for step in steps:
            if lines := self._held.pop(step, None):
                self._page.feed(Stage.BUILD, lines, step)
