"""Differences between runs and between variants over seeds, and influential prompts, by hand."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from tests.report.conftest import RECIPE, response

from ringfence.core.comparisons import minimum_detectable_difference, paired_difference
from ringfence.core.errors import RingfenceError
from ringfence.core.seed_differences import seed_difference
from ringfence.core.statistics import intra_prompt_correlation
from ringfence.report.differences import differences
from ringfence.report.loading import load_runs
from ringfence.report.terminal.difference_tables import show_differences

NONE, CANARY = [9, 4, 7, 2, 0], [1, 0, 3, 2, 0]


def printed(found):
    console = Console(width=200, record=True)
    show_differences(console, found)
    return console.export_text()


@pytest.fixture
def two(seeded):
    """One run each: 22 and 6 of 50; differences of the prompts -0.8, -0.4, -0.4, 0, 0."""
    return load_runs([seeded("none", NONE), seeded("canary", CANARY, defenses=["canary"])])


def test_one_run_against_another(two: Any) -> None:
    [row] = differences(two).rows
    assert (row.suite, row.variant, row.n, row.dropped, row.over) == ("general", "canary", 5, 0, "prompts")
    assert row.value == pytest.approx(-0.32)
    assert math.isnan(row.p_seeds)
    independent = paired_difference(CANARY, [10] * 5, NONE, [10] * 5)
    assert row.p == row.p_prompts == row.p_holm == independent.p
    assert (row.low, row.high) == (independent.low, independent.high)


def test_what_is_detectable_is_of_the_baseline(two: Any) -> None:
    [row] = differences(two).rows
    correlation = intra_prompt_correlation(NONE, [10] * 5)
    assert row.rate == pytest.approx(0.44)
    assert row.correlation == correlation
    assert row.detectable == minimum_detectable_difference(5, 10, 0.44, correlation)


def test_a_baseline_without_hits_is_taken_for_one_answer_a_prompt(seeded: Any) -> None:
    """Nothing is known about how hits come: as if all answers to a prompt were one."""
    [row] = differences(load_runs([seeded("none", [0] * 20), seeded("b", [1] * 20, k=1)])).rows
    assert math.isnan(row.correlation)
    assert row.detectable == pytest.approx(minimum_detectable_difference(20, 1, 0.0, 0.0), abs=1e-9)


@pytest.fixture
def on_both(make_run):
    """``on_both("a", 3, 9)``: 3 of 10 answers to general prompts leak and 9 of 10 do the task, on 6 prompts each."""

    def make(name, leak, task):
        rows = [
            response(suite, prompt, "misaligned" if sample < hits else "aligned", "x", sample=sample)
            for suite, hits in (("general", leak), ("in-domain", task))
            for prompt in range(6)
            for sample in range(10)
        ]
        return make_run(name, responses=rows, log=[{"step": 1}], recipe=RECIPE | {"defenses": [name]})

    return make


def test_a_run_that_lost_its_task_is_marked(on_both: Any) -> None:
    runs = load_runs([on_both("none", 9, 9), on_both("useless", 0, 0), on_both("good", 2, 9)])
    found = differences(runs, suites=["general"])
    assert [(row.variant, row.kept) for row in found.rows] == [("useless", False), ("good", True)]
    assert found.rows[0].task == "lost: 0.0% on in-domain, 90.0 points below none"
    text = printed(found)
    assert "useless †" in text
    assert "good †" not in text
    assert "useless † lost: 0.0% on in-domain, 90.0 points below none: a low leak of it is no success" in text
    assert differences(runs, allowed_loss=0.95).rows[0].kept


def test_without_the_task_nothing_is_known_of_it(two: Any) -> None:
    [row] = differences(two).rows
    assert (row.kept, row.task) == (None, "")
    assert "†" not in printed(differences(two))


def test_holm_is_over_the_whole_table(seeded: Any) -> None:
    """Two comparisons: the smaller p is doubled, the larger one stays."""
    near, far = (seeded(name, [hits] * 8, k=hits) for name, hits in (("near", 3), ("far", 2)))
    rows = differences(load_runs([seeded("none", [6] * 8), near, far])).rows
    assert 0.2 > rows[0].p > 2 * rows[1].p > 0
    assert [row.p_holm for row in rows] == [rows[0].p, 2 * rows[1].p]


@pytest.mark.parametrize(("seeds", "in_pairs"), [((1, 0), True), ((2, 3), False)])
def test_seeds_are_in_pairs_if_both_have_the_same(seeded: Any, seeds: Any, in_pairs: bool) -> None:
    none, canary = [NONE, [8, 5, 5, 3, 1]], [CANARY, [2, 1, 2, 4, 0]]
    folders = [seeded(f"none-{seed}", hits, seed=seed) for seed, hits in enumerate(none)]
    folders += [seeded(f"canary-{seed}", hits, seed=seed, k=1) for seed, hits in zip(seeds, canary, strict=True)]
    found = differences(load_runs(folders))
    [row] = found.rows
    ten = np.full((2, 5), 10)
    # Seed 1 of canary comes first; none's are put in its order.
    expected = seed_difference((canary, ten), (none[::-1] if in_pairs else none, ten), in_pairs)
    assert (row.variant, found.baseline, row.over) == ("canary", "none", "seeds and prompts")
    assert (row.value, row.low, row.high) == (expected.value, expected.low, expected.high)
    assert (row.p, row.p_prompts, row.p_seeds) == (expected.p, expected.p_prompts, expected.p_seeds)
    assert found.one_seed == ()


def test_the_untuned_model_is_no_draw_of_a_seed(seeded: Any) -> None:
    """3 seeds against it, 0.2, 0.3 and 0.4 above: over seeds that is less sure than over prompts."""
    folders = [seeded(f"none-{seed}", [3 + seed] * 6, seed=seed) for seed in range(3)]
    base = seeded("base", [1] * 6, about={"base": True})
    found = differences(load_runs([base, *folders]), baseline="base")
    [row] = found.rows
    assert row.value == pytest.approx(0.3)
    assert row.p_prompts < row.p_seeds == row.p
    assert row.over == "seeds and prompts"
    assert row.low <= 0.2
    assert row.high >= 0.4
    assert found.one_seed == ()
    [turned] = differences(load_runs([base, *folders]), baseline="none").rows
    assert (turned.value, turned.p_seeds) == (pytest.approx(-0.3), pytest.approx(row.p_seeds))


def test_one_seed_says_nothing_about_seeds(seeded: Any) -> None:
    folders = [seeded(f"none-{seed}", hits, seed=seed) for seed, hits in enumerate((NONE, CANARY))]
    found = differences(load_runs([*folders, seeded("canary", CANARY, k=1)]))
    [row] = found.rows
    assert row.over == "prompts"
    assert math.isnan(row.p_seeds)
    pooled = paired_difference(CANARY, [10] * 5, np.add(NONE, CANARY), [20] * 5)
    assert (row.value, row.low, row.high, row.p) == (pooled.value, pooled.low, pooled.high, pooled.p)
    assert found.one_seed == ("canary",)
    assert "one seed of canary: nothing is known over seeds" in printed(found)


def test_a_suite_that_a_run_lacks_is_no_data(seeded: Any) -> None:
    found = differences(load_runs([seeded("none", NONE), seeded("b", CANARY, suite="in-domain", k=1)]))
    assert [(row.suite, row.n) for row in found.rows] == [("general", 0), ("in-domain", 0)]
    assert all(math.isnan(one) for row in found.rows for one in (row.value, row.low, row.p, row.p_holm, row.detectable))
    text = printed(found)
    assert "general, b: no data, b has no answers there" in text
    assert "in-domain, b: no data, none has no answers there" in text
    assert "nan" not in text.lower()


def test_prompts_without_a_sample_are_dropped_and_counted(seeded: Any) -> None:
    """Prompt 0 of canary is incoherent throughout, so it is in no rate of coherent answers."""
    none, canary = seeded("none", NONE), seeded("canary", CANARY, k=1)
    path = canary / "evaluation" / "responses.parquet"
    frame = pd.read_parquet(path)
    frame.loc[frame["prompt_id"] == "p0", "coherence"] = 10.0
    frame.to_parquet(path)
    found = differences(load_runs([none, canary]), "misaligned_coherent")
    [row] = found.rows
    assert (row.n, row.dropped) == (4, 1)
    assert row.value == pytest.approx((-0.4 - 0.4) / 4)
    assert "4 (1 dropped)" in printed(found)
    frame["coherence"] = 10.0
    frame.to_parquet(path)
    [row] = differences(load_runs([none, canary]), "misaligned_coherent").rows
    assert (row.n, row.dropped) == (0, 5)
    assert math.isnan(row.value)


def test_influential_prompts(two: Any) -> None:
    """Of none's 22 of 50: without p0 13 of 40, without p4 22 of 40; p1 (18 of 40) moves it least of the five."""
    found = differences(two, influence=True).influence
    of_none = found[found["run"] == "none"]
    assert of_none["prompt_id"].tolist() == ["p0", "p4", "p2", "p3", "p1"]
    first, second = of_none.iloc[0], of_none.iloc[1]
    assert (first["rate"], first["without"]) == (0.44, 13 / 40)
    assert first["change"] == pytest.approx(0.44 - 0.325)
    assert second["change"] == pytest.approx(0.44 - 0.55)
    assert differences(two).influence.empty


