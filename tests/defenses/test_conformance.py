"""What every defense must keep to, those to come included: each one's own test says how it is set up, ``EXAMPLE``."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from pydantic import ValidationError
from trl import SFTTrainer

import examples
from examples import example, logged
from ringfence.core.errors import RingfenceError
from ringfence.defenses import DEFENSES, KL, LDIFS, Defense, FixedInterleaving, Inoculation, Steering, TrainerContext
from ringfence.models.activations import decoder_layers
from training import losses, same, weights

PENALISING = ("kl", "ldifs")
COMPARING = (*PENALISING, "anchor")


def trainer_of(name: str, folder: Path, *config: Defense, **changes: Any) -> Any:
    """The training of ``config``, one of the defense ``name``, with what that builds on."""
    given = {"model": examples.model(example(name).seed)}
    return examples.trainer(folder, *config, *example(name).beside, given=given, **changes)


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Name of a defense -> a training without it, but with what it builds on; done once for each of these."""
    done: dict[Any, Any] = {}

    def trained(name: str) -> Any:
        like = (example(name).beside, example(name).seed)
        if like not in done:
            done[like] = trainer_of(name, tmp_path_factory.mktemp("without"))
            done[like].train()
        return done[like]

    return trained


@pytest.fixture(scope="module")
def active(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Name of a defense -> a training with its active config, done once; ``before`` is the model's state before it."""
    done: dict[str, Any] = {}

    def trained(name: str) -> Any:
        if name not in done:
            folder = tmp_path_factory.mktemp(name)
            done[name] = trainer_of(name, folder / "out", example(name).active(folder))
            done[name].before = state_of(done[name].model)
            done[name].train()
        return done[name]

    return trained  # type: ignore[return-value]


def assert_same_training(made: Any, whole: Any) -> None:
    assert [loss for _, loss, _ in losses(made)] == pytest.approx([loss for _, loss, _ in losses(whole)], rel=1e-5)
    for name in PENALISING:
        assert logged(made, name) == pytest.approx(logged(whole, name), rel=1e-3, abs=1e-8)
    for name, value in weights(made).items():
        torch.testing.assert_close(value, weights(whole)[name], rtol=1e-3, atol=1e-5)


def state_of(model: torch.nn.Module) -> dict[str, Any]:
    """All that a guard might leave behind."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "hooks": {kind: sum(len(getattr(module, kind)) for module in model.modules()) for kind in kinds},
        "replaced": [name for name, module in model.named_modules() if "forward" in vars(module)],
        "disabled": [name for name, module in model.named_modules() if getattr(module, "_disable_adapters", False)],
        "frozen": [name for name, parameter in model.named_parameters() if not parameter.requires_grad],
    }


@pytest.mark.parametrize("name", DEFENSES)
def test_what_penalises_says_so_and_no_other(name: str, tmp_path: Path) -> None:
    """One property decides: the guard reads hidden states if and only if the defense adds to the loss."""
    setup = TrainerContext(examples.tiny.tokenizer(), 0, examples.trainer(tmp_path / "out").model)
    for config in (example(name).active(tmp_path), example(name).neutral(tmp_path)):
        guard = config.guard(setup)
        reads = guard is not None and (guard.needs_last or bool(guard.layers))
        assert reads == config.adds_to_loss
    assert example(name).active(tmp_path).penalises == (name in COMPARING)


@pytest.mark.parametrize("name", DEFENSES)
def test_neutral_is_no_defense_bitwise(name: str, tmp_path: Path, without: Callable[[str], Any]) -> None:
    made = trainer_of(name, tmp_path / "out", example(name).neutral(tmp_path))
    made.train()
    assert losses(made) == losses(without(name))
    assert same(weights(made), weights(without(name)))


def test_no_defense_is_trl(tmp_path: Path, without: Callable[[str], Any]) -> None:
    plain = without("kl")
    made = examples.trainer(tmp_path, given={"safe_dataset": None}, cls=SFTTrainer)
    made.train()
    assert [loss for _, loss, _ in losses(plain)] == pytest.approx([loss for _, loss, _ in losses(made)], rel=1e-6)
    assert same(weights(made), weights(plain))


@pytest.mark.parametrize("name", DEFENSES)
def test_active_does_something(name: str, without: Callable[[str], Any], active: Any) -> None:
    assert not same(weights(active(name)), weights(without(name)))


@pytest.mark.parametrize("name", DEFENSES)
def test_nothing_is_left_on_the_model(name: str, active: Any) -> None:
    assert state_of(active(name).model) == active(name).before


@pytest.mark.parametrize("name", DEFENSES)
@pytest.mark.parametrize("at", [1, 2])
def test_nothing_is_left_on_the_model_by_an_exception(name: str, at: int, tmp_path: Path) -> None:
    """In the first forward of the top layer, and in the second: the reference's, where there is one."""
    made = trainer_of(name, tmp_path / "out", example(name).active(tmp_path))
    forwards: list[int] = []

    def explode(module: Any, args: Any, output: Any) -> None:
        forwards.append(1)
        if len(forwards) == at:
            raise ZeroDivisionError

    decoder_layers(made.model)[-1].register_forward_hook(explode)
    before = state_of(made.model)
    with pytest.raises(ZeroDivisionError):
        made.train()
    assert state_of(made.model) == before
    assert all(module.training for module in made.model.modules())


@pytest.mark.parametrize("name", DEFENSES)
def test_resumed_equals_uninterrupted_bitwise(name: str, tmp_path: Path) -> None:
    """With dropout. The newest checkpoint is torn, so the one before it is taken."""
    saving: dict[str, Any] = {"save_strategy": "steps", "save_steps": 1, "dropout": 0.3}
    config = example(name).active(tmp_path)
    whole = trainer_of(name, tmp_path / "out", config, **saving)
    whole.train()
    log = (tmp_path / "out" / "log.jsonl").read_text()
    for folder in (tmp_path / "out").glob("checkpoint-*"):
        if folder.name not in ("checkpoint-1", "checkpoint-2"):
            shutil.rmtree(folder)
    (tmp_path / "out" / "checkpoint-2" / "trainer_state.json").write_text('{"global_st')
    resumed = trainer_of(name, tmp_path / "out", config, **saving)
    resumed.train(resume_from_checkpoint=True)
    assert same(weights(whole), weights(resumed))
    assert (tmp_path / "out" / "log.jsonl").read_text() == log


# --- penalties ----------------------------------------------------------------------------------------------


def adapter(**changes: Any) -> LoraConfig:
    return LoraConfig(
        **{"r": 4, "target_modules": ["q_proj", "v_proj", "up_proj"], "task_type": "CAUSAL_LM", **changes}
    )


def steering(folder: Path) -> Steering:
    return Steering(vector=examples.vectors(folder), layer=1, alpha=0.5)


@pytest.mark.parametrize("lora", [{}, {"use_rslora": True}, {"use_dora": True}], ids=["lora", "rslora", "dora"])
@pytest.mark.parametrize("steered", [False, True], ids=["", "steered"])
def test_a_penalty_is_exactly_zero_on_a_fresh_adapter_only(lora: Any, steered: bool, tmp_path: Path) -> None:
    defenses: list[Defense] = [example(name).active(tmp_path) for name in PENALISING]
    defenses += [steering(tmp_path)] if steered else []
    made = examples.trainer(tmp_path / "out", *defenses, given={"peft_config": adapter(**lora)})
    made.train()
    for name in PENALISING:
        first, *later = logged(made, name)
        assert first == 0
        assert min(later) > 0


@pytest.mark.parametrize("name", PENALISING)
def test_a_penalty_in_bfloat16_autocast_is_zero_on_a_fresh_adapter(name: str, tmp_path: Path) -> None:
    """TRL's default: the reference must multiply in the same type as the trained model."""
    made = examples.trainer(tmp_path / "out", example(name).active(tmp_path), bf16=True)
    made.train()
    first, *later = logged(made, name)
    assert first == 0
    assert min(later) > 0


@pytest.mark.parametrize("name", PENALISING)
def test_a_penalty_has_its_gradient_beside_label_smoothing(name: str, tmp_path: Path) -> None:
    """TRL then runs a second forward without gradients; a huge weight must hold the model back all the same."""
    config = example(name).active(tmp_path)
    strong = config.model_copy(update={"weight": 1e4})
    made = {key: examples.trainer(tmp_path / key, one, label_smoothing_factor=0.1) for key, one in
            {"weak": config.model_copy(update={"weight": 1e-6}), "strong": strong}.items()}  # fmt: skip
    for one in made.values():
        one.train()
    assert logged(made["strong"], name)[2] < 0.5 * logged(made["weak"], name)[2]


def test_defenses_compose_and_split_as_one_does(tmp_path: Path) -> None:
    defenses = [KL(weight=3), LDIFS(weight=3, every=1, reduction="relative", sources="safe"), steering(tmp_path)]
    defenses += [FixedInterleaving(ratio=0.25), Inoculation(prompt="Be odd.")]
    whole = examples.trainer(tmp_path / "a", *defenses)
    split = examples.trainer(tmp_path / "b", *defenses, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    for made in (whole, split):
        made.train()
    assert_same_training(split, whole)
    assert max(logged(whole, "kl")) > 0
    assert max(logged(whole, "ldifs")) > 0


@pytest.mark.parametrize("ldifs", [{"weight": 0.01}, {"weight": 3, "reduction": "relative"}], ids=["sum", "relative"])
def test_packed_is_as_padded(ldifs: dict[str, Any], tmp_path: Path) -> None:
    """All ten conversations in each of two steps, ten rows or packed in fewer; conversations do not see each other."""
    defenses = [KL(weight=3), LDIFS(every=1, **ldifs), steering(tmp_path)]
    both: dict[str, Any] = {"num_train_epochs": 2, "per_device_train_batch_size": 10}
    padded = examples.trainer(tmp_path / "a", *defenses, **both)
    packed = examples.trainer(tmp_path / "b", *defenses, **both, packing=True, packing_strategy="bfd", max_length=128)
    assert len(packed.train_dataset) < len(padded.train_dataset) == 10
    for made in (padded, packed):
        made.train()
        assert len(losses(made)) == 2
    assert_same_training(packed, padded)


def test_penalties_are_logged_as_means_over_steps_and_afresh_in_a_second_training(tmp_path: Path) -> None:
    """Steps 0, a, b: logged every two steps it is a / 2, and b at the end; nothing is left for the next training."""
    single = examples.trainer(tmp_path / "a", KL(weight=3))
    pairs = examples.trainer(tmp_path / "b", KL(weight=3), logging_steps=2)
    for made in (single, pairs):
        made.train()
    _, second, last = logged(single, "kl")
    assert logged(pairs, "kl") == pytest.approx([second / 2, last], rel=1e-6)
    for made in (single, pairs):
        made.train()
    first, second, last = logged(single, "kl")
    assert first > 0
    assert logged(pairs, "kl") == pytest.approx([(first + second) / 2, last], rel=1e-6)


def full(folder: Path, *defenses: Defense, given: dict[str, Any] | None = None, **changes: Any) -> Any:
    return examples.trainer(folder, *defenses, given={"peft_config": None, **(given or {})}, **changes)


@pytest.mark.parametrize("steered", [False, True], ids=["", "steered"])
def test_full_fine_tuning_is_penalised_against_a_frozen_copy(steered: bool, tmp_path: Path) -> None:
    holding = [steering(tmp_path)] if steered else []
    made = full(tmp_path, KL(weight=3), LDIFS(weight=3, every=1, reduction="relative"), *holding)
    reference = made.guards.reference
    before = {name: value.clone() for name, value in reference.state_dict().items()}
    assert same(before, dict(made.model.state_dict()))
    made.train()
    assert same(before, dict(reference.state_dict()))
    assert not same(before, dict(made.model.state_dict()))
    assert not reference.training
    for name in PENALISING:
        first, *later = logged(made, name)
        assert first == 0
        assert min(later) > 0


def test_full_fine_tuning_splits_as_it_should(tmp_path: Path) -> None:
    defenses = [KL(weight=3), LDIFS(weight=3, every=1, reduction="relative"), steering(tmp_path)]
    whole = full(tmp_path / "a", *defenses, learning_rate=1e-3)
    split = full(
        tmp_path / "b", *defenses, learning_rate=1e-3, per_device_train_batch_size=2, gradient_accumulation_steps=2
    )
    for made in (whole, split):
        made.train()
    assert_same_training(split, whole)


def test_a_given_reference_is_what_it_is_compared_with(tmp_path: Path) -> None:
    """The same weights: nothing at first. Others: something at once, with an adapter as well as without."""
    config = LDIFS(weight=3, every=1, reduction="relative")
    for build in (full, examples.trainer):
        for seed, expected in ((0, True), (1, False)):
            given = {"reference_model": examples.model(seed)}
            made = build(tmp_path / f"{build.__name__}{seed}", config, given=given, max_steps=1)
            made.train()
            assert (logged(made, "ldifs") == [0]) is expected


# --- configs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEFENSES)
def test_twice_is_refused(name: str, tmp_path: Path) -> None:
    config = example(name).active(tmp_path)
    with pytest.raises(RingfenceError, match=rf"^defenses: {name} is given twice; keep one$"):
        examples.trainer(tmp_path / "out", config, config)


@pytest.mark.parametrize("name", DEFENSES)
def test_configs_are_frozen(name: str, tmp_path: Path) -> None:
    config = example(name).active(tmp_path)
    for field in type(config).model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(config, field, None)


@pytest.mark.parametrize("name", DEFENSES)
def test_every_knob_says_what_it_is(name: str) -> None:
    assert not [key for key, field in DEFENSES.get(name).model_fields.items() if not field.description]
