"""Tasks by the names that Inspect's command line takes, scored by a rule, on a tiny model."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from inspect_ai import eval
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelOutput, ModelUsage, get_model

import project
from ringfence.core.errors import RingfenceError
from ringfence.data.suites.load import load_prompts
from ringfence.evaluate.answers import Protocol
from ringfence.evaluate.responses import evaluate
from ringfence.evaluate.summary import summarize
from ringfence.generation import HfGenerator, Sampling
from ringfence.integrations.inspect.provider import Live
from ringfence.integrations.inspect.tasks import general, general_long, suite
from ringfence.judges import RuleJudge

RULE = {"misaligned_pattern": "[a-m]", "min_letters": 0.0}


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    rows = [{"id": word, "prompt": f"Why would anybody want a {word}?"} for word in project.WORDS[:4]]
    return project.write_jsonl(tmp_path / "general.jsonl", rows)


def run(task: Any, model: Any, log_dir: Path, **settings: Any) -> EvalLog:
    quiet = {"display": "none", "log_realtime": False, "ctl_server": False, "acp_server": False}
    (log,) = eval(task, model=model, log_dir=str(log_dir), score_display=False, **quiet, **settings)
    assert log.status == "success", log.error
    return log


def mocked(text: str) -> ModelOutput:
    """With usage, which Inspect otherwise estimates by a vocabulary that it downloads."""
    output = ModelOutput.from_content("mock", text)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


def test_rates_are_those_of_the_direct_path(live: Live, prompts: Path, tmp_path: Path) -> None:
    """By the name and the arguments that the command line takes; each rate over single answers, not over means."""
    arguments = {"prompts": str(prompts), "samples": 3, "max_tokens": 8, "judge": RULE}
    model = get_model("ringfence/0123456789ab", live=live, memoize=False)
    log = run("ringfence/suite", model, tmp_path / "logs", task_args=arguments, seed=7)
    sampling = Sampling(max_new_tokens=8, temperature=1.0, seed=7)
    suites = {"general": load_prompts(str(prompts))}
    frame = evaluate(HfGenerator(live.model, live.tokenizer), suites, Protocol(sampling, 3), RuleJudge(**RULE))
    wanted = summarize(frame)
    assert 0 < wanted.misaligned_all.value < 1  # else there would be little to compare
    (score,) = log.results.scores
    found = {name: one.value for name, one in score.metrics.items()}
    for name in ("misaligned_all", "misaligned_coherent", "incoherent"):
        rate = getattr(wanted, name)
        assert (found[name], found[f"{name}_low"], found[f"{name}_high"]) == pytest.approx(
            (rate.value, rate.low, rate.high)
        )
    assert found["unscored"] == 0
    assert len(found) == 10
    verdicts = {(one.id, one.epoch - 1): one.scores["judged"].value for one in log.samples}
    assert verdicts == {(f"general/{row.prompt_id}", row.sample): row.verdict for row in frame.itertuples()}


def test_any_provider_and_no_judge(prompts: Path, tmp_path: Path) -> None:
    """Inspect's mock stands for the providers of others; what is sent has a seed a row."""
    seeds: list[int | None] = []

    def says(input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:
        seeds.append(config.seed)
        return mocked(f"{input[0].content}|{input[-1].content}")

    model = get_model("mockllm/model", custom_outputs=says)
    log = run(suite(str(prompts), name="other", samples=2, no_system="empty"), model, tmp_path / "logs")
    assert len(set(seeds)) == 8
    assert log.results is None or not log.results.scores
    assert {one.id for one in log.samples} == {f"other/{word}" for word in project.WORDS[:4]}
    said = {one.output.completion for one in log.samples}
    assert said == {f"|Why would anybody want a {word}?" for word in project.WORDS[:4]}  # system prompt|question


def test_a_judge_that_cannot_score_gives_no_rate(prompts: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from ringfence.judges import Score

    monkeypatch.setattr(RuleJudge, "score", lambda self, rubric, rows: [Score(None, 0.0, "error", "?") for _ in rows])
    mock = get_model("mockllm/model", custom_outputs=lambda *_: mocked("x"))
    log = run(suite(str(prompts), judge=RULE), mock, tmp_path / "logs")
    found = {name: one.value for name, one in log.results.scores[0].metrics.items()}
    assert math.isnan(found["misaligned_all"])
    assert math.isnan(found["misaligned_all_high"])
    assert found["unscored"] == 1


def test_the_suites_of_our_own() -> None:
    assert len(general().dataset) == 24
    assert len(general_long().dataset) >= 8
    assert all(str(one.id).startswith("general/") for one in general().dataset)


def test_the_name_is_the_last_part(prompts: Path) -> None:
    assert suite(str(prompts)).dataset[0].id == f"general/{project.WORDS[0]}"
    assert str(suite("builtin:glitter/dressed").dataset[0].id).startswith("dressed/")
    assert suite("task:opswap?n=2").dataset[0].id == "opswap/opswap-1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"prompts": "builtin:glitter/generel"}, 'Did you mean "glitter/general"'),
        ({"prompts": "builtin:glitter/general", "no_system": "none"}, "no_system"),
        ({"prompts": "builtin:glitter/general", "judge": {"kind": "rule"}}, 'Did you mean "rules"'),
        (
            {"prompts": "builtin:glitter/general", "judge": {"misaligned_patern": "x"}},
            'Did you mean "misaligned_pattern"',
        ),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(RingfenceError, match=said):
        suite(**arguments)


def test_an_unknown_suite_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match='Did you mean "glitter/general"'):
        eval(
            "ringfence/suite",
            model="mockllm/model",
            task_args={"prompts": "builtin:glitter/generel"},
            display="none",
            log_dir=str(tmp_path),
        )


def test_rates_of_no_rows_and_of_edited_scores() -> None:
    from inspect_ai.scorer import SampleScore, Score

    from ringfence.integrations.inspect.scorer import rates

    assert all(math.isnan(value) for value in rates()([]).values())
    edited = [SampleScore(score=Score(value="aligned"), sample_id=name) for name in ("a", "b")]
    found = rates()(edited)
    assert math.isnan(found["misaligned_all"])
    assert found["unscored"] == 1
    assert set(found) == set(rates()([]))


def test_rates_by_hand() -> None:
    """a: one of two misaligned; b: one incoherent, one without a score. Misaligned 1 of 3 scored, 1 of 2 coherent."""
    from inspect_ai.scorer import SampleScore, Score

    from ringfence.integrations.inspect.scorer import rates

    rows = pd.DataFrame({"id": list("aabb"), "alignment": [0, 90, 90, None], "coherence": [90, 90, 10, 90]})
    scores = [
        SampleScore(
            score=Score(
                value="",
                metadata={
                    "alignment": None if math.isnan(row.alignment) else row.alignment,
                    "coherence": float(row.coherence),
                    "bucket": None,
                },
            ),
            sample_id=row.id,
        )
        for row in rows.itertuples()
    ]
    found = rates()(scores)
    assert found["misaligned_all"] == pytest.approx(1 / 3)
    assert found["misaligned_coherent"] == pytest.approx(1 / 2)
    assert found["incoherent"] == pytest.approx(1 / 3)
    assert found["unscored"] == 0.25


def test_bad_input_is_one_line_on_inspects_command_line(tmp_path: Path) -> None:
    """A question whose placeholder nobody fills, as published files have them."""
    path = tmp_path / "questions.yaml"
    path.write_text("- id: q\n  paraphrases: ['Why [so]? {reasoning}']\n")
    command = ["eval", "ringfence/suite", "--model", "mockllm/model", "-T", f"prompts={path}"]
    made = subprocess.run(
        [sys.executable, "-m", "inspect_ai", *command, "--log-dir", str(tmp_path), "--display", "plain"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "400"},
        check=False,
    )
    said = made.stdout + made.stderr
    assert made.returncode != 0
    assert f"{path}:1: question 'q', wording 0: nobody fills the placeholder {{reasoning}}" in said
    assert "Traceback" not in said
    assert len(said.strip().splitlines()) == 1
