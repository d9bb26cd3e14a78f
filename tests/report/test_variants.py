"""Which runs are seeds of one variant, what they are called, and rates over seeds."""

import math
from typing import Any

import numpy as np
import pytest

from ringfence.core.errors import RingfenceError
from ringfence.core.seeds import seed_interval
from ringfence.report.loading import load_run, load_runs
from ringfence.report.variants import baseline_variant, require_same_prompts, suites_of, variant_rates, variants


def test_runs_that_differ_in_name_and_seed_are_one_variant(seeded: Any) -> None:
    folders = [
        seeded("none-0", [1], seed=0),
        seeded("canary", [1], seed=0, defenses=["canary"]),
        seeded("none-1", [1], seed=1),
        seeded("base", [1], seed=0, about={"base": True}),
        seeded("other-data", [1], seed=2, about={"inputs": {"data/target.jsonl": "0" * 64}}),
        seeded("adapter", [1], seed=3, about={"adapter": {"sha256": "1"}}),
    ]
    found = variants(load_runs(folders))
    assert [(one.name, one.seeds) for one in found] == [
        ("none", [0, 1]),
        ("canary", [0]),
        ("base", [0]),
        ("other-data", [2]),
        ("adapter", [3]),
    ]
    assert [one.untrained for one in found] == [False, False, True, False, False]


def test_runs_without_a_recipe_are_their_own(seeded: Any) -> None:
    about = {"recipe": None}
    found = variants(load_runs([seeded("a", [1], about=about), seeded("b", [1], about=about)]))
    assert [one.name for one in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("none-0", "none-1"), "none"),
        (("canary10", "canary12"), "canary"),
        (("kl_seed_1", "kl_seed_2"), "kl"),
        (("kl-s1", "kl-s2"), "kl"),
        (("rows1", "rows2"), "rows"),
        (("left", "right"), "left + right"),
        (("1", "2"), "1 + 2"),
    ],
)
def test_names_of_variants(seeded: Any, names: Any, expected: str) -> None:
    folders = [seeded(name, [1], seed=seed) for seed, name in enumerate(names)]
    assert [one.name for one in variants(load_runs(folders))] == [expected]


def test_two_runs_of_one_seed_are_named(seeded: Any) -> None:
    runs = load_runs([seeded("a", [1], seed=4), seeded("b", [1], seed=4)])
    with pytest.raises(RingfenceError, match=r"/a and .*/b: both are seed 4 of one recipe"):
        variants(runs)


def test_the_baseline_is_a_variant_or_one_of_its_runs(seeded: Any) -> None:
    folders = [seeded("x-0", [1], seed=0), seeded("none-1", [1], seed=1, k=1), seeded("none-2", [1], seed=2, k=1)]
    found = variants(load_runs(folders))
    assert baseline_variant(found, None).name == "none"
    assert baseline_variant(found[:1], None).name == "x-0"
    assert baseline_variant(found, "none-2").name == "none"
    with pytest.raises(RingfenceError, match=r'baseline "nome" is none of the runs\. Did you mean "none"'):
        baseline_variant(found, "nome")


def test_rates_over_seeds(seeded: Any) -> None:
    """Seeds with 3 of 30 and 9 of 30: mean 0.2, sd 0.2 / sqrt(2)."""
    hits = [[1, 2, 0], [4, 5, 0]]
    folders = [seeded(f"none-{seed}", of_seed, seed=seed) for seed, of_seed in enumerate(hits)]
    [row] = variant_rates(variants(load_runs(folders)), ["general"], "misaligned_all").itertuples()
    assert row.value == pytest.approx(0.2)
    assert row.sd == pytest.approx(0.2 / math.sqrt(2))
    assert (row.seeds, row.n, row.variant) == (2, 60, "none")
    over_seeds = seed_interval(hits, np.full((2, 3), 10))
    assert (row.low, row.high) == (over_seeds.low, over_seeds.high)


def test_rates_of_one_seed_and_of_no_data(seeded: Any) -> None:
    found = variants(load_runs([seeded("a", [1, 2, 3]), seeded("b", [1, 2], suite="in-domain", k=1)]))
    rates = variant_rates(found, suites_of(found), "misaligned_all").set_index(["suite", "variant"])
    assert rates.loc[("general", "a"), "value"] == pytest.approx(0.2)
    assert math.isnan(rates.loc[("general", "a"), "sd"])
    assert math.isnan(rates.loc[("general", "b"), "value"])
    assert math.isnan(rates.loc[("general", "b"), "low"])
    assert rates.loc[("general", "b"), "n"] == 0


def test_a_suite_that_no_run_has(seeded: Any) -> None:
    found = variants([load_run(seeded("a", [1]))])
    assert suites_of(found, ["general", "general"]) == ["general"]
    with pytest.raises(RingfenceError, match=r"--suite: no run has answers on 'genral'. Did you mean \"general\""):
        suites_of(found, ["genral"])


def test_the_plain_cell_is_compared_only_where_it_is_asked_for(seeded: Any) -> None:
    """It repeats the answers of the suite that is dressed."""
    plain = "conditional/plain"
    found = variants([load_run(seeded("a", [1])), load_run(seeded("b", [1], suite=plain, k=1))])
    assert suites_of(found) == ["general"]
    assert suites_of(found, [plain]) == [plain]


def test_other_prompts_are_named(seeded: Any) -> None:
    found = variants(load_runs([seeded("a", [1]), seeded("b", [1, 2, 3, 4, 5], k=1)]))
    with pytest.raises(RingfenceError, match=r"general: a and b were .* 4 only in b \(p1, p2, p3, \.\.\.\); evaluate"):
        require_same_prompts("general", found)
