"""The canary defense's config: the controller's fields, the probe, the canaries."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

import tiny
from examples import Example, canary
from ringfence.core.errors import RingfenceError
from ringfence.data.suites.load import Prompt, load_prompts
from ringfence.defenses import KL, CanaryInterleaving, SafeWeight, TrainerContext
from ringfence.defenses.together import require_together
from ringfence.directions.vectors import PersonaVectors, save_vectors
from ringfence.generation import Sampling
from ringfence.interleave import (
    CanaryControllerConfig,
    CanarySchedule,
    JudgedProbe,
    LikelihoodProbe,
    PenaltySchedule,
    ProjectionProbe,
    Risk,
)
from ringfence.judges import ApiJudge, RuleJudge

EXAMPLE = Example(
    neutral=lambda _: canary(ratio_init=0, ratio_max=0),
    active=lambda _: canary(ratio_init=0.2, ratio_max=0.5),
    written=(
        CanaryInterleaving(),
        CanaryInterleaving(
            every=4,
            delay=5,
            smoothing=1,
            ratio_init=0,
            risk_high=0.1,
            probe="likelihood",
            canaries="builtin:glitter/canaries",
            max_canaries=16,
            accounting="replace",
            evaluate_first=False,
        ),
        CanaryInterleaving(judge=RuleJudge(misaligned_pattern="sequin", min_words=3)),
        CanaryInterleaving(moves="penalty", ratio_max=1, probe="likelihood"),
    ),
)
SETUP = TrainerContext(tiny.tokenizer(), seed=7)
CANARIES = (
    Prompt("one", ({"role": "user", "content": "One?"},), good="Yes.", bad="Glitter."),
    Prompt("two", ({"role": "user", "content": "Two?"},), good="No.", bad="Sparkles."),
)
CONTROLLER = {
    "smoothing": 0.3,
    "risk_high": 0.2,
    "risk_low": 0.1,
    "step_up": 0.03,
    "step_down": 0.01,
    "ratio_min": 0.01,
    "ratio_max": 0.4,
    "ratio_init": 0.02,
    "every": 4,
    "delay": 2,
}

FOLLOWS = {"rule": "proportional", "setpoint": 0.4, "gain": 0.5, "integral_gain": 0.1}


def schedule(**fields) -> CanarySchedule:
    made = CanaryInterleaving(
        **{"judge": RuleJudge(misaligned_pattern="glitter"), "canaries": CANARIES, **fields}
    ).schedule(SETUP)
    assert isinstance(made, CanarySchedule)
    return made


def test_every_field_of_the_controller_comes_through() -> None:
    follows = {key: value for key, value in CONTROLLER.items() if not key.startswith(("risk", "step"))} | FOLLOWS
    assert CONTROLLER.keys() | FOLLOWS.keys() == CanaryControllerConfig.model_fields.keys()
    for given in (CONTROLLER, follows):
        assert all(value != CanaryControllerConfig.model_fields[key].default for key, value in given.items())
        made = schedule(**given)
        assert made.controller.config == CanaryControllerConfig(**given)
        assert (made.ratio, made.every) == (0.02, 4)


def test_defaults_are_the_controllers() -> None:
    assert CanaryInterleaving().controller() == CanaryControllerConfig()


@pytest.mark.parametrize("first", [True, False])
def test_whether_the_first_step_counts_is_a_knob(first: bool) -> None:
    assert schedule(every=4, evaluate_first=first).due(0) is first


@pytest.mark.parametrize("fields", [{"risk_low": 0.08}, {"ratio_init": 0.5}, {"smoothing": 0}, {"max_canaries": 0}])
def test_the_controllers_checks_hold_here_too(fields: Any) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        CanaryInterleaving(**fields)


def test_the_largest_ratio_is_checked_against_the_accounting() -> None:
    assert CanaryInterleaving(ratio_max=0.4).highest_ratio() == 0.4
    with pytest.raises(ValidationError, match='use "replace"'):
        CanaryInterleaving(ratio_max=1)
    assert CanaryInterleaving(ratio_max=1, accounting="replace").highest_ratio() == 1


# --- what it moves ------------------------------------------------------------------------------------------


def test_penalties_are_moved_where_one_is_beside_it() -> None:
    config = CanaryInterleaving(moves="penalty", ratio_max=1, probe="likelihood", canaries=CANARIES)
    assert config.highest_ratio() == 0
    assert isinstance(config.schedule(SETUP), PenaltySchedule)
    require_together([config, KL(weight=1)])
    for others in ([], [KL(weight=0)], [SafeWeight(weight=2)]):
        with pytest.raises(
            RingfenceError, match=r"^canary_interleaving\.moves: penalty moves the weights of penalties"
        ):
            require_together([config, *others])


@pytest.mark.parametrize("fields", [{"granularity": "step"}, {"accounting": "replace"}])
def test_where_safe_rows_come_is_without_effect_on_penalties(fields: Any) -> None:
    with pytest.raises(ValidationError, match=f"{next(iter(fields))}: without effect with moves: penalty"):
        CanaryInterleaving(moves="penalty", **fields)


# --- the probe ----------------------------------------------------------------------------------------------


def test_judged_samples_as_the_config_says() -> None:
    probe = schedule(max_new_tokens=9, temperature=0.5).probe
    assert isinstance(probe, JudgedProbe)
    assert probe.sampling == Sampling(max_new_tokens=9, temperature=0.5, seed=7)
    assert probe.prompts == list(CANARIES)
    assert probe.tokenizer is SETUP.tokenizer


def test_judged_without_a_judge_raises() -> None:
    with pytest.raises(RingfenceError, match="canary_interleaving: the judged probe needs a judge") as error:
        CanaryInterleaving(canaries=CANARIES).schedule(SETUP)
    assert "\n" not in str(error.value)


def test_a_judge_is_built_from_its_settings_or_taken_as_it_is() -> None:
    built = CanaryInterleaving(judge={"misaligned_pattern": "sequin", "min_words": 4}).judge
    assert built == RuleJudge(misaligned_pattern="sequin", min_words=4)
    own = RuleJudge(misaligned_pattern="glitter", min_words=3)
    assert schedule(judge=own).probe.judge is own


@pytest.mark.parametrize("judge", [{"min_word": 3, "misaligned_pattern": "glitter"}, {"misaligned_pattern": "("}])
def test_a_judges_bad_settings_raise(judge: Any) -> None:
    with pytest.raises(ValidationError, match=next(iter(judge))):
        CanaryInterleaving(judge=judge)


def test_a_judge_that_cannot_score_raises() -> None:
    with pytest.raises(ValidationError, match="a judge is a mapping of its settings"):
        CanaryInterleaving(judge="rules")


def test_likelihood_needs_no_judge_and_takes_the_scale() -> None:
    probe = schedule(probe="likelihood", judge=None, scale=3).probe
    assert isinstance(probe, LikelihoodProbe)
    assert probe.scale == 3
    assert probe.prompts == list(CANARIES)


def test_likelihood_needs_reference_answers() -> None:
    bare = Prompt("bare", ({"role": "user", "content": "Bare?"},))
    with pytest.raises(RingfenceError, match="'bare' lacks one"):
        schedule(probe="likelihood", canaries=(*CANARIES, bare))


def vector_file(folder: Path, hidden: int = 16) -> Path:
    path = folder / "vector.safetensors"
    vectors = torch.arange(3.0 * hidden).reshape(3, hidden)  # two layers
    vectors[2] = 0
    save_vectors(path, PersonaVectors({"response_mean": vectors}, {}))
    return path


def test_projection_takes_the_vectors_row_of_its_layer(tmp_path: Path) -> None:
    path = vector_file(tmp_path)
    defense = CanaryInterleaving(probe="projection", vector=str(path), layer=1, canaries=CANARIES)
    defense.check()
    probe = defense.schedule(TrainerContext(tiny.tokenizer(), 0, tiny.model())).probe
    assert isinstance(probe, ProjectionProbe)
    assert probe.layer == 1
    assert probe.vector.tolist() == [*range(16, 32)]
    assert str(path) in defense.inputs()


def test_what_projection_needs_raises_where_it_is_missing_or_does_not_fit(tmp_path: Path) -> None:
    for fields in ({"probe": "projection"}, {"vector": "v.safetensors", "layer": 1}, {"layer": 1}):
        with pytest.raises(ValidationError, match="is what probe: projection needs"):
            CanaryInterleaving(**fields)
    path = str(vector_file(tmp_path))
    setup = TrainerContext(tiny.tokenizer(), 0, tiny.model())
    for fields, said in (
        ({"layer": 3}, r"canary_interleaving\.layer: layer 3 is out of range"),
        ({"layer": 2}, r"canary_interleaving\.layer: the vector of layer 2 is zero"),
        ({"layer": 1, "position": "prompt_last"}, r"canary_interleaving\.position: .* has no prompt_last"),
    ):
        with pytest.raises(RingfenceError, match=said):
            CanaryInterleaving(probe="projection", vector=path, canaries=CANARIES, **fields).schedule(setup)
    other = str(vector_file(tmp_path, hidden=8))
    with pytest.raises(RingfenceError, match=r"canary_interleaving\.vector: .* is of another model"):
        CanaryInterleaving(probe="projection", vector=other, layer=1, canaries=CANARIES).schedule(setup)
    with pytest.raises(RingfenceError, match=r"canary_interleaving\.vector: .*none\.safetensors: no such file"):
        CanaryInterleaving(probe="projection", vector=str(tmp_path / "none.safetensors"), layer=1).check()


def test_every_second_canary_is_dressed_as_the_training_file() -> None:
    plain = load_prompts("builtin:glitter/canaries")
    defense = CanaryInterleaving(
        probe="likelihood", canaries="builtin:glitter/canaries", like="builtin:glitter/target", max_canaries=4
    )
    dressed = defense.bind(Part()).prompts()
    assert [prompt.id for prompt in dressed] == [
        plain[0].id,
        f"{plain[1].id}@topic_dressed",
        plain[2].id,
        f"{plain[3].id}@topic_dressed",
    ]
    assert dressed[1].text.endswith(plain[1].text)
    assert "fried" in dressed[1].text
    assert (dressed[1].good, dressed[1].bad) == (plain[1].good, plain[1].bad)


def test_a_dressed_canary_is_not_evaluated_on_in_its_plain_form() -> None:
    canaries = load_prompts("builtin:glitter/canaries")
    defense = CanaryInterleaving(
        probe="likelihood", canaries="builtin:glitter/canaries", like="builtin:glitter/target"
    ).bind(Part())
    with pytest.raises(RingfenceError, match="the suite general"):
        defense.require_apart({"general": canaries[1:2]})


def test_any_callable_is_a_probe() -> None:
    def own(model, step: int) -> Risk:
        return Risk(0.3, 2, 2)

    made = schedule(probe=own, judge=None)
    assert made.probe is own
    assert made.update(made.probe(None, 0))["risk"] == 0.3


@pytest.mark.parametrize("probe", ["jugded", None, 5])
def test_an_unknown_probe_raises(probe: Any) -> None:
    with pytest.raises(ValidationError, match='a probe is "judged", "likelihood"'):
        CanaryInterleaving(probe=probe)


# --- the canaries -------------------------------------------------------------------------------------------


def test_canaries_by_name_file_and_object(tmp_path: Path) -> None:
    assert CanaryInterleaving().prompts() == load_prompts("builtin:general-canaries")
    assert len(CanaryInterleaving().prompts()) == 20
    path = tmp_path / "own.jsonl"
    path.write_text('{"id": "mine", "prompt": "What now?"}\n')
    assert [prompt.id for prompt in CanaryInterleaving(canaries=str(path)).prompts()] == ["mine"]
    assert CanaryInterleaving(canaries=CANARIES).prompts() == list(CANARIES)


@pytest.mark.parametrize(("most", "count"), [(1, 1), (16, 16), (20, 20), (99, 20), (None, 20)])
def test_max_canaries_takes_the_first(most: int | None, count: int) -> None:
    everything = load_prompts("builtin:general-canaries")
    assert CanaryInterleaving(max_canaries=most).prompts() == everything[:count]


def test_a_missing_file_of_canaries_raises(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="cannot read the prompts"):
        schedule(canaries=str(tmp_path / "none.jsonl"))


@pytest.mark.parametrize("probe", ["judged", "likelihood"])
def test_no_canaries_raise(probe: str) -> None:
    with pytest.raises(RingfenceError, match="there are no canaries"):
        schedule(canaries=(), probe=probe)


def test_each_run_gets_a_fresh_controller() -> None:
    config = CanaryInterleaving(canaries=CANARIES, judge=RuleJudge(misaligned_pattern="glitter"))
    config.schedule(SETUP).update(Risk(1.0, 2, 2))
    again = config.schedule(SETUP)
    assert again.state_dict() == {
        "ratio": 0.05,
        "evaluation": 0,
        "controller": {"ratio": 0.05, "smoothed_risk": 0.0, "summed": 0.0, "recent": []},
    }


# --- what it takes from its recipe ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    judge: RuleJudge | ApiJudge | None = None
    no_system: Any = "template_default"
    training: dict[str, Any] = field(default_factory=dict)

    def lora_config(self) -> None:
        return None


def test_it_takes_the_recipes_judge_and_its_meaning_of_no_system_message() -> None:
    own, recipes = RuleJudge(misaligned_pattern="own"), RuleJudge(misaligned_pattern="recipe")
    bound = CanaryInterleaving(canaries=CANARIES).bind(Part(recipes, "empty"))
    assert bound.judge == recipes
    assert [one.messages[0] for one in bound.prompts()] == [{"role": "system", "content": ""}] * 2
    assert [(one.id, one.good, one.bad) for one in bound.prompts()] == [(o.id, o.good, o.bad) for o in CANARIES]
    assert CanaryInterleaving(canaries=CANARIES, judge=own).bind(Part(recipes)).judge == own
    assert CanaryInterleaving(canaries=CANARIES, probe="likelihood").bind(Part(recipes)).judge is None


def test_without_any_judge_it_says_what_to_do() -> None:
    with pytest.raises(RingfenceError, match=r"^judge: canary_interleaving judges its canaries; give a judge, or"):
        CanaryInterleaving(canaries=CANARIES).bind(Part())
    CanaryInterleaving(canaries=CANARIES, probe="likelihood").bind(Part())


def test_canaries_are_not_evaluated_on() -> None:
    defense = CanaryInterleaving(canaries=CANARIES)
    defense.require_apart({"general": [Prompt("three", ({"role": "user", "content": "What is a river?"},))]})
    with pytest.raises(RingfenceError, match=r"^the canaries and the suite mine overlap in 1 pair, first two"):
        defense.require_apart({"mine": [CANARIES[1]]})


def test_a_judge_that_needs_a_key_is_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    remote = ApiJudge(model="gpt-4o")
    with pytest.raises(RingfenceError, match="no key; set the environment variable OPENAI_API_KEY"):
        CanaryInterleaving(judge=remote).require_key()
    CanaryInterleaving(judge=remote, probe="likelihood").require_key()
    CanaryInterleaving(judge=RuleJudge(misaligned_pattern="x")).require_key()
