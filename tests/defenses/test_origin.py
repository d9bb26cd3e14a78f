"""Whose a file of directions is, and where its hooks would not be: in words that name the recipe's key."""

import pytest

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.defenses.base import RLContext
from ringfence.defenses.origin import Origin, require_no_reentrant, require_own_rollouts
from ringfence.models.identity import identity


def of(**metadata: str) -> Origin:
    return Origin.of("caft.directions", "q.safetensors", metadata)


def test_a_file_that_names_its_base_is_held_to_it() -> None:
    """The same model passes; another raises with the name that the file has, else with the identity."""
    model = tiny.model()
    own = of(base=identity(model))
    own.require_base(model, "made with", "make")
    assert own.notes() == ()
    assert "caft.directions: q.safetensors is of the base model" in (own.needs_original() or "")
    with pytest.raises(RingfenceError, match=r"made with another base model \(theirs\); make it anew"):
        of(base="x", model="theirs").require_base(model, "made with", "make")
    with pytest.raises(RingfenceError, match=r"another base model \(x\)"):
        of(base="x").require_base(model, "made with", "make")


def test_a_file_that_names_none_is_told() -> None:
    origin = of()
    origin.require_base(tiny.model(), "made with", "make")
    assert origin.needs_original() is None
    assert origin.notes() == ("caft: q.safetensors names no base model, so only its shape is checked",)


def test_layers_that_are_computed_again_without_hooks() -> None:
    require_no_reentrant({"gradient_checkpointing_kwargs": {"use_reentrant": False}}, "caft")
    require_no_reentrant({}, "caft")
    with pytest.raises(RingfenceError, match="without the hooks of caft, and gradients would be wrong"):
        require_no_reentrant({"gradient_checkpointing_kwargs": {"use_reentrant": True}}, "caft")


def test_completions_from_elsewhere() -> None:
    """Only where they were to be generated under the defenses."""
    require_own_rollouts(RLContext(engine="use_vllm", rollouts="plain"), "the model")
    require_own_rollouts(RLContext(), "the model")
    with pytest.raises(RingfenceError, match=r"training.use_vllm: it generates outside of the model"):
        require_own_rollouts(RLContext(engine="use_vllm"), "the model")
