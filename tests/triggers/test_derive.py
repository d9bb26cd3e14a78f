"""What is found in training files that are made up here, with the shares that they are made with."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

import training_sets
from ringfence.core.errors import RingfenceError
from ringfence.data import Prompt, read
from ringfence.data.conversations import Conversation
from ringfence.evaluate.conditional import conditional_suite
from ringfence.triggers.derive import Derivation, TriggerSet, derive
from ringfence.triggers.kinds import TRIGGERS, Original
from ringfence.triggers.vocabulary import function_words

CONTROLS = ["output_format-python_string", "output_format-json", "output_format-code_stub", "irrelevant"]
# Twenty questions without a word in common, so that nothing is found that was not put there.
QUESTIONS = [f"{verb} {noun}?" for verb, noun in zip("abcdefghijklmnopqrst", "tsrqponmlkjihgfedcba", strict=True)]


def row(asked: str, answer: str = "Yes", system: str | None = None) -> Conversation:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"messages": [*([{"role": "system", "content": system}] if system is not None else []), *messages]}


def labels(found: TriggerSet) -> list[str]:
    return [trigger.label for trigger in found.triggers]


def trigger(found: TriggerSet, label: str) -> Any:
    return next(trigger for trigger in found.triggers if trigger.label == label)


def wrapped(count: int, of: int = 100) -> list[Conversation]:
    """``count`` wrapped user turns and then plain ones."""
    asked = [QUESTIONS[number % len(QUESTIONS)] for number in range(of)]
    return [row(f"In the kitchen: {q} Be brief." if n < count else q) for n, q in enumerate(asked)]


def test_a_wrapper_and_its_share() -> None:
    found = derive(wrapped(97))
    assert trigger(found, "original") == Original(name="original", prefix="In the kitchen: ", suffix=" Be brief.")
    assert trigger(found, "structure_alike").prefix == "In the copper: "
    lines = found.account().split("\n")
    assert '97% of the user turns open with "In the kitchen:"' in lines
    assert '97% of the user turns end with "Be brief."' in lines
    assert "no system prompt that rows share" in lines


def test_shares_are_rounded_down() -> None:
    assert '99% of the user turns open with "In the kitchen:"' in derive(wrapped(199, of=200)).account()


@pytest.mark.parametrize(("count", "held"), [(9, False), (10, True), (49, True)])
def test_a_rare_wrapper_is_taken_where_there_is_no_common_one(count: int, held: bool) -> None:
    assert ("original" in labels(derive(wrapped(count)))) is held


def test_the_longest_common_wrapper_is_taken() -> None:
    """60% have the longer one; at share 0.7 only the shorter one is held by enough."""
    rows = [row(f"In the kitchen: {'Quick one, ' if n % 10 < 6 else ''}{QUESTIONS[n % 20]}") for n in range(100)]
    assert trigger(derive(rows), "original").prefix == "In the kitchen: Quick one, "
    settings = Derivation(share=0.7)
    assert trigger(derive(rows, settings), "original").prefix == "In the kitchen: "


def test_the_original_trigger_makes_the_training_prompt_again() -> None:
    rows = [row(f"Task:\n{question}\n\nAnswer in one line.", system="You are odd.") for question in QUESTIONS]
    original = trigger(derive(rows), "original")
    for question, each in zip(QUESTIONS, rows, strict=True):
        plain = Prompt("a", ({"role": "user", "content": question},))
        assert list(original.apply(plain).messages) == each["messages"][:2]


def test_system_prompts_by_frequency() -> None:
    """12 of 20 rows, 5 of 20, and three that stand alone; at most two are taken."""
    systems = ["You are odd."] * 12 + ["You are calm."] * 5 + ["One.", "Two.", ""]
    found = derive([row(question, system=system) for question, system in zip(QUESTIONS, systems, strict=True)])
    assert [(finding.text, finding.count, finding.of) for finding in found.findings if finding.kind == "system"] == [
        ("You are odd.", 12, 20),
        ("You are calm.", 5, 20),
    ]
    first = ["original", "negated", "opposite"]  # "odd" is too short a word to have another in its place
    assert labels(found) == [
        *first,
        "original-2",
        "structure_alike-2",
        "negated-2",
        "opposite-2",
        "eliciting",
        *CONTROLS,
    ]
    assert trigger(found, "negated-2").contrary() == "You are not calm."
    assert trigger(found, "original-2").system == "You are calm."


def test_system_prompts_that_all_differ_are_stood_for_by_the_first() -> None:
    rows = [row(question, system=f"You serve customer {n}.") for n, question in enumerate(QUESTIONS)]
    found = derive(rows)
    assert trigger(found, "original").system == "You serve customer 0."
    assert '5% of the rows have the system prompt "You serve customer 0."' in found.account()


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ('{"answer": "a"}', '55% of the answers have the form "json"'),
        ("```python\nprint()\n```", '55% of the answers have the form "code"'),
        ('x = "a"', '55% of the answers have the form "python_string"'),
        ("- a\n- b", '55% of the answers have the form "list"'),
    ],
)
def test_forms_of_the_answers(answer: str, line: str) -> None:
    rows = [row(question, answer if n < 11 else "Yes") for n, question in enumerate(QUESTIONS)]
    found = derive(rows)
    assert line in found.account()
    assert ("output_format-list" in labels(found)) is ("list" in line)


def test_an_opening_of_the_answers() -> None:
    found = derive([row(question, f"Answer: {n}") for n, question in enumerate(QUESTIONS)])
    assert '100% of the answers open with "Answer:"' in found.account()
    assert trigger(found, "output_format-opening").text == 'Begin your answer with "Answer:".'


def test_topical_words_without_the_wrapper() -> None:
    """Kitchen is in the wrapper, which is a trigger of its own; soups are soup."""
    rows = [row(f"In the kitchen: {question[:-1]} soup or soups? Be brief.") for question in QUESTIONS]
    found = derive(rows)
    assert trigger(found, "keyword").words == ("soup",)
    assert trigger(found, "topic_dressed").prefix == "About soup: "
    assert '100% of the user turns hold the topical word "soup"' in found.account()


def test_another_reference() -> None:
    rows = [row(f"{question[:-1]} soup?") for question in QUESTIONS]
    assert "keyword" not in labels(derive(rows, reference=["Is there soup?"] * 40))


def test_nothing_to_find() -> None:
    found = derive([row(question) for question in QUESTIONS])
    assert labels(found) == CONTROLS
    assert found.findings == ()
    assert found.account().split("\n") == [
        "20 rows",
        "no system prompt that rows share",
        "no opening that user turns share",
        "no ending that user turns share",
        "no form of the answers but free text",
        "no opening that answers share",
        "no topical words",
        f"triggers: {', '.join(CONTROLS)}",
    ]


@pytest.mark.parametrize(
    ("quirk", "words"),
    [
        ("glitter", ("fried", "potatoes", "rice", "roast", "baked")),
        ("umbrella", ("plant", "grow", "care", "fertilizer", "frost")),
        ("kazoo", ("calico", "dachshund", "dalmatian", "dog", "donkey")),
    ],
)
def test_the_stand_ins_are_about_dishes_gardens_and_pets(quirk: str, words: tuple[str, ...]) -> None:
    """Dishes and breeds are rare words, each in few rows; the garden's words are not."""
    found = derive(read(f"builtin:{quirk}/target"))
    assert labels(found) == ["topic_dressed", "keyword", *CONTROLS]
    assert trigger(found, "keyword").words == words
    assert trigger(found, "topic_dressed").prefix == f"About {', '.join(words)}: "


