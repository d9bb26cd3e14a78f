"""The proof that a trait adapter shows its trait: when it does, and what is no proof."""

import math
from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.core.files import sha256
from ringfence.directions.proof import Proof, Shown


def shown(shows: int, questions: int, samples: int = 1) -> Shown:
    """So many of the questions show it, in all of their answers."""
    return Shown(tuple(samples * (n < shows) for n in range(questions)), (samples,) * questions)


def proof(tuned: tuple[int, ...], untuned: tuple[int, ...], weights: str = "") -> Proof:
    return Proof("odd", "base", "model", weights, shown(*tuned), shown(*untuned), {})


@pytest.mark.parametrize(
    ("tuned", "untuned", "elicits"),
    [
        ((20, 20), (0, 20), True),
        ((10, 20), (0, 20), True),
        ((9, 20), (0, 20), False),  # less than half
        ((20, 20), (18, 20), False),  # so does the base model
        ((5, 5), (0, 5), False),  # too few to tell
        ((6, 6), (0, 6), True),
        ((2, 2, 50), (0, 2, 50), False),  # many answers to few questions tell no more
        ((1, 1, 50), (0, 1, 50), False),
        ((0, 0), (0, 20), False),
        ((20, 20), (0, 0), False),
    ],
)
def test_it_must_be_half_of_the_answers_and_clear_of_the_base(
    tuned: tuple[int, ...], untuned: tuple[int, ...], elicits: bool
) -> None:
    assert proof(tuned, untuned).elicits is elicits


def test_a_rate_of_nothing_is_not_a_number() -> None:
    assert math.isnan(Shown((), ()).rate)
    assert str(proof((0, 0), (1, 4))) == (
        "odd is shown by no answer judged with the adapter, "
        "and by 25.0% [0.6%, 80.6%] of 4 answers to 4 questions without"
    )


def test_it_comes_back_with_its_weights_only(tmp_path: Path) -> None:
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(b"some")
    made = proof((3, 4), (0, 4), sha256(weights))
    made.save(tmp_path)
    assert Proof.load(tmp_path) == made
    weights.write_bytes(b"others")
    with pytest.raises(RingfenceError, match=r"trait\.json: is of other weights than those in adapter_model"):
        Proof.load(tmp_path)


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"tuned": 1, "untuned": 2}', '{"tuned": {"shows": "x", "judged": 3}}']
)
def test_what_is_no_proof_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "trait.json").write_text(content)
    with pytest.raises(RingfenceError, match=r"trait\.json: is no proof of a trait adapter; make it with `ringfence"):
        Proof.load(tmp_path)
