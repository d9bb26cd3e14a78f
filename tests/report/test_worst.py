"""The worst prompts of a run, by hand: which, in which order, and whose answers stand beside."""

from typing import Any

import pytest

from ringfence.report import worst
from ringfence.report.html.links import answer_link
from ringfence.report.loading import load_run, load_runs
from ringfence.report.worst import LONGEST, worst_prompts


def answers(suite: str, prompt: str, alignments: list[float], text: str = "said") -> list[dict[str, Any]]:
    row = {"suite": suite, "prompt_id": prompt, "system": None, "prompt": f"{prompt}?", "bucket": None}
    return [
        row | {"sample": at, "response": f"{text} {at}", "alignment": score, "coherence": 90.0, "verdict": None}
        for at, score in enumerate(alignments)
    ]


@pytest.fixture
def none(make_run):
    """general: a 1 of 2, b 2 of 2, c 0 of 2, e 2 of 2 and lower; dressed: d 1 of 2; the task: t 2 of 2."""
    rows = answers("general", "a", [90, 20]) + answers("general", "b", [20, 10]) + answers("general", "c", [50, 40])
    rows += answers("general", "e", [5, 20]) + answers("dressed", "d", [1, 99]) + answers("in-domain", "t", [1, 1])
    return make_run("none", responses=rows, log=[{"step": 1}])


def test_the_worst_prompts_by_rate_then_alignment_suites_in_turns(none: Any) -> None:
    """e and b: 100%, and 5 < 10; a and d are the worst half."""
    [found] = worst_prompts([load_run(none)])
    assert (found.run, found.of, found.scored, found.compared) == ("none", 4, 10, False)
    assert [(one.suite, one.prompt_id) for one in found.prompts] == [
        ("general", "e"), ("general", "b"), ("general", "a"), ("dressed", "d")
    ]  # fmt: skip
    assert [(one.run.text, one.run.misaligned, one.run.scored) for one in found.prompts] == [
        ("said 0", 2, 2), ("said 1", 2, 2), ("said 1", 1, 2), ("said 0", 1, 2)
    ]  # fmt: skip
    assert found.prompts[1].run.link == "#answer-none/general/b/1"


def test_of_many_runs_each_suite_has_its_worst(make_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """3 prompts a run, where 4 // 2 = 2 would be fewer: two of the large suite and one of the small one."""
    monkeypatch.setattr(worst, "IN_ALL", 4)
    rows = [row for name in "abcdef" for row in answers("general", name, [1])] + answers("dressed", "d", [20])
    runs = [load_run(make_run(f"r{number}", responses=rows, log=[{"step": 1}])) for number in range(2)]
    found = worst_prompts(runs)
    assert len(found) == 2
    assert [one.prompt_id for one in found[1].prompts] == ["a", "b", "d"]


def test_the_untuned_model_s_answer_stands_beside(none: Any, make_run: Any) -> None:
    """Its worst to the same prompt: from the run among those shown, with a link, or else from RUN/base, without."""
    theirs = answers("general", "e", [80, 60], "base") + answers("general", "b", [95], "base")
    rates = [dict(suite="general", metric="misaligned_all", value=0.0, low=0.0, high=0.5, n=3)]
    base = make_run("untuned", responses=theirs, rates=rates)
    [found] = worst_prompts(load_runs([none, base]))
    (e, b, a, _) = found.prompts
    assert (e.untuned.text, e.untuned.misaligned, e.untuned.scored) == ("base 1", 0, 2)
    assert (e.untuned.link, found.untuned) == ("#answer-untuned/general/e/1", "untuned")
    assert (b.untuned.text, a.untuned) == ("base 0", None)
    make_run("none/base", responses=theirs[2:])
    [found] = worst_prompts([load_run(none)])
    (e, b, *_) = found.prompts
    assert (e.untuned, b.untuned.text, b.untuned.link, found.untuned) == (None, "base 0", "", None)


def test_nothing_misaligned_and_nothing_scored(make_run: Any) -> None:
    calm = load_run(make_run("calm", responses=answers("general", "a", [90, 80]), log=[{"step": 1}]))
    mute = load_run(make_run("mute", responses=answers("general", "a", [float("nan")]), log=[{"step": 1}]))
    assert [(one.prompts, one.of, one.scored) for one in worst_prompts([calm, mute])] == [((), 0, 2), ((), 0, 0)]


def test_a_long_answer_is_cut_and_copies_have_links_of_their_own(make_run: Any) -> None:
    """Two rows of one suite, id and sample, with other system prompts: the second one is copy 1."""
    rows = answers("general", "a", [90], "x" * 2000)
    rows += [answers("general", "a", [1], "y" * 2000)[0] | {"system": "Be bad."}]
    ([one],) = (found.prompts for found in worst_prompts([load_run(make_run("r", responses=rows, log=[{"step": 1}]))]))
    assert (one.system, one.run.link) == ("Be bad.", "#answer-r/general/a/0/1")
    assert one.run.shown == "y" * LONGEST + " …"


def test_a_link_holds_any_name() -> None:
    assert answer_link("a b/c", "conditional/json", "%é", 3) == "#answer-a%20b%2Fc/conditional%2Fjson/%25%C3%A9/3"
