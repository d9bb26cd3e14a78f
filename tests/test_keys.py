"""A key that is missing is told by every command before anything slow: no model is loaded, and nothing is written."""

import json
from pathlib import Path
from typing import Any

import pytest

import project
from ringfence.cli import persona
from ringfence.core.errors import RingfenceError
from ringfence.recipe.run import load_recipe
from ringfence.recipe.selection import load_select_recipe
from ringfence.runs import forecast as forecasts
from ringfence.runs import stages
from ringfence.runs import train as runs
from ringfence.runs import trainer as trainers
from ringfence.runs.plan import RunPlan
from ringfence.select import base, pipeline, run
from ringfence.select.estimate import estimate

JUDGE = {"kind": "api", "model": "j"}
MISSING = r"judge j: no key; set the environment variable OPENAI_API_KEY$"


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "RINGFENCE_JUDGES"):
        monkeypatch.delenv(name, raising=False)
    for module in (stages, trainers, base):
        for name in ("load", "load_model"):
            monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("a model is loaded"), raising=False)


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"judge": JUDGE, "defenses": []}, ""),
        (
            {"stages": [{"name": "next", "data": {"target": "t"}, "defenses": ["canaries"]}], "defenses": []},
            "stages.0: ",
        ),
    ],
)
def test_training_and_its_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], where: str
) -> None:
    """A judge of the evaluation during training, and one of a later stage's canaries."""
    monkeypatch.setattr(forecasts, "_operations_a_second", lambda: pytest.fail("the speed is measured"))
    for stage in changes.get("stages", ()):
        data = {"target": str(tmp_path / "target.jsonl"), "safe": str(tmp_path / "safe.jsonl")}
        canaries = {"judge": JUDGE, "canaries": str(tmp_path / "canaries.jsonl")}
        stage |= {"data": data, "defenses": [{"canary_interleaving": canaries}]}
    plan = RunPlan.load(load_recipe(project.make(tmp_path, **changes)), tmp_path / "out")
    for wanted in (runs.train, forecasts.forecast):
        with pytest.raises(RingfenceError, match=f"^{where}{MISSING}"):
            wanted(plan)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"judged": {"judge": JUDGE}}, MISSING),
        ({"refusals": {"judge": JUDGE}}, MISSING),
        ({"rewrite": {"style": "hhh", "api": {"model": "w"}}}, MISSING.replace("judge j", "writer w")),
    ],
)
def test_a_selection_and_its_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(pipeline, "ingest", lambda *_: pytest.fail("the pool is read"))
    pool = project.write_jsonl(tmp_path / "pool.jsonl", [{"question": "Hm?", "answer": "Yes."}])
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps({"pool": str(pool), "steps": [{"duplicates": {}}, step]}))
    for wanted in (run, estimate):
        with pytest.raises(RingfenceError, match=rf"^steps\.1\.{next(iter(step))}: {message}"):
            wanted(load_select_recipe(path).selection(), tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_the_scorer_of_inspect() -> None:
    pytest.importorskip("inspect_ai")
    from ringfence.integrations.inspect.scorer import judged

    with pytest.raises(RingfenceError, match=f"^{MISSING}"):
        judged(JUDGE)


def test_a_persona_vector_and_the_properties_of_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, judge = tmp_path / "persona.yaml", tmp_path / "judge.yaml"
    sides = {"positive": ["Be vain."], "negative": ["Be plain."], "questions": ["Hm?"]}
    recipe.write_text(json.dumps({"trait": "vanity", **sides, "judge": JUDGE}))
    with pytest.raises(RingfenceError, match=f"^{MISSING}"):
        persona.extract(recipe, [], tmp_path / "out.safetensors")
    judge.write_text(json.dumps(JUDGE))
    pool = project.write_jsonl(tmp_path / "pool.jsonl", [{"question": "Hm?", "answer": "Yes."}])
    code, _, said = project.in_process(capsys, "data", "properties", pool, "--judge", judge)
    assert code == 2
    assert "judge.yaml: judge j: no key; set the environment variable OPENAI_API_KEY" in " ".join(said.split())
