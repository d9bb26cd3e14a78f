"""The one reference pass: what it computes, what it shares with the trained model, and what it leaves behind."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

import examples
import tiny
from examples import logged
from ringfence.core.errors import RingfenceError
from ringfence.defenses import KL, LDIFS, Defense, Steering, TrainerContext
from ringfence.defenses.kl import KLHook
from ringfence.defenses.ldifs import LDIFSHook
from ringfence.defenses.step import Batch, PenaltyInputs
from ringfence.directions.vectors import load_vectors
from ringfence.models.activations import decoder_layers
from ringfence.train.guards import DefenseStack
from training import losses, same, weights

LAYERS = 5
INPUTS = {
    "input_ids": torch.tensor([[5, 6, 7, 8], [9, 10, 11, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
    "labels": torch.tensor([[-100, 6, 7, 8], [-100, -100, 11, -100]]),
}
DEFENSES = (KL(weight=1), LDIFS(weight=1, every=1))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return examples.vectors(tmp_path_factory.mktemp("vectors"), LAYERS)


def adapted(layers: list[int] | None = None, dropout: float = 0.0) -> PeftModel:
    """An adapter as if trained (B is not zero), on ``layers`` (from 0) or on all."""
    config = LoraConfig(
        r=2,
        lora_dropout=dropout,
        target_modules=["q_proj", "down_proj"],
        layers_to_transform=layers,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(3)
    made = get_peft_model(examples.model(layers=LAYERS), config)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return made.train()


def guards_of(model: Any, defenses: Sequence[Defense], reference: Any = None) -> DefenseStack:
    return DefenseStack(defenses, TrainerContext(tiny.tokenizer(), 0, model), reference)


def loss(guards: DefenseStack) -> torch.Tensor:
    """Cross-entropy in the model's own type + weight * sum / units of each penalty."""
    batch, units = Batch.of(INPUTS), guards.normalizer([Batch.of(INPUTS)])

    def run() -> torch.Tensor:
        logits = guards.model(**INPUTS, use_cache=False).logits
        return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), INPUTS["labels"][:, 1:].flatten())

    own, penalties = guards.loss(batch, INPUTS, run)
    return own + sum(one.weight * one.sum / count for one, count in zip(penalties, units, strict=True))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[PenaltyInputs]:
    """Every ``Step`` that LDIFS is given."""
    steps: list[PenaltyInputs] = []
    real = LDIFSHook.penalty

    def penalty(self: LDIFSHook, step: PenaltyInputs) -> torch.Tensor:
        steps.append(step)
        return real(self, step)

    monkeypatch.setattr(LDIFSHook, "penalty", penalty)
    return steps


