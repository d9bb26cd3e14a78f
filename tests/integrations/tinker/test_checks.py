"""What a server cannot train raises before anything is sent, with the key and the reason."""

from typing import Any

import pytest

import examples
from ringfence.core.errors import RingfenceError
from ringfence.defenses import DEFENSES, CanaryInterleaving, Defense
from ringfence.integrations.tinker.checks import Adapter, require_remote, without_effect
from ringfence.recipe.run import Recipe

ATTENTION, MLP = ["q_proj", "k_proj", "v_proj", "o_proj"], ["gate_proj", "up_proj", "down_proj"]
FITS = {"fixed_interleaving", "canary_interleaving", "replay_interleaving", "inoculation", "safe_weight"}


def recipe(**changes: Any) -> Recipe:
    plain = {"data": {"target": "builtin:glitter/target"}, "lora": {"r": 4, "target_modules": "all-linear"}}
    return Recipe.model_validate({**plain, **changes})


@pytest.mark.parametrize("name", DEFENSES)
def test_every_defense_fits_or_says_why_not(name: str) -> None:
    one = examples.example(name).written[0]
    why = one.needs_model_here()
    given = recipe().model_copy(update={"defenses": (one,)})
    if why is None:
        assert name in FITS
        assert type(one).guard is Defense.guard or one.row_weight("safe") != 1
        assert require_remote(given) == Adapter(4, True, True)
    else:
        with pytest.raises(
            RingfenceError, match=rf"^defenses\.0\.{name}: .*; train without --tinker, or leave it out$"
        ):
            require_remote(given)


def test_a_probe_that_looks_into_the_model_does_not_fit() -> None:
    for settings in ({"probe": "projection", "vector": "v.safetensors", "layer": 3}, {"probe": lambda *_: None}):
        given = recipe().model_copy(update={"defenses": (CanaryInterleaving(**settings),)})
        with pytest.raises(RingfenceError, match=r"canary_interleaving: .* use probe: judged or likelihood"):
            require_remote(given)


def test_kl_fits_at_the_labels_only() -> None:
    require_remote(recipe(defenses=[{"kl": {"over": "target_token"}}]))
    with pytest.raises(RingfenceError, match=r"set kl\.over: target_token"):
        require_remote(recipe(defenses=[{"kl": {}}]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "grpo"}, "^method: grpo generates"),
        ({"stages": [{"name": "x", "data": {"target": "builtin:glitter/safe"}}]}, "^stages: "),
        ({"lora": None}, "^lora: a server trains LoRA"),
        (
            {"lora": {"r": 4, "target_modules": "all-linear", "lora_alpha": 16}},
            "^lora.lora_alpha: a server takes r and",
        ),
        ({"lora": {"r": 4}}, "^lora.target_modules: a server adapts"),
        ({"lora": {"r": 4, "target_modules": ["q_proj"]}}, "^lora.target_modules: a server adapts"),
        ({"training": {"packing": True}}, "^training.packing: has no meaning at a server"),
        ({"training": {"save_strategy": "epoch"}}, "^training.save_strategy: "),
    ],
)
def test_what_a_server_cannot_do_raises(changes: Any, message: str) -> None:
    with pytest.raises(RingfenceError, match=message):
        require_remote(recipe(**changes))


@pytest.mark.parametrize(
    ("targets", "wanted"), [(ATTENTION, (True, False)), (MLP, (False, True)), ([*MLP, *ATTENTION], (True, True))]
)
def test_the_adapter_is_the_one_that_was_asked_for(targets: list[str], wanted: tuple[bool, bool]) -> None:
    found = require_remote(recipe(lora={"target_modules": targets, "lora_dropout": 0, "bias": "none"}))
    assert found == Adapter(8, *wanted)


def test_what_only_this_machine_would_do_is_told() -> None:
    given = recipe(training={"bf16": False, "learning_rate": 1e-4, "save_total_limit": 2})
    require_remote(given)
    assert without_effect(given) == ["bf16", "save_total_limit"]
