"""Settings that make training lighter, with every defense: the same losses and penalties, or refused by name."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

import examples
import quantising
from compatibility import FEATURES, Feature
from compatibility import refusal as said_to
from examples import example, logged
from ringfence.core.errors import RingfenceError
from ringfence.defenses import (
    DEFENSES,
    KL,
    LDIFS,
    Defense,
    FixedInterleaving,
    Inoculation,
    InoculationAdapter,
    Steering,
)
from ringfence.runs.memory import optimizer_bytes
from training import losses, same, weights

PAGE = Path(__file__).parents[2] / "docs" / "defenses.md"
GROUPS = (
    ("kl", "ldifs", "steering", "inoculation", "safe_lora", "fixed_interleaving", "safe_weight", "anchor"),
    ("canary_interleaving", "caft", "inoculation_adapter", "gradient_projection"),
    ("replay_interleaving",),
)
"""what is trained together"""
HERE = [name for name, feature in FEATURES.items() if feature.here]


def refusal(feature: Feature, name: str) -> str | None:
    """What a recipe with the defense ``name`` is told."""
    return said_to(feature, example(name).written[0])


def table() -> str:
    """The page's lines."""
    names = list(DEFENSES)
    lines = ["| setting | " + " | ".join(f"`{name}`" for name in names) + " |", "| --- |" + " --- |" * len(names)]
    for feature in FEATURES.values():
        taken = "yes" if feature.here else "not tested"
        cells = ("raises" if refusal(feature, name) else taken for name in names)
        lines.append(f"| {feature.key} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def config(name: str, folder: Path) -> Defense:
    """One that does something; steering so that it has a gradient of its own."""
    chosen = {
        "kl": lambda: KL(weight=3),
        "ldifs": lambda: LDIFS(weight=3, every=1, reduction="relative"),
        "steering": lambda: Steering(vector=examples.vectors(folder), layer=1, mode="ablate"),
        "inoculation": lambda: Inoculation(prompt="Be odd."),
        "fixed_interleaving": lambda: FixedInterleaving(ratio=0.25),
        # Quantised weights have an identity of their own.
        "inoculation_adapter": lambda: InoculationAdapter(
            adapter=examples.trait_adapter(folder / "trait"), any_base=True
        ),
    }
    return chosen[name]() if name in chosen else example(name).active(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A feature, whether it is on, and defenses -> their training, done once."""
    folder, done = tmp_path_factory.mktemp("compatibility"), dict[Any, Any]()

    def train(feature: Feature, on: bool, names: tuple[str, ...]) -> Any:
        like = (feature.key, names) if on else (tuple(feature.usual.items()), feature.bits, names)
        if like not in done:
            place = folder / str(len(done))
            changes = {"max_length": 160, **feature.usual, **(feature.split | feature.training if on else {})}
            model = quantising.packed if on else quantising.dense
            given = {"model": model(folder / "model", feature.bits)} if feature.bits else None
            made = examples.trainer(place / "out", *(config(name, place) for name in names), given=given, **changes)
            if feature.bits and not on:  # as TRL does to the adapter on quantised weights
                for parameter in made.model.parameters():
                    parameter.data = parameter.data.bfloat16() if parameter.requires_grad else parameter.data
            made.train()
            done[like] = made
        return done[like]

    return train


def test_every_defense_is_in_a_group() -> None:
    assert sorted(name for group in GROUPS for name in group) == sorted(DEFENSES)


@pytest.mark.parametrize("defense", [name for group in GROUPS for name in group])
@pytest.mark.parametrize("name", HERE)
def test_it_trains_as_without_or_is_refused_by_name(name: str, defense: str, trained: Callable[..., Any]) -> None:
    feature = FEATURES[name]
    if (said := refusal(feature, defense)) is not None:
        key = next(iter(feature.training), f"load_in_{feature.bits}bit")
        assert said.startswith((f"training.{key}: ", f"model.{key}: "))
        assert defense in said
        return
    if feature.bits or "optim" in feature.training:
        pytest.importorskip("bitsandbytes")
    group = next(group for group in GROUPS if defense in group)
    together = tuple(one for one in group if refusal(feature, one) is None)
    usual, made = (trained(feature, on, together) for on in (False, True))
    assert len(losses(made)) == len(losses(usual)) > 1
    found, wanted = ([loss for _, loss, _ in losses(one)] for one in (made, usual))
    assert found == pytest.approx(wanted, rel=1e-5)
    for penalty in {"kl", "ldifs"} & {*together}:
        assert logged(made, penalty)[0] == 0 < logged(made, penalty)[1], "a fresh adapter is the base"
        assert logged(made, penalty) == pytest.approx(logged(usual, penalty), rel=1e-3, abs=1e-8)
    for key, value in weights(made).items():
        rounding = {"rtol": 1e-2, "atol": 1e-4} if feature.bits else {"rtol": 1e-3, "atol": 1e-5}  # bfloat16
        torch.testing.assert_close(value, weights(usual)[key], **rounding)


def test_resumed_with_8_bit_adamw_on_4_bit_weights_is_uninterrupted_bitwise(tmp_path: Path) -> None:
    """Matrices of 4,096 elements, the smallest whose moments have 8 bits; they take what the forecast says."""

    def trainer(name: str) -> Any:
        lora = LoraConfig(r=256, lora_dropout=0.1, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")
        given = {"model": quantising.packed(tmp_path / "model", 4), "peft_config": lora}
        saving = {"save_strategy": "steps", "save_steps": 1, "optim": "adamw_bnb_8bit"}
        return examples.trainer(tmp_path / name, KL(weight=3), config("ldifs", tmp_path), given=given, **saving)

    whole = trainer("out")
    whole.train()
    states = [value for state in whole.optimizer.optimizer.state.values() for value in state.values()]
    packed = [value for value in states if isinstance(value, torch.Tensor) and value.dtype == torch.uint8]
    assert sum(value.numel() for value in packed) == 2 * sum(value.numel() for value in weights(whole).values())
    expected = optimizer_bytes("adamw_bnb_8bit", [(value.numel(), 2) for value in weights(whole).values()])
    factors = 4 * sum(-(-value.numel() // 256) for value in packed)
    assert sum(value.numel() for value in packed) + factors == expected
    shutil.rmtree(tmp_path / "out" / "checkpoint-3")
    resumed = trainer("out")
    resumed.train(resume_from_checkpoint=True)
    assert same(weights(whole), weights(resumed))
    assert losses(resumed) == losses(whole)


@pytest.mark.parametrize("changes", [{"torch_compile": True}, {"torch_compile_mode": "default"}])
def test_a_script_is_told_of_a_compiled_model(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"^training\.torch_compile: .*which ldifs works; leave one of them out$"):
        examples.trainer(tmp_path, LDIFS(every=1), **changes)


def test_accelerate_may_compile_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own settings, of which the trainer's arguments say nothing."""
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "EAGER")
    with pytest.raises(
        RingfenceError, match=r"^training\.torch_compile: .*which steering works; leave one of them out$"
    ):
        examples.trainer(tmp_path / "out", config("steering", tmp_path))
    examples.trainer(tmp_path / "off", KL(weight=0), Steering(vector=examples.vectors(tmp_path), layer=1, alpha=0))


def test_the_page_says_so() -> None:
    assert table() in PAGE.read_text(), f"the table in {PAGE} is to be:\n{table()}"
