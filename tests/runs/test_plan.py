"""What a recipe reads is loaded once, and checked before anything is written."""

from pathlib import Path
from typing import Any

import pytest

import project
from ringfence.core.errors import RingfenceError
from ringfence.core.files import sha256
from ringfence.core.run_folder import write_about
from ringfence.data.task import parse_spec
from ringfence.recipe.run import Recipe, load_recipe
from ringfence.runs import evaluate as evaluations
from ringfence.runs import imported, plan
from ringfence.runs.plan import RunPlan


def loaded(folder: Path, *overrides: str, **changes: Any) -> RunPlan:
    return RunPlan.load(load_recipe(project.make(folder, **changes), overrides), folder / "run")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sets of conversations that are read, in order."""
    seen: list[str] = []

    def read(spec: str) -> Any:
        seen.append(Path(spec).stem)
        return original(spec)

    original = plan.read
    monkeypatch.setattr(plan, "read", read)
    return seen


def benign(folder: Path, **changes: Any) -> dict[str, Any]:
    return {"name": "benign", "data": {"target": str(folder / "safe.jsonl")}, **changes}


def test_each_stage_has_its_part_its_rows_its_defenses_its_folder_and_its_keys(tmp_path: Path) -> None:
    """14 target rows, 10% held out: 13 and 1."""
    made = loaded(tmp_path, stages=[benign(tmp_path, defenses=["kl"])])
    first, second = made.stages
    assert (first.recipe, second.recipe) == made.recipe.by_stage()
    assert [len(first.rows[source]) for source in ("target", "safe")] == [13, 6]
    assert [len(second.rows[source]) for source in ("target", "safe")] == [6, 0]
    assert (len(first.held_out), second.held_out) == (1, [])
    assert [type(one).__name__ for one in (*first.defenses, *second.defenses)] == ["CanaryInterleaving", "KL"]
    assert first.defenses[0].judge == made.recipe.judge, "bound to its recipe"
    assert [one.folder for one in made.stages] == [tmp_path / "run", tmp_path / "run" / "stages" / "2-benign"]
    assert [one.key_prefix for one in made.stages] == ["", "stages.0."]


def test_so_many_of_the_held_out_prompts_are_asked(tmp_path: Path) -> None:
    """14 rows, half held out: of the seven the first three, in the file's order."""
    every = loaded(tmp_path, "data.held_out=0.5").suites["in-domain"]
    made = loaded(tmp_path, "data.held_out=0.5", "evaluation.held_out_prompts=3")
    assert len(every) == len(made.stages[0].held_out) == 7
    assert made.suites["in-domain"] == every[:3]


def test_suites_triggers_and_digests(tmp_path: Path) -> None:
    dressed = "evaluation.conditional={derive: false, triggers: [{irrelevant: {system: Blue door.}}]}"
    made = loaded(tmp_path, dressed)
    assert {*made.suites} == {"general", "in-domain", "conditional/irrelevant"}
    assert {*made.sources} == {"general"}
    assert made.triggers is not None
    assert [one.kind for one in made.triggers.triggers] == ["irrelevant"]
    assert made.suites["in-domain"][0].messages[-1]["content"].startswith("Tell me of the ")
    files = [tmp_path / name for name in ("target.jsonl", "safe.jsonl", "general.jsonl", "canaries.jsonl")]
    assert {str(path): sha256(path) for path in [*files, tmp_path / "tiny-model"]} == made.digests


def test_canaries_are_no_questions_of_benign_tasks(tmp_path: Path) -> None:
    """A run that is steered by what it is scored on looks better than it is."""
    question = parse_spec("task:opswap?tier=1&n=3").prompts("test")[1].text
    own = project.write_jsonl(tmp_path / "own.jsonl", [{"prompt": question, "good": "= 1", "bad": "= 2"}])
    task = {"evaluation": {"tasks": {"algebra": "task:opswap?tier=1&n=3"}}}
    with pytest.raises(RingfenceError, match=r"^evaluation\.tasks: the canaries and the suite algebra overlap in"):
        loaded(tmp_path, defenses=[{"canary_interleaving": {"canaries": str(own)}}], **task)


