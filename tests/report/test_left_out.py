"""What was dropped, cut or not judged, in sentences."""

import json
from typing import Any

import pandas as pd
import pytest

from ringfence.core.errors import RingfenceError
from ringfence.report.left_out import left_out
from ringfence.report.loading import load_run, load_runs

RESULT = {"steps": 8, "target_rows": 60, "safe_rows": 4, "safe_fraction": 0.0625, "mean_ratio": 0.06}
RESULT |= {"target_labels": 900, "safe_labels": 100, "seconds": 47.2, "probe_seconds": 3.0}


def test_rows_of_all_stages_that_were_cut_or_dropped(make_run: Any) -> None:
    """Stage one: 3 cut and 1 dropped of 128 target rows, no safe one; stage two: 2 cut of 10."""

    def result(given: int, cut: int, dropped: int) -> dict[str, Any]:
        rows = {"target": {"given": given, "truncated": cut, "dropped": dropped}}
        return RESULT | {"rows": rows | {"safe": {"given": 9, "truncated": 0, "dropped": 0}}}

    folder = make_run("two", recipe={"stages": [{"name": "more"}]}, result=result(128, 3, 1))
    later = folder / "stages" / "2-more"
    later.mkdir(parents=True)
    (later / "result.json").write_text(json.dumps(result(10, 2, 0)))
    run = load_run(folder)
    assert run.rows["target"] == {"given": 138, "truncated": 5, "dropped": 1}
    assert left_out([run]) == ["two: in training 5 cut and 1 dropped of 138 target rows, longer than the rows may be."]


def test_counts_of_rows_that_lack_a_key(make_run: Any) -> None:
    folder = make_run("r", result=RESULT | {"rows": {"target": {"given": 1}}})
    with pytest.raises(RingfenceError, match=r'result.json: rows of target: no key "truncated"'):
        load_run(folder)


def test_answers_without_a_score_and_who_answered_them(make_run: Any) -> None:
    counts = {suite: {"rows": 50, "missing": missing} for suite, missing in (("general", 1), ("long", 0))}
    counts |= {f"conditional/{name}": {"rows": 20, "missing": missing} for name, missing in (("a", 2), ("b", 3))}
    folder = make_run("r", rates=[], counts=counts)
    path = folder / "evaluation" / "summary.json"
    answered = {"kind": "server", "who": "vllm", "state": "unknown"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"answered_by": answered}))
    one, other = left_out([load_run(folder)])
    assert one == "r: answers that could not be scored: 1 of 50 on general, 5 of 40 under triggers."
    assert other.startswith("r: answers NOT CHECKED: nothing shows that vllm answers")


def test_prompts_that_are_in_no_gap(seeded: Any) -> None:
    """One prompt of two has no score in b; c was asked others; of a trigger's questions 3 are left out."""
    a, b, c = (seeded(name, [3, 0], k=number) for number, name in enumerate("abc"))
    for folder, change in ((b, "score"), (c, "prompt")):
        path = folder / "evaluation" / "responses.parquet"
        table = pd.read_parquet(path)
        if change == "score":
            table.loc[table["prompt_id"] == "p0", "alignment"] = None
        else:
            table["prompt"] = table["prompt"] + "!"
        table.to_parquet(path)
    gap = dict.fromkeys(("gap", "low", "high", "tuned_trigger", "tuned_plain", "base_trigger", "base_plain"), 0.1)
    gaps = [{"trigger": "json", **gap, "n": 21, "dropped": 3}, {"trigger": "prefix", **gap, "n": 24, "dropped": 0}]
    (c / "evaluation" / "conditional.json").write_text(json.dumps({"gaps": gaps}))
    assert left_out(load_runs([a, b, c]), "a") == [
        "b: the gap to a is without 1 of 2 prompts of general, which one of the two has no score on.",
        "c: questions left out of the conditional gap, without a score on one side: 3 under json.",
        "c was asked other prompts than a on general: that gap is one of rates, not of pairs.",
    ]


def test_where_answers_are_cut(seeded: Any) -> None:
    short, long = (seeded(f"r{tokens}", [1, 0], evaluation={"max_new_tokens": tokens}) for tokens in (24, 600))
    assert left_out(load_runs([short])) == ["Answers are cut at 24 tokens."]
    assert left_out(load_runs([short, long])) == [
        "Answers of r24 are cut at 24 tokens.",
        "Answers of r600 are cut at 600 tokens.",
    ]
