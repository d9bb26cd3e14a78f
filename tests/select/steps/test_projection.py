"""Projections of candidates on a direction of the tiny model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import save_file

import tiny
from candidates import candidate, context, nobody
from ringfence.core.errors import RingfenceError
from ringfence.directions.axis import Direction, save_direction
from ringfence.directions.representations import representations
from ringfence.models.identity import identity
from ringfence.select.base import STEPS
from ringfence.select.steps.projection import Projection

ROWS = [candidate(index, "Yes." * (index + 1), "Is it " + "so " * (5 - index), gap=index) for index in range(5)]


@pytest.fixture
def direction(tmp_path):
    return written(tmp_path / "v.safetensors")


def written(path, **changes):
    vector = np.random.Generator(np.random.Philox(0)).standard_normal(16).astype(np.float32)
    made = Direction(vector, 1, "user", identity(tiny.model()), "tiny", "template_default", {})
    save_direction(path, replace(made, **changes))
    return str(path)


def vector_in(path):
    from ringfence.directions.axis import load_direction

    return load_direction(path).vector.astype(np.float64)


@pytest.mark.parametrize(("role", "layer"), [("user", 1), ("assistant", 2), ("user", 0)])
def test_the_column_is_the_projection_on_the_unit_vector(tmp_path: Path, role: str, layer: int) -> None:
    path = written(tmp_path / "v.safetensors", role=role, layer=layer)
    shared, done = context(), []
    step = STEPS.parse({"projection": {"direction": path}}, "steps.0")
    step.check()
    found = step.map(shared)(ROWS, done.append)
    assert sum(done) == 5
    hidden = representations(shared.loaded, [row.conversation for row in ROWS], [layer], role=role, cache=None)[layer]
    expected = hidden.astype(np.float64) @ vector_in(path) / np.linalg.norm(vector_in(path))
    assert [row.scores["projection"] for row in found.rows] == pytest.approx(expected, rel=1e-5)
    assert [row.scores["gap"] for row in found.rows] == [0, 1, 2, 3, 4]
    assert step.inputs() == [path]


def test_shards_do_not_matter(direction: Any) -> None:
    shared = context(batch_tokens=60)
    mapper = Projection(direction=direction).map(shared)
    whole = mapper(ROWS, nobody).rows
    parts = [row for some in (ROWS[:2], ROWS[2:]) for row in mapper(some, nobody).rows]
    assert [row.index for row in parts] == [row.index for row in whole]
    assert [row.scores["projection"] for row in parts] == pytest.approx([row.scores["projection"] for row in whole])


def test_rows_that_the_model_cannot_read_are_dropped(direction: Any) -> None:
    silent = candidate(1)
    silent.conversation["messages"] = silent.conversation["messages"][1:]
    done = []
    found = Projection(direction=direction).map(context(max_length=50))(
        [candidate(0), silent, candidate(2, "Yes.", "long " * 20)], done.append
    )
    assert sum(done) == 3
    assert [row.index for row in found.rows] == [0]
    assert [one.reason for one in found.dropped] == ["no user turn", "longer than 50 tokens"]
    assert list(Projection(direction=direction).map(context())([silent], nobody).rows) == []


def test_a_direction_of_another_model(tmp_path: Path) -> None:
    path = written(tmp_path / "v.safetensors", base=identity(tiny.model(seed=1)))
    with pytest.raises(RingfenceError, match="is of another model"):
        Projection(direction=path).map(context())


def test_a_direction_of_a_layer_that_the_model_does_not_have(tmp_path: Path) -> None:
    path = written(tmp_path / "v.safetensors", layer=3)
    with pytest.raises(RingfenceError, match=r"v\.safetensors: is of layer 3 of tiny, .* tiny has layers 0 to 2"):
        Projection(direction=path).map(context())


def test_a_direction_that_was_fitted_with_another_system_prompt(direction: Any) -> None:
    with pytest.raises(RingfenceError, match="no_system: template_default, and here it is empty"):
        Projection(direction=direction).fits(context(no_system="empty"))


def test_a_file_that_is_no_direction(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="no such file"):
        Projection(direction=str(tmp_path / "v.safetensors")).check()
    save_file({"x": np.ones(3, np.float32)}, tmp_path / "x.safetensors", metadata={"ringfence": json.dumps({})})
    with pytest.raises(RingfenceError, match=r"x\.safetensors"):
        Projection(direction=str(tmp_path / "x.safetensors")).check()


@pytest.mark.parametrize("settings", [{}, {"direction": ""}, {"direction": "v.safetensors", "layer": 1}])
def test_bad_settings_raise(settings: Any) -> None:
    with pytest.raises(ValidationError):
        Projection(**settings)
