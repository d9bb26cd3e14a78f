"""One turn of the loop: the ratio in force, the rows of the step, what risk does to the next one, and all its state."""

import json
import math

from datasets import Dataset

from ringfence.interleave import (
    CanaryController,
    CanaryControllerConfig,
    CanarySchedule,
    InterleavingStream,
    Mixture,
    MixtureConfig,
    MixtureSizes,
    ReplaySchedule,
    Risk,
    Schedule,
)
from ringfence.interleave.tally import RowCounts


def probe(model: object, step: int) -> Risk:
    raise AssertionError("a stream measures nothing itself")


def controlled(every: int = 2) -> InterleavingStream:
    """40 slots in steps of 4; the ratio goes up by 0.25 where risk is high, so 4 p is a whole number."""
    constants = CanaryControllerConfig(smoothing=1, step_up=0.25, ratio_init=0.0, ratio_max=0.5, every=every)
    mixture = Mixture(MixtureSizes(40, 9, 4, 40), MixtureConfig("example", "replace", "bernoulli"))
    return InterleavingStream(mixture, CanarySchedule(CanaryController(constants), probe))


def test_one_turn_of_the_loop_after_the_other() -> None:
    """Observed after t = 0, 2, 4; a high risk moves the ratio of the next step from 0 to 0.25, and to 0.5 at most."""
    stream = controlled()
    assert not stream.due, "nothing is drawn yet"
    ratios, safe, observed = [], [], []
    for t in range(6):
        ratios.append(stream.ratio)
        safe.append(sum(row.safe for row in stream.next_step()))
        if stream.due:
            observed.append(t)
            row = stream.observe(Risk(1.0, 4, 4))
            assert (row["ratio_before"], row["ratio"]) == (ratios[-1], stream.ratio)
    assert observed == [0, 2, 4]
    assert ratios == [0.0, 0.25, 0.25, 0.5, 0.5, 0.5]
    assert safe == [0, 1, 1, 2, 2, 2]
    assert stream.counters.ratio_sum == sum(ratios)


def test_a_restored_stream_goes_on_the_same() -> None:
    """Through JSON, as a checkpoint has it; rows, ratios and counters."""
    first, second = controlled(), controlled()
    for _ in range(3):
        first.next_step()
        first.observe(Risk(1.0, 4, 4))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    while not first.finished:
        assert first.next_step() == second.next_step()
        assert first.observe(Risk(0.0, 4, 4)) == second.observe(Risk(0.0, 4, 4))
        assert (first.ratio, first.progress, first.epoch) == (second.ratio, second.progress, second.epoch)
    assert second.finished
    assert first.state_dict() == second.state_dict()


def test_the_ratio_is_kept_by_the_controller_only() -> None:
    stream = controlled()
    state = stream.state_dict()
    state["schedule"]["controller"]["ratio"] = 0.5
    stream.load_state_dict(state)
    assert stream.ratio == 0.5


def test_what_the_rows_hold_is_counted_by_source() -> None:
    """Rows of n tokens, the first without a loss: 4 target rows of 2 and, at added 0.5, 2 safe rows of 3 tokens."""

    def rows(count: int, tokens: int) -> RowCounts | None:
        return RowCounts.of(Dataset.from_list([{"input_ids": [1] * tokens, "labels": [1] * tokens}] * count))

    mixture = Mixture(MixtureSizes(4, 2, 3, 4), MixtureConfig(placement="exact"))
    stream = InterleavingStream(mixture, Schedule(1 / 3, "exact"), rows(4, 2), rows(2, 3))
    while stream.next_step():
        pass
    assert (stream.counters.target.tokens, stream.counters.target.labels) == (8, 4)
    assert (stream.counters.safe.tokens, stream.counters.safe.labels) == (6, 4)


def test_a_schedule_without_a_probe_is_observed_without_a_risk() -> None:
    mixture = Mixture(MixtureSizes(8, 2, 4, 8), MixtureConfig("example", "replace", "bernoulli"))
    stream = InterleavingStream(mixture, ReplaySchedule(0.0, [0.5], every=1))
    assert stream.probe is None
    stream.next_step()
    assert stream.observe(None)["ratio"] == stream.ratio == 0.5
    assert math.isclose(stream.progress, 1.0)
