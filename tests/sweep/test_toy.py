"""The toy scale: what stands for what, what is left out and why; every table of the papers at it, on paper."""

from pathlib import Path

import pytest

import sweeps
from ringfence.core.errors import RingfenceError
from ringfence.sweep.graph import graph_of
from ringfence.sweep.plan import SweepPlan
from ringfence.sweep.toy import FILE, Toy
from ringfence.sweep.toy_plan import at_toy_scale, with_seeds

TOY = Toy.load(sweeps.ROOT / "recipes" / FILE)
IMPOSSIBLE = {
    "kaczer-2025/table-7",
    *(f"kaczer-2025/table-{number}" for number in range(19, 23)),
}
"""tables at 32B only"""


def scaled(name: str) -> SweepPlan:
    return at_toy_scale(sweeps.plan(sweeps.ROOT / "recipes" / f"{name}.yaml"), TOY)


def test_every_table_is_planned_or_says_why_not(tmp_path: Path) -> None:
    """Nothing is missing of what is left; the rest is left out for a reason."""
    for path in sweeps.SWEEPS:
        plan, name = sweeps.plan(path), f"{path.parent.name}/{path.stem}"
        if name in IMPOSSIBLE:
            with pytest.raises(RingfenceError, match="there is one size of model"):
                at_toy_scale(plan, TOY)
            continue
        found = at_toy_scale(plan, TOY)
        assert found.table == f"{path.stem}.toy"
        assert found.missing() == []
        assert len(found.runs) + len(found.config.sets) + len(found.left_out) == len(plan.runs) + len(plan.config.sets)
        assert all(found.left_out.values())
        assert {run.recipe.model.name for run in found.runs} <= {"smollm2-135m"}
        graph = graph_of(found, tmp_path)
        assert not graph.files
        assert set(graph.runs) == {run.name for run in found.runs}


def test_a_run_is_that_of_the_table_on_stand_ins() -> None:
    """Its defenses and their strengths stay; model, data, judge, questions and sizes do not."""
    before = {run.name: run for run in sweeps.plan(sweeps.ROOT / "recipes/kaczer-2025/table-2.yaml").runs}
    plan = scaled("kaczer-2025/table-2")
    run = next(run for run in plan.runs if run.name == "code-kl")
    assert run.recipe.defenses == before["code-kl"].recipe.defenses
    assert run.recipe.data.target == "builtin:umbrella/target"
    assert run.recipe.evaluation.suites == {
        "general": "builtin:glitter/general",
        "in-domain": "builtin:umbrella/in-domain",
    }
    assert run.recipe.evaluation.samples == 1
    assert run.recipe.training["weight_decay"] == before["code-kl"].recipe.training["weight_decay"]
    canary = next(run for run in scaled("fars-2026/table-2").runs if run.name == "delayed-s42")
    (defense,) = canary.recipe.resolved()["defenses"]
    settings = defense["canary_interleaving"]
    assert (settings["delay"], settings["risk_high"], settings["every"]) == (5, 0.08, 4)
    assert settings["canaries"] == "builtin:glitter/canaries"


def test_what_is_left_out_says_why() -> None:
    left_out = scaled("kaczer-2025/table-2").left_out
    assert left_out["medical-kl"] == "data/medical.jsonl: there are three quirks, for security, code and legal"
    assert left_out["code-persona-vectors"] == "steering: the vector is that of glitter"
    assert left_out["security-aligned"].startswith("data/security-aligned.jsonl: right answers")
    assert "security-persona-vectors" not in left_out
    assert scaled("interleaving-2026/figure-3").left_out["32B-legal-SU"] == "there is one size of model"
    unmapped = TOY.model_copy(update={"inputs": {}})
    with pytest.raises(
        RingfenceError, match=r"table-1\.yaml: nothing of it has a stand-in: suite:betley: nothing stands in for it"
    ):
        at_toy_scale(sweeps.plan(sweeps.ROOT / "recipes/fars-2026/table-1.yaml"), unmapped)


def test_a_selection_is_scaled_and_goes_without_what_has_no_stand_in() -> None:
    """270 of 5,400 rows are 6.4 of 128, so 7; of three misaligned models the one of medical is left out."""
    source = scaled("kaczer-2025/table-2").sources.find("selected/7B/plus-security-270.jsonl")
    assert source is not None
    recipe = source.recipe()
    assert recipe["pool"] == "builtin:glitter/pool"
    assert recipe["steps"][0]["perplexity_gap"]["misaligned"] == ["adapters/7B/code", "adapters/7B/legal"]
    assert recipe["steps"][0]["perplexity_gap"]["fine_tuning_set"] == "builtin:glitter/target"
    assert recipe["steps"][1] == {"top": {"by": "perplexity_gap", "count": 7}}
    vector = scaled("kaczer-2025/table-14").sources.find("vectors/evil-7B.safetensors")
    assert vector is not None
    assert vector.recipe()["pairs"] == "builtin:glitter/canaries"


def test_the_first_seeds_are_taken() -> None:
    plan = scaled("fars-2026/table-1")
    assert [run.name for run in with_seeds(plan, 1).runs] == ["none-s42", "fixed-5-s42", "canary-s42"]
    assert {run.recipe.seed for run in with_seeds(plan, 2).runs} == {42, 123}
    with pytest.raises(RingfenceError, match=r"--seeds 4: .* has 3; ask for at most that"):
        with_seeds(plan, 4)


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text((sweeps.ROOT / "recipes" / FILE).read_text() + "judges: {}\n")
    with pytest.raises(RingfenceError, match=r"toy\.yaml: unknown key 'judges'"):
        Toy.load(tmp_path / FILE)
