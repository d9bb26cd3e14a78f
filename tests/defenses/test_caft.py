"""CAFT: the projection and its gradient, that steering is its rank 1, and files that do not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch

import examples
import tiny
from compatibility import Part
from examples import Example
from ringfence.core.errors import RingfenceError
from ringfence.defenses import CAFT, DEFENSES, RLContext, Steering, TrainerContext
from ringfence.defenses.caft import _Ablated
from ringfence.directions import Subspaces, load_subspaces, load_vectors, save_subspaces, spanned
from ringfence.models.activations import capture_hidden_states
from training import losses, weights

EXAMPLE = Example(
    neutral=lambda folder: CAFT(directions=examples.subspaces(folder), share=0),
    active=lambda folder: CAFT(directions=examples.subspaces(folder)),
    written=(CAFT(directions="q.safetensors"), CAFT(directions="q.safetensors", layers=(1, 2), rank=1, any_base=True)),
)


def guard_of(config: CAFT) -> Any:
    return config.guard(TrainerContext(tiny.tokenizer(), 0, examples.model()))


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_the_subspace_is_gone_from_what_the_next_layer_reads(share: float, tmp_path: Path) -> None:
    path, model = examples.subspaces(tmp_path), examples.model()
    basis = load_subspaces(path).bases[1]
    ids = torch.arange(3, 11)[None]
    with torch.no_grad():
        with capture_hidden_states(model, [1]) as before:
            model(input_ids=ids)
        with (
            guard_of(CAFT(directions=path, share=share)).apply(model, None),
            capture_hidden_states(model, [1]) as after,
        ):
            model(input_ids=ids)
    hidden = before.layers[1]
    torch.testing.assert_close(after.layers[1], hidden - share * (hidden @ basis) @ basis.T)
    torch.testing.assert_close(after.layers[1] @ basis, (1 - share) * hidden @ basis, rtol=1e-4, atol=1e-4)


def test_the_gradient_is_that_of_finite_differences() -> None:
    basis = torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q
    hidden = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda h: _Ablated.apply(h, basis, 0.7), (hidden,))


def test_steering_that_ablates_is_its_rank_1(tmp_path: Path) -> None:
    vector = examples.vectors(tmp_path)
    save_subspaces(tmp_path / "q.safetensors", spanned([load_vectors(vector)], "response_mean", [1]))
    both = (Steering(vector=vector, layer=1, mode="ablate"), CAFT(directions=str(tmp_path / "q.safetensors")))
    steered, ablated = (examples.trainer(tmp_path / str(i), one) for i, one in enumerate(both))
    for made in (steered, ablated):
        made.train()
    assert [loss for _, loss, _ in losses(ablated)] == pytest.approx([loss for _, loss, _ in losses(steered)], rel=1e-6)
    for name, value in weights(ablated).items():
        torch.testing.assert_close(value, weights(steered)[name], rtol=1e-3, atol=1e-5)


def test_the_first_columns_are_taken(tmp_path: Path) -> None:
    path = examples.subspaces(tmp_path, rank=3)
    torch.testing.assert_close(CAFT(directions=path, rank=2).read().bases[1], load_subspaces(path).bases[1][:, :2])


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"layers": (2,)}, r"^caft\.layers: .* has no layer 2, only 1$"), ({"rank": 3}, r"^caft\.rank: 3 is asked for")],
)
def test_what_the_file_lacks_is_named(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=said):
        CAFT(directions=examples.subspaces(tmp_path), **settings).check()


def test_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"^caft\.directions: .* another model: 8 wide, where this one is 16$"):
        guard_of(CAFT(directions=examples.subspaces(tmp_path / "a", hidden=8)))
    deep = tmp_path / "deep.safetensors"
    save_subspaces(deep, Subspaces({9: torch.eye(16)[:, :1]}, {}))
    with pytest.raises(RingfenceError, match=r"^caft\.layers: layer 9 is out of range"):
        guard_of(CAFT(directions=str(deep)))
    other = examples.subspaces(tmp_path / "b", base="another", model="other-7b")
    with pytest.raises(
        RingfenceError, match=r"made with another base model \(other-7b\); make it anew, or set any_base"
    ):
        guard_of(CAFT(directions=other))
    assert guard_of(CAFT(directions=other, any_base=True)) is not None
    assert CAFT(directions=other).needs_original_base() is not None


@pytest.mark.parametrize(
    "training", [{"torch_compile": True}, {"gradient_checkpointing_kwargs": {"use_reentrant": True}}]
)
def test_what_it_cannot_go_with_is_refused_by_key(training: dict[str, Any]) -> None:
    with pytest.raises(RingfenceError, match=rf"^training\.{next(iter(training))}: .*caft"):
        CAFT(directions="q.safetensors").require_compatible(Part(training))
    CAFT(directions="q.safetensors", share=0).require_compatible(Part(training))


def test_rollouts_that_another_engine_makes_are_refused() -> None:
    config = CAFT(directions="q.safetensors")
    with pytest.raises(RingfenceError, match=r"^training\.use_vllm: .* set rollouts: plain$"):
        config.in_rl(RLContext(engine="use_vllm"))
    assert config.in_rl(RLContext(engine="use_vllm", rollouts="plain")) is config


@pytest.mark.parametrize("settings", [{"share": 1.1}, {"rank": 0}, {"layers": []}])
def test_bad_values_are_refused_by_key(settings: dict[str, Any]) -> None:
    with pytest.raises(RingfenceError, match=rf"^defenses\.0\.caft: {next(iter(settings))}"):
        DEFENSES.parse({"caft": {"directions": "q.safetensors", **settings}}, "defenses.0")
