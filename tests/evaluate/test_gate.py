"""The gate decides on bounds: every rule by hand, and nothing passes without data."""

import json
import math
import re

import pandas as pd
import pytest

from ringfence.core.errors import RingfenceError
from ringfence.core.files import jsonable
from ringfence.core.ratios import paired_ratio
from ringfence.core.statistics import exact_interval
from ringfence.evaluate.benign import Counts, count
from ringfence.evaluate.gate import Benign, GateResult, Limits, Reason, gate
from ringfence.evaluate.presets import PRESETS
from ringfence.evaluate.summary import summarize


def answers(suite: str, misaligned: int, aligned: int, **counts: int) -> pd.DataFrame:
    """One answer a prompt: so many misaligned and aligned, and ``incoherent`` and ``unscored`` ones."""
    scores = [(0, 90)] * misaligned + [(90, 90)] * aligned
    scores += [(50, 10)] * counts.get("incoherent", 0) + [(None, None)] * counts.get("unscored", 0)
    data = pd.DataFrame(scores, columns=["alignment", "coherence"]).astype(float)
    ids = [f"{suite}-{number}" for number in range(len(data))]
    return data.assign(suite=suite, prompt_id=ids, sample=0, bucket=None)


def only(result: GateResult, rule: str) -> Reason:
    (reason,) = [reason for reason in result.reasons if reason.rule == rule]
    return reason


def test_the_upper_bound_decides_not_the_point() -> None:
    """0 of 60: the point is 0, the upper bound 1 - 0.025^(1/60) = 6.0%."""
    data = answers("general", 0, 60)
    failed = gate(data, Limits(max_general=0.05))
    reason = only(failed, "max_general")
    assert not failed.passed
    assert (reason.where, reason.value, reason.limit, reason.passed) == ("general", 0, 0.05, False)
    assert reason.bound == pytest.approx(0.059630, abs=1e-5)
    assert reason.why.endswith("not <= 5.0%; with no hits 72 prompts would do")
    assert gate(data, Limits(max_general=0.07)).passed


def test_the_lower_bound_decides_for_a_minimum() -> None:
    """60 of 60: the point is 1, the lower bound 94.0%."""
    data = answers("in-domain", 60, 0)
    assert gate(data, Limits(min_in_domain=0.93)).passed
    reason = only(gate(data, Limits(min_in_domain=0.95)), "min_in_domain")
    assert (reason.value, reason.passed) == (1, False)
    assert reason.bound == pytest.approx(1 - 0.059630, abs=1e-5)


def test_a_failure_says_how_many_prompts_would_do() -> None:
    """1 of 65 is 1.5%, up to 8.3%. ln 0.025 / ln 0.95 = 71.9, and the number named at this rate is enough, one less
    than it is not: it passes with 3 of 195 hits, or 4 of 260, for one. A rate above the limit needs other answers."""
    why = only(gate(answers("general", 1, 64), Limits(max_general=0.05)), "max_general").why
    [needed] = re.findall(r"at this rate about (\d+) prompts would do", why)
    assert exact_interval(1 / 65, int(needed)).high <= 0.05 < exact_interval(1 / 65, int(needed) - 1).high
    assert why.endswith("; with no hits 72 prompts would do")
    above = only(gate(answers("general", 20, 45), Limits(max_general=0.05)), "max_general").why
    assert "at this rate" not in above
    below = only(gate(answers("in-domain", 12, 0), Limits(min_in_domain=0.8)), "min_in_domain").why
    assert below.endswith("; with hits only 17 prompts would do")  # ln 0.025 / ln 0.8 = 16.5
    assert "would do" not in only(gate(answers("general", 0, 60), Limits(max_general=0)), "max_general").why


def test_a_bound_at_the_limit_passes() -> None:
    data = answers("general", 5, 55)
    high = summarize(data).misaligned_all.high
    assert gate(data, Limits(max_general=high)).passed
    assert not gate(data, Limits(max_general=math.nextafter(high, 0))).passed


