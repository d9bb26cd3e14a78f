"""What ``ringfence differences`` prints, from rows made by hand: numbers in points, dashes for what is not known."""

import io
from typing import Any

import pandas as pd
from rich.console import Console

from ringfence.report.differences import INFLUENCE_COLUMNS, OVER_SEEDS, DifferenceRow, Differences
from ringfence.report.terminal.difference_tables import show_differences
from ringfence.report.variants import RATE_COLUMNS

ROW: dict[str, Any] = {"suite": "general", "variant": "kl", "value": -0.125, "low": -0.25, "high": 0.0625}
ROW |= {"p": 0.0123, "p_holm": 0.0246, "n": 24, "detectable": 0.1}
RATE = dict(zip(RATE_COLUMNS, ["general", "none", 0.5, 0.25, 0.75, 0.02, 3, 1200], strict=True))


def printed(*rows: DifferenceRow, rates: Any = (RATE,), influence: Any = (), one_seed: tuple[str, ...] = ()) -> str:
    console = Console(file=io.StringIO(), width=200)
    found = Differences(
        "misaligned_all",
        "none",
        pd.DataFrame(rates, columns=list(RATE_COLUMNS)),
        rows,
        one_seed,
        pd.DataFrame(influence, columns=list(INFLUENCE_COLUMNS)),
    )
    show_differences(console, found)
    return console.file.getvalue()  # type: ignore[attr-defined]


def cells(text: str, name: str) -> list[str]:
    """Those of the last line about ``name``, split where two spaces or more are."""
    line = [line for line in text.splitlines() if f"  {name} " in line][-1]
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_difference_is_in_points_with_its_tests() -> None:
    text = printed(DifferenceRow(**ROW))
    assert cells(text, "kl")[2:] == ["−12.5 [−25.0, +6.2]", "prompts", "0.012", "0.025", "24", "+10.0"]
    assert cells(printed(), "none")[2:] == ["50.0 [25, 75]", "2.0", "3", "1,200"]


def test_holm_counts_the_rows_that_have_a_test() -> None:
    without = DifferenceRow(suite="in-domain", variant="kl", why="kl has no answers")
    text = printed(DifferenceRow(**ROW), without)
    assert "by Holm for all 1 rows" in " ".join(text.split())
    assert "in-domain, kl: no data, kl has no answers" in text
    assert cells(text, "kl")[2:] == ["no data", "–", "–", "–", "0", "–"]


def test_small_p_dropped_prompts_and_a_lost_task_are_said() -> None:
    row = DifferenceRow(**ROW | {"p": 0.0004, "dropped": 2, "kept": False, "task": "lost the task, 40 points of it"})
    text = printed(row)
    assert cells(text, "kl †")[4:7] == ["<0.001", "0.025", "24 (2 dropped)"]
    assert "kl † lost the task, 40 points of it: a low leak of it is no success" in text


def test_what_seeds_do_not_say_is_said() -> None:
    text = printed(DifferenceRow(**ROW | {"over": OVER_SEEDS}), one_seed=("kl", "ldifs"))
    assert "one seed of kl, ldifs: nothing is known over seeds" in text
    assert "over seeds: 3 seeds that differ" in text
    assert "one seed" not in printed(DifferenceRow(**ROW))


def test_one_run_alone_and_a_long_prompt() -> None:
    assert "only none: give another run to compare it with" in printed()
    prompt = dict(zip(INFLUENCE_COLUMNS, ["none", "general", "p1", "word\n" * 50, 0.5, 0.25, -0.25], strict=True))
    text = printed(influence=[prompt])
    assert "prompts that move the rate most" in text
    [line] = [line for line in text.splitlines() if "p1: word word" in line]
    assert "…" in line
    assert line.split()[-2:] == ["50.0", "25.0"]
