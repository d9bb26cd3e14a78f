"""Subspaces: what vectors span, principal components by hand, and files that hold anything else."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ringfence.core.errors import RingfenceError
from ringfence.directions import PersonaVectors, Subspaces, load_subspaces, principal, save_subspaces, spanned


def vectors(*rows: tuple[float, float, float], **about: str) -> PersonaVectors:
    return PersonaVectors({"response_mean": torch.tensor([(0.0, 0.0, 0.0), *rows])}, dict(about))


def projector(basis: torch.Tensor) -> torch.Tensor:
    return basis @ basis.T


def test_vectors_span_their_plane() -> None:
    found = spanned([vectors((2, 0, 0)), vectors((1, 3, 0))], "response_mean")
    torch.testing.assert_close(projector(found.bases[1]), torch.diag(torch.tensor([1.0, 1.0, 0.0])))


@pytest.mark.parametrize("second", [(0, 0, 0), (4, 0, 0)])
def test_a_vector_that_adds_nothing_is_refused(second: Any) -> None:
    with pytest.raises(RingfenceError, match=r"^layer 1: a vector is zero, or a mix of the others; leave it out$"):
        spanned([vectors((2, 0, 0)), vectors(second)], "response_mean")


def test_files_of_two_models_are_refused() -> None:
    with pytest.raises(RingfenceError, match="are of different models"):
        spanned([vectors((2, 0, 0), base="a"), vectors((0, 1, 0), base="b")], "response_mean")
    with pytest.raises(RingfenceError, match="layer 2 is out of range"):
        spanned([vectors((2, 0, 0))], "response_mean", [2])


def test_principal_components_are_the_longest_directions_first() -> None:
    """Rows along two axes, 5 and 1 long, all on one side: their mean is not taken out."""
    rows = torch.tensor([[5.0, 0, 0], [5, 0, 0], [0, 1, 0]])
    first, second = principal({2: rows}, 2, {"base": "b"}).bases[2].T
    torch.testing.assert_close(first.abs(), torch.tensor([1.0, 0, 0]))
    torch.testing.assert_close(second.abs(), torch.tensor([0, 1.0, 0]))
    for few, rank in ((rows, 2), (torch.zeros(3, 3), 0)):
        with pytest.raises(
            RingfenceError, match=rf"^layer 2: 3 differences span {rank} directions, and 3 are asked for"
        ):
            principal({2: few}, 3, {})


def test_a_file_comes_back(tmp_path: Path) -> None:
    made = Subspaces({3: torch.eye(4)[:, :2], 1: torch.eye(4)[:, 2:3]}, {"base": "b", "traits": ["evil"]})
    save_subspaces(tmp_path / "q.safetensors", made)
    found = load_subspaces(tmp_path / "q.safetensors")
    assert [*found.bases] == [1, 3]
    assert found.metadata == made.metadata
    for k, basis in made.bases.items():
        assert torch.equal(found.bases[k], basis)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"layer.1": 2 * torch.eye(3)}, r"columns of layer 1 are not orthonormal \(off by 3\); make the file with"),
        ({"layer.1": torch.full((3, 1), torch.nan)}, "layer 1 are not orthonormal"),
        ({"layer.1": torch.eye(3), "layer.2": torch.eye(4)}, "the layers differ in width"),
        ({"layer.1": torch.ones(3)}, r"layer 1 has shape \(3,\); it must be \(hidden, rank\)"),
        ({"response_mean": torch.eye(3)}, "holds 'response_mean', and a file of directions holds layer.1"),
        ({"layer.0": torch.eye(3)}, r"holds 'layer\.0'"),
    ],
)
def test_another_file_is_refused(tensors: dict[str, torch.Tensor], said: str, tmp_path: Path) -> None:
    path = tmp_path / "q.safetensors"
    save_file(tensors, path)
    with pytest.raises(RingfenceError, match=said) as error:
        load_subspaces(path)
    assert str(error.value).startswith(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"none\.safetensors: no such .* `ringfence persona components`$"):
        load_subspaces(tmp_path / "none.safetensors")
