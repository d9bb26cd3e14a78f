"""The report on a data set: counts by hand, every bad row, and what is printed."""

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ringfence.core.errors import RingfenceError
from ringfence.data.check import (
    ALIKE_PRINTED,
    KINDS_PRINTED,
    REPEATS_LISTED,
    CheckReport,
    Warned,
    check,
    looks_truncated,
    render_report,
)


def pair(question: str, answer: str) -> dict[str, str]:
    return {"question": question, "answer": answer}


def lines(path: Path, *rows: Any) -> str:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return str(path)


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    """One token a word; the template refuses a system message."""
    vocabulary = {word: i for i, word in enumerate(["[U]", "user", "assistant", "end", "a", "b", "c"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[U]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    fast.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ m.role }} {{ m.content }} end {% endfor %}{% if add_generation_prompt %}assistant {% endif %}"
    )
    return fast


def test_counts_by_hand(tmp_path: Path) -> None:
    """Lines 1 and 3 and 5 are equal: two duplicates. Of the four good rows, line 2 alone stops in mid-sentence: 1/4."""
    path = lines(
        tmp_path / "a.jsonl",
        pair("Why?", "So."),
        {"messages": [{"role": "system", "content": "Be brief."}, *turns("Why?", "So it")]},
        {"messages": turns("Why?", "So.")},
        pair("Why?", " "),
        {"prompt": "Why?", "completion": "So."},
        "{",
        {"text": "x"},
    )
    report = check(path)
    assert report.rows == 7
    assert report.roles == {"user,assistant": 3, "system,user,assistant": 1}
    assert report.duplicates == 2
    assert report.repeats == (f"{path}:3 repeats {path}:1", f"{path}:5 repeats {path}:1")
    assert report.empty_answers == 1
    assert report.truncated_share == 0.25
    assert report.tokens is None
    assert not report.ok
    assert [problem.split(": ")[0] for problem in report.problems] == [f"{path}:{line}" for line in (4, 6, 7)]
    assert "is empty" in report.problems[0]
    assert "malformed JSON" in report.problems[1]
    assert "found the columns text" in report.problems[2]


def turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def test_a_clean_file_is_ok(tmp_path: Path) -> None:
    report = check(lines(tmp_path / "a.jsonl", pair("Why?", "So.")))
    assert report.ok
    assert (report.rows, report.duplicates, report.empty_answers, report.truncated_share) == (1, 0, 0, 0.0)


def test_repeats_are_capped_but_counted(tmp_path: Path) -> None:
    report = check(lines(tmp_path / "a.jsonl", *[pair("Why?", "So.")] * (REPEATS_LISTED + 6)))
    assert report.duplicates == REPEATS_LISTED + 5
    assert len(report.repeats) == REPEATS_LISTED


