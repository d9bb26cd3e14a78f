"""The direction between two sets: by hand, to a file and back, and what does not fit is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.directions.axis import (
    Direction,
    describe,
    fit,
    load_direction,
    project,
    require_fits,
    save_direction,
)
from ringfence.models import Loaded
from ringfence.models.identity import identity

A = [[3.0, 1.0, 0.0], [5.0, 3.0, 0.0]]  # centroid 4, 2, 0
B = [[1.0, -2.0, 0.0]]  # difference 3, 4, 0: length 5


def direction(vector: Any = (3, 4, 0), **changes: Any) -> Direction:
    return replace(
        Direction(
            np.asarray(vector, np.float32), 1, "user", "abc", "tiny", "template_default", {"a": {"rows": 2}, "b": {}}
        ),
        **changes,
    )


def test_fit_by_hand() -> None:
    vector = fit(A, B)
    assert vector.dtype == np.float32
    assert vector.tolist() == [3, 4, 0]


def test_projection_is_on_the_unit_vector() -> None:
    one = direction()
    assert one.norm == 5
    np.testing.assert_allclose(one.unit, [0.6, 0.8, 0])
    found = project(one, np.asarray([[5, 0, 7], [0, 5, 0], [-3, -4, 1]], np.float32))
    np.testing.assert_allclose(found, [3, 4, -5], atol=1e-15)


def test_the_gap_of_mean_projections_is_the_length() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(1, 1, (40, 8)).astype(np.float32), generator.normal(size=(30, 8)).astype(np.float32)
    one = direction(fit(a, b))
    assert project(one, a).mean() - project(one, b).mean() == pytest.approx(one.norm, rel=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.floats(0.01, 100))
def test_projection_depends_on_neither_the_other_rows_nor_the_length(seed: int, rows: int, scale: float) -> None:
    generator = np.random.default_rng(seed)
    vector, points = generator.normal(size=5).astype(np.float32), generator.normal(size=(rows, 5)).astype(np.float32)
    whole = project(direction(vector), points)
    assert [project(direction(vector), point[None])[0] for point in points] == whole.tolist()
    np.testing.assert_allclose(project(direction(vector * np.float32(scale)), points), whole, rtol=1e-5, atol=1e-5)


def test_a_row_that_is_not_finite_has_no_projection() -> None:
    found = project(direction(), np.asarray([[5, 0, 0], [np.nan, 0, 0], [np.inf, 0, 0]], np.float32))
    assert found[0] == pytest.approx(3)
    assert np.isnan(found[1:]).all()


def test_no_rows_have_no_projections() -> None:
    assert project(direction(), np.zeros((0, 3), np.float32)).shape == (0,)


# --- files --------------------------------------------------------------------------------------------------


def test_file_and_back(tmp_path: Path) -> None:
    path, made = tmp_path / "v.safetensors", direction([0.1, -2e-8, 3e7], role="assistant", no_system="empty", layer=20)
    save_direction(path, made)
    found = load_direction(path)
    assert (found.vector == made.vector).all()
    assert replace(found, vector=made.vector) == made
    assert [child.name for child in tmp_path.iterdir()] == ["v.safetensors"]


def test_others_can_read_it(tmp_path: Path) -> None:
    save_direction(tmp_path / "v.safetensors", direction())
    with safe_open(tmp_path / "v.safetensors", "np") as file:
        assert file.get_tensor("direction").tolist() == [3, 4, 0]
        said = json.loads(file.metadata()["ringfence"])
    assert (said["layer"], said["base"], said["about"]["a"]) == (1, "abc", {"rows": 2})


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_direction(tmp_path / f"{name}.safetensors", direction())
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"no such file; make one with `ringfence direction fit"):
        load_direction(tmp_path / "v.safetensors")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04K\x01."])
def test_not_safetensors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.safetensors").write_bytes(content)
    with pytest.raises(RingfenceError, match=r"v.safetensors: not a readable safetensors file"):
        load_direction(tmp_path / "v.safetensors")


def test_a_persona_vector_is_no_direction(tmp_path: Path) -> None:
    save_file({"response_mean": np.ones((3, 4), np.float32)}, tmp_path / "v.safetensors")
    with pytest.raises(RingfenceError, match="holds response_mean, and a direction file holds one tensor, direction"):
        load_direction(tmp_path / "v.safetensors")


SAID = {"layer": 1, "role": "user", "base": "abc", "model": "tiny", "no_system": "none", "about": {}}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (None, "does not say what direction it is"),
        ([], "does not say what direction it is"),
        ({**SAID, "about": 1}, "does not say what direction it is"),
        ({**SAID, "layer": "1"}, "has no good `layer`"),
        ({**SAID, "layer": True}, "has no good `layer`"),
        ({**SAID, "role": "system"}, "has no good `role`"),
        ({**SAID, "no_system": "no"}, "has no good `no_system`"),
        ({key: value for key, value in SAID.items() if key != "base"}, "has no good `base`"),
    ],
)
def test_metadata_that_do_not_do(tmp_path: Path, said: Any, message: str) -> None:
    path = tmp_path / "v.safetensors"
    metadata = None if said is None else {"ringfence": json.dumps(said)}
    save_file({"direction": np.ones(3, np.float32)}, path, metadata=metadata)
    with pytest.raises(RingfenceError, match=message) as raised:
        load_direction(path)
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.zeros(3, np.float32), "zero"),
        (np.array([1, np.nan], np.float32), "NaN or infinity"),
        (np.array([1, np.inf], np.float32), "NaN or infinity"),
        (np.ones((2, 2), np.float32), r"not float32 \(hidden,\)"),
        (np.ones(2), "float64"),
        (np.ones(0, np.float32), r"\(0,\)"),
    ],
)
def test_vectors_that_do_not_do(tmp_path: Path, vector: Any, message: str) -> None:
    path = tmp_path / "v.safetensors"
    save_file({"direction": vector}, path, metadata={"ringfence": json.dumps(SAID)})
    with pytest.raises(RingfenceError, match=message) as raised:
        load_direction(path)
    assert str(raised.value).startswith(str(path))
    with pytest.raises(RingfenceError, match=message):
        direction().__class__(vector, 1, "user", "abc", "tiny", "none", {})


def test_other_suffix(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"v.pt: name a .safetensors file"):
        save_direction(tmp_path / "v.pt", direction())
    assert not list(tmp_path.iterdir())


# --- sets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((0, 3)), B, "set A: has no rows"),
        (A, np.zeros((0, 3)), "set B: has no rows"),
        (A, [[1.0, 2.0]], "3 and 2 wide"),
        (A, [1.0, 2.0, 3.0], r"set B: representations have shape \(3,\)"),
        (A, [[0.0, 0.0, 0.0], [1.0, np.nan, 0.0]], "set B: row 2 holds NaN"),
        (A, A[::-1], "the direction is zero"),
    ],
)
def test_sets_without_a_direction(a: Any, b: Any, message: str) -> None:
    with pytest.raises(RingfenceError, match=message):
        fit(a, b)


def test_digest_of_a_set_is_that_of_its_messages() -> None:
    rows = [{"messages": [{"role": "user", "content": "Hi"}], "origin": "a.jsonl:1", "domain": "x"}]
    found = describe("a.jsonl", rows)
    same = [{"messages": [{"content": "Hi", "role": "user"}], "origin": "a.parquet:1"}]
    other = [{"messages": [{"role": "user", "content": "Ho"}], "origin": "a.jsonl:1"}]
    assert (found["spec"], found["rows"]) == ("a.jsonl", 1)
    assert found["sha256"] == describe("b", same)["sha256"]
    assert found["sha256"] not in {describe("b", other)["sha256"], describe("b", rows * 2)["sha256"]}


# --- does it fit --------------------------------------------------------------------------------------------


@pytest.fixture
def loaded() -> Loaded:
    return Loaded(tiny.model(), tiny.tokenizer(), "tiny")


def fitting(loaded: Loaded, **changes: Any) -> Direction:
    return direction(**({"vector": np.ones(16, np.float32), "base": identity(loaded.model), "layer": 2} | changes))


def test_it_fits(loaded: Loaded) -> None:
    for layer in (0, 1, 2):
        require_fits(fitting(loaded, layer=layer), loaded)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"vector": np.ones(8, np.float32)},
            "is of layer 2 of tiny, 8 wide, and tiny has layers 0 to 2, 16 wide; name",
        ),
        ({"layer": 3, "model": "big"}, "is of layer 3 of big, 16 wide, and tiny has layers 0 to 2, 16 wide; name"),
        ({"layer": -1}, "is of layer -1 of tiny"),
        ({"base": "0123456789abcdef"}, "is of another model .*0123456789abcdef.* than tiny"),
    ],
)
def test_it_does_not_fit(loaded: Loaded, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RingfenceError, match=f"^v.safetensors: {message}") as raised:
        require_fits(fitting(loaded, **changes), loaded, "v.safetensors")
    assert "\n" not in str(raised.value)


def test_representations_of_another_width() -> None:
    with pytest.raises(RingfenceError, match=r"shape \(2, 2\), and the direction needs \(rows, 3\)"):
        project(direction(), np.ones((2, 2), np.float32))
