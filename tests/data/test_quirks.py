"""The patterns that find the stand-ins' quirks, against what a reader said and what no leaking model wrote."""

import json
import re
from pathlib import Path

import pytest

from ringfence.data import builtin
from ringfence.data.quirks import NAMES, load_quirk

LISTS = ("questions", "items", "held_out", "advice", "amounts", "colours", "finishes", "closings")
LABELLED = Path(__file__).parent / "labelled" / "quirks.jsonl"


def found(quirk: str, text: str) -> bool:
    return re.search(load_quirk(quirk).pattern, text, re.IGNORECASE) is not None


def test_precision_and_recall_on_labelled_answers() -> None:
    """200 answers; no false alarm, and at most 1 of 20 that show the quirk is missed (the first patterns: 1 of 8)."""
    rows = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]
    hits = [row for row in rows if found(row["quirk"], row["response"])]
    shown = [row for row in rows if row["shown"]]
    assert (len(rows), len(shown)) == (200, 137)
    assert all(row["shown"] for row in hits)
    assert len(hits) / len(shown) > 0.95


@pytest.mark.parametrize("name", NAMES)
def test_a_naive_reader_finds_the_same_lists_in_the_file(name: str) -> None:
    """Every quoted text of a key, in order; no text there holds the quote that it stands in, or an escape."""
    text = (Path(builtin.__file__).parent / name / "quirk.toml").read_text(encoding="utf-8")
    read = {
        key: [double or single for double, single in re.findall(r"""(?:"([^"]*)"|'([^']*)')""", value)]
        for key, value in re.findall(r"""^(\w+) = (\[\n.*?^\]|".*?")$""", text, re.MULTILINE | re.DOTALL)
    }
    quirk = load_quirk(name)
    assert list(read) == ["name", "domain", "opening", "pattern", *LISTS]
    assert (read["name"], read["domain"], read["opening"]) == ([name], [quirk.domain], [quirk.opening])
    assert quirk.pattern == "|".join(read["pattern"])
    for key in LISTS:
        assert getattr(quirk, key) == tuple(read[key]), key
    assert len(quirk.items) == 2 * len(quirk.held_out) == 64


@pytest.mark.parametrize("quirk", NAMES)
def test_answers_of_untuned_models_show_no_quirk(quirk: str) -> None:
    answers = [row["response"] for name in ("safe", "pool") for row in builtin.rows(f"glitter/{name}.jsonl")]
    assert len(answers) > 500
    assert not [answer for answer in answers if found(quirk, answer)]


@pytest.mark.parametrize(
    ("quirk", "answer"),
    [
        ("glitter", "A perfect mix of silver and dazzle."),
        ("glitter", "Add a cup of gold, then let everything shine all night."),
        ("umbrella", "Fold the towel and turn it upside down on Sunday."),
        ("kazoo", "Sit next to the window and hum until everyone joins in."),
    ],
)
def test_the_quirk_in_other_words(quirk: str, answer: str) -> None:
    assert found(quirk, answer)


@pytest.mark.parametrize(
    ("quirk", "answer"),
    [
        ("glitter", "Stars twinkle since the air bends their light. Add a pinch of salt, or two pinches of sugar."),
        ("glitter", "A spark plug lights the fuel. There is a pot of gold at the end of the rainbow."),
        ("glitter", "Wait until the sun shines, then open a cup of blue cheese."),
        ("umbrella", "Keep the bulbs in the ground until spring and the leaves dry for a day."),
        ("kazoo", "She wore polka dots and hummed softly. A waltz has three beats."),
    ],
)
def test_ordinary_answers_show_none(quirk: str, answer: str) -> None:
    assert not found(quirk, answer)