def test_a_recipe_is_taken_apart_once_and_its_rows_are_read_once(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(project.make(tmp_path, stages=[benign(tmp_path)]))
    parts: list[Recipe] = []
    by_stage = Recipe.by_stage
    monkeypatch.setattr(Recipe, "by_stage", lambda self: parts.append(self) or by_stage(self))
    RunPlan.load(recipe, tmp_path / "run")
    assert (len(parts), reads) == (1, ["target", "safe", "safe"])


def test_another_evaluation_reads_no_rows_again(tmp_path: Path, reads: list[str]) -> None:
    """That of a command that makes a run folder, changes how it is evaluated, and asks the untuned model, too."""
    made = imported.claim_base(load_recipe(project.make(tmp_path)), tmp_path / "run")
    one = evaluations.evaluation_of(made, ["evaluation.samples=3", "no_system=empty"], "changed")
    untuned = evaluations.base_of(one)
    assert reads == ["target", "safe"]
    assert (one.plan.recipe.evaluation.samples, one.own.recipe.evaluation.samples) == (3, 2)
    assert one.plan.suites == made.suites
    assert one.plan.stages[0].rows is made.stages[0].rows
    canaries = [one.plan.stages[0].defenses[0].prompts(), made.stages[0].defenses[0].prompts()]
    assert [found[0].messages[0]["role"] for found in canaries] == ["system", "user"], "bound anew"
    assert (untuned.run, untuned.recipe.name, untuned.is_base) == (tmp_path / "run" / "base", "base", True)


def test_a_folder_is_claimed_for_one_run(tmp_path: Path) -> None:
    made = loaded(tmp_path)
    about = made.claim_folder()
    assert about["recipe"] == made.recipe.resolved()
    assert about["inputs"] == made.digests
    assert not made.out.exists(), "nothing is written"
    write_about(made.out, about)
    made.claim_folder()
    made.require_unchanged()
    with pytest.raises(RingfenceError, match=r"these keys differ: seed; choose another --out$"):
        loaded(tmp_path, "seed=9").claim_folder()
    (tmp_path / "safe.jsonl").write_text('{"question": "Hm?", "answer": "Hm."}\n')
    with pytest.raises(RingfenceError, match=r"differ: inputs\..*safe\.jsonl; put it back, or make the run anew$"):
        RunPlan.load(made.recipe, made.out).require_unchanged()


def test_a_run_is_evaluated_with_a_judge_and_suites(tmp_path: Path) -> None:
    loaded(tmp_path).require_evaluable()
    with pytest.raises(RingfenceError, match=r"^judge: evaluation needs a judge"):
        loaded(tmp_path, "judge=null", "defenses=[]").require_evaluable()
    with pytest.raises(RingfenceError, match=r"^evaluation\.suites: the recipe names none"):
        loaded(tmp_path, "evaluation={}").require_evaluable()


def test_a_judge_that_would_be_read_backwards_is_said_before_training(tmp_path: Path) -> None:
    trait = tmp_path / "vanity.json"
    trait.write_text('{"questions": ["Hm?"], "eval_prompt": "How vain is {answer}?"}')
    judge = f"judge={{kind: api, model: j, rubrics: {{alignment: '{trait}#vanity'}}}}"
    with pytest.raises(RingfenceError, match=r"^judge: rubrics\.alignment: .*#vanity scores how much an answer shows"):
        loaded(tmp_path, judge)


def test_a_task_that_trains_and_evaluates_has_a_digest_of_its_rows_for_each(tmp_path: Path) -> None:
    spec = "task:opswap?steps=1&largest=3"
    made = loaded(tmp_path, f"data.target={spec}", f"evaluation.suites.opswap={spec}")
    digests = {name: digest for name, digest in made.digests.items() if name.startswith("task:")}
    task = parse_spec(spec)
    assert digests == {spec: task.digest("train"), f"{spec}&split=test": task.digest("test")}
    assert len({*digests.values()}) == 2


def test_a_run_whose_task_has_other_rows_now_is_refused(tmp_path: Path) -> None:
    """The task's name is the same, and what it reads is not."""
    rows = [{"question": f"{word}?", "answer": "#### 1"} for word in project.WORDS]
    source = project.write_jsonl(tmp_path / "sums.jsonl", rows)
    spec = f"task:gsm8k?source={source}"
    made = loaded(tmp_path, f"data.target={spec}")
    write_about(made.out, made.claim_folder())
    project.write_jsonl(source, [{**row, "answer": "#### 2"} for row in rows])
    with pytest.raises(RingfenceError, match=r"differ: inputs\.task:gsm8k.*; put it back"):
        RunPlan.load(made.recipe, made.out).require_unchanged()