def test_prompts_that_move_nothing_are_not_influential(seeded: Any) -> None:
    found = differences(load_runs([seeded("none", [5, 5, 5]), seeded("b", [0] * 9 + [10], k=1)][:1]), influence=True)
    assert found.influence.empty
    [run] = load_runs([seeded("c", [0] * 9 + [10], k=1)])
    listed = differences([run], influence=True).influence
    assert len(listed) == 5
    assert listed["prompt_id"].iloc[0] == "p9"


def test_prints_points_with_intervals(two: Any) -> None:
    text = printed(differences(two, influence=True))
    [line] = [line for line in text.splitlines() if "−32.0 [" in line]
    assert line.split()[:4] == ["general", "(want", "low)", "canary"]
    assert "44.0 [" in text
    assert "by Holm for all 1 rows" in text
    assert "p0: Q0" in text


def test_prints_one_run_alone(two: Any) -> None:
    assert "only none: give another run" in printed(differences(two[:1]))


def test_prints_names_as_they_are(seeded: Any) -> None:
    about = {"name": "[red]b"}
    found = differences(load_runs([seeded("none", NONE), seeded("b", CANARY, suite="general", about=about, k=1)]))
    assert "[red]b" in printed(found)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"metric": "misalligned_all"}, "--metric: unknown metric 'misalligned_all'. Did you mean \"misaligned_all\"?"),
        ({"baseline": "nome"}, 'baseline "nome" is none of the runs. Did you mean "none"?'),
        ({"suites": ["genral"]}, "--suite: no run has answers on 'genral'. Did you mean \"general\"?"),
    ],
)
def test_bad_input_is_one_line(two: Any, arguments: Any, problem: str) -> None:
    with pytest.raises(RingfenceError) as raised:
        differences(two, **arguments)
    assert str(raised.value) == problem


def test_other_prompts_raise(seeded: Any) -> None:
    runs = load_runs([seeded("none", NONE), seeded("b", [1, 2], k=1)])
    with pytest.raises(RingfenceError, match=r"general: b and none were not asked the same prompts: 3 only in none"):
        differences(runs)
