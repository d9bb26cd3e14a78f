"""Tables at widths that they do not fit in: every word is whole, every cell is there, every line names its row."""

import io
import re

import pytest
from rich.console import Console
from rich.text import Text

from ringfence.core.text_table import TextTable

LONG = "canary-interleaving-with-a-rather-long-name-seed-1"


def printed(table: TextTable, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def rates(columns: int) -> TextTable:
    table = TextTable("Rates", ["run", *(f"suite {number}" for number in range(columns))], caption="percent")
    for name in ("base", LONG):
        table.add(name, *(f"{number}{number}.7 [{number}6, {number}9]" for number in range(columns)))
    return table


def test_one_that_fits_is_one_table() -> None:
    title, heading, rule, base, long, caption = printed(rates(1), 80)
    assert (title, heading.split(), caption) == ("Rates", ["run", "suite", "0"], "percent")
    assert set(rule) == {"─"}
    assert base.split() == ["base", "00.7", "[06,", "09]"]
    assert long.split() == [LONG, "00.7", "[06,", "09]"]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_columns_that_do_not_fit_go_below_with_the_names_again(width: int) -> None:
    lines = printed(rates(7), width)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for number in range(7):
        assert text.count(f"{number}{number}.7 [{number}6, {number}9]") == 2  # whole, once a run
        assert text.count(f"suite {number}") == 1
    tables = sum(line.startswith("run ") for line in lines)
    assert tables == len([line for line in lines if line.startswith("base ")]) > (1 if width < 120 else 0)


def test_a_long_name_folds_behind_its_hyphens() -> None:
    lines = printed(rates(2), 50)
    assert all(re.fullmatch(r"[\w-]*-|seed-1|[\w-]+", line.split()[0]) for line in lines[3:-1])
    assert LONG in "".join(line.split()[0] for line in lines[4:-1])
    assert not any("[" in line and "]" not in line for line in lines)


def test_text_folds_between_words_and_numbers_never() -> None:
    table = TextTable("", ["", "why", "n"], words=["why"])
    table.add("pass", "12 of 65 answers are misaligned, at most 10.5% were allowed there", "1,234,567")
    lines = printed(table, 34)
    assert max(map(len, lines)) <= 34
    assert sum("1,234,567" in line for line in lines) == 1
    words = " ".join(" ".join(lines).replace("pass", "").replace("1,234,567", "").split())
    assert "12 of 65 answers are misaligned, at most 10.5% were allowed there" in words


def test_only_a_word_wider_than_the_terminal_is_cut() -> None:
    table = TextTable("", ["name"])
    table.add("x" * 25)
    assert printed(table, 10)[2:] == ["x" * 10, "x" * 10, "x" * 5]


def test_what_looks_like_markup_is_text_and_wide_characters_count_twice() -> None:
    table = TextTable("[red]title", ["run", "n"], caption="[b]")
    table.add("[red]a", Text("1", style="bold"))
    table.add("漢字", "2")
    title, _, _, first, second, caption = printed(table, 20)
    assert (title, caption) == ("[red]title", "[b]")
    assert first.split() == ["[red]a", "1"]
    assert second == "漢字    2"


def test_a_short_row_is_filled_up_and_an_empty_table_prints() -> None:
    table = TextTable("", ["run", "a", "b"])
    table.add("base", "untuned")
    table.section()
    assert printed(table, 40)[2].split() == ["base", "untuned"]
    assert printed(TextTable("T", ["run"]), 40)[:2] == ["T", "run"]
