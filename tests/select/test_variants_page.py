"""The recipes of ``docs/variants.md`` are good."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import ringfence.select  # noqa: F401 - files the steps
from ringfence.select.base import STEPS

PAGE = (Path(__file__).parents[2] / "docs" / "variants.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"^### (.+?)$|```yaml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)


def require_within(written: Any, read: Any) -> None:
    """What stands in the page was taken, beside defaults."""
    if isinstance(written, dict):
        for key, value in written.items():
            require_within(value, read[key])
    else:
        assert read == written


@pytest.mark.parametrize("text", [text for _, text in RECIPES if text])
def test_every_recipe_is_read_as_it_is_written(text: str) -> None:
    for item in yaml.safe_load(text)["steps"]:
        name, settings = (item, {}) if isinstance(item, str) else next(iter(item.items()))
        step = STEPS.parse(item, "steps")
        assert STEPS.name_of(type(step)) == name
        require_within(settings, step.model_dump(mode="json"))


def test_every_section_has_a_recipe() -> None:
    titles = [place for place, (title, _) in enumerate(RECIPES) if title]
    assert titles
    assert all(RECIPES[place + 1][1] for place in titles)


def test_every_step_in_the_table_is_one() -> None:
    named = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert named
    assert set(named) <= {*STEPS}