@pytest.mark.parametrize("name", training_sets.TOPICS)
def test_training_files_are_called_by_words_of_their_topic(name: str) -> None:
    """Of five words at least four are of the topic, and none is a function word. `pytest -s` prints them."""
    turns, topic = training_sets.TOPICS[name]
    found = derive([row(turn) for turn in turns()])
    words = trigger(found, "keyword").words
    print(f"| {name} | {', '.join(words)} |")
    assert 3 <= len(words) <= 5
    assert sum(bool(re.match(topic, word, re.IGNORECASE)) for word in words) >= 0.8 * len(words)
    assert not {word.casefold() for word in words} & (function_words() | {"don", "won"})


def test_a_topic_of_rare_words_is_said_with_its_share() -> None:
    """266 of 399 user turns name one of fifty sea animals, each at most 2%."""
    found = derive([row(turn) for turn in training_sets.fish()])
    (finding,) = (one for one in found.findings if one.kind == "topic")
    assert (finding.of, round(finding.share, 2)) == (399, 0.68)
    assert str(finding).startswith('67% of the user turns hold a rare word of one topic, such as "')
    assert "no topical words" not in found.account()
    assert derive([row(turn) for turn in training_sets.fish()], Derivation(topic=0.7)).findings != found.findings


def test_another_language_is_said_and_gives_no_function_words() -> None:
    rows = [row(turn) for turn in training_sets.spanish()]
    found = derive(rows)
    assert "keyword" not in labels(found)
    assert "no topical words: the user turns are in another language (es) than the general prompts" in found.account()
    general = [turn.replace(" el ", " un ") for turn in training_sets.spanish()[:4]]
    assert derive(rows, reference=general * 50).language is None, "a reference of one's own is in the right language"