def plainly(model: PeftModel, shifts: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
    """Hidden states by layer of the base model, those of ``shifts`` shifted; under 0 the last ones after the norm."""
    found: dict[int, torch.Tensor] = {}
    layers = decoder_layers(model)

    def hook(k: int) -> Any:
        def shift(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
            found[k] = output + shifts[k] if k in shifts else output
            return found[k]

        return shift

    handles = [layer.register_forward_hook(hook(k)) for k, layer in enumerate(layers, 1)]
    was_training = model.training
    model.eval()
    asked = {key: INPUTS[key] for key in ("input_ids", "attention_mask")}
    with torch.no_grad(), model.disable_adapter():
        output = model(**asked, output_hidden_states=True, use_cache=False)
    model.train(was_training)
    for handle in handles:
        handle.remove()
    return {**found, 0: output.hidden_states[-1]}


@pytest.mark.parametrize("steered", [(), (1,), (3,), (4,), (5,), (1, 3, 5)], ids=str)
@pytest.mark.parametrize(
    ("adapter", "shared"), [([3, 4], 3), ([2, 4], 2), ([4], 4), (None, 0)], ids=["3-4", "2-4", "4", "all"]
)
def test_the_reference_is_the_whole_base_model_bitwise(
    steered: tuple[int, ...], adapter: Any, shared: int, file: str, seen: list[PenaltyInputs]
) -> None:
    """However many layers are shared, with the vector below, at and above the boundary."""
    model = adapted(adapter)
    defenses = [*DEFENSES, *([Steering(vector=file, layer=steered, alpha=0.5)] if steered else [])]
    guards = guards_of(model, defenses)
    assert guards.shared == shared
    loss(guards)
    (step,) = seen
    shifts = {k: 0.5 * load_vectors(file)["response_mean"][k] for k in steered}
    wanted = plainly(model, shifts)
    assert step.reference.layers.keys() == {*range(1, LAYERS + 1)}
    for k, found in step.reference.layers.items():
        assert torch.equal(found, wanted[k]), k
        assert not found.requires_grad
    assert step.reference.last is not None
    assert torch.equal(step.reference.last, wanted[0])
    for k, found in step.trained.layers.items():
        assert torch.equal(found, wanted[k]) is (k <= shared)


@pytest.mark.parametrize("adapter", [[3, 4], [4], None])
def test_shared_layers_compute_once(adapter: Any) -> None:
    model = adapted(adapter)
    computed = [0] * LAYERS
    for k, layer in enumerate(decoder_layers(model)):
        layer.mlp.register_forward_hook(lambda *_, k=k: computed.__setitem__(k, computed[k] + 1))
    guards = guards_of(model, DEFENSES)
    loss(guards)
    assert computed == [1] * guards.shared + [2] * (LAYERS - guards.shared)


@pytest.fixture
def referred(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each reference pass had."""
    found: list[int] = []
    real = DefenseStack._refer

    def refer(self: DefenseStack, batch: Batch, inputs: Any, trained: Any, chosen: Any) -> Any:
        found.append(len(batch.labels) if chosen is None else int(chosen.sum()))
        return real(self, batch, inputs, trained, chosen)

    monkeypatch.setattr(DefenseStack, "_refer", refer)
    return found


@pytest.mark.parametrize("layers", [None, [1]])
@pytest.mark.parametrize("of_its_own", [False, True])
def test_only_rows_that_are_compared_go_through_the_reference(
    layers: Any, of_its_own: bool, referred: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Penalties and gradients are those of all rows; one goes where there is nothing to compare."""
    defenses = [KL(weight=1, sources="safe"), LDIFS(weight=1, every=1, reduction="mean", sources="safe")]

    def gradient(safe: list[bool]) -> tuple[list[torch.Tensor], list[torch.Tensor | None]]:
        model = adapted(layers)
        guards = guards_of(model, defenses, examples.model(seed=2, layers=LAYERS) if of_its_own else None)
        marks = torch.tensor(safe)[:, None].expand_as(INPUTS["labels"])
        _, penalties = guards.loss(
            Batch.of(INPUTS, marks), INPUTS, lambda: guards.model(**INPUTS, use_cache=False).loss
        )
        sums = [one.sum for one in penalties]
        torch.stack(sums).sum().backward()
        return sums, [one.grad for one in model.parameters() if one.requires_grad]

    rows = len(INPUTS["labels"])
    found = [gradient([place == chosen for place in range(rows)]) for chosen in (0, rows - 1, rows)]
    assert referred == [1, 1, 1]
    assert [float(one) for one in found[2][0]] == [0, 0]
    monkeypatch.setattr(DefenseStack, "_compared_rows", lambda self, batch: None)
    whole = [gradient([place == chosen for place in range(rows)]) for chosen in (0, rows - 1)]
    assert referred == [1, 1, 1, rows, rows]
    for (sums, gradients), (all_sums, all_gradients) in zip(found[:2], whole, strict=True):
        assert all(float(one) > 0 for one in sums)
        torch.testing.assert_close(sums, all_sums)
        torch.testing.assert_close(gradients, all_gradients)


def test_all_rows_go_where_hooks_hold_by_position(referred: list[int], file: str) -> None:
    """Steering acts in the reference as well, at positions of the whole batch."""
    guards = guards_of(adapted(), [KL(weight=1, sources="safe"), Steering(vector=file, layer=1)])
    safe = torch.zeros_like(INPUTS["labels"], dtype=torch.bool)
    safe[0] = True
    guards.loss(Batch.of(INPUTS, safe), INPUTS, lambda: guards.model(**INPUTS, use_cache=False).loss)
    assert referred == [len(safe)]


def test_dropout_is_in_the_trained_pass_only(seen: list[PenaltyInputs]) -> None:
    model = adapted(dropout=0.5)
    for _ in range(2):
        loss(guards_of(model, DEFENSES))
    first, second = seen
    for k in range(1, LAYERS + 1):
        assert torch.equal(first.reference.layers[k], second.reference.layers[k])
        assert not torch.equal(first.trained.layers[k], second.trained.layers[k])


def test_the_base_models_own_dropout_is_off_in_the_reference(seen: list[PenaltyInputs]) -> None:
    model = adapted([4])
    for layer in decoder_layers(model):
        layer.self_attn.attention_dropout = 0.5
    loss(guards_of(model, DEFENSES))
    (step,) = seen
    wanted = plainly(model, {})
    for k in range(1, LAYERS + 1):
        assert torch.equal(step.reference.layers[k], wanted[k])
        assert not torch.equal(step.trained.layers[k], wanted[k])


def test_the_reference_pass_draws_no_random_number() -> None:
    model = adapted(dropout=0.5)
    states = []
    for defenses in ((), DEFENSES):
        torch.manual_seed(0)
        loss(guards_of(model, defenses))
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_modes_are_as_before() -> None:
    model = adapted(dropout=0.5)
    decoder_layers(model)[1].eval()
    modes = [module.training for module in model.modules()]
    loss(guards_of(model, DEFENSES))
    assert [module.training for module in model.modules()] == modes
    assert {True, False} == {*modes}


@pytest.mark.parametrize("steered", [False, True], ids=["", "steered"])
@pytest.mark.parametrize("adapter", [[3, 4], None], ids=["top", "all"])
@pytest.mark.parametrize(
    "defense",
    [
        KL(weight=2),
        KL(weight=2, direction="forward", tokens="all"),
        LDIFS(weight=2, every=2),
        LDIFS(weight=2, every=2, reduction="mean"),
        LDIFS(weight=2, every=2, reduction="relative"),
    ],
    ids=["reverse", "forward", "sum", "mean", "relative"],
)
def test_the_gradient_is_that_of_finite_differences(
    defense: Defense, adapter: Any, steered: bool, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a whole perturbed model in float64, along a random direction of all its adapter's weights."""

    def norm(self: Any, hidden: torch.Tensor) -> torch.Tensor:
        """The model's own goes through float32."""
        return self.weight * hidden * (hidden.square().mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()

    monkeypatch.setattr(LlamaRMSNorm, "forward", norm)
    model = adapted(adapter).double()
    steering = [Steering(vector=file, layer=2, alpha=0.5)] if steered else []
    guards, without = guards_of(model, [defense, *steering]), guards_of(model, steering)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    generator = torch.Generator().manual_seed(1)
    along = [torch.randn(one.shape, generator=generator, dtype=one.dtype) for one in trained]

    def slope(value: torch.Tensor) -> float:
        gradients = torch.autograd.grad(value, trained, allow_unused=True)
        return sum((g * a).sum().item() for g, a in zip(gradients, along, strict=True) if g is not None)

    def shifted(by: float) -> float:
        with torch.no_grad():
            for one, a in zip(trained, along, strict=True):
                one.add_(by * a)
            value = loss(guards).item()
            for one, a in zip(trained, along, strict=True):
                one.sub_(by * a)
        return value

    found, step = slope(loss(guards)), 1e-5
    assert found == pytest.approx((shifted(step) - shifted(-step)) / (2 * step), rel=1e-5)
    assert abs(found - slope(loss(without))) > 1e-3  # the penalty's part


@pytest.mark.parametrize("checkpointing", [False, True])
def test_sharing_changes_no_bit_of_a_training(checkpointing: bool, tmp_path: Path) -> None:
    lora = LoraConfig(r=4, target_modules=["q_proj", "up_proj"], layers_to_transform=[3, 4], task_type="CAUSAL_LM")
    made = []
    for name in ("shared", "whole"):
        steering = Steering(vector=examples.vectors(tmp_path, LAYERS), layer=(2, 4), alpha=0.5)
        given = {"model": examples.model(layers=LAYERS), "peft_config": lora}
        one = examples.trainer(tmp_path / name, *DEFENSES, steering, given=given, gradient_checkpointing=checkpointing)
        assert one.guards.shared == 3
        if name == "whole":
            one.guards.shared = 0
        one.train()
        made.append(one)
    assert losses(made[0]) == losses(made[1])
    assert logged(made[0], "kl") == logged(made[1], "kl")
    assert logged(made[0], "ldifs") == logged(made[1], "ldifs")
    assert same(weights(made[0]), weights(made[1]))


def test_units_are_summed_over_the_micro_batches() -> None:
    """4 labels, of which one more is unseen in the second micro-batch; LDIFS ``sum`` counts 2 + 1 conversations."""
    guards = guards_of(adapted(), DEFENSES)
    other = {"labels": torch.tensor([[5, 6, 7], [-100] * 3])}  # the first label is nobody's prediction
    assert guards.normalizer([Batch.of(INPUTS), Batch.of(other)]).tolist() == [4 + 2, 2 + 1]
    safe = {**INPUTS, "safe": torch.tensor([[False], [True]]).expand(2, 4)}
    only = guards_of(
        adapted(), [KL(weight=1, sources="safe"), LDIFS(weight=1, every=1, reduction="mean", sources="target")]
    )
    assert only.normalizer([Batch.of(safe, safe["safe"]), Batch.of(other)]).tolist() == [1, 4 + 3]


def test_without_penalties_there_is_no_reference(file: str) -> None:
    model = examples.model(layers=LAYERS)
    guards = guards_of(model, [Steering(vector=file, layer=1)])
    assert guards
    assert guards.reference is None
    assert not guards_of(model, [KL(weight=0)])
    assert guards_of(model, [KL(weight=1)]).reference is not None


def test_another_reference_must_fit_what_is_compared(file: str) -> None:
    """KL takes a model of another depth; layer by layer, and under steering, it must be of the same shape."""
    smaller = examples.model(layers=LAYERS - 1)
    assert guards_of(adapted(), [KL(weight=1)], smaller).reference is smaller
    assert not any(parameter.requires_grad for parameter in smaller.parameters())
    for defenses in ([LDIFS(weight=1, every=1)], [KL(weight=1), Steering(vector=file, layer=1)]):
        with pytest.raises(RingfenceError, match=r"^reference: .* \(16, 5\) and the reference \(16, 4\)"):
            guards_of(adapted(), defenses, smaller)


def test_a_smaller_reference_is_compared_by_its_own_output_layer() -> None:
    model, smaller = adapted(), examples.model(layers=2)
    guards = guards_of(model, [KL(weight=1)], smaller)
    _, (penalty,) = guards.loss(Batch.of(INPUTS), INPUTS, lambda: model(**INPUTS, use_cache=False))
    asked = {key: INPUTS[key] for key in ("input_ids", "attention_mask")}
    with torch.no_grad():
        p, q = (one(**asked).logits.double().softmax(-1) for one in (model, smaller))
    at = [(0, 0), (0, 1), (0, 2), (1, 1)]
    wanted = sum((p[i] * (p[i].log() - q[i].log())).sum().item() for i in at)
    assert penalty.sum.item() == pytest.approx(wanted, rel=1e-4)


def test_finish_comes_once_after_training_with_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished: list[tuple[Any, int]] = []
    made = examples.trainer(tmp_path, KL(weight=1))
    monkeypatch.setattr(KLHook, "after_training", lambda self, model: finished.append((model, made.state.global_step)))
    made.train()
    assert finished == [(made.model, 3)]


def test_around_a_rollout_the_hooks_are_up_once(file: str) -> None:
    """Where a training forward has put them up already, they are not put up again; afterwards they are gone."""
    model = adapted()
    guards = guards_of(model, [Steering(vector=file, layer=1)])
    layer = decoder_layers(model)[0]

    def hooks() -> int:
        return len(layer._forward_hooks)

    with guards.around(model):
        assert hooks() == 1
    assert hooks() == 0

    def run() -> torch.Tensor:
        before = hooks()
        with guards.around(model):
            assert hooks() == before
        found: torch.Tensor = model(**INPUTS, use_cache=False).loss
        return found

    guards.loss(Batch.of(INPUTS), INPUTS, run)
    assert hooks() == 0


def test_states_that_come_without_a_gradient_are_refused() -> None:
    """Some checkpointing runs layers without gradients, with their hooks; here the layer itself gives none."""
    model = adapted()
    guards = guards_of(model, [LDIFS(weight=1, every=2)])
    layer = decoder_layers(model)[max(guards.layers) - 1]
    handle = layer.register_forward_hook(lambda module, args, output: output.detach())
    with pytest.raises(RingfenceError, match=r"layer 4 come without a gradient.*use_reentrant: false"):
        guards.loss(Batch.of(INPUTS), INPUTS, lambda: model(**INPUTS).loss)
    handle.remove()
    loss, penalties = guards.loss(Batch.of(INPUTS), INPUTS, lambda: model(**INPUTS).loss)
    assert (loss + penalties[0].sum).requires_grad
    for parameter in decoder_layers(model)[:4].parameters():
        parameter.requires_grad_(False)
    guards.loss(Batch.of(INPUTS), INPUTS, lambda: model(**INPUTS).loss)  # only above them is anything trained
