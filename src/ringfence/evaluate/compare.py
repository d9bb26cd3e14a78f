"""One run's answers under several presets: how far "% misaligned" moves with the protocol alone.

Thresholds and denominators are counted anew from the scores. How the answers were drawn and who judged them cannot
be: :func:`settings_that_differ` names what of a preset the answers do not have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from ringfence.evaluate.presets import PRESETS, Preset, rates_under

BY_RULE = "rules"
COLUMNS = ("run", "suite", "preset", "metric", "value", "low", "high", "n", "dropped_prompts", "dropped_rows")


@dataclass(frozen=True)
class RunSettings:
    """How a run's answers were drawn and judged."""

    samples: tuple[int, int]
    """answers a prompt: fewest and most"""
    temperature: float
    """0 is greedy"""
    no_system: str
    """what a prompt without a system message means"""
    max_tokens: int
    """tokens an answer"""
    judge: str
    """the judge's model, or ``rules``"""
    top_p: float = 1.0
    """of the answers"""
    min_p: float = 0.0
    """of the answers"""


def how_made(recipe: Mapping[str, Any], frame: pd.DataFrame) -> RunSettings:
    """What ``recipe`` (that of ``run.json``) and the answers themselves say of how they were made.

    frame: one row an answer, with ``suite`` and ``prompt_id``; an empty one has 0 samples
    """
    evaluation, judge = recipe["evaluation"], recipe.get("judge") or {}
    counts = frame.groupby(["suite", "prompt_id"], sort=False).size()
    return RunSettings(
        samples=(int(counts.min()), int(counts.max())) if len(counts) else (0, 0),
        temperature=float(evaluation["temperature"]),
        no_system=str(recipe["no_system"]),
        max_tokens=int(evaluation["max_new_tokens"]),
        judge=str(judge.get("model", BY_RULE)),
        top_p=float(evaluation.get("top_p", 1.0)),
        min_p=float(evaluation.get("min_p", 0.0)),
    )


def settings_that_differ(made: RunSettings, preset: Preset) -> list[str]:
    """One text a setting in which the answers are not what ``preset`` asks for, e.g. ``samples: 1, not 100``.

    What the preset's source does not say cannot differ.
    """
    wanted: dict[str, Any] = {
        "temperature": preset.temperature,
        "top_p": preset.top_p,
        "min_p": preset.min_p,
        "no_system": preset.no_system,
        "max_tokens": preset.max_tokens,
    }
    found = []
    if preset.samples is not None and made.samples != (preset.samples, preset.samples):
        found.append(f"samples: {_span(made.samples)}, not {preset.samples}")
    for key, value in wanted.items():
        if value is not None and getattr(made, key) != value:
            found.append(f"{key}: {_plain(getattr(made, key))}, not {_plain(value)}")
    if preset.judge is not None and not same_model(made.judge, preset.judge):
        found.append(f"judge: {made.judge}, not {preset.judge}")
    return found


def same_model(used: str, wanted: str) -> bool:
    """Whether ``used`` is the model ``wanted``, with or without its maker before it or its date behind it."""
    name = used.rpartition("/")[2].lower()
    rest = name.removeprefix(wanted.lower())
    dated = rest.startswith("-") and rest.replace("-", "").isdecimal()
    return name == wanted.lower() or (rest != name and dated)


def compare_presets(frames: Mapping[str, pd.DataFrame], presets: Sequence[Preset] | None = None) -> pd.DataFrame:
    """One row a run, suite and preset, with the metric that the preset's source reports; columns :data:`COLUMNS`.

    frames: run name -> its answers, as :func:`ringfence.evaluate.presets.rates_under` takes them
    """
    rows = [
        {"run": run, "preset": preset.name, **asdict(one), **asdict(one.rate)}
        for run, frame in frames.items()
        for preset in (PRESETS.values() if presets is None else presets)
        for one in rates_under(frame, preset)
        if one.metric == preset.metric
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def spread(table: pd.DataFrame) -> pd.DataFrame:
    """How far the value moves between presets: ``run, suite, lowest, highest, moves`` (fractions), NaN without data.

    table: of :func:`compare_presets`
    """
    values = table.groupby(["run", "suite"], sort=False)["value"]
    found = pd.DataFrame({"lowest": values.min(), "highest": values.max()}).reset_index()
    return found.assign(moves=found["highest"] - found["lowest"])


def _span(samples: tuple[int, int]) -> str:
    low, high = samples
    return str(low) if low == high else f"{low} to {high}"


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
