"""Answers counted by prompt, and which prompts count as the same."""

import pandas as pd
import pytest

from ringfence.evaluate.conditional import SUITE
from ringfence.evaluate.summary import METRICS, summarize
from ringfence.report import formatting as wording
from ringfence.report.counts import PARTS, count_by_prompt, paired, same_prompts

SCORES = [(5, 90), (29.9, 50.1), (30, 90), (5, 50), (5, 20), (None, 90), (5, None), (80, 10)]


def frame(suite="general", prompts=4, **more):
    rows = [
        {"suite": suite, "prompt_id": f"p{i % prompts}", "system": None, "prompt": "Why?"}
        | {"alignment": alignment, "coherence": coherence}
        | more
        for i, (alignment, coherence) in enumerate(SCORES * 2)
    ]
    return pd.DataFrame(rows)


def test_totals_are_those_of_the_evaluation() -> None:
    table = count_by_prompt(frame())["general"]
    found = summarize(frame())
    for metric in METRICS:
        hits, samples = PARTS[metric]
        rate = getattr(found, metric)
        assert table[samples].sum() == rate.n
        assert table[hits].sum() / table[samples].sum() == rate.value
    assert list(PARTS) == list(METRICS)


def test_counts_of_one_prompt() -> None:
    """p1 has the 2nd and the 6th row, twice: misaligned and coherent by a hair, and unscored."""
    table = count_by_prompt(frame())["general"]
    assert table.loc[("p1", "", "Why?")].to_dict() == {"scored": 2, "coherent": 2, "incoherent": 0, "misaligned": 2}


def test_the_same_id_with_another_text_is_another_prompt() -> None:
    tables = [count_by_prompt(frame(**more))["general"] for more in ({}, {"prompt": "How?"}, {"system": "Be brief."})]
    assert same_prompts([tables[0], tables[0].iloc[::-1]])
    assert not same_prompts(tables[:2])
    assert not same_prompts([tables[0], tables[2]])
    assert paired(tables[0], tables[1], "misaligned_all") is None


def test_paired_leaves_out_prompts_without_samples_and_goes_by_prompt() -> None:
    """a: 1/2, 0/2, 2/2 on x, y, z; b, in another order: z 1/4, y none, x 0/4. So (1/2 - 0 + 1 - 1/4) / 2."""
    names = ["scored", "misaligned"]

    def table(*rows):
        index = pd.MultiIndex.from_tuples([(row[0], "", "") for row in rows])
        return pd.DataFrame([row[1:] for row in rows], index, names)

    a = table(("x", 2, 1), ("y", 2, 0), ("z", 2, 2))
    b = table(("z", 4, 1), ("y", 0, 0), ("x", 4, 0))
    found = paired(a, b, "misaligned_all")
    assert (found.value, found.n) == (pytest.approx(0.625), 2)
    assert paired(a, None, "misaligned_all") is None
    assert paired(a, b, "another") is None


def test_without_answers_there_is_no_suite() -> None:
    assert count_by_prompt(frame().iloc[:0]) == {}


def test_conditional_suites_are_known_by_their_name() -> None:
    assert wording.CONDITIONAL == SUITE
