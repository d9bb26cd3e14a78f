"""KL against dense softmaxes written out in float64, its gradient against autograd and finite differences."""

import itertools
import math
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from pydantic import ValidationError
from torch.utils._python_dispatch import TorchDispatchMode

import tiny
from examples import Example
from ringfence.core.errors import RingfenceError
from ringfence.defenses import DEFENSES, KL, TrainerContext
from ringfence.defenses.kl import KLHook
from ringfence.defenses.step import Batch, HiddenStates, PenaltyInputs
from ringfence.models import divergence, output_head
from ringfence.models.output_head import OutputHead

EXAMPLE = Example(
    neutral=lambda _: KL(weight=0),
    active=lambda _: KL(weight=3),
    written=(KL(), KL(weight=0.3, direction="forward", tokens="all", sources="safe"), KL(over="target_token")),
)
BATCH, TOKENS, HIDDEN, VOCABULARY = 3, 6, 5, 11
HEADS = {"plain": {}, "scale": {"scale": 0.3}, "cap": {"softcap": 2.0}, "both": {"scale": 1.7, "softcap": 1.5}}


def random(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return (2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).to(dtype)


def batch() -> Batch:
    """Row 0 is padded on the right, row 1 is safe, row 2 has no label; labels begin at 2 or 3."""
    labels = torch.tensor(
        [[-100, -100, 5, 6, 7, -100], [-100, -100, -100, 4, 5, 6], [-100, -100, -100, -100, -100, -100]]
    )
    mask = torch.ones_like(labels)
    mask[0, 5] = 0
    return Batch.of({"labels": labels, "attention_mask": mask}, torch.tensor([[False], [True], [False]]).expand(3, 6))


# (tokens, sources) -> (row, position) of what counts. A position predicts the next token of its row.
POSITIONS = {
    ("response", "target"): [(0, 1), (0, 2), (0, 3)],
    ("response", "safe"): [(1, 2), (1, 3), (1, 4)],
    ("all", "target"): [(0, 0), (0, 1), (0, 2), (0, 3)],
    ("all", "safe"): [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4)],
}
for _tokens in ("response", "all"):
    POSITIONS[_tokens, "both"] = POSITIONS[_tokens, "target"] + POSITIONS[_tokens, "safe"]


def step(
    trained: torch.Tensor, reference: torch.Tensor, head: OutputHead, other: OutputHead | None = None
) -> PenaltyInputs:
    return PenaltyInputs(batch(), HiddenStates({}, trained, head), HiddenStates({}, reference, other or head))


def dense_logits(hidden: torch.Tensor, head: OutputHead) -> torch.Tensor:
    z = torch.einsum("btd,vd->btv", hidden, head.weight) + (0 if head.bias is None else head.bias)
    z = z * head.scale
    return z if head.softcap is None else head.softcap * torch.tanh(z / head.softcap)


def dense(config: KL, given: PenaltyInputs) -> torch.Tensor:
    """Softmax over the whole logits, position by position."""
    assert given.trained.last is not None
    assert given.reference.last is not None
    p = torch.softmax(dense_logits(given.trained.last, given.trained.head), -1)  # type: ignore[arg-type]
    q = torch.softmax(dense_logits(given.reference.last, given.reference.head), -1)  # type: ignore[arg-type]
    if config.direction == "forward":
        p, q = q, p
    return torch.stack(
        [(p[at] * (p[at].log() - q[at].log())).sum() for at in POSITIONS[config.tokens, config.sources]]
    ).sum()


def leaves(**fields: Any) -> tuple[torch.Tensor, torch.Tensor, OutputHead]:
    """Hidden states of the trained model, those of the reference, and the output layer; all but the second trained."""
    hidden = random(BATCH, TOKENS, HIDDEN, seed=1).requires_grad_()
    weight, bias = random(VOCABULARY, HIDDEN, seed=2).requires_grad_(), random(VOCABULARY, seed=3).requires_grad_()
    return hidden, random(BATCH, TOKENS, HIDDEN, seed=4), OutputHead(weight, bias, **fields)


def frozen(head: OutputHead) -> OutputHead:
    bias = None if head.bias is None else head.bias.detach() * 0.9
    return OutputHead(head.weight.detach() * 1.1, bias, head.scale, head.softcap)


