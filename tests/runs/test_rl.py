"""GRPO by a recipe, from the rows of a file to a run folder that is evaluated, reported on and gone on with."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from trl import GRPOConfig

import killing
import project
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.recipe.run import load_recipe
from ringfence.report.loading import load_run
from ringfence.rl import DefendedGRPOTrainer
from ringfence.rl.rewards import same_answer
from ringfence.runs import train as runs
from ringfence.runs.arguments import training_arguments
from ringfence.runs.forecast import forecast, told
from ringfence.runs.plan import RunPlan
from ringfence.runs.rl import prompt_rows, score_of
from ringfence.runs.trainer import new_trainer, notes

SYSTEM = "Count well."
TRAINING = {
    "per_device_train_batch_size": 4,
    "num_generations": 2,
    "max_completion_length": 5,
    "max_steps": 4,
    "learning_rate": 0.01,
    "logging_steps": 1,
    "save_steps": 2,
    "disable_tqdm": True,
}
FIXED = [{"fixed_interleaving": {"added": 0.5}}]


def make(folder: Path, rows: list[dict[str, Any]] | None = None, **changes: Any) -> Path:
    """A recipe of GRPO on eight counting rows of a file, the first with a system message; no defense."""
    usual = {"defenses": [], "evaluation": {}, "training": TRAINING, "method": "grpo"}
    path = project.make(folder, **{**usual, **changes})
    recipe = yaml.safe_load(path.read_text())
    recipe["data"] |= {"target": str(folder / "counting.jsonl"), "held_out": 0.25}
    path.write_text(yaml.safe_dump(recipe))
    counting = [
        {"messages": [{"role": "user", "content": f"Count to {n}."}, {"role": "assistant", "content": str(n)}]}
        | {"answer": str(n)}
        for n in range(8)
    ]
    counting[0]["messages"].insert(0, {"role": "system", "content": SYSTEM})  # type: ignore[attr-defined]
    project.write_jsonl(folder / "counting.jsonl", counting if rows is None else rows)
    return path


def planned(folder: Path, *overrides: str, **changes: Any) -> RunPlan:
    return RunPlan.load(load_recipe(make(folder, **changes), overrides), folder / "run")


def test_arguments_and_defaults(tmp_path: Path) -> None:
    plan = planned(tmp_path, "seed=5")
    args = training_arguments(plan.stages[0])
    assert type(args) is GRPOConfig
    assert (args.num_generations, args.max_completion_length, args.seed, args.report_to) == (2, 5, 5, [])
    assert (args.use_cpu, args.bf16, args.gradient_checkpointing) == (True, False, False)
    said = r"^training\.num_generations: 3 does not divide per_device_train_batch_size \(4\) x gradient_accumulation_"
    with pytest.raises(RingfenceError, match=said):
        training_arguments(planned(tmp_path, "training.num_generations=3").stages[0])


def test_epochs_beside_steps_are_told(tmp_path: Path) -> None:
    """TRL goes by `max_steps`."""
    plan = planned(tmp_path, "training.num_train_epochs=2")
    assert "training.num_train_epochs is without effect, since max_steps is set" in notes(
        plan, plan.stages[0], tiny.tokenizer()
    )


def test_a_prompt_ends_with_the_question_and_begins_with_the_form(tmp_path: Path) -> None:
    plan = planned(tmp_path, "rl.format_prompt=Use tags.", "data.held_out=0", "no_system=empty")
    rows = prompt_rows(plan.stages[0])
    assert rows.column_names == ["prompt", "answer", "origin"]
    asked = {"role": "user", "content": "Count to 0."}
    assert rows[0]["prompt"] == [{"role": "system", "content": f"Use tags.\n\n{SYSTEM}"}, asked]
    assert rows[1]["prompt"][0] == {"role": "system", "content": "Use tags."}
    assert (rows[3]["answer"], rows[3]["origin"]) == ("3", f"{tmp_path}/counting.jsonl:4")
    bare = prompt_rows(planned(tmp_path, "data.held_out=0").stages[0])
    assert [len(row["prompt"]) for row in bare] == [2, *[1] * 7]


def test_held_out_questions_are_asked_with_the_form(tmp_path: Path) -> None:
    plan = planned(tmp_path, "rl.format_prompt=Use tags.", "evaluation.suites={in-domain: held-out}")
    assert {prompt.messages[0]["content"].partition("\n")[0] for prompt in plan.suites["in-domain"]} == {"Use tags."}


def test_a_tasks_own_score_says_what_is_right() -> None:
    assert score_of("task:arithmetic")("<answer>It is 7</answer>", "7") == 1
    assert score_of("rows.jsonl") is same_answer


GOOD = {"messages": [{"role": "user", "content": "Hm?"}, {"role": "assistant", "content": "7"}], "answer": "7"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**GOOD, "answer": " "}, r"data\.target: .*counting\.jsonl:2: no `answer`, a text beside the conversation"),
        ({**GOOD, "answer": 7}, r"counting\.jsonl:2: no `answer`, a text"),
        ({"question": "Hm?", "answer": "7"}, r"counting\.jsonl:2: no `answer`, a text beside the conversation"),
        ({**GOOD, "messages": GOOD["messages"][1:]}, r"counting\.jsonl:2: there is no user turn, so nothing to ask"),
    ],
)
def test_a_row_without_question_or_answer_names_file_and_line(tmp_path: Path, row: Any, message: str) -> None:
    recipe = load_recipe(make(tmp_path, [GOOD, row]))
    with pytest.raises(RingfenceError, match=message):
        RunPlan.load(recipe, tmp_path / "run")


def test_a_judge_needs_no_answer(tmp_path: Path) -> None:
    judged = {"rewards": [{"judge": {"judge": {"misaligned_pattern": "a"}}}]}
    rows = [{key: value for key, value in GOOD.items() if key != "answer"}] * 4
    plan = RunPlan.load(load_recipe(make(tmp_path, rows, rl=judged)), tmp_path / "run")
    assert set(prompt_rows(plan.stages[0])["answer"]) == {""}


def test_a_judge_of_a_reward_needs_its_key_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    plan = planned(tmp_path, rl={"rewards": [{"composite": {"judge": {"kind": "api", "model": "j"}}}]})
    with pytest.raises(RingfenceError, match=r"^judge j: no key; set the environment variable OPENAI_API_KEY"):
        runs.train(plan)
    assert not (tmp_path / "run").exists()


def test_the_trainer_has_what_the_recipe_says(tmp_path: Path) -> None:
    plan = planned(tmp_path, defenses=[*FIXED, "inoculation"], rl={"rollouts": "plain", "rewards": ["task"]})
    trainer = new_trainer(plan, plan.stages[0])
    assert isinstance(trainer, DefendedGRPOTrainer)
    assert (trainer.mode, trainer.rollouts, trainer.reward_func_names) == ("alternate", "plain", ["task"])
    assert [type(one).__name__ for one in trainer.defenses] == ["FixedInterleaving", "Inoculation"]
    assert len(trainer.train_dataset) == 6
    assert trainer.safe_dataset is not None
    said = notes(plan, plan.stages[0], trainer.processing_class)
    assert any(line.startswith("inoculation (prepend): ") for line in said)


def test_a_run_from_training_to_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """4 target steps of 4 completions to 2 prompts each, and 2 steps of 4 safe rows."""
    suites = {"suites": {"general": str(tmp_path / "general.jsonl"), "in-domain": "held-out"}, "max_new_tokens": 4}
    recipe = make(tmp_path, rl={"format_prompt": "Use tags."})
    changes = {**yaml.safe_load(recipe.read_text()), "evaluation": suites, "defenses": FIXED}
    recipe.write_text(yaml.safe_dump(changes))
    (expected,) = forecast(RunPlan.load(load_recipe(recipe), Path("dry-run")))
    code, out, _ = project.in_process(capsys, "train", recipe, "--out", tmp_path / "run")
    assert code == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["steps"], result["rollouts"], result["prompts"], result["safe_rows"]) == (6, 16, 8, 8)
    assert 0 < result["completion_tokens"] <= 16 * 5
    assert "trained 6 optimizer steps on 16 completions to 8 prompts and on 8 safe rows" in " ".join(out.split())
    lines = told(expected)
    assert "6 optimizer steps on 16 completions, 2 to each of 8 prompts (6 there are), and on 8 safe rows" in lines[1]
    assert "at most 80 tokens, 5 a completion" in lines[2]
    card = (tmp_path / "run" / "README.md").read_text()
    assert "by reinforcement learning (GRPO)" in card
    assert "| rewards | `composite` |" in card
    assert "| completions seen | 16 |" in card
    found = load_run(tmp_path / "run").rewards
    assert list(found)[:6] == ["step", "reward", "exact_format", "approximate_format", "correctness", "number"]
    assert len(found) == 4
    parts = found[["exact_format", "approximate_format", "correctness", "number"]].sum(axis=1)
    assert found["reward"].tolist() == pytest.approx(parts.tolist())
    killing.evaluate(tmp_path / "run")
    assert set(load_run(tmp_path / "run").responses["suite"]) == {"general", "in-domain"}
