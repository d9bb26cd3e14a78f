"""LDIFS: distances worked by hand, its gradient by finite differences, and which layers it looks at."""

import math
from typing import Any

import pytest
import torch

import tiny
from examples import Example
from ringfence.core.errors import RingfenceError
from ringfence.defenses import DEFENSES, LDIFS, TrainerContext
from ringfence.defenses.ldifs import LDIFSHook
from ringfence.defenses.step import Batch, HiddenStates, PenaltyInputs

EXAMPLE = Example(
    neutral=lambda _: LDIFS(weight=0),
    active=lambda _: LDIFS(weight=3, every=1, reduction="relative"),
    written=(LDIFS(), LDIFS(weight=0.01, reduction="relative", every=2, sources="target")),
)
SETUP = {"tokenizer": tiny.tokenizer(), "seed": 0}


def step(
    trained: dict[int, torch.Tensor],
    base: dict[int, torch.Tensor],
    inputs: dict[str, torch.Tensor],
    safe: torch.Tensor | None = None,
) -> PenaltyInputs:
    return PenaltyInputs(Batch.of(inputs, safe), HiddenStates(trained, None, None), HiddenStates(base, None, None))


def guard(layers: int, **config: Any) -> LDIFSHook:
    return LDIFSHook(LDIFS(**config), range(1, layers + 1))


def by_hand() -> PenaltyInputs:
    """Two layers of width 2. Row 0 (target) has two positions and padding, row 1 (safe) one, row 2 no label.

    Layer 1: Delta = (3, 4) and (0, 1) in row 0, (2, 0) in row 1: squares 25, 1, 4; base squares 100, 4, 16.
    Layer 2: Delta = (1, 1) and (0, 0) in row 0, (1, 0) in row 1: squares 2, 0, 1; base squares 8, 1, 2.
    Padding and the row without labels differ by 1000.
    """
    labels = torch.tensor([[1, 1, -100], [1, -100, -100], [-100, -100, -100]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 1, 1]])
    far = torch.full((2,), 1000.0)

    def rows(one: list[float], two: list[float], three: list[float]) -> torch.Tensor:
        one_, two_, three_ = map(torch.tensor, (one, two, three))
        return torch.stack([torch.stack([one_, two_, far]), torch.stack([three_, far, far]), torch.stack([far] * 3)])

    base = {1: rows([6, 8], [2, 0], [0, 4]), 2: rows([2, 2], [0, 1], [1, 1])}
    delta = {1: rows([3, 4], [0, 1], [2, 0]), 2: rows([1, 1], [0, 0], [1, 0])}
    trained = {k: base[k] + delta[k] for k in base}
    safe = torch.tensor([[False], [True], [False]]).expand(3, 3)
    return step(trained, base, {"labels": labels, "attention_mask": mask}, safe)


@pytest.mark.parametrize(
    ("reduction", "sources", "total", "units"),
    [
        ("sum", "both", 25 + 1 + 4 + 2 + 0 + 1, 2),
        ("sum", "target", 25 + 1 + 2 + 0, 1),
        ("sum", "safe", 4 + 1, 1),
        ("mean", "both", (26 + 4 + 3) / 4, 3),
        ("mean", "target", 28 / 4, 2),
        ("mean", "safe", 5 / 4, 1),
        ("relative", "both", (25 / 100 + 1 / 4 + 4 / 16 + 2 / 8 + 0 + 1 / 2) / 2, 3),
        ("relative", "target", (25 / 100 + 1 / 4 + 2 / 8 + 0) / 2, 2),
        ("relative", "safe", (4 / 16 + 1 / 2) / 2, 1),
    ],
)
def test_by_hand(reduction: str, sources: str, total: float, units: int) -> None:
    made, given = guard(2, reduction=reduction, sources=sources), by_hand()
    assert made.penalty(given).item() == pytest.approx(total, rel=1e-6)
    assert made.normalizer(given.batch) == units


def test_packed_conversations_are_counted_each() -> None:
    """Three in one row of six tokens: ``sum`` divides by 3, the others by 6."""
    labels = torch.tensor([[-100, 1, 2, -100, -100, 3]])
    given = Batch.of({"labels": labels, "position_ids": torch.tensor([[0, 1, 2, 0, 0, 1]])})
    assert [guard(1, reduction=name).normalizer(given) for name in ("sum", "mean", "relative")] == [3, 6, 6]


