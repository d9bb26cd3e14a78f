"""Where an answer stands."""

import pytest

from ringfence.tasks.form import ASKED, TAGS, answer_part, has_form, thinking


@pytest.mark.parametrize(
    ("response", "part"),
    [
        ("<think>3 + 4</think>\n<answer>7</answer>", "7"),
        ("<answer>6</answer> no: <answer>7</answer>.", "7"),
        ("<think>3 + 4</think> It is 7", " It is 7"),
        ("<think>3 + 4 = 7", ""),
        ("It is 7", "It is 7"),
        ("<answer>7", "<answer>7"),
        ("7</answer>", "7</answer>"),
        ("<answer>6 <answer>7</answer> <answer>8", "7"),
        ("<answer>7</answer></answer>", "7"),
        ("", ""),
    ],
)
def test_an_answer_is_in_its_section_or_after_the_thoughts(response: str, part: str) -> None:
    assert answer_part(response) == part


def test_a_reference_has_the_form_that_the_system_message_asks_for() -> None:
    messages = thinking("3 + 4?", "3 + 4 = 7", "7")
    assert [turn["role"] for turn in messages] == ["system", "user", "assistant"]
    assert messages[0]["content"] == ASKED
    assert messages[2]["content"] == "<think>\n3 + 4 = 7\n</think>\n<answer>7</answer>"


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("<think>3 + 4</think>\n<answer>7</answer>\n", True),
        ("<think></think><answer></answer>", True),
        ("So: <think>3 + 4</think><answer>7</answer>", False),
        ("<think>3 + 4</think> It is <answer>7</answer>", False),
        ("<answer>7</answer><think>3 + 4</think>", False),
        ("<think><answer>7</think></answer>", False),
        ("<think>3 + 4</think><answer>7</answer><answer>7</answer>", False),
        ("<think>3 + 4</think><answer>7", False),
        ("", False),
    ],
)
def test_the_form_is_both_sections_once_and_nothing_else(text: str, whole: bool) -> None:
    assert has_form(text) is whole


@pytest.mark.parametrize("tag", TAGS)
def test_a_long_response_is_read_in_no_time(tag: str) -> None:
    assert not has_form(tag * 100_000)
    assert len(answer_part(tag * 100_000)) in {0, len(tag) * 100_000}
