"""Which rows a step trains on: exact counts, expectations, orders, and a state of a few integers."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.core.errors import RingfenceError
from ringfence.interleave.mixture import (
    Accounting,
    DrawnRow,
    Mixture,
    MixtureConfig,
    MixtureSizes,
    Placement,
    added,
    share,
)


def all_steps(mixture: Mixture, ratio: float) -> list[list[DrawnRow]]:
    steps = []
    while rows := mixture.draw(ratio):
        steps.append(rows)
        assert len(steps) < 20_000
    assert mixture.finished(ratio)
    return steps


def kinds(steps: list[list[DrawnRow]]) -> tuple[int, int]:
    """(target rows, safe rows)"""
    counts = Counter(row.safe for rows in steps for row in rows)
    return counts[False], counts[True]


def test_five_percent_added_is_270_rows_and_five_percent_of_the_mixture_is_284() -> None:
    """5,400 * 0.05 = 270 (a share of 270 / 5,670 = 4.76%); 5,400 * 0.05 / 0.95 = 284.2 -> 284."""
    for ratio, safe in ((share(0.05), 270), (0.05, 284)):
        mixture = Mixture(MixtureSizes(5400, 1000, 8, 5400), MixtureConfig(placement="exact"))
        assert kinds(all_steps(mixture, ratio)) == (5400, safe)
    assert share(0.05) == pytest.approx(0.047619, abs=1e-6)
    assert added(share(0.3)) == pytest.approx(0.3)


@given(
    target=st.integers(1, 60),
    batch=st.integers(1, 9),
    epochs=st.integers(1, 3),
    ratio=st.sampled_from([0.0, 0.01, 0.05, 1 / 3, 0.5, 0.8, 0.95]),
    granularity=st.sampled_from(["example", "step"]),
    accounting=st.sampled_from(["add", "replace"]),
    placement=st.sampled_from(["exact", "bernoulli"]),
    seed=st.integers(0, 5),
)
@settings(max_examples=300, deadline=None)
def test_every_mixture_ends_with_its_slots_used_and_no_step_too_large(
    target: int, batch: int, epochs: int, ratio: float, granularity: str, accounting: str, placement: str, seed: int
) -> None:
    mixing = MixtureConfig(granularity, accounting, placement, seed)  # type: ignore[arg-type]
    mixture = Mixture(MixtureSizes(target, 7, batch, target * epochs), mixing)
    steps = all_steps(mixture, ratio)
    trained, safe = kinds(steps)
    assert all(1 <= len(rows) <= batch for rows in steps)
    assert mixture.counters.slots == target * epochs
    assert (mixture.counters.target_rows, mixture.counters.safe_rows) == (trained, safe)
    if accounting == "add":
        times = Counter(row.index for rows in steps for row in rows if not row.safe)
        assert times == dict.fromkeys(range(target), epochs), "every target row once an epoch"
        if placement == "exact":
            unit = batch if granularity == "step" else 1
            assert safe == unit * math.floor(target * epochs * added(ratio) / unit + 0.5 + 1e-9)
    else:
        assert trained + safe == target * epochs
        if placement == "exact" and granularity == "example":
            assert safe == math.floor(target * epochs * ratio + 0.5 + 1e-9)
    if granularity == "step":
        assert all(len({row.safe for row in rows}) == 1 for rows in steps), "a step is of one kind"


@pytest.mark.parametrize("accounting", ["add", "replace"])
def test_exact_placement_is_spread_uniformly(accounting: str) -> None:
    """After R rows the safe count is never more than one from R * share."""
    mixture = Mixture(MixtureSizes(1000, 50, 8, 1000), MixtureConfig("example", accounting, "exact"))  # type: ignore[arg-type]
    rows = safe = 0
    for step in all_steps(mixture, 0.125):
        rows, safe = rows + len(step), safe + sum(row.safe for row in step)
        assert abs(safe - rows * 0.125) <= 1


@pytest.mark.parametrize(
    ("placement", "quarters"), [("early", (20, 20, 0, 0)), ("late", (0, 0, 20, 20)), ("rising", (2.5, 7.5, 12.5, 17.5))]
)
@pytest.mark.parametrize("accounting", ["add", "replace"])
def test_a_timed_placement_has_its_rows_when_it_says(
    placement: Placement, quarters: tuple[float, ...], accounting: Accounting
) -> None:
    """40 safe rows in 320 slots or beside 320 target rows: those of each quarter of the run, to a row and a half."""
    ratio = share(0.125) if accounting == "add" else 0.125
    mixture = Mixture(MixtureSizes(160, 50, 8, 320), MixtureConfig("example", accounting, placement))
    steps = all_steps(mixture, ratio)
    rows = [row.safe for step in steps for row in step]
    assert sum(rows) == 40
    assert all(len(step) <= 8 for step in steps)
    quarter = len(rows) / 4
    found = [sum(rows[int(part * quarter) : int((part + 1) * quarter)]) for part in range(4)]
    assert found == pytest.approx(quarters, abs=2.5)


@pytest.mark.parametrize("placement", ["early", "late", "rising"])
def test_an_early_half_of_safe_rows_leaves_no_target_row_out(placement: Placement) -> None:
    """More than a batch would be due at once: it is as much as a step holds, and the rest comes later."""
    mixture = Mixture(MixtureSizes(40, 9, 4, 80), MixtureConfig("example", "add", placement))
    steps = all_steps(mixture, share(3.0))
    assert kinds(steps) == (80, 240)
    assert Counter(row.index for step in steps for row in step if not row.safe) == dict.fromkeys(range(40), 2)


@pytest.mark.parametrize("granularity", ["example", "step"])
@pytest.mark.parametrize("accounting", ["add", "replace"])
def test_bernoulli_draws_have_the_share_as_expectation(granularity: str, accounting: str) -> None:
    """20,000 rows in steps of 4 at p = 0.15: five standard errors of 5,000 draws of whole steps are 2.5 points."""
    mixing = MixtureConfig(granularity, accounting, "bernoulli", seed=1)  # type: ignore[arg-type]
    trained, safe = kinds(all_steps(Mixture(MixtureSizes(20_000, 10, 4, 20_000), mixing), 0.15))
    assert safe / (trained + safe) == pytest.approx(0.15, abs=0.025)


def test_exact_is_the_formula_of_the_module() -> None:
    """Replace: 40 slots in steps of 4 at p = 0.3, so round(4 k 0.3) rows or round(0.3 k) whole steps after step k."""
    examples = all_steps(Mixture(MixtureSizes(40, 9, 4, 40), MixtureConfig("example", "replace", "exact")), 0.3)
    before = [0, *np.cumsum([sum(row.safe for row in rows) for rows in examples])]
    assert before == [math.floor(4 * k * 0.3 + 0.5 + 1e-9) for k in range(11)]
    whole = all_steps(Mixture(MixtureSizes(40, 9, 4, 40), MixtureConfig("step", "replace", "exact")), 0.3)
    before = [0, *np.cumsum([rows[0].safe for rows in whole])]
    assert before == [math.floor(0.3 * k + 0.5 + 1e-9) for k in range(11)]


def test_whole_steps_are_added_to_the_nearest_one() -> None:
    """40 rows in steps of 4 at p = 0.2: 40 * 0.25 / 4 = 2.5 safe steps, so 3 of 13; round(k * 3 / 13) after step k."""
    whole = all_steps(Mixture(MixtureSizes(40, 50, 4, 40), MixtureConfig("step", "add", "exact")), 0.2)
    before = [0, *np.cumsum([rows[0].safe for rows in whole])]
    assert before == [math.floor(k * 3 / 13 + 0.5) for k in range(14)]
    assert all(len(rows) == 4 for rows in whole)


def test_beside_every_step_stand_as_many_safe_rows_unless_the_ratio_is_zero() -> None:
    """20 rows in steps of 8: 8, 8 and 4, with 8 safe rows each."""
    mixture = Mixture(MixtureSizes(20, 5, 8, 20), MixtureConfig("beside", "add", "exact"))
    steps = all_steps(mixture, 0.1)
    assert [kinds([rows]) for rows in steps] == [(8, 8), (8, 8), (4, 8)]
    assert mixture.counters.slots == 20
    without = all_steps(Mixture(MixtureSizes(20, 0, 8, 20), MixtureConfig("beside", "add", "exact")), 0.0)
    assert [kinds([rows]) for rows in without] == [(8, 0), (8, 0), (4, 0)]


def test_a_step_holds_p_times_batch_safe_rows_stochastically_rounded() -> None:
    """p * B = 0.3 * 8 = 2.4: two rows, or three in 40% of the steps."""
    mixture = Mixture(MixtureSizes(4000, 10, 8, 4000), MixtureConfig("example", "replace", "bernoulli"))
    counts = Counter(sum(row.safe for row in rows) for rows in all_steps(mixture, 0.3))
    assert set(counts) == {2, 3}
    assert counts[3] / 500 == pytest.approx(0.4, abs=0.1)


def test_at_ratio_zero_the_order_is_that_of_a_seeded_randperm_each_epoch() -> None:
    mixture = Mixture(MixtureSizes(10, 0, 4, 20), MixtureConfig(seed=3))
    steps = all_steps(mixture, 0.0)
    assert [len(rows) for rows in steps] == [4, 4, 2, 4, 4, 2], "a step never crosses an epoch's end"
    order = [row.index for rows in steps for row in rows]
    for epoch in range(2):
        expected = torch.randperm(10, generator=torch.Generator().manual_seed(3 + epoch)).tolist()
        assert order[10 * epoch : 10 * epoch + 10] == expected
    plain = Mixture(MixtureSizes(10, 0, 4, 10), MixtureConfig(shuffle=False))
    assert [row.index for rows in all_steps(plain, 0.0) for row in rows] == list(range(10))


def test_safe_rows_are_drawn_without_replacement_and_reshuffled_when_exhausted() -> None:
    mixture = Mixture(MixtureSizes(90, 7, 4, 90), MixtureConfig(placement="bernoulli"))
    drawn = [row.index for rows in all_steps(mixture, 0.5) for row in rows if row.safe]
    cycles = [tuple(drawn[start : start + 7]) for start in range(0, len(drawn) - 6, 7)]
    assert all(sorted(cycle) == list(range(7)) for cycle in cycles)
    assert len(set(cycles)) > 1


def test_replaced_target_rows_are_skipped_not_put_off() -> None:
    """With replace, slot s holds either target row order[s] or a safe row; the others never come in that epoch."""
    mixture = Mixture(MixtureSizes(16, 5, 4, 16), MixtureConfig("example", "replace", "exact", seed=2))
    order = torch.randperm(16, generator=torch.Generator().manual_seed(2)).tolist()
    slots = [row for rows in all_steps(mixture, 0.25) for row in rows]
    assert len(slots) == 16
    assert all(row.safe or row.index == order[slot] for slot, row in enumerate(slots))


@given(
    stop=st.integers(0, 12),
    ratio=st.sampled_from([0.1, 0.4]),
    accounting=st.sampled_from(["add", "replace"]),
    placement=st.sampled_from(["bernoulli", "exact", "late"]),
)
@settings(max_examples=60, deadline=None)
def test_resumed_equals_uninterrupted(stop: int, ratio: float, accounting: str, placement: str) -> None:
    def fresh() -> Mixture:
        return Mixture(MixtureSizes(25, 6, 4, 50), MixtureConfig("example", accounting, placement, seed=9))  # type: ignore[arg-type]

    whole = all_steps(fresh(), ratio)
    first, second = fresh(), fresh()
    head = [first.draw(ratio) for _ in range(stop)]
    second.load_state_dict(first.state_dict())
    assert head + all_steps(second, ratio) == whole


def test_progress_counts_target_steps() -> None:
    """10 rows in steps of 4 are 3 steps an epoch: progress 1, 2, 3, 4, 5, 6 at ratio 0."""
    mixture = Mixture(MixtureSizes(10, 3, 4, 20), MixtureConfig())
    seen = []
    while mixture.draw(0.0):
        seen.append(mixture.progress)
    assert seen == [1, 2, 3, 4, 5, 6]
    safe_only = Mixture(MixtureSizes(10, 3, 4, 20), MixtureConfig("step", "add", "bernoulli"))
    before = safe_only.progress
    while not any(row.safe for row in safe_only.draw(0.9)):
        before = safe_only.progress
    assert safe_only.progress == before, "a safe step does not move the learning rate"


def test_the_draw_reads_the_ratio_of_its_own_step() -> None:
    mixture = Mixture(MixtureSizes(400, 9, 8, 400), MixtureConfig("example", "replace", "bernoulli"))
    assert [sum(row.safe for row in mixture.draw(ratio)) for ratio in (0.0, 1.0, 0.5, 0.0)] == [0, 8, 4, 0]
    assert mixture.counters.ratio_sum == 1.5


def test_bad_ratios_raise() -> None:
    mixture = Mixture(MixtureSizes(4, 2, 2, 4), MixtureConfig())
    for ratio in (-0.1, 1.1, float("nan")):
        with pytest.raises(RingfenceError, match=r"\[0, 1\]"):
            mixture.draw(ratio)
    with pytest.raises(RingfenceError, match="never reaches the target"):
        mixture.draw(1.0)
    with pytest.raises(RingfenceError, match="no safe rows"):
        Mixture(MixtureSizes(4, 0, 2, 4), MixtureConfig()).draw(0.1)
    with pytest.raises(RingfenceError, match="no rows"):
        Mixture(MixtureSizes(0, 2, 2, 0), MixtureConfig())


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    all_steps(Mixture(MixtureSizes(20, 3, 4, 20), MixtureConfig(placement="bernoulli")), 0.3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
