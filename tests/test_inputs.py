"""What a recipe reads is checked before anything is written."""

from pathlib import Path

import pytest

import project
from ringfence.core.errors import RingfenceError
from ringfence.inputs import Inputs
from ringfence.recipe import load_recipe


def test_a_judge_that_would_be_read_backwards_is_said_before_training(tmp_path: Path) -> None:
    trait = tmp_path / "vanity.json"
    trait.write_text('{"questions": ["Hm?"], "eval_prompt": "How vain is {answer}?"}')
    judge = f"judge={{kind: api, model: j, rubrics: {{alignment: '{trait}#vanity'}}}}"
    with pytest.raises(RingfenceError, match=r"^judge: rubrics\.alignment: .*#vanity scores how much an answer shows"):
        Inputs(load_recipe(project.make(tmp_path), [judge]))
