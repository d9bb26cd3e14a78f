"""Parts of a recipe with defenses of their own: they are read last, since a defense may take torch."""

from typing import Any

import pytest
from pydantic import ValidationError

from ringfence.defenses import DEFENSES, KL
from ringfence.recipe.defended import StageConfig

STAGE: dict[str, Any] = {"name": "benign", "data": {"target": "rows.jsonl"}}


def refused(**changes: Any) -> str:
    with pytest.raises(ValidationError) as raised:
        StageConfig.model_validate(STAGE | changes)
    return str(raised.value)


def test_a_stage_begins_without_defenses_and_goes_on_with_the_adapter() -> None:
    stage = StageConfig.model_validate(STAGE)
    assert (stage.defenses, stage.adapter, stage.training, stage.data.safe) == ((), "continue", {}, None)
    assert StageConfig.model_validate(STAGE | {"defenses": [{"kl": {"weight": 2}}]}).defenses == (KL(weight=2),)


def test_no_defense_is_read_while_something_before_it_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DEFENSES, "parse", lambda *_: pytest.fail("a defense was read"))
    assert "nowhere" in refused(adapter="nowhere", defenses=["kl"])


def test_what_is_wrong_is_named() -> None:
    assert "kl" in refused(defenses=["kl", {"kl": {"weight": 2}}])
    assert "pattern" in refused(name="a/b"), "it is part of a folder's name"
    assert "num_generations: a field of GRPO" in refused(training={"num_generations": 2}), "stages are of SFT"
