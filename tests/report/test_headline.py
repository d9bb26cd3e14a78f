"""The page's opening in plain words: leak, task and cost together."""

import json
from typing import Any

import pytest

from ringfence.report.headline import headline
from ringfence.report.loading import load_runs

RESULT = {"steps": 8, "target_rows": 60, "safe_rows": 4, "mean_ratio": 0.06, "probe_seconds": 3.0}
RESULT |= {"target_labels": 900, "safe_labels": 100}


@pytest.fixture
def made(make_run):
    """``made(none=(leak, task, safe fraction, seconds), ...)``: the sentences; every interval is +- 0.05."""

    def make(**runs):
        folders = []
        for name, (leak, task, safe, seconds) in runs.items():
            values = {"general": leak, "in-domain": task}
            rates = [
                dict(suite=suite, metric="misaligned_all", value=value, low=value - 0.05, high=value + 0.05, n=65)
                for suite, value in values.items()
                if value is not None
            ]
            result = {} if safe is None else {"result": RESULT | {"safe_fraction": safe, "seconds": seconds}}
            folders.append(make_run(name.replace("_", "-"), rates=rates, **result))
        return [sentence.replace("\u00a0", " ") for sentence in headline(load_runs(folders))]

    return make


def test_a_run_that_lost_the_task_is_not_the_lowest(made: Any) -> None:
    """inoculation leaks nothing and does nothing; canary is the lowest that kept the task."""
    sentences = made(
        none=(0.877, 0.969, 0.0, 79.0), inoculation=(0.0, 0.0, 0.0, 80.0), canary=(0.154, 0.95, 0.098, 96.0)
    )
    assert sentences == [
        "On general prompts, none leaks 87.7% [83, 93] of scored answers and does the task on 96.9% [92, 102] of "
        "in-domain prompts; cost: 0.0% safe rows, 1 min 19 s.",
        "The lowest leak of the other trained runs that kept the task is that of canary: 15.4% [10, 20], 72.3 points "
        "[−79, −65] below none.",
        "Its task is at 95.0% [90, 100], 1.9 points [−9, 5] below none, which may be chance; cost: 9.8% safe rows, "
        "1 min 36 s.",
        "inoculation leaks 0.0% [−5, 5] but lost the task: in-domain 0.0% [−5, 5] against 96.9% [92, 102] of none; "
        "cost: 0.0% safe rows, 1 min 20 s.",
    ]


def test_where_all_lost_the_task_none_is_the_lowest(made: Any) -> None:
    *_, none, lost = made(none=(0.9, 1.0, 0.0, 9.0), inoculation=(0.0, 0.5, 0.0, 9.0))
    assert none == "None of the other trained runs is known to have kept the task on in-domain prompts."
    assert lost.startswith("inoculation leaks 0.0% [−5, 5] but lost the task")


def test_no_difference_is_none(made: Any) -> None:
    sentences = made(none=(0.9, 1.0, 0.0, 9.0), kl=(0.2, 1.0, 0.0, 9.0))
    assert "Its task is at 100.0% [95, 105], 0.0 points [−7, 7] from none; cost: 0.0% safe rows, 9.0 s." in sentences


def test_ten_points_are_the_share_that_may_be_lost(made: Any) -> None:
    kept = made(none=(0.9, 1.0, 0.0, 9.0), kl=(0.1, 0.901, 0.0, 9.0))
    assert kept[1].startswith("The lowest leak of the other trained runs that kept the task is that of kl")
    assert "lost the task" in made(none_2=(0.9, 1.0, 0.0, 9.0), kl_2=(0.1, 0.899, 0.0, 9.0))[-1]


