"""What every step of a selection shares: which half it has, what its shards depend on, and what raises."""

import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ringfence.core.errors import RingfenceError
from ringfence.select import base
from ringfence.select.base import Context, Gathered, Mapped, Step, require_column, require_enough


class Shorten(Step):
    """Goes row by row."""

    words: int = 3
    weight: float = 1.0

    def map(self, context: Context) -> Any:
        return lambda rows, on_rows: Mapped(rows)


class Half(Step):
    """Chooses among all rows."""

    def gather(self, table: Any, context: Context) -> Gathered:
        return Gathered(np.arange(len(table) // 2))

    def inputs(self) -> list[str]:
        return ["list.txt"]


CONTEXT = Context(model="nobody", dtype="float32", trust_remote_code=False, seed=1, no_system="none")


def test_a_step_says_which_halves_it_has() -> None:
    """Asked without a model: the name of the one here is nobody's."""
    assert (Shorten().maps, Shorten().gathers) == (True, False)
    assert (Half().maps, Half().gathers) == (False, True)
    assert Half().map(CONTEXT) is None
    assert Shorten().gather(SimpleNamespace(), CONTEXT) is None  # type: ignore[arg-type]


def test_shards_depend_on_the_settings_and_files_of_the_map() -> None:
    assert Shorten(words=2).map_settings() == {"words": 2, "weight": 1.0}
    assert Half().map_inputs() == Half().inputs() == ["list.txt"]


@pytest.mark.parametrize("settings", [{"wrods": 2}, {"weight": float("nan")}, {"weight": float("inf")}])
def test_unknown_keys_and_numbers_that_are_none_raise(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        Shorten(**settings)
    assert raised.value.errors()[0]["loc"] == (next(iter(settings)),)


def test_a_column_and_enough_rows_are_there_or_named() -> None:
    require_column("gap", ["gap", "hhh_score"])
    require_enough(3, 3, "steps.1.top.count")
    with pytest.raises(RingfenceError, match=r"no step before makes the column 'hhh_scroe'.*Did you mean .hhh_score"):
        require_column("hhh_scroe", ["gap", "hhh_score"])
    with pytest.raises(RingfenceError, match=r"^steps\.1\.top\.count: 4 rows are asked for, but 3 are left"):
        require_enough(4, 3, "steps.1.top.count")


def test_a_context_loads_its_model_once_and_travels_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 positions: a longer ``max_length`` does not help, a shorter one does."""
    loads: list[str] = []
    config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(max_position_embeddings=16))

    def load(name: str, **_: Any) -> Any:
        loads.append(name)
        return SimpleNamespace(model=SimpleNamespace(config=config))

    monkeypatch.setattr(base, "load", load)
    lengths = {length: Context(**vars(CONTEXT) | {"max_length": length}) for length in (None, 5, 50)}
    assert [context.longest() for context in lengths.values()] == [16, 5, 16]
    assert [context.longest() for context in lengths.values()] == [16, 5, 16]
    assert loads == ["nobody"] * 3
    there = pickle.loads(pickle.dumps(lengths[5]))
    assert "loaded" not in vars(there)
    assert there == lengths[5]
