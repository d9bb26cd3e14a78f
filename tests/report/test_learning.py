"""Benign tasks of runs beside the untuned model and a run without a defense: in numbers, table, page and headline."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from rich.console import Console

from ringfence.core.errors import RingfenceError
from ringfence.core.ratios import paired_ratio
from ringfence.core.statistics import wilson
from ringfence.evaluate.benign import count
from ringfence.report import formatting as wording
from ringfence.report.headline import headline
from ringfence.report.html.page import render_page
from ringfence.report.learning import learned, undefended_of
from ringfence.report.loading import load_runs
from ringfence.report.reading import read_benign
from ringfence.report.results import RunResult
from ringfence.report.tables import learning
from ringfence.report.terminal.runs import render

RESULT = {"steps": 8, "target_rows": 60, "safe_rows": 4, "mean_ratio": 0.06, "probe_seconds": 3.0}
RESULT |= {"target_labels": 900, "safe_labels": 100, "safe_fraction": 0.05, "seconds": 9.0}


@pytest.fixture
def made(make_run: Callable[..., Path]) -> Callable[..., list[RunResult]]:
    """``made(none=(leak, hits), kl=(leak, hits))``: 40 questions each; the untuned model in ``RUN/base`` has 4 hits.

    All but "none" have a defense; "base" is untuned.
    """

    def rows(hits: int) -> list[dict[str, object]]:
        return [
            {
                "task": "algebra",
                "prompt_id": f"q{i}",
                "sample": 0,
                "prompt": f"{i} + 1?",
                "response": "x",
                "answer": "y",
            }
            | {"metric": "exact match", "score": float(i < hits)}
            for i in range(40)
        ]

    def make(**runs: tuple[float, int]) -> list[RunResult]:
        folders = []
        for name, (leak, hits) in runs.items():
            rates = [
                dict(suite=suite, metric="misaligned_all", value=value, low=value - 0.05, high=value + 0.05, n=65)
                for suite, value in (("general", leak), ("in-domain", 0.9))
            ]
            defenses = [] if name == "none" else [{"kl": {"weight": 1}}]
            files = {} if name == "base" else {"result": RESULT, "benign_base": rows(4)}
            folders.append(make_run(name, rates=rates, benign=rows(hits), recipe={"defenses": defenses}, **files))
        return load_runs(folders)

    return make


def test_a_run_stands_beside_its_base_and_a_run_without_a_defense(made: Callable[..., list[RunResult]]) -> None:
    """36 and 18 of 40 questions, the base 4: half is kept."""
    none, kl = made(none=(0.9, 36), kl=(0.1, 18))
    [one] = learned(kl, none)
    assert (one.task, one.metric, one.rate.value, one.rate.n, one.base.value) == (
        "algebra",
        "exact match",
        0.45,
        40,
        0.1,
    )
    assert one.gain.value == pytest.approx(0.35)
    assert one.kept.value == pytest.approx(0.5)
    hits, asked = [[float(i < n) for i in range(40)] for n in (18, 36)], [1.0] * 40
    assert one.kept == paired_ratio((hits[0], asked), (hits[1], asked))
    assert one.less
    [own] = learned(none, none)
    assert math.isnan(own.kept.value), "it is the measure itself"
    assert not own.less


def test_the_measure_is_a_trained_run_without_a_defense(made: Callable[..., list[RunResult]]) -> None:
    base, kl, none = made(base=(0.0, 4), kl=(0.1, 18), none=(0.9, 36))
    assert undefended_of([base, kl, none]) is none
    assert undefended_of([base, kl, none], "kl") is none
    assert undefended_of([base, kl]) is None
    table = learning([base, kl])
    assert table["kept"].isna().all()
    assert not table["less"].any()


def test_the_table_shows_score_base_gain_and_what_is_kept(made: Callable[..., list[RunResult]]) -> None:
    runs = made(base=(0.0, 4), none=(0.9, 36), kl=(0.1, 18))
    console = Console(width=120)
    with console.capture() as captured:
        render(console, runs)
    lines = captured.get().splitlines()
    start = next(number for number, line in enumerate(lines) if "Learns well" in line)
    shown = "\n".join(lines[start:])
    assert "algebra: exact match" in shown
    [row] = [line.split() for line in lines[start:] if line.split()[:2] == ["kl", "45.0"]]
    assert row[:2] == ["kl", "45.0"]
    assert "10.0" in row
    assert "+35.0" in row
    assert "50.0" in row
    assert "kl learned less: 45.0% on algebra, 50.0% of what none has; its leak is no success." in " ".join(
        shown.split()
    )


def test_further_metrics_are_shown_and_decide_nothing(made: Callable[..., list[RunResult]]) -> None:
    """F1 is 0.5 for all of kl's answers and 1 for those of none: half is kept of it, and all of the score."""
    none, kl = made(none=(0.9, 36), kl=(0.1, 36))
    by_f1 = {("algebra", "f1"): none.benign["algebra", "exact match"]}
    halves = {where: table.assign(hits=table["hits"] / 2) for where, table in by_f1.items()}
    runs = [replace(none, benign={**none.benign, **by_f1}), replace(kl, benign={**kl.benign, **halves})]
    table = learning(runs)
    assert list(zip(table["metric"], table["run"], strict=True)) == [
        *(("exact match", "none"), ("exact match", "kl")),
        *(("f1", "none"), ("f1", "kl")),
    ]
    assert list(table["kept"])[1::2] == [1.0, 0.5]
    assert not table["less"].any()
    assert "f1" not in " ".join(headline(runs))