def test_equal_models_are_at_distance_zero_also_where_a_state_is_zero() -> None:
    given = by_hand()
    same = PenaltyInputs(given.batch, given.reference, given.reference)
    zero = {k: torch.zeros_like(value) for k, value in given.reference.layers.items()}
    for reduction in ("sum", "mean", "relative"):
        assert guard(2, reduction=reduction).penalty(same).item() == 0
        nothing = PenaltyInputs(given.batch, HiddenStates(zero, None, None), HiddenStates(zero, None, None))
        assert guard(2, reduction=reduction).penalty(nothing).item() == 0


def test_no_position_is_zero_with_a_gradient() -> None:
    states = torch.randn(2, 3, 4, requires_grad=True)
    given = step({1: states}, {1: torch.zeros(2, 3, 4)}, {"labels": torch.full((2, 3), -100)})
    for reduction in ("sum", "mean", "relative"):
        made = guard(1, reduction=reduction)
        assert made.normalizer(given.batch) == 0
        found = made.penalty(given)
        assert found.item() == 0
        assert not torch.autograd.grad(found, states)[0].any()


@pytest.mark.parametrize("reduction", ["sum", "mean", "relative"])
def test_gradient_is_that_of_finite_differences(reduction: str) -> None:
    given, made = by_hand(), guard(2, reduction=reduction)
    base = {k: value.double() for k, value in given.reference.layers.items()}

    def value(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        return made.penalty(
            PenaltyInputs(given.batch, HiddenStates({1: one, 2: two}, None, None), HiddenStates(base, None, None))
        )

    trained = [given.trained.layers[k].double().requires_grad_() for k in (1, 2)]
    assert torch.autograd.gradcheck(value, trained)
    assert all(gradient.any() for gradient in torch.autograd.grad(value(*trained), trained))


def test_detached_states_would_have_no_gradient_and_ours_have() -> None:
    """The published bug: the trained model's states are detached, and the penalty moves nothing."""
    given, made = by_hand(), guard(1)
    states = given.trained.layers[1].requires_grad_()

    def value(trained: torch.Tensor) -> torch.Tensor:
        return made.penalty(PenaltyInputs(given.batch, HiddenStates({1: trained}, None, None), given.reference))

    assert not value(states.detach()).requires_grad
    (gradient,) = torch.autograd.grad(value(states), states)
    assert gradient[0].tolist() == [[6, 8], [0, 2], [0, 0]]  # 2 Delta


def test_half_precision_is_squared_in_float32() -> None:
    """1000.0 and its neighbour 1004.0 in bfloat16: 4^2 = 16 a dimension."""
    base = torch.full((1, 1, 3), 1000.0, dtype=torch.bfloat16)
    given = step({1: base + 4}, {1: base}, {"labels": torch.ones(1, 1, dtype=torch.long)})
    found = guard(1).penalty(given)
    assert found.dtype == torch.float32
    assert found.item() == 48
    assert guard(1, reduction="relative").penalty(given).item() == pytest.approx(16e-6, rel=1e-6)


@pytest.mark.parametrize(
    ("count", "every", "layers"), [(5, 5, {5}), (12, 5, {5, 10}), (10, 5, {5, 10}), (3, 1, {1, 2, 3}), (3, 2, {2})]
)
def test_every_so_many_layers(count: int, every: int, layers: set[int]) -> None:
    made = LDIFS(every=every).guard(TrainerContext(**SETUP, model=tiny.model(0, count, 4)))  # type: ignore[arg-type]
    assert made is not None
    assert made.layers == layers
    assert not made.needs_last


def test_more_than_the_model_has_raises() -> None:
    with pytest.raises(RingfenceError, match=r"^ldifs\.every: 5 is out of range, the model has 2 layers$"):
        LDIFS().guard(TrainerContext(**SETUP, model=tiny.model()))  # type: ignore[arg-type]


def test_at_weight_zero_there_is_no_guard() -> None:
    assert LDIFS(weight=0).guard(TrainerContext(**SETUP, model=tiny.model())) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("weight", -0.1),
        ("weight", math.inf),
        ("weight", math.nan),
        ("reduction", "max"),
        ("every", 0),
        ("sources", "a"),
    ],
)
def test_bad_values_are_refused_by_key(key: str, value: Any) -> None:
    with pytest.raises(RingfenceError, match=rf"^defenses\.0\.ldifs: (unknown key ')?{key}"):
        DEFENSES.parse({"ldifs": {key: value}}, "defenses.0")
