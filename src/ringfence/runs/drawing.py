"""Draw the rows of a run without training it, for its forecast."""

from collections.abc import Sequence
from fractions import Fraction

from ringfence.defenses import Interleaving, TrainerContext
from ringfence.interleave import CanaryControllerConfig, InterleavingStream, Schedule
from ringfence.interleave.mixture import Counters
from ringfence.interleave.tally import Tally

WALKED = 20_000
"""optimizer steps that are drawn one by one; what comes after is estimated from them"""


def schedules(interleaving: Interleaving | None, setup: TrainerContext) -> Sequence[Schedule]:
    """The one that training has; of a controller, its two ends.

    Raises :class:`RingfenceError` for what training would raise for, such as canaries that a probe cannot ask.
    """
    made = interleaving.schedule(setup) if interleaving is not None else Schedule(0.0, "exact")
    if isinstance(interleaving, CanaryControllerConfig):
        if not made.needs_safe_data:
            return [Schedule(0.0)]
        return [Schedule(interleaving.ratio_min), Schedule(interleaving.ratio_max)]
    return [made]


def counted(stream: InterleavingStream) -> Counters:
    """The counters at the end of ``stream``; in a run of more than :data:`WALKED` steps an estimate."""
    while stream.counters.step < WALKED and stream.next_step():
        if stream.due:
            stream.observe(None)
    return stream.counters if stream.finished else _carried_on(stream.counters, stream.sizes.target_budget)


def ends(drawn: Sequence[Counters]) -> Sequence[str]:
    """What a line about each of ``drawn`` begins with."""
    return ("at the lowest share of safe rows: ", "at the highest: ") if len(drawn) > 1 else ("",)


def estimated(counters: Counters) -> str:
    """What a line about ``counters`` goes on with."""
    return f"estimated from the first {WALKED:,} steps: " if counters.step > WALKED else ""


def _carried_on(counters: Counters, slots: int) -> Counters:
    """``counters`` at the end of all ``slots``, if the run goes on as it began."""
    times = Fraction(slots, max(1, counters.slots))

    def scaled(tally: Tally) -> Tally:
        return Tally(*(round(times * value) for value in (tally.conversations, tally.tokens, tally.labels)))

    return Counters(
        step=max(counters.step + 1, round(times * counters.step)),
        slots=slots,
        target_rows=round(times * counters.target_rows),
        safe_rows=round(times * counters.safe_rows),
        target=scaled(counters.target),
        safe=scaled(counters.safe),
        anchor_rows=round(times * counters.anchor_rows),
        anchor=scaled(counters.anchor),
    )