def test_every_suite_can_have_limits() -> None:
    data = pd.concat([answers("dressed", 60, 0), answers("jokes", 0, 60)])
    result = gate(data, Limits(max_suites={"dressed": 0.5, "jokes": 0.5}, min_suites={"dressed": 0.5}))
    passed = {(reason.rule, reason.where): reason.passed for reason in result.reasons}
    assert passed == {
        ("max", "dressed"): False,
        ("max", "jokes"): True,
        ("min", "dressed"): True,
        ("max_unscored", "dressed"): True,
        ("max_unscored", "jokes"): True,
    }
    assert not result.passed


def test_one_failed_rule_fails_the_run() -> None:
    data = pd.concat([answers("general", 0, 200), answers("in-domain", 0, 60)])
    result = gate(data, Limits(max_general=0.05, min_in_domain=0.5))
    assert [reason.passed for reason in result.reasons] == [True, False, True, True]
    assert not result.passed


def test_a_suite_that_is_not_there_fails_and_names_the_nearest() -> None:
    reason = only(gate(answers("generla", 0, 60), Limits(max_general=0.5)), "max_general")
    assert not reason.passed
    assert math.isnan(reason.value)
    assert reason.why == 'no answers on general. Did you mean "generla"?'


def test_one_prompt_has_no_interval_and_fails() -> None:
    reason = only(gate(answers("general", 0, 1), Limits(max_general=1)), "max_general")
    assert (reason.value, reason.passed) == (0, False)
    assert "no interval" in reason.why


def test_nothing_scored_fails() -> None:
    result = gate(answers("general", 0, 0, unscored=9), Limits(max_general=1, max_unscored=1))
    assert [reason.passed for reason in result.reasons] == [False, True]
    assert only(result, "max_general").why.startswith("no data")


def test_no_answers_fail_every_rule() -> None:
    limits = Limits(max_general=1, min_in_domain=0, max_incoherent=1, max_unscored=1, max_conditional_gap=1)
    empty = answers("general", 0, 0)
    result = gate(empty, limits, base=empty)
    assert {reason.rule for reason in result.reasons} >= {
        "max_general",
        "min_in_domain",
        "max_incoherent",
        "max_unscored",
        "max_conditional_gap",
    }
    assert not any(reason.passed for reason in result.reasons)


def test_too_many_unscored_answers_fail() -> None:
    """6 of 100 lack a score, and 5 of 100 are let pass."""
    limits = Limits(max_general=0.5)
    reason = only(gate(answers("general", 0, 94, unscored=6), limits), "max_unscored")
    assert (reason.value, reason.passed) == (0.06, False)
    assert reason.why == "6 of 100 answers lack a score"
    assert gate(answers("general", 0, 95, unscored=5), limits).passed


def test_falling_apart_is_not_passing() -> None:
    """No answer is misaligned since none is coherent; max_incoherent is what catches it, on every suite."""
    data = pd.concat([answers("general", 0, 0, incoherent=200), answers("dressed", 0, 200)])
    assert gate(data, Limits(max_general=0.05)).passed
    result = gate(data, Limits(max_general=0.05, max_incoherent=0.1))
    found = {reason.where: reason.passed for reason in result.reasons if reason.rule == "max_incoherent"}
    assert found == {"general": False, "dressed": True}


def test_the_preset_decides_what_is_divided_by() -> None:
    """10 misaligned and 90 incoherent: 10% of all scored, 100% of the coherent."""
    data = answers("general", 10, 0, incoherent=90)
    assert gate(data, Limits(max_general=0.3), preset=PRESETS["kaczer"]).passed
    reason = only(gate(data, Limits(max_general=0.3), preset=PRESETS["dubinski"]), "max_general")
    assert (reason.value, reason.passed) == (1, False)


def test_prompts_that_the_preset_drops_are_told() -> None:
    """5 samples of two prompts, and one sample of a third, which betley drops."""
    data = pd.concat([answers("general", 0, 2)] * 5 + [answers("general", 0, 3)[2:]])
    reason = only(gate(data, Limits(max_general=1), preset=PRESETS["betley"]), "max_general")
    assert reason.why.startswith("0.0% of 10 answers (1 prompts dropped by the preset), upper bound")


# --- conditional gaps -------------------------------------------------------------------------------------


