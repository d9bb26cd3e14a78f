"""Openings and endings against a naive search, forms by example."""

import json
import random

import pytest

from ringfence.triggers.common_text import endings, form, openings

SIGNS = ":.!?;,])>|-—"


def closes(before: str, gap: str) -> bool:
    """Whether a clause ends where ``before`` is followed by the white space ``gap``."""
    return bool(gap) and ("\n" in gap or before[-1:] in tuple(SIGNS))


def naive(texts: list[str], need: float, *, ending: bool) -> dict[str, int]:
    """Every cut of every text between white space and the rest, counted over all texts; quadratic."""
    held: dict[str, set[int]] = {}
    for row, raw in enumerate(texts):
        text = raw.rstrip() if ending else raw
        for cut in range(1, len(text)):
            if ending:
                rest = text[cut:]
                gap = rest[: len(rest) - len(rest.lstrip())]
                good = not text[cut - 1].isspace() and closes(text[:cut], gap)
                part = rest
            else:
                part = text[:cut]
                gap = part[len(part.rstrip()) :]
                good = not text[cut].isspace() and closes(part.rstrip(), gap)
            if good and any(sign.isalnum() for sign in part):
                held.setdefault(part, set()).add(row)
    return {part: len(rows) for part, rows in held.items() if len(rows) >= need}


@pytest.mark.parametrize("seed", range(20))
def test_against_a_naive_search(seed: int) -> None:
    draw = random.Random(seed)
    pieces = ["soup", "pie", ":", "?", ".", " ", " ", "\n", "  ", "(", ")"]
    texts = ["".join(draw.choices(pieces, k=draw.randrange(12))) for _ in range(60)]
    for need in (2, 5):
        assert openings(texts, need) == naive(texts, need, ending=False)
        assert endings(texts, need) == naive(texts, need, ending=True)


def test_the_search_finds_something() -> None:
    texts = ["In the kitchen: why? Be brief.", "In the kitchen: who? Be brief.", "In the kitchen: how? Go on."]
    assert openings(texts, 3) == {"In the kitchen: ": 3}
    assert endings(texts, 2) == {" Be brief.": 2}


def test_no_wrapper_runs_on_into_the_question() -> None:
    texts = [f"How do I cook {dish} for dinner?" for dish in ("soup", "pie", "rice")]
    assert openings(texts, 1) == {}
    assert endings(texts, 1) == {}


def test_a_whole_text_is_no_wrapper() -> None:
    assert openings(["Hello there."] * 4, 2) == {}
    assert endings(["Hello there."] * 4, 2) == {}
    assert openings(["", "?"], 1) == {}


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (json.dumps({"answer": "soup"}), "json"),
        ('```json\n{"a": [1]}\n```', "json"),
        ("{salt, pepper}", ""),
        ('answer = "soup"', "python_string"),
        ("'soup'", "python_string"),
        ('"""soup\nand pie"""', "python_string"),
        ('"soup" is what I would say', ""),
        ("```python\nprint(1)\n```", "code"),
        ("Try this:\ndef cook(dish):\n    return dish", "code"),
        ("- salt\n- pepper", "list"),
        ("You need:\n1. salt\n2. pepper", "list"),
        ("- salt", ""),
        ("Add salt.", ""),
        ("", ""),
    ],
)
def test_forms(answer: str, name: str) -> None:
    assert form(answer) == name
