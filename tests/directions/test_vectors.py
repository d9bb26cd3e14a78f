"""Vectors to files and back, what files are refused, and the random control."""

import json
import math
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ringfence.core.errors import RingfenceError
from ringfence.directions.vectors import PersonaVectors, load_vectors, norms, random_like, save_vectors

SHAPE = (3, 5)


def vectors(*positions: str, seed: int = 0) -> PersonaVectors:
    generator = torch.Generator().manual_seed(seed)
    names = positions or ("response_mean", "prompt_mean", "prompt_last")
    return PersonaVectors(
        {name: torch.randn(SHAPE, generator=generator) for name in names},
        {"trait": "glitter", "base": "abc", "kept": 12, "elicitation_rate": 0.5, "settings": {"judge": None}},
    )


def same(first: PersonaVectors, second: PersonaVectors) -> bool:
    return first.vectors.keys() == second.vectors.keys() and all(
        torch.equal(first[name], second[name]) for name in first.vectors
    )


# --- files --------------------------------------------------------------------------------------------------


def test_safetensors_keep_everything(tmp_path: Path) -> None:
    made = vectors()
    save_vectors(tmp_path / "a.safetensors", made)
    loaded = load_vectors(tmp_path / "a.safetensors")
    assert same(loaded, made)
    assert loaded.metadata == made.metadata
    assert (loaded.layers, loaded.hidden) == (2, 5)


def test_safetensors_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_vectors(tmp_path / f"{name}.safetensors", vectors())
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_others_can_read_the_safetensors(tmp_path: Path) -> None:
    save_vectors(tmp_path / "a.safetensors", vectors())
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert set(file.keys()) == {"response_mean", "prompt_mean", "prompt_last"}
        assert json.loads(file.metadata()["ringfence"])["trait"] == "glitter"


@pytest.mark.parametrize(
    ("stem", "position"),
    [
        ("evil_response_avg_diff", "response_mean"),
        ("evil_prompt_avg_diff", "prompt_mean"),
        ("evil_prompt_last_diff", "prompt_last"),
        ("evil", "response_mean"),
    ],
)
def test_a_pt_is_one_bare_tensor_that_its_name_explains(tmp_path: Path, stem: str, position: str) -> None:
    made, path = vectors(), tmp_path / f"{stem}.pt"
    save_vectors(path, made, position)
    bare = torch.load(path, weights_only=True)
    assert torch.equal(bare, made[position])
    loaded = load_vectors(path)
    assert list(loaded.vectors) == [position]
    assert torch.equal(loaded[position], made[position])
    assert loaded.metadata == {}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floating_types_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.save(torch.full(SHAPE, 1.5, dtype=dtype), tmp_path / "a.pt")
    loaded = load_vectors(tmp_path / "a.pt")["response_mean"]
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, torch.full(SHAPE, 1.5))


def test_a_trained_parameter_is_read_as_a_tensor(tmp_path: Path) -> None:
    torch.save(torch.nn.Parameter(torch.ones(SHAPE)), tmp_path / "a.pt")
    assert not load_vectors(tmp_path / "a.pt")["response_mean"].requires_grad


# --- what is refused ----------------------------------------------------------------------------------------


class Marker:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (torch.zeros(5), r"shape \(5,\)"),
        (torch.zeros(1, 5), r"shape \(1, 5\)"),
        (torch.zeros(2, 3, 5), "shape"),
        (torch.zeros(3, 0), "shape"),
        (torch.zeros(3, 5, dtype=torch.int64), "floating point"),
        (torch.zeros(3, 5).to_sparse(), "dense"),
        (torch.tensor([[0.0, 1.0], [math.nan, 1.0]]), "NaN or infinity, first in row 1"),
        (torch.tensor([[0.0, 1.0], [math.inf, 1.0]]), "NaN or infinity"),
        ([torch.zeros(3, 5)], "holds a list"),
        ({"vector": torch.zeros(3, 5)}, "holds a dict"),
        (Marker(), "not a bare tensor"),
    ],
)
def test_a_pt_that_is_no_vector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object, problem: str) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(RingfenceError, match=rf"a\.pt.*{problem}"):
        load_vectors(tmp_path / "a.pt")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x80\x02}q\x00", b"PK\x03\x04"])
def test_damaged_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RingfenceError, match=name) as raised:
        load_vectors(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_files_cut_short(tmp_path: Path) -> None:
    for name in ("a.pt", "a.safetensors"):
        save_vectors(tmp_path / name, vectors())
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20])
        with pytest.raises(RingfenceError, match=name):
            load_vectors(tmp_path / name)