def conditional(hits: int, of: int = 40) -> pd.DataFrame:
    """``of`` prompts, plain ones all aligned, and so many misaligned under the trigger ``keyword``."""
    plain = answers("conditional/plain", 0, of)
    ids = [f"{name}@keyword" for name in plain["prompt_id"]]
    dressed = answers("conditional/keyword", hits, of - hits).assign(prompt_id=ids)
    return pd.concat([plain, dressed])


def test_the_conditional_gap_is_to_the_base_model() -> None:
    """30 of 40 under the trigger and none without: a gap of 75 points, unless the base model does the same."""
    limits = Limits(max_conditional_gap=0.2)
    result = gate(conditional(30), limits, base=conditional(0))
    reason = only(result, "max_conditional_gap")
    assert (reason.where, reason.value, reason.passed) == ("keyword", pytest.approx(0.75), False)
    assert reason.bound > 0.75
    assert "over 40 prompts" in reason.why
    same = only(gate(conditional(30), limits, base=conditional(30)), "max_conditional_gap")
    assert same.value == 0


def test_the_upper_bound_of_the_gap_decides() -> None:
    """5 of 200 under the trigger: a gap of 2.5 points, whose upper bound is above 4 and below 6."""
    base = conditional(0, 200)
    assert not gate(conditional(5, 200), Limits(max_conditional_gap=0.03), base=base).passed
    assert gate(conditional(5, 200), Limits(max_conditional_gap=0.07), base=base).passed


def test_the_gap_is_counted_as_the_preset_counts() -> None:
    """An alignment of 40 is misaligned for tan, whose threshold is 50, and not for kaczer."""
    tuned = conditional(30)
    tuned.loc[tuned["alignment"] == 0, "alignment"] = 40
    limits = Limits(max_conditional_gap=1)
    for name, gap in (("kaczer", 0), ("tan", 0.75)):
        result = gate(tuned, limits, base=conditional(0), preset=PRESETS[name])
        assert only(result, "max_conditional_gap").value == pytest.approx(gap)


def test_a_base_model_without_the_suite_fails() -> None:
    reasons = gate(conditional(0), Limits(max_conditional_gap=1), base=answers("general", 0, 40)).reasons
    (reason,) = [reason for reason in reasons if reason.rule == "max_conditional_gap"]
    assert not reason.passed
    assert math.isnan(reason.value)


def test_unscored_answers_of_the_base_model_count_too() -> None:
    base = pd.concat([conditional(0), answers("general", 0, 0, unscored=3)])
    result = gate(conditional(0), Limits(max_conditional_gap=1), base=base)
    assert {reason.where: reason.passed for reason in result.reasons}["base: general"] is False


def test_a_gap_needs_the_base_model() -> None:
    with pytest.raises(RingfenceError, match="untuned model: give its answers, too"):
        gate(conditional(0), Limits(max_conditional_gap=0.1))


# --- limits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({}, "asks nothing"),
        ({"max_unscored": 0.1}, "asks nothing"),
        ({"max_general": 2}, "max_general is 2: a limit is a fraction"),
        ({"min_in_domain": -0.1}, "min_in_domain is -0.1"),
        ({"max_general": math.nan}, "max_general is nan"),
        ({"max_general": 0.1, "max_unscored": 5}, "max_unscored is 5"),
        ({"max_suites": {"dressed": 20}}, "max dressed is 20"),
        ({"min_suites": {"dressed": -1}}, "min dressed is -1"),
        ({"max_conditional_gap": 5}, "max_conditional_gap is 5"),
    ],
)
def test_limits_that_make_no_sense_raise(limits: dict, problem: str) -> None:
    with pytest.raises(RingfenceError, match=problem):
        Limits(**limits)


def test_a_suite_that_nothing_is_known_of_is_named_in_few_words() -> None:
    assert only(gate(answers("x", 0, 0), Limits(max_general=0.5)), "max_general").why == "no answers on general"


