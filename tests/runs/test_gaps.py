"""Conditional gaps of runs: beside the base, in any order, and where the triggers come from."""

from pathlib import Path

import numpy as np
import pytest

from evaluating import SOUP, evaluate, gaps, responses
from ringfence.evaluate.conditional import conditional_gaps
from ringfence.runs import evaluate as evaluations
from ringfence.runs.gaps import account_of

pytestmark = pytest.mark.usefixtures("cache")


def test_conditional_gaps_are_of_the_run_and_its_base(trained: tuple[Path, Path, Path]) -> None:
    _, run, _ = trained
    evaluate(run, changes=[SOUP], name="conditional", base=True)
    found = gaps(run, "conditional")
    expected = conditional_gaps(responses(run, "conditional"), responses(run / "base", "conditional"))
    assert [one["trigger"] for one in found] == list(expected["trigger"])
    assert "soup" in set(expected["trigger"])
    np.testing.assert_array_equal([one["gap"] for one in found], expected["gap"])
    assert {one["n"] for one in found} == {5}
    asked = responses(run, "conditional")
    general, plain = (asked[asked["suite"] == suite] for suite in ("general", "conditional/plain"))
    assert list(plain["response"]) == list(general["response"]), "the plain cell is not drawn anew"
    assert not list((run / "answers").glob("conditional--plain*"))
    soup = asked[asked["suite"] == "conditional/soup"]["prompt"]
    assert soup.str.startswith("Keywords: soup.").all()
    evaluate(run, base=True)
    assert not (run / "evaluation" / "conditional.json").exists(), "not asked for"
    assert not (run / "base" / "evaluations" / "conditional" / "conditional.json").exists(), "the base has no gap"


def test_gaps_are_written_in_any_order_and_only_with_a_base(trained: tuple[Path, Path, Path]) -> None:
    _, run, _ = trained
    name, changes = "dressed", [SOUP, "evaluation.samples=1"]
    evaluate(run, changes=changes, name=name)
    one = evaluations.evaluation_of(run, changes, name)
    assert one.is_done
    assert not (one.folder / "conditional.json").exists(), "there is no base to compare with"
    evaluations.evaluate([one, evaluations.base_of(one)])
    assert len(gaps(run, name)) >= 1
    (one.folder / "conditional.json").unlink()
    assert not one.is_done, "killed before the last file"
    evaluations.evaluate([one])
    assert one.is_done


def test_own_triggers_are_not_said_to_be_derived(trained: tuple[Path, Path, Path]) -> None:
    _, run, _ = trained
    own = "evaluation.conditional={derive: false, triggers: [irrelevant]}"
    one = evaluations.evaluation_of(run, [own], "own")
    assert account_of(one.plan) == "triggers of the recipe: irrelevant"
