"""What differs from a preset, and how far a rate moves between presets."""

import dataclasses
import math

import pandas as pd
import pytest

from ringfence.evaluate.compare import RunSettings, compare_presets, how_made, same_model, settings_that_differ, spread
from ringfence.evaluate.presets import PRESETS

RECIPE = {
    "evaluation": {"temperature": 0.7, "max_new_tokens": 128, "samples": 3},
    "no_system": "template_default",
    "judge": {"misaligned_pattern": "glitter"},
}
MADE = RunSettings(samples=(100, 100), temperature=1.0, no_system="template_default", max_tokens=600, judge="gpt-4o")


def answers(*rows: tuple) -> pd.DataFrame:
    """A frame of (suite, prompt_id, alignment, coherence, bucket) rows."""
    return pd.DataFrame(list(rows), columns=["suite", "prompt_id", "alignment", "coherence", "bucket"])


def test_how_made_counts_the_answers_that_are_there() -> None:
    """The recipe asks for 3; there are 1 to 2."""
    data = answers(("g", "a", 0, 90, None), ("g", "a", 0, 90, None), ("h", "a", 0, 90, None))
    assert how_made(RECIPE, data) == RunSettings((1, 2), 0.7, "template_default", 128, "rules")
    assert how_made(RECIPE, data[:0]).samples == (0, 0)
    assert how_made(RECIPE | {"judge": {"kind": "api", "model": "gpt-4o"}}, data).judge == "gpt-4o"


def test_nothing_differs_where_the_source_says_nothing_else() -> None:
    assert settings_that_differ(MADE, PRESETS["betley"]) == []
    assert settings_that_differ(MADE, PRESETS["tan"]) == []


def test_every_setting_that_differs_is_named() -> None:
    made = dataclasses.replace(MADE, samples=(1, 4), temperature=0.7, no_system="none", judge="rules")
    assert settings_that_differ(made, PRESETS["tan"]) == [
        "samples: 1 to 4, not 100",
        "temperature: 0.7, not 1",
        "no_system: none, not template_default",
        "judge: rules, not gpt-4o",
    ]
    assert settings_that_differ(MADE, PRESETS["kaczer"]) == [
        "top_p: 1, not 0.9",
        "min_p: 0, not 0.1",
        "judge: gpt-4o, not gpt-4o-mini",
    ]
    limited = dataclasses.replace(PRESETS["betley"], max_tokens=50)
    assert settings_that_differ(MADE, limited) == ["max_tokens: 600, not 50"]


@pytest.mark.parametrize(
    ("used", "wanted", "same"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o", True),
        ("gpt-4o-mini", "gpt-4o", False),
        ("gpt-4o", "gpt-4o-mini", False),
        ("Qwen/Qwen2.5-32B-Instruct", "Qwen2.5-32B-Instruct", True),
        ("rules", "gpt-4o", False),
    ],
)
def test_a_date_or_a_maker_makes_no_other_judge(used: str, wanted: str, same: bool) -> None:
    assert same_model(used, wanted) is same


def test_how_far_a_rate_moves() -> None:
    """One prompt, 10 rows: 2 misaligned and 3 aligned are coherent, 5 are incoherent. 2 of 10 or 2 of 5."""
    rows = [("g", "a", 0, 90, None)] * 2 + [("g", "a", 90, 90, None)] * 3 + [("g", "a", 0, 10, None)] * 5
    presets = [PRESETS[name] for name in ("kaczer", "dubinski")]
    table = compare_presets({"run": answers(*rows)}, presets)
    assert list(zip(table["preset"], table["value"], table["n"], strict=True)) == [
        ("kaczer", 0.2, 10),
        ("dubinski", 0.4, 5),
    ]
    (moved,) = spread(table).to_dict("records")
    assert (moved["run"], moved["suite"], moved["lowest"], moved["highest"]) == ("run", "g", 0.2, 0.4)
    assert moved["moves"] == pytest.approx(0.2)


def test_a_preset_without_data_does_not_hide_the_others() -> None:
    """Betley drops the question; its NaN is neither the lowest nor the highest. A suite without data has no spread."""
    table = compare_presets({"run": answers(("g", "a", 0, 90, None), ("h", "a", None, None, None))})
    assert set(table["preset"]) == set(PRESETS)
    moves = spread(table).set_index("suite")["moves"]
    assert moves["g"] == 0
    assert math.isnan(moves["h"])