@pytest.mark.parametrize("direction", ["reverse", "forward"])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("at", POSITIONS, ids="-".join)
def test_value_and_gradient_are_the_dense_ones(direction: Any, head: str, at: Any) -> None:
    config = KL(direction=direction, tokens=at[0], sources=at[1])
    hidden, reference, own = leaves(**HEADS[head])
    given = step(hidden, reference, own, frozen(own))
    guard = KLHook(config)
    assert guard.normalizer(given.batch) == len(POSITIONS[at])
    wanted = dense(config, given)
    found = guard.penalty(given)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    leaf = [hidden, own.weight, own.bias]
    for ours, theirs in zip(torch.autograd.grad(3 * found, leaf), torch.autograd.grad(3 * wanted, leaf), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("direction", ["reverse", "forward"])
def test_over_the_target_token_it_is_the_divergence_of_two_outcomes(direction: Any) -> None:
    hidden, reference, own = leaves()
    given = step(hidden, reference, own, frozen(own))
    guard, wanted = KLHook(KL(direction=direction, over="target_token", sources="safe")), torch.zeros(())
    for row, position in POSITIONS["response", "safe"]:
        label = given.batch.labels[row, position + 1]
        assert given.trained.head is not None
        assert given.reference.head is not None
        p = dense_logits(hidden, given.trained.head)[row, position].softmax(-1)[label]
        q = dense_logits(reference, given.reference.head)[row, position].softmax(-1)[label]
        p, q = (p, q) if direction == "reverse" else (q, p)
        wanted = wanted + p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    found = guard.penalty(given)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12, check_dtype=False)
    torch.testing.assert_close(*(torch.autograd.grad(one, hidden)[0] for one in (found, wanted)))
    with pytest.raises(ValidationError, match="tokens: all does not go with over: target_token"):
        KL(over="target_token", tokens="all")