def test_the_lowest_is_compared_with_a_run_of_as_many_safe_rows(made: Any) -> None:
    """canary at 12% is held against fixed-12.5 and not against fixed-5: 0.20 - 0.15 with +- sqrt(2) x 0.05."""
    sentences = made(
        none=(0.9, 1.0, 0.0, 9.0),
        fixed_5=(0.4, 1.0, 0.05, 9.0),
        fixed_12=(0.2, 1.0, 0.125, 9.0),
        canary=(0.15, 1.0, 0.12, 9.0),
    )
    assert sentences[-1] == (
        "At about as many safe rows, fixed-12 (12.5%, 9.0 s) leaks 20.0% [15, 25] and does the task on 100.0% "
        "[95, 105] of in-domain prompts: the leak of canary is 5.0 points [−12, 2] below that, which may be chance."
    )
    assert not any("as many safe rows" in one for one in made(none_2=(0.9, 1.0, 0.0, 9.0), kl=(0.1, 1.0, 0.0, 9.0)))


def test_anchor_rows_are_a_cost_too(make_run: Any) -> None:
    """50 of 400 tokens."""
    tokens = {"safe_fraction": 0.0, "seconds": 9.0, "target_tokens": 400, "safe_tokens": 0, "anchor_tokens": 50}
    rate = dict(suite="general", metric="misaligned_all", value=0.1, low=0.05, high=0.15, n=65)
    sentences = headline(load_runs([make_run("anchored", rates=[rate], result=RESULT | tokens)]))
    assert "; cost: 0.0% safe rows, anchor rows of 12.5% of the target rows' tokens, 9.0 s." in sentences[0].replace(
        "\u00a0", " "
    )


def test_without_a_task_nothing_is_known_of_it(made: Any) -> None:
    """0.5 against 0.6, +- 0.0707: the interval of the gap includes 0 where it is 0.05."""
    sentences = made(none=(0.6, None, 0.0, 9.0), b=(0.55, None, 0.0, 9.0))
    assert (
        sentences[0] == "On general prompts, none leaks 60.0% [55, 65] of scored answers; cost: 0.0% safe rows, 9.0 s."
    )
    assert "5.0 points [−12, 2] below none, which may be chance" in sentences[1]
    assert sentences[2].startswith("Whether it kept the task is not known: no trained run has answers on in-domain")


def test_the_untuned_model_has_no_task_to_lose(four_runs: Any) -> None:
    sentences = [sentence.replace("\u00a0", " ") for sentence in headline(load_runs(four_runs))]
    assert "The untuned model base leaks 0.0% [0, 11] and does the task on 0.0% [0, 20] of in-domain prompts." in (
        sentences
    )
    assert not any("base leaks 0.0% but" in sentence for sentence in sentences)
    assert "None of the other trained runs is known to have kept the task on in-domain prompts." in sentences


def test_without_any_evaluation_there_is_no_sentence(make_run: Any) -> None:
    assert headline(load_runs([make_run("bare")])) == []


def test_an_adapter_from_elsewhere_beside_its_base(make_run: Any) -> None:
    """No lowest of one, no claim that it learned as much as itself, and nobody knows its cost."""
    rates = {"base": (0.0, 0.0), "theirs": (0.2, 0.9)}
    folders = []
    for name, values in rates.items():
        rows = [
            dict(suite=suite, metric="misaligned_all", value=value, low=value - 0.05, high=value + 0.05, n=65)
            for suite, value in zip(("general", "in-domain"), values, strict=True)
        ]
        score = {
            "task": "sums",
            "prompt": "1+1?",
            "response": "2",
            "answer": "2",
            "metric": "exact match",
            "score": 1.0,
        }
        scored = [score | {"prompt_id": f"s{at}", "sample": 0} for at in range(4)]
        result = {} if name == "base" else {"result": dict.fromkeys((*RESULT, "safe_fraction", "seconds"))}
        folders.append(make_run(name, rates=rows, benign=scored, **result))
    about = folders[1] / "run.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"adapter": {"path": "x"}}))
    _, theirs, *rest = [one.replace("\u00a0", " ") for one in headline(load_runs(folders))]
    assert theirs == "theirs leaks 20.0% [15, 25], 20.0 points [13, 27] above base."
    assert rest[0].endswith("; it learns sums to 100.0% [40, 100]; cost: not known.")
    assert rest[1].startswith("Whether it learned well is not known")