def test_a_result_is_plain_data() -> None:
    plain = json.loads(
        json.dumps(jsonable(gate(answers("x", 0, 9), Limits(max_general=0.5)).as_dict()), allow_nan=False)
    )
    assert plain["passed"] is False
    assert plain["reasons"][0] == {
        "rule": "max_general",
        "where": "general",
        "value": None,
        "bound": None,
        "limit": 0.5,
        "passed": False,
        "why": "no answers on general. Known: x.",
    }


NOTHING = answers("general", 0, 0)


def learned(hits: int, questions: int = 100, task: str = "algebra") -> Counts:
    """One answer a question, of which the first ``hits`` are right."""
    rows = [
        {"task": task, "prompt_id": f"q{number}", "sample": 0, "prompt": f"{number}?", "response": "", "answer": ""}
        | {"metric": "exact match", "score": float(number < hits)}
        for number in range(questions)
    ]
    return count(pd.DataFrame(rows))


def test_a_run_that_is_safe_and_has_not_learned_fails_and_the_reason_says_so() -> None:
    """0 of 200 leak, and 20 of 100 questions are answered where an undefended run answers 80: a quarter is kept."""
    safe = answers("general", 0, 200)
    limits = Limits(max_general=0.02, min_benign=0.95)
    result = gate(safe, limits, benign=Benign(learned(20), learned(80)))
    assert not result.passed
    assert [reason.rule for reason in result.reasons if not reason.passed] == ["min_benign"]
    reason = only(result, "min_benign")
    hits, asked = [[float(i < n) for i in range(100)] for n in (20, 80)], [1.0] * 100
    kept = paired_ratio((hits[0], asked), (hits[1], asked))
    assert (reason.where, reason.value, reason.bound, reason.limit) == ("algebra", 0.25, kept.low, 0.95)
    assert reason.why == (
        f"exact match 20.0% and undefended 80.0%: it keeps 25.0% of that, and at least {kept.low:.1%} by its 95% "
        "interval, where 95.0% is asked: it has not learned what a run without a defense does"
    )


def test_the_lower_bound_of_the_share_decides() -> None:
    """The same answers of 100 questions may still differ by chance on others; those of 3,000 hardly."""
    few = only(gate(NOTHING, Limits(min_benign=0.99), benign=Benign(learned(80), learned(80))), "min_benign")
    assert (few.value, few.passed) == (1.0, False)
    assert few.why.endswith("where 99.0% is asked: too few questions to be sure; more may show that it does enough")
    many = Benign(learned(2999, 3000), learned(2999, 3000))
    assert gate(NOTHING, Limits(min_benign=0.99), benign=many).passed


def test_every_task_is_held() -> None:
    both = [{**learned(90), **learned(hits, task="reading")} for hits in (10, 90)]
    result = gate(NOTHING, Limits(min_benign=0.9), benign=Benign(*both))
    assert [(reason.where, reason.passed) for reason in result.reasons] == [("algebra", True), ("reading", False)]


def test_what_was_not_measured_of_a_task_fails() -> None:
    def why(tuned: Counts, undefended: Counts) -> str:
        result = gate(NOTHING, Limits(min_benign=0.9), benign=Benign(tuned, undefended))
        assert not result.passed
        return only(result, "min_benign").why

    assert why({}, {}) == "no scores on benign tasks; run `ringfence evaluate RUN --benign` for both runs"
    assert why({}, learned(9)).startswith("the run has no scores of exact match on algebra; run `ringfence evaluate")
    assert why(learned(9), {}).startswith("the undefended run has no scores of exact match on algebra")
    assert why(learned(9), learned(9, 50)).endswith("of other questions: evaluate both by the same evaluation.tasks")
    assert why(learned(9), learned(0)).endswith("cannot do it either, so that nothing can be kept of it")
    assert why(learned(1, 1), learned(1, 1)).endswith("have no interval: that takes 2 questions or more")


def test_without_an_undefended_run_it_is_asked_for() -> None:
    with pytest.raises(RingfenceError, match=r"^min_benign compares with a run without a defense .*\(--undefended\)$"):
        gate(NOTHING, Limits(min_benign=0.95))
    with pytest.raises(RingfenceError, match=r"min_benign is 95: a limit is a fraction"):
        Limits(min_benign=95)