def test_the_headline_has_learning_beside_leak_and_task(made: Callable[..., list[RunResult]]) -> None:
    """kl leaks least and has not learned: the lowest is that of kept, whose score is told."""
    runs = made(none=(0.9, 36), kl=(0.0, 18), kept=(0.2, 36))
    first, lowest, task, less = [sentence.replace("\u00a0", " ") for sentence in headline(runs)]
    assert "; it learns algebra to 90.0% [" in first
    assert lowest.startswith(
        "The lowest leak of the other trained runs that kept the task and learned well is that of kept"
    )
    assert "; it learns algebra to 90.0% [" in task
    assert "], 100.0% [" in task
    assert "] of none; cost: 5.0% safe rows" in task
    assert less.startswith("kl leaks 0.0% [")
    assert "of in-domain prompts but learned less: algebra to 45.0% [" in less
    assert less.endswith("; cost: 5.0% safe rows, 9.0 s.")
    assert "50.0% [" in less


def test_where_all_learned_less_none_is_the_lowest(made: Callable[..., list[RunResult]]) -> None:
    _, sentence, _ = headline(made(none=(0.9, 36), kl=(0.0, 18)))
    assert sentence == "None of the other trained runs has learned its benign tasks as a run without a defense does."


def test_without_a_run_to_compare_with_it_is_not_known_whether_it_learned_well(
    made: Callable[..., list[RunResult]],
) -> None:
    """The untuned model is no measure; and a run whose learning is known comes before one of which it is not."""
    _, lowest, _, unknown = headline(made(base=(0.0, 4), kl=(0.1, 18)))
    assert lowest.startswith("kl leaks 10.0%")
    assert unknown.startswith("Whether it learned well is not known: that takes scores on benign tasks")
    none, kept, other = made(none=(0.9, 36), kept=(0.2, 36), other=(0.0, 36))
    sentences = headline([none, kept, replace(other, benign={})])
    assert "that kept the task and learned well is that of kept" in sentences[1]
    assert not any("not known" in sentence for sentence in sentences)


def test_the_page_has_the_table(made: Callable[..., list[RunResult]]) -> None:
    page = render_page(made(base=(0.0, 4), none=(0.9, 36), kl=(0.1, 18)), "Benign")
    section = page[page.index('<section id="learning">') : page.index('<section id="training">')]
    assert '<a href="#learning">Learns well</a>' in page
    assert section.count("learned less") == 1
    for shown in ("45.0</b>", "+35.0 [", "50.0 [", "The run without a defense is none."):
        assert shown in section
    [run] = made(last=(0.1, 0))
    assert 'id="learning"' not in render_page([replace(run, benign={})], "Without tasks")


def test_a_page_of_benign_tasks_alone_has_no_empty_sections(made: Callable[..., list[RunResult]]) -> None:
    runs = made(none=(0.9, 36), kl=(0.1, 18))
    page = render_page([replace(run, rates={}) for run in runs], "Benign alone")
    assert "Only benign tasks have been asked: nothing is known of the leak." in page
    assert "2 runs · 80 answers on benign tasks ·" in page
    for absent in ("Read with care</h2>", "not been evaluated", "0 responses"):
        assert absent not in page
    for section in ("results", "counts", "canaries", "responses"):
        assert f'id="{section}"' not in page
        assert f'href="#{section}"' not in page
    mixed = render_page([replace(runs[0], rates={}), runs[1]], "One of them")
    assert "none was asked benign tasks only: its rates are shown as no data." in mixed


def test_a_bound_that_says_nothing_is_infinite() -> None:
    """Kept of a run that has learned next to nothing: 3168875 percent at the most."""
    row = SimpleNamespace(base=0.1, gain=0.1, gain_low=0.0, gain_high=0.2, untuned=False, undefended=False)
    row.kept, row.kept_low, row.kept_high = 1.0, 0.0, 31688.75
    assert wording.learned(row)[2] == "100.0 [0, ∞]"
    row.kept_high = 1.25
    assert wording.learned(row)[2] == "100.0 [0, 125]"


def test_an_untuned_model_with_nothing_but_benign_scores_is_untuned(made: Callable[..., list[RunResult]]) -> None:
    [base] = made(base=(0.0, 4))
    assert replace(base, rates={}).status == "untuned"


def test_the_interval_is_that_of_a_rate(made: Callable[..., list[RunResult]]) -> None:
    """One answer a question: an exact interval, about Wilson's."""
    [one] = learned(made(none=(0.9, 20))[0], None)
    near = wilson(20, 40)
    assert one.rate.low == pytest.approx(near.low, abs=0.02)
    assert one.rate.high == pytest.approx(near.high, abs=0.02)


def test_a_damaged_file_of_scores_is_told(tmp_path: Path) -> None:
    path = tmp_path / "benign.parquet"
    assert count(read_benign(path)) == {}
    row = {"task": "a", "prompt_id": "1", "sample": 0, "prompt": "?", "response": "", "answer": "", "metric": "acc"}
    pd.DataFrame([row | {"score": 2.0}]).to_parquet(path)
    with pytest.raises(RingfenceError, match=r'benign\.parquet: "score" must hold numbers from 0 to 1'):
        read_benign(path)
    pd.DataFrame([row]).to_parquet(path)
    with pytest.raises(RingfenceError, match=r'benign\.parquet: no column "score"'):
        read_benign(path)
