"""The loop of one run: the ratio in force, the rows of each optimizer step, and what measured risk does to the ratio.

One turn of it, as the trainer makes it:

    rows = stream.next_step()              # drawn at stream.ratio; [] when training is over
    ...                                    # one optimizer step on the rows
    if stream.due:                         # every K steps, where a schedule says so
        row = stream.observe(risk)         # the next step is drawn at the new ratio; row is for the log

Whatever changes while training runs is kept here, in two parts: the mixture knows where in the rows the run is, the
schedule which ratio is in force and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ringfence.interleave.anchors import AnchorRows
from ringfence.interleave.mixture import Counters, DrawnRow, Mixture, MixtureSizes
from ringfence.interleave.schedules import Schedule
from ringfence.interleave.tally import RowCounts

if TYPE_CHECKING:
    from ringfence.interleave.probes import Probe, Risk


class InterleavingStream:
    """A mixture that is drawn from at a schedule's ratio.

    Args:
        mixture: which rows, given the ratio.
        schedule: which ratio, given the risk.
        target: what each target row holds, so that its tokens are counted, too.
        safe: the same of the safe rows.
    """

    def __init__(
        self, mixture: Mixture, schedule: Schedule, target: RowCounts | None = None, safe: RowCounts | None = None
    ) -> None:
        self._mixture, self._schedule = mixture, schedule
        self.anchors: AnchorRows | None = None
        """rows that stand beside the steps, for whoever has some to set before the first"""
        self._counts = {False: target, True: safe}
        self.beside: list[int] = []
        """the anchor rows that stand beside the step that was drawn last, those of all ranks"""

    def next_step(self) -> list[DrawnRow]:
        """The rows of the next optimizer step, those of all ranks; [] when training is over."""
        rows = self._mixture.draw(self.ratio)
        tallies = {False: self.counters.target, True: self.counters.safe}
        for is_safe, counts in self._counts.items():
            if counts is not None:
                tallies[is_safe].add(counts, [row.index for row in rows if row.safe is is_safe])
        self.beside = self.anchors.draw(self.counters) if self.anchors is not None and rows else []
        return rows

    def observe(self, risk: Risk | None) -> dict[str, Any]:
        """Take the risk after a step, on every rank the same; None without a probe. Gives a row for the log."""
        return self._schedule.update(risk)

    @property
    def due(self) -> bool:
        """Whether the schedule wants to :meth:`observe` after the step that was drawn last."""
        return self.counters.step > 0 and self._schedule.due(self.counters.step - 1)

    @property
    def probe(self) -> Probe | None:
        """What measures the risk that is observed; None where the ratio does not depend on any."""
        return self._schedule.probe

    @property
    def ratio(self) -> float:
        """The safe share that the next step is drawn at."""
        return self._schedule.ratio

    @property
    def factor(self) -> float:
        """What the weights of penalties are multiplied with in the step that was drawn last."""
        return self._schedule.factor

    @property
    def progress(self) -> float:
        """Target progress in optimizer steps of the run without safe rows; learning rates go by it."""
        return self._mixture.progress

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return self._mixture.epoch

    @property
    def finished(self) -> bool:
        """Whether the next step has no rows."""
        return self._mixture.finished(self.ratio)

    @property
    def counters(self) -> Counters:
        """Steps, slots, rows and tokens so far."""
        return self._mixture.counters

    @property
    def sizes(self) -> MixtureSizes:
        """Rows of each source, rows a step, and the slots of the whole run."""
        return self._mixture.sizes

    def state_dict(self) -> dict[str, Any]:
        """All that changes while training runs, as plain JSON."""
        return {"mixture": self._mixture.state_dict(), "schedule": self._schedule.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave."""
        self._mixture.load_state_dict(state["mixture"])
        self._schedule.load_state_dict(state["schedule"])
