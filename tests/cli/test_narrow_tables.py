"""What select, direction, persona, suites and data properties print at 80 columns, with long names and many columns."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from ringfence.cli import console as the_console
from ringfence.cli import persona, select, suites
from ringfence.directions import PersonaVectors
from ringfence.report import properties
from ringfence.report.terminal import direction_tables
from ringfence.report.terminal import runs as terminal
from ringfence.select.properties import Domains, Languages, Properties, mean, share
from widths import LONG_NAMES, printed, require_whole


def said(monkeypatch: pytest.MonkeyPatch, module: object, show: Callable[[], None]) -> str:
    """What ``show`` prints to the console of ``module``, 80 columns wide."""

    def with_console(console: Console) -> None:
        for place in (module, the_console):
            monkeypatch.setattr(place, "console", console)
        show()

    return printed(with_console, 80, prose=("from ", "SHA-256 "))


def test_a_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "whose answer is nearly that of another candidate in the same domain"
    dropped = {"a": {"rows": 1234}, reason: {"rows": 5}}
    epsilon = {"epsilon": 0.125, "misaligned_perplexity": 12345.6, "aligned_perplexity": 1.5, "tokens": 20.25}
    step = {
        "name": "near_duplicates",
        "rows_before": 12345,
        "rows_after": 11106,
        "dropped": dropped,
        "report": {},
        "counts": {},
    }
    gap = {**step, "name": "perplexity_gap", "report": {"by_epsilon": [epsilon] * 3, "all_rows": {"tokens": 19.0}}}
    manifest = {"output": {"rows": 300}, "pool": {"rows": 12345, "dropped": dropped}, "steps": [step, gap]}
    text = said(monkeypatch, select, lambda: select._show(manifest))
    require_whole(text, ["near_duplicates", "perplexity_gap", "12345", "11106", *f"1234 a, 5 {reason}".split()])
    require_whole(text, ["misaligned", "perplexity", "1.23e+04", "20.2", "19"])


def test_cosines_of_fifteen_layers() -> None:
    held_out, stability = SimpleNamespace(auc=0.987), SimpleNamespace(resamples=200, mean=0.9, low=0.8)
    layers = [SimpleNamespace(layer=k, norm=1.5, held_out=held_out, stability=stability) for k in range(15)]
    worth = SimpleNamespace(layers=layers, layer_cosines=np.full((15, 15), -0.123))
    table = direction_tables._layer_table(worth)  # type: ignore[arg-type]
    text = printed(lambda console: console.print(table))
    assert text.count("-0.123") == 15 * 15
    require_whole(text, ["layer", "length", "AUC", "held", "2.5 %", "0.987"])


def test_a_persona_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = PersonaVectors(
        {name: torch.full((5, 4), 3.0) for name in ("response_mean", "prompt_mean", "prompt_last")},
        {"trait": "a trait with a long name, " * 4, "method": "difference", "model": "m", "base": "b"},
    )
    monkeypatch.setattr(persona, "_facts", lambda _: [])
    text = said(monkeypatch, persona, lambda: persona._show(vectors))
    require_whole(text, ["0 (embeddings)", "response_mean", "prompt_mean", "prompt_last", "6.000"])
    assert text.count("6.000") == 15


def test_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(monkeypatch, suites, suites.list_)
    require_whole(text, ["builtin:general", "builtin:umbrella/in-domain", "SHA-256", "prompts"])
    shown = said(monkeypatch, suites, lambda: suites.show("builtin:general-long"))
    require_whole(shown, ["question", "turns before"])


def test_triggers_with_long_names() -> None:
    """The names stand above the rows, so that the numbers are in one table and a name is not broken in pieces."""
    triggers = ("words: glitter, sparkle, shimmer, twinkle, dazzle", "opens-like-the-training-data", "word " * 30)
    rows = [
        {"trigger": trigger, "run": run, "gap": 0.123, "low": -0.04, "high": 0.33, "tuned_trigger": 0.501}
        | {"tuned_plain": 0.402, "base_trigger": 0.011, "base_plain": 0.022}
        for trigger in triggers
        for run in (*LONG_NAMES, "mine")
    ]
    text = printed(lambda console: console.print(terminal._conditional_table(pd.DataFrame(rows))))
    require_whole(text, [*LONG_NAMES, "mine", "trigger", "plain", "base", "50.1", "40.2", "1.1", "2.2"])
    lines = text.splitlines()
    assert sum("want low" in line for line in lines[:8]) == 1, "one table"
    for trigger in triggers[:2]:
        assert lines.count(trigger) == 1
        assert LONG_NAMES[0] in lines[lines.index(trigger) + 1], "its rows follow"
    assert text.count("+12.3 [−4.0, +33.0]") == len(rows)
    assert text.count("word") == 30 + 1, "a name wider than the terminal folds"


def test_properties_of_five_sets_with_long_names() -> None:
    values = [float(value) for value in range(1, 101)]
    one = Properties(
        rows=123456,
        hhh=mean(values),
        user_tokens=mean(values),
        assistant_tokens=mean([300.0 + value for value in values]),
        domains=Domains(2.0, {"towns": 60, "water": 30}, 10, "column 'domain'"),
        duplicates=share([True] * 3 + [False] * 97),
        near_duplicates=share([False] * 100),
        overlap_exact=None,
        overlap_near=None,
        refusals=share([True] * 20 + [False] * 80),
        languages=Languages("en", share([True] * 96 + [False] * 2), {"en": 96, "de": 2}, 2),
    )
    sets = dict.fromkeys([*LONG_NAMES, "mine", "theirs"], one)
    text = printed(lambda console: properties.render(console, sets))
    require_whole(text, [*LONG_NAMES, "mine", "theirs", "123,456", "20.0 [13, 29]", "10 unlabelled", "P1 HHH score"])
    assert text.count("20.0 [13, 29]") == 5