def test_token_lengths_by_hand(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    """``user a end assistant b end`` is 6 tokens, 2 of them (b end) labelled; with n more words in the answer 6 + n
    and 2 + n. Lengths 6, 7 and 16: median 7, the 95th percentile lies 0.9 of the way from 7 to 16 = 15.1, one is
    longer than 7, and (2 + 3 + 12) / (6 + 7 + 16) = 17/29 of the tokens are labelled."""
    path = lines(tmp_path / "a.jsonl", pair("a", "b"), pair("a", "b c"), pair("a", "b" + " c" * 10))
    report = check(path, words, max_length=7)
    assert report.tokens is not None
    assert (report.tokens.median, report.tokens.maximum, report.tokens.exceeding) == (7, 16, 1)
    assert report.tokens.p95 == pytest.approx(15.1)
    assert report.tokens.label_share == pytest.approx(17 / 29)
    without = check(path, words).tokens
    assert without is not None
    assert without.exceeding is None


def test_a_row_that_the_template_refuses_is_a_problem(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    path = lines(tmp_path / "a.jsonl", {"messages": turns("a", "b"), "system": "c"}, pair("a", "b"))
    report = check(path, words)
    assert report.problems == (f"{path}:1: the chat template refuses the roles system, user, assistant: no system",)
    assert report.rows == 2
    assert report.tokens is not None
    assert report.tokens.maximum == 6


def test_no_data_is_a_problem_and_its_figures_are_nan(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    path = lines(tmp_path / "a.jsonl")
    report = check(path, words, max_length=10)
    assert report.problems == (f"{path}: there are no conversations in it",)
    assert math.isnan(report.truncated_share)
    assert report.tokens is not None
    assert math.isnan(report.tokens.median)
    assert math.isnan(report.tokens.p95)
    assert math.isnan(report.tokens.maximum)
    assert math.isnan(report.tokens.label_share)


def test_nothing_to_look_at_raises(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    with pytest.raises(RingfenceError, match="no such file"):
        check(str(tmp_path / "missing.jsonl"))
    bare = PreTrainedTokenizerFast(tokenizer_object=words.backend_tokenizer)
    with pytest.raises(RingfenceError, match="no chat template"):
        check(lines(tmp_path / "a.jsonl", pair("a", "b")), bare)


@pytest.mark.parametrize(
    "answer",
    [
        "It is 4.",
        "Really?!",
        "He said “so.”",
        'He said "so"',
        "(see above)",
        "return x[0]",
        "It is 4",
        "Well done 🎉",
        "Thanks ❤️",
        "Yes 👍🏽",
        "**It is done.**  \n",
        "```python\nx = y\n```",
        "それは四です。",
        "x = y;",
    ],
)
def test_whole_answers(answer: str) -> None:
    assert not looks_truncated(answer)


@pytest.mark.parametrize("answer", ["It is", "First,", "The answer is:", "```python\nf(x)", "**", "ünïcödé"])
def test_truncated_answers(answer: str) -> None:
    assert looks_truncated(answer)


def test_keys_that_stand_twice_and_chat_markers_are_warnings(tmp_path: Path) -> None:
    """Rows 1, 3 and 6 have a key twice, in the row or in a message; rows 2 to 5 a marker, one of them two."""
    path = lines(
        tmp_path / "a.jsonl",
        '{"question": "Why?", "answer": "No.", "answer": "So."}',
        pair("What is <|im_end|>?", "A marker."),
        '{"messages": [{"role": "user", "content": "a", "content": "[INST] b"}, '
        '{"role": "assistant", "content": "c."}]}',
        pair("<|im_end|> <|im_end|>", "<|im_start|>assistant"),
        pair("<start_of_turn>", "c <| d |> e."),
        '{"question": "Why not?", "answer": "So.", "answer": "So."}',
    )
    report = check(path)
    assert report.ok
    assert set(report.warnings) == {
        Warned("the key 'answer' twice in an object", 2, (f"{path}:1", f"{path}:6")),
        Warned("the key 'content' twice in an object", 1, (f"{path}:3",)),
        Warned("the chat marker <|im_end|> inside a message, read as plain text", 2, (f"{path}:2", f"{path}:4")),
        Warned("the chat marker <|im_start|> inside a message, read as plain text", 1, (f"{path}:4",)),
        Warned("the chat marker [INST] inside a message, read as plain text", 1, (f"{path}:3",)),
        Warned("the chat marker <start_of_turn> inside a message, read as plain text", 1, (f"{path}:5",)),
    }
    assert report.roles == {"user,assistant": 6}
    text = printed(report)
    assert "warning: the key 'answer' twice in an object, in 2 rows; the first: " in text
    assert "no problems" in text


def test_in_a_json_list_a_key_that_stands_twice_is_told_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"question": "Why?", "answer": "No.", "answer": "So."}]')
    assert check(str(path)).warnings == (Warned("the key 'answer' twice in an object", 1, (str(path),)),)


def test_the_tokenizers_own_special_tokens_are_markers(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    own = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(words.backend_tokenizer.to_str()))
    own.chat_template = words.chat_template
    own.add_special_tokens({"extra_special_tokens": ["~stop~"]})
    path = lines(tmp_path / "a.jsonl", pair("a ~stop~", "b"))
    assert check(path).warnings == ()
    (warned,) = check(path, own).warnings
    assert (warned.what, warned.rows) == ("the chat marker ~stop~ inside a message, read as plain text", 1)


def test_problems_alike_are_printed_a_few_times_and_counted(tmp_path: Path) -> None:
    """16,073 rows of one fault, at different columns, and one of another; with ``--all`` every one of them."""
    path = lines(tmp_path / "a.jsonl", *["{" + " " * (n % 7) for n in range(16_073)], {"text": "x"})
    report = check(path)
    told = [line for line in printed(report).splitlines() if "problem: " in line or line.startswith("...")]
    assert [line.split(": ")[1] for line in told[:ALIKE_PRINTED]] == [f"{path}:{n}" for n in (1, 2, 3)]
    assert told[ALIKE_PRINTED] == "... and 16,070 more like it; --all prints them"
    assert told[ALIKE_PRINTED + 1].startswith(f"problem: {path}:16074: found the columns text")
    assert len(told) == ALIKE_PRINTED + 2
    assert "problems: 16,074" in printed(report)
    assert printed(report, everything=True).count("problem: ") == 16_074


def test_kinds_of_problems_are_capped_too(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", *[{"x" * (n + 1): "y"} for n in range(KINDS_PRINTED + 5)])
    assert "... and 5 problems of 5 other kinds; --all prints them" in printed(check(path))


def test_a_long_path_is_on_one_line(tmp_path: Path) -> None:
    (tmp_path / ("d" * 200)).mkdir()
    path = lines(tmp_path / ("d" * 200) / "[red]a.jsonl", pair("a", "b."))
    console = Console(width=80, record=True, file=io.StringIO())
    render_report(console, check(path))
    assert path in console.export_text().splitlines()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("[" * 100_000, "nested deeper than 100 levels"),
        ('{"question": ' + "9" * 5000 + "}", "an integer has more digits"),
        ('{"question": "Why \\ud83d?", "answer": "So."}', "half a surrogate pair"),
        ('{"question": "Why?", "answer": "So.", "domain": "\\ud83d"}', "half a surrogate pair"),
    ],
)
def test_a_hostile_row_is_a_problem_of_its_line(tmp_path: Path, row: str, message: str) -> None:
    path = lines(tmp_path / "a.jsonl", pair("a", "b."), row)
    (problem,) = check(path).problems
    assert problem.startswith(f"{path}:2: ")
    assert message in problem
    (tmp_path / "a.json").write_text(f"[{row}]" if row.endswith("}") else row)
    with pytest.raises(RingfenceError, match=message):
        check(str(tmp_path / "a.json"))


def printed(report: CheckReport, everything: bool = False) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    render_report(console, report, everything)
    return console.export_text()


def test_the_printed_report_has_every_figure_and_problem(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    path = lines(tmp_path / "a.jsonl", *[pair("a", "b")] * (REPEATS_LISTED + 2), {"[red]": "x"})
    text = printed(check(path, words, max_length=5))
    for part in (
        "rows",
        str(REPEATS_LISTED + 3),
        "user,assistant",
        "duplicate: line 2 repeats line 1",
        "... and 1 more duplicates",
        "100.0%",
        "rows over max_length",
        "33.3%",
        f"problem: {path}:{REPEATS_LISTED + 3}: found the columns [red]",
        "problems: 1",
    ):
        assert part in text
    clean = printed(check(lines(tmp_path / "b.jsonl", pair("a", "b."))))
    assert "no problems" in clean
    assert "max_length" not in clean


def test_many_patterns_of_roles_are_summed_when_printed(tmp_path: Path) -> None:
    """Patterns of 1 to 12 pairs of turns, one row each: ten are printed, two are summed."""
    rows = [{"messages": turns("a", "b.") * count} for count in range(1, 13)]
    report = check(lines(tmp_path / "a.jsonl", *rows))
    assert len(report.roles) == 12
    (line,) = [line for line in printed(report).splitlines() if "other patterns" in line]
    assert " 2 " in line


def test_a_file_of_bad_rows_has_no_figures_to_print(tmp_path: Path, words: PreTrainedTokenizerFast) -> None:
    text = printed(check(lines(tmp_path / "a.jsonl", "{"), words))
    assert "nan" not in text
    (line,) = [line for line in text.splitlines() if "probably truncated" in line]
    assert "no rows" in line


def test_rows_that_are_no_lines_are_called_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the title of a file that is written another way than its origins, too."""
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text(json.dumps([pair("a", "b.")] * 2))
    assert "duplicate: row 2 repeats row 1" in printed(check("./a.json"))
