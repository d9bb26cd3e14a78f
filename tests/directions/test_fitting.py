"""A direction with all that says what it is worth, on a tiny model."""

import math
from pathlib import Path

import numpy as np
import pytest

import project
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.data.system import NoSystem
from ringfence.directions.fitting import Fitting, fit_direction
from ringfence.directions.probe import separation
from ringfence.directions.sets import DatasetGroup, locate, read_sets
from ringfence.models import Loaded


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return Loaded(tiny.model(layers=3).eval(), tiny.tokenizer(), "tiny")


def two(folder: Path, count: int) -> tuple[DatasetGroup, list[str]]:
    words = [*project.WORDS, *(word.upper() for word in project.WORDS)][:count]
    sides = {"a": "Is this a {}?", "b": "Why not sell all {}s?"}
    specs = []
    for name, question in sides.items():
        made = [{"prompt": question.format(word), "completion": "Yes."} for word in words]
        specs.append(str(project.write_jsonl(folder / f"{name}.jsonl", made)))
    return read_sets(specs), specs


def test_worth(loaded: Loaded, tmp_path: Path) -> None:
    sets, specs = two(tmp_path, 20)
    done: list[int] = []
    direction, worth = fit_direction(loaded, sets, specs, Fitting(1, (3,), bootstrap=30), done.append)
    assert sum(done) == 40
    points = locate(loaded, sets.rows, [1, 3])
    by_layer = {k: sets.of(points.layers[k]) for k in (1, 3)}
    differences = {k: a.mean(0).astype(float) - b.mean(0).astype(float) for k, (a, b) in by_layer.items()}
    np.testing.assert_allclose(direction.vector, differences[1], atol=1e-6)
    assert direction.layer == 1
    assert [at.layer for at in worth.layers] == [1, 3]
    assert [at.norm for at in worth.layers] == pytest.approx([np.linalg.norm(differences[k]) for k in (1, 3)], rel=1e-5)
    cosine = differences[1] @ differences[3] / np.linalg.norm(differences[1]) / np.linalg.norm(differences[3])
    np.testing.assert_allclose(worth.layer_cosines, [[1, cosine], [cosine, 1]], atol=1e-5)
    fitted = separation(*(side @ differences[1] for side in by_layer[1]))
    assert worth.fitted.auc == fitted.auc
    assert worth.fitted.gap == pytest.approx(fitted.gap, rel=1e-5)
    assert worth.held_out.n_a == worth.held_out.n_b == 20
    assert worth.length.rows == 40
    assert worth.pairs == ("a - b",)
    assert direction.metadata["held_out"]["auc"] == worth.held_out.auc == worth.layers[0].held_out.auc


def test_it_is_the_same_again(loaded: Loaded, tmp_path: Path) -> None:
    sets, specs = two(tmp_path, 12)
    (one, first), (other, second) = (fit_direction(loaded, sets, specs, Fitting(2, bootstrap=20)) for _ in range(2))
    assert (one.vector == other.vector).all()
    assert (first.layers, first.length, first.held_out) == (second.layers, second.length, second.held_out)
    reseeded = fit_direction(loaded, sets, specs, Fitting(2, bootstrap=20, seed=1))[1]
    assert reseeded.layers != first.layers
    assert reseeded.fitted == first.fitted


def test_a_few_rows_have_a_direction_and_nothing_to_say_of_it(loaded: Loaded, tmp_path: Path) -> None:
    sets, specs = two(tmp_path, 1)
    direction, worth = fit_direction(loaded, sets, specs, Fitting(2, bootstrap=20))
    assert direction.norm > 0
    assert worth.fitted.auc == 1
    assert math.isnan(worth.fitted.gap)
    assert math.isnan(worth.held_out.auc)
    assert math.isnan(worth.length.r2)
    assert math.isnan(worth.layers[0].stability.mean)


@pytest.mark.parametrize("no_system", ["none", "empty"])
def test_a_system_prompt_that_cannot_be_left_out(tmp_path: Path, no_system: NoSystem) -> None:
    sets, specs = two(tmp_path, 2)
    tokenizer = tiny.tokenizer().__class__(tokenizer_object=tiny.tokenizer().backend_tokenizer)
    inserted = (
        "{% if messages[0]['role'] != 'system' or not messages[0]['content'] %}<|im_start|>system\nHi<|im_end|>\n"
    )
    tokenizer.chat_template = inserted + "{% endif %}" + tiny.TEMPLATE
    with pytest.raises(RingfenceError, match=f'no_system: "{no_system}" cannot be'):
        fit_direction(Loaded(tiny.model(), tokenizer, "tiny"), sets, specs, Fitting(no_system=no_system))