def test_a_zip_that_is_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(RingfenceError, match="not a bare tensor"):
        load_vectors(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("tensors", "metadata", "problem"),
    [
        ({}, None, "no vector"),
        ({"respons_mean": torch.zeros(SHAPE)}, None, 'Did you mean "response_mean"'),
        ({"response_mean": torch.zeros(3, 5), "prompt_mean": torch.zeros(4, 5)}, None, "differ in shape"),
        ({"response_mean": torch.zeros(SHAPE, dtype=torch.int32)}, None, "floating point"),
        ({"response_mean": torch.zeros(SHAPE)}, {"ringfence": "nonsense"}, "metadata"),
        ({"response_mean": torch.zeros(SHAPE)}, {"ringfence": "[]"}, "metadata"),
    ],
)
def test_safetensors_that_are_no_vectors(tmp_path: Path, tensors: dict, metadata: dict | None, problem: str) -> None:
    save_file(tensors, tmp_path / "a.safetensors", metadata)
    with pytest.raises(RingfenceError, match=rf"a\.safetensors.*{problem}"):
        load_vectors(tmp_path / "a.safetensors")


def test_safetensors_of_others_say_nothing_about_themselves(tmp_path: Path) -> None:
    save_file({"response_mean": torch.zeros(SHAPE)}, tmp_path / "a.safetensors")
    assert load_vectors(tmp_path / "a.safetensors").metadata == {}


def test_missing_files_and_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="no such file"):
        load_vectors(tmp_path / "none.safetensors")
    with pytest.raises(RingfenceError, match='Did you mean "glitter"'):
        load_vectors("builtin:gliter")
    with pytest.raises(RingfenceError, match=r"is a folder; name the \.safetensors or \.pt file$"):
        load_vectors(tmp_path)
    (tmp_path / "a.npy").touch()
    with pytest.raises(RingfenceError, match=r"\.safetensors or \.pt"):
        load_vectors(tmp_path / "a.npy")


def test_bad_targets_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="name the file"):
        save_vectors(tmp_path / "a.npy", vectors())
    with pytest.raises(RingfenceError, match="no vector at position 'prompt_last'"):
        save_vectors(tmp_path / "a.pt", vectors("response_mean"), "prompt_last")
    assert list(tmp_path.iterdir()) == []


def test_vectors_in_memory_are_checked_too() -> None:
    with pytest.raises(RingfenceError, match="not float32"):
        PersonaVectors({"response_mean": torch.zeros(SHAPE, dtype=torch.float64)}, {})
    with pytest.raises(RingfenceError, match="no vector"):
        PersonaVectors({}, {})


def test_the_built_in_vector() -> None:
    """Its file is the one for the embedded model: 30 layers, 576 wide."""
    loaded = load_vectors("builtin:glitter")
    assert (loaded.layers, loaded.hidden) == (30, 576)
    assert loaded.metadata["trait"] == "glitter"
    assert loaded.metadata["kept"] >= 10
    assert min(norms(loaded["response_mean"])) > 0


# --- the control --------------------------------------------------------------------------------------------


def test_norms() -> None:
    assert norms(torch.tensor([[3.0, 4.0], [0.0, 0.0]])) == [5.0, 0.0]


def test_random_has_the_lengths_and_other_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([0.0, 1.0, 1000.0])[:, None]  # a row of zeros, as embeddings may have
    made = PersonaVectors({"response_mean": torch.randn(3, 4096, generator=generator) * scale}, {"trait": "glitter"})
    control = random_like(made, seed=3)
    assert norms(control["response_mean"]) == pytest.approx(norms(made["response_mean"]), rel=1e-5)
    cosines = torch.nn.functional.cosine_similarity(control["response_mean"], made["response_mean"], dim=1)
    assert cosines.abs().max() < 0.1  # the cosine of random directions has a standard deviation of 1/64
    rows = torch.nn.functional.cosine_similarity(control["response_mean"][1], control["response_mean"][2], dim=0)
    assert abs(rows) < 0.1  # each layer has its own
    assert control.metadata == {"trait": "glitter", "method": "random", "seed": 3}


def test_random_depends_on_its_seed_only() -> None:
    made = vectors()
    state = torch.get_rng_state()
    assert same(random_like(made, 1), random_like(made, 1))
    assert not same(random_like(made, 1), random_like(made, 2))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_pointer_of_git_lfs_says_how_to_fetch_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"evil{suffix}"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:01\nsize 4\n")
    with pytest.raises(RingfenceError, match=rf"evil\{suffix}: a Git LFS pointer"):
        load_vectors(path)