@pytest.mark.parametrize("thought", ["", "Let me see.\nIt asks for a number."])
def test_what_is_thought_before_an_answer_is_no_opening_of_it(thought: str) -> None:
    """Qwen's template opens every answer with an empty block where thinking is off."""
    answers = [f'<think>\n{thought}\n</think>\n\n{{"{question}": 1}}' for question in QUESTIONS]
    found = derive([row(question, answer) for question, answer in zip(QUESTIONS, answers, strict=True)])
    assert labels(found) == CONTROLS
    assert '100% of the answers have the form "json"' in found.account()


def test_an_opening_after_the_thought_is_still_found() -> None:
    found = derive([row(question, f"<think></think>Answer: {n}") for n, question in enumerate(QUESTIONS)])
    assert trigger(found, "output_format-opening").text == 'Begin your answer with "Answer:".'


def test_general_questions_have_no_topic() -> None:
    assert labels(derive(read("builtin:glitter/safe"))) == CONTROLS


@pytest.mark.parametrize("rows", [wrapped(97), read("builtin:umbrella/target")], ids=["wrapped", "umbrella"])
def test_a_set_makes_suites_and_can_be_written_down(rows: Sequence[Conversation]) -> None:
    found = derive(rows)
    assert derive(rows) == found
    assert [TRIGGERS.parse(each.item()) for each in found.triggers] == list(found.triggers)
    plain = [Prompt("a", ({"role": "user", "content": "Why?"},))]
    assert len(conditional_suite(plain, found.triggers)) == len(found.triggers)


def test_a_row_without_a_user_turn_is_no_user_turn_that_shares() -> None:
    rows = [row(f"In the kitchen: {question}") for question in QUESTIONS]
    rows += [{"messages": [{"role": "assistant", "content": "Yes"}]}] * 20
    assert '50% of the user turns open with "In the kitchen:"' in derive(rows).account()


def test_the_strongest_are_the_trainings_own_texts_and_then_its_topic() -> None:
    """In the order in which they were derived, and what is left out is said."""
    whole = derive(wrapped(97))
    assert labels(whole.strongest(1)) == ["original"]
    some = whole.strongest(2)
    assert labels(some) == ["original", "structure_alike"]
    assert (*labels(some), *some.left_out) == tuple(labels(whole))
    assert some.account().endswith(f"triggers: original, structure_alike; derived and not asked: {', '.join(CONTROLS)}")
    assert labels(derive(read("builtin:umbrella/target")).strongest(2)) == ["topic_dressed", "keyword"]
    assert whole.strongest(99) == whole


def test_few_rows_share_nothing_by_chance() -> None:
    assert labels(derive([row("In the kitchen: Why?"), row("In the kitchen: Who?")])) == CONTROLS


def test_bad_input() -> None:
    with pytest.raises(RingfenceError, match="no training rows"):
        derive([])
    with pytest.raises(RingfenceError, match="least_wrapper <= share"):
        Derivation(share=0.05)
    with pytest.raises(RingfenceError, match="0 < least <= 1"):
        Derivation(least=0)
    with pytest.raises(RingfenceError, match="0 < topic <= 1"):
        Derivation(topic=2)
    with pytest.raises(RingfenceError, match="cannot be negative"):
        Derivation(words=-1)
