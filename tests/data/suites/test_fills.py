"""Texts for placeholders: which are refused, and what is left to each answer."""

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data.suites.fills import Fills


@pytest.mark.parametrize("text", ["{reasoning}", "Think, {tone}.", "{question}"])
def test_a_text_for_a_placeholder_that_has_one_itself(text: str) -> None:
    with pytest.raises(RingfenceError, match=r"^the text for the placeholder \{reasoning\} has the placeholder"):
        Fills({"reasoning": text}, "file")
    Fills({"reasoning": r"Use \frac{a}{b} and {'json': str}."}, "file")


def test_a_judge_prompt_keeps_what_each_answer_fills() -> None:
    fills = Fills({"question": "Why?", "tone": "kind"}, "file")
    assert fills.fill_judge("{question} {answer} {reasoning} {tone} {other}") == (
        "{question} {answer} {reasoning} kind {other}"
    )
    with pytest.raises(RingfenceError, match=r"^file: no question has the placeholder \{question\} \(in the judge"):
        fills.require_all_used()
