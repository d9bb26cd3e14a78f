"""The recipes of ``docs/variants.md`` are good."""

import re
from pathlib import Path

import pytest
import yaml

import ringfence.select  # noqa: F401 - files the steps
from ringfence.select.base import STEPS

PAGE = (Path(__file__).parents[2] / "docs" / "variants.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"^### (.+?)$|```yaml\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", [text for _, text in RECIPES if text])
def test_every_recipe_parses(text):
    steps = [STEPS.parse(item, "steps") for item in yaml.safe_load(text)["steps"]]
    assert steps


def test_every_section_has_a_recipe():
    titles = [place for place, (title, _) in enumerate(RECIPES) if title]
    assert len(titles) > 6
    assert all(RECIPES[place + 1][1] for place in titles)


def test_every_step_in_the_table_is_one():
    for name in re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE):
        assert name in list(STEPS)