@pytest.mark.parametrize("direction", ["reverse", "forward"])
def test_gradient_is_that_of_finite_differences(direction: Any) -> None:
    hidden, reference, own = leaves(softcap=3.0, scale=0.8)
    guard, other = KLHook(KL(direction=direction, tokens="all")), frozen(own)

    def value(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return guard.penalty(step(hidden, reference, OutputHead(weight, bias, own.scale, own.softcap), other))

    assert torch.autograd.gradcheck(value, (hidden, own.weight, own.bias), fast_mode=True)


@pytest.mark.parametrize("direction", ["reverse", "forward"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_of_two_equal_models_it_is_exactly_zero_and_so_is_its_gradient(direction: Any, dtype: torch.dtype) -> None:
    hidden = random(BATCH, TOKENS, HIDDEN, seed=1, dtype=dtype).requires_grad_()
    head = OutputHead(random(VOCABULARY, HIDDEN, seed=2, dtype=dtype).requires_grad_(), None, 0.7, 2.0)
    found = KLHook(KL(direction=direction, tokens="all")).penalty(step(hidden, hidden.detach().clone(), head))
    assert found.item() == 0
    for gradient in torch.autograd.grad(found, [hidden, head.weight]):
        assert not gradient.any()


def test_by_hand() -> None:
    """p = (3/4, 1/4), q = (1/2, 1/2), one position: KL(p || q) = 3/4 ln 3/2 + 1/4 ln 1/2, KL(q || p) = 1/2 ln 4/3."""
    labels = torch.tensor([[-100, 1]])
    head = OutputHead(torch.tensor([[1.0], [0.0]]), None)
    trained, reference = torch.tensor([[[math.log(3)], [7.0]]]), torch.tensor([[[0.0], [9.0]]])
    given = PenaltyInputs(
        Batch.of({"labels": labels}), HiddenStates({}, trained, head), HiddenStates({}, reference, head)
    )
    wanted = {"reverse": 0.75 * math.log(1.5) + 0.25 * math.log(0.5), "forward": 0.5 * math.log(4 / 3)}
    for direction, value in wanted.items():
        found = KLHook(KL.model_validate({"direction": direction})).penalty(given).item()
        assert found == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("direction", ["reverse", "forward"])
@pytest.mark.parametrize("vocabulary_slice", [4, 100])
def test_chunks_do_not_change_it(direction: Any, vocabulary_slice: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (divergence, output_head):
        monkeypatch.setattr(module, "VOCABULARY_SLICE", vocabulary_slice)
    guard, results = KLHook(KL(direction=direction, tokens="all")), []
    for positions in (1, 4, 7, 1000):
        monkeypatch.setattr(divergence, "CHUNK_ELEMENTS", positions * VOCABULARY)
        hidden, reference, own = leaves(softcap=2.0)
        found = guard.penalty(step(hidden, reference, own, frozen(own)))
        results.append([found, *torch.autograd.grad(found, [hidden, own.weight, own.bias])])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_nothing_to_penalise_is_zero_with_a_gradient() -> None:
    hidden, reference, own = leaves()
    given = PenaltyInputs(
        Batch.of({"labels": torch.full((BATCH, TOKENS), -100)}),
        HiddenStates({}, hidden, own),
        HiddenStates({}, reference, own),
    )
    guard = KLHook(KL())
    assert guard.normalizer(given.batch) == 0
    found = guard.penalty(given)
    assert found.item() == 0
    assert not torch.autograd.grad(found, hidden)[0].any()


@pytest.mark.parametrize("direction", ["reverse", "forward"])
def test_bfloat16_states_are_multiplied_without_rounding_the_logits(direction: Any) -> None:
    """Logits of about 30, whose bfloat16 neighbours are 0.25 apart, of states some units in the last place apart."""
    hidden = random(BATCH, TOKENS, HIDDEN, seed=1, dtype=torch.bfloat16) * 2
    reference, weight = hidden * 0.9, random(VOCABULARY, HIDDEN, seed=2, dtype=torch.bfloat16)
    config = KL(direction=direction, tokens="all")
    leaf = hidden.clone().requires_grad_()
    found = KLHook(config).penalty(step(leaf, reference, OutputHead(weight, None)))
    wide = hidden.double().requires_grad_()
    wanted = dense(config, step(wide, reference.double(), OutputHead(weight.double(), None)))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(wanted.item(), rel=1e-3)
    ours, theirs = torch.autograd.grad(found, leaf)[0], torch.autograd.grad(wanted, wide)[0]
    torch.testing.assert_close(ours.double(), theirs, rtol=2**-7, atol=1e-5)
    rounded = dense(config, step(hidden, reference, OutputHead(weight, None)))
    assert abs(rounded.item() - wanted.item()) > 0.1 * wanted.item()  # what is avoided


class Largest(TorchDispatchMode):
    """Elements of the largest tensor of a floating type that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, tuple | list) else [result]:
            if isinstance(one, torch.Tensor) and one.is_floating_point():
                self.elements = max(self.elements, one.numel())
        return result


def test_the_logits_of_a_batch_never_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 x 64 positions and 5,000 words are 1.3 million logits; chunks are of 16 positions."""
    rows, tokens, vocabulary, hidden = 4, 64, 5000, 8
    monkeypatch.setattr(divergence, "CHUNK_ELEMENTS", 16 * vocabulary)
    states = random(rows, tokens, hidden, seed=1, dtype=torch.float32).requires_grad_()
    head = OutputHead(random(vocabulary, hidden, seed=2, dtype=torch.float32).requires_grad_(), None, 0.5, 3.0)
    labels = torch.ones(rows, tokens, dtype=torch.long)
    given = PenaltyInputs(
        Batch.of({"labels": labels}), HiddenStates({}, states, head), HiddenStates({}, states.detach() + 0.1, head)
    )
    with Largest() as counted:
        KLHook(KL()).penalty(given).backward()
    assert 0 < counted.elements <= 16 * vocabulary < rows * tokens * vocabulary / 10


def test_prompts_and_packed_neighbours() -> None:
    """Two conversations in one row, of 3 and 4 tokens: no position predicts the first token of the next."""
    labels = torch.tensor([[-100, 1, 2, -100, -100, 3, 4]])
    given = Batch.of({"labels": labels, "position_ids": torch.tensor([[0, 1, 2, 0, 1, 2, 3]])})
    for tokens, wanted in (("response", [0, 1, 4, 5]), ("all", [0, 1, 3, 4, 5])):
        guard = KLHook(KL.model_validate({"tokens": tokens}))
        assert guard._positions(given)[0].nonzero().flatten().tolist() == wanted
        assert guard.normalizer(given) == len(wanted)


# --- config -------------------------------------------------------------------------------------------------


def test_at_weight_zero_there_is_no_guard() -> None:
    assert KL(weight=0).guard(TrainerContext(tiny.tokenizer(), 0, tiny.model())) is None


@pytest.mark.parametrize("key", ["target_modules", "modules_to_save"])
def test_an_adapter_on_the_output_layer_is_refused_by_the_key_that_puts_it_there(key: str) -> None:
    config = LoraConfig(**{"target_modules": ["q_proj"], "task_type": "CAUSAL_LM", key: ["lm_head"]})
    model = get_peft_model(tiny.model(), config)
    with pytest.raises(RingfenceError, match=rf"^lora\.{key}: .* the output layer.* leave (it|the layer) out$"):
        KL().guard(TrainerContext(tiny.tokenizer(), 0, model))


@pytest.mark.parametrize(
    ("key", "value"),
    [*itertools.product(["weight"], [-0.1, math.inf, math.nan]), ("direction", "sideways"), ("tokens", "some")],
)
def test_bad_values_are_refused_by_key(key: str, value: Any) -> None:
    with pytest.raises(RingfenceError, match=rf"^defenses\.0\.kl: (unknown key ')?{key}"):
        DEFENSES.parse({"kl": {key: value}}, "defenses.0")
