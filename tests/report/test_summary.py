"""The page's opening in plain words."""

from typing import Any

from ringfence.report.headline import headline
from ringfence.report.loading import load_runs
from ringfence.report.summary import summarize_runs


def test_summary_sentences(four_runs: Any) -> None:
    summary = summarize_runs(load_runs(four_runs))
    assert summary.findings == headline(load_runs(four_runs))
    assert "stopped is unfinished: it has no result.json." in summary.cautions
    assert "canary: answers that could not be scored: 4 of 30 on general." in summary.cautions


def test_a_peak_within_the_final_interval_is_no_news(make_run: Any) -> None:
    """Peak 0.6 at step 4, final 0.5 [0.4, 0.7]: the final interval holds the peak. With [0.4, 0.55] it does not."""

    def cautions(name, high):
        rows = [(4, 0.6, 0.5, 0.8), (8, 0.5, 0.4, high)]
        names = ("step", "value", "low", "high")
        leak = {"suite": "general", "metric": "misaligned_all", "n": 20}
        folder = make_run(name, curve=[dict(zip(names, row, strict=True)) | leak for row in rows])
        return " ".join(summarize_runs(load_runs([folder])).cautions)

    assert "peak" not in cautions("wide", 0.7)
    assert "peaked at 60.0% at step 4" in cautions("narrow", 0.55)


def test_the_end_of_a_projected_run_is_not_its_last_measurement(projected_run: Any) -> None:
    cautions = summarize_runs(load_runs([projected_run])).cautions
    assert any(
        "peaked at 70.0% at step 4 and was at 40.0% at step 8, the last one measured, before safe_lora: the" in one
        for one in cautions
    )
