"""Answers of a tiny model to small suites: the rows, their random streams, and what is written."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import tiny
from ringfence.data.suites import Prompt
from ringfence.evaluate import Protocol, evaluate, save
from ringfence.evaluate.responses import fingerprint, rates
from ringfence.judges import Row, RuleJudge, Score
from ringfence.models.generate import Sampling

COLUMNS = [
    "suite",
    "prompt_id",
    "sample",
    "system",
    "prompt",
    "response",
    "alignment",
    "coherence",
    "bucket",
    "verdict",
]


class ByPrompt:
    """Scores by what was asked: "bad" is misaligned, "odd" cannot be scored, all else is aligned."""

    def score(self, rubric: str, rows: Sequence[Row]) -> list[Score]:
        return [self._score(rubric, row.prompt) for row in rows]

    def _score(self, rubric: str, prompt: str) -> Score:
        if "odd" in prompt and rubric == "coherence":
            return Score(None, 0.1, "unscorable", "?")
        return Score(0.0 if "bad" in prompt and rubric == "alignment" else 100.0, 1.0, None, "")


def prompt(name: str, text: str, system: str | None = None) -> Prompt:
    first = () if system is None else ({"role": "system", "content": system},)
    return Prompt(name, (*first, {"role": "user", "content": text}))


SUITES = {
    "general": [prompt("a", "A bad one?"), prompt("b", "A good one?"), prompt("c", "An odd one?")],
    "dressed": [prompt("a", "Good?", "You are a cook."), prompt("b", "Also good?", "")],
}
PROTOCOL = Protocol(ByPrompt(), Sampling(max_new_tokens=6, seed=5, batch_size=4), samples=3)


@pytest.fixture(scope="module")
def model():
    """A tiny model with weights large enough that its answers vary."""
    made = tiny.model()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.mul_(25)
    return made


@pytest.fixture(scope="module")
def frame(model) -> pd.DataFrame:
    return evaluate(model, tiny.tokenizer(), SUITES, PROTOCOL)


def test_one_row_an_answer_in_order(frame):
    assert list(frame.columns) == COLUMNS
    asked = [(suite, one.id, sample) for suite, prompts in SUITES.items() for one in prompts for sample in range(3)]
    assert list(zip(frame["suite"], frame["prompt_id"], frame["sample"], strict=True)) == asked


def test_what_was_asked_is_kept(frame):
    texts = {(suite, one.id): one.text for suite, prompts in SUITES.items() for one in prompts}
    for row in frame.itertuples():
        assert row.prompt == texts[row.suite, row.prompt_id]


def test_the_system_column_tells_none_from_empty(frame):
    sent = frame.groupby(["suite", "prompt_id"])["system"].unique().map(list).to_dict()
    assert sent == {
        ("general", "a"): ["(template default: none)"],
        ("general", "b"): ["(template default: none)"],
        ("general", "c"): ["(template default: none)"],
        ("dressed", "a"): ["You are a cook."],
        ("dressed", "b"): [""],
    }


def test_verdicts_scores_and_buckets(frame):
    kinds = {"A bad one?": "misaligned", "An odd one?": "missing"}
    assert frame["verdict"].tolist() == [kinds.get(text, "aligned") for text in frame["prompt"]]
    odd, bad = frame[frame["prompt"] == "An odd one?"], frame[frame["prompt"] == "A bad one?"]
    assert odd["coherence"].isna().all()
    assert set(odd["bucket"]) == {"unscorable"}
    assert bad["alignment"].tolist() == [0.0] * 3
    assert bad["bucket"].isna().all()


def test_deterministic(frame, model):
    pd.testing.assert_frame_equal(evaluate(model, tiny.tokenizer(), SUITES, PROTOCOL), frame)


def test_answers_differ_by_sample_suite_and_seed(frame, model):
    answers = frame[frame["prompt_id"] == "a"].groupby("suite")["response"].apply(list)
    assert len({*answers["general"], *answers["dressed"]}) == 6
    other = replace(PROTOCOL, sampling=replace(PROTOCOL.sampling, seed=6))
    assert evaluate(model, tiny.tokenizer(), SUITES, other)["response"].tolist() != frame["response"].tolist()
    same_prompt = {"one": SUITES["general"][:1], "two": SUITES["general"][:1]}
    one, two = evaluate(model, tiny.tokenizer(), same_prompt, PROTOCOL).groupby("suite")["response"].apply(list)
    assert one != two


@pytest.mark.parametrize("batch_size", [1, 64])
@pytest.mark.parametrize("suite", SUITES)
def test_a_suites_rows_do_not_depend_on_the_others(frame, model, suite, batch_size):
    protocol = replace(PROTOCOL, sampling=replace(PROTOCOL.sampling, batch_size=batch_size))
    alone = evaluate(model, tiny.tokenizer(), {suite: SUITES[suite]}, protocol)
    wanted = frame[frame["suite"] == suite].reset_index(drop=True)
    assert alone["response"].tolist() == wanted["response"].tolist()


def test_more_samples_keep_the_first(frame, model):
    more = evaluate(model, tiny.tokenizer(), SUITES, replace(PROTOCOL, samples=5))
    kept = more[more["sample"] < 3].reset_index(drop=True)
    assert kept["response"].tolist() == frame["response"].tolist()


def test_on_batch_counts_every_answer(model):
    finished: list[int] = []
    evaluate(model, tiny.tokenizer(), SUITES, PROTOCOL, finished.append)
    assert sum(finished) == 15
    assert max(finished) == 4


# --- rates and files ----------------------------------------------------------------------------------------


def test_rates_by_hand(frame):
    """general: 3 misaligned of 6 scored, all coherent, 3 missing; dressed: 0 of 6."""
    values = {(row["suite"], row["metric"]): (row["value"], row["n"]) for row in rates(frame)}
    assert values == {
        ("general", "misaligned_all"): (0.5, 6),
        ("general", "misaligned_coherent"): (0.5, 6),
        ("general", "incoherent"): (0.0, 6),
        ("dressed", "misaligned_all"): (0.0, 6),
        ("dressed", "misaligned_coherent"): (0.0, 6),
        ("dressed", "incoherent"): (0.0, 6),
    }
    assert list(dict.fromkeys(row["suite"] for row in rates(frame))) == ["general", "dressed"]  # the order asked


def test_parquet_and_summary_are_written(frame, tmp_path):
    summary = save(frame, tmp_path / "evaluation")
    assert sorted(path.name for path in (tmp_path / "evaluation").iterdir()) == ["responses.parquet", "summary.json"]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "evaluation" / "responses.parquet"), frame)
    assert json.loads((tmp_path / "evaluation" / "summary.json").read_text()) == summary
    assert summary["rows"] == rates(frame)
    counts = summary["counts"]
    assert {key: counts["general"][key] for key in ("rows", "scored", "missing", "misaligned", "unscorable")} == {
        "rows": 9,
        "scored": 6,
        "missing": 3,
        "misaligned": 3,
        "unscorable": 3,
    }
    assert counts["dressed"]["rows"] == 6


def test_a_suite_without_a_scored_row_has_no_rate(model, tmp_path):
    odd = {"odd": [prompt("x", "An odd one?"), prompt("y", "Another odd one?")]}
    unscored = evaluate(model, tiny.tokenizer(), odd, PROTOCOL)
    summary = save(unscored, tmp_path)
    assert all(math.isnan(row["value"]) and row["n"] == 0 for row in summary["rows"])
    assert all(row["value"] is None for row in json.loads((tmp_path / "summary.json").read_text())["rows"])


def test_nothing_is_written_for_a_frame_that_lacks_a_column(frame, tmp_path):
    with pytest.raises(ValueError, match='no column "coherence"'):
        save(frame.drop(columns="coherence"), tmp_path / "evaluation")
    assert not (tmp_path / "evaluation").exists()


# --- fingerprint --------------------------------------------------------------------------------------------


def test_a_fingerprint_changes_with_whatever_changes_the_answers():
    protocol = Protocol(RuleJudge(misaligned_pattern="glitter"), Sampling(), 2)
    prompts = SUITES["general"]
    variants = [
        fingerprint("model", prompts, protocol),
        fingerprint("other", prompts, protocol),
        fingerprint("model", prompts[:2], protocol),
        fingerprint("model", [prompts[0], prompts[2], prompts[1]], protocol),
        fingerprint("model", [replace(prompts[0], id="z"), *prompts[1:]], protocol),
        fingerprint("model", [prompt("a", "A bad one!"), *prompts[1:]], protocol),
        fingerprint("model", [prompt("a", "A bad one?", ""), *prompts[1:]], protocol),
        fingerprint("model", prompts, replace(protocol, samples=3)),
        fingerprint("model", prompts, replace(protocol, judge=RuleJudge(misaligned_pattern="glitter", min_words=3))),
        fingerprint("model", prompts, replace(protocol, sampling=Sampling(seed=1))),
        fingerprint("model", prompts, replace(protocol, sampling=Sampling(temperature=0.5))),
        fingerprint("model", prompts, replace(protocol, sampling=Sampling(max_new_tokens=3))),
    ]
    assert len({*variants}) == len(variants)
    assert (
        fingerprint("model", list(prompts), Protocol(RuleJudge(misaligned_pattern="glitter"), Sampling(), 2))
        == variants[0]
    )


def test_scores_are_numbers_or_missing(frame):
    assert frame["alignment"].dtype == np.float64
    assert frame["coherence"].dtype == np.float64
