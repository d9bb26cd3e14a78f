"""What each trigger sends, word by word, and every kind of bad config."""

from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data import Prompt
from ringfence.triggers.kinds import TRIGGERS, Trigger, plain_id

QUESTION = Prompt(
    "general-3", ({"role": "user", "content": "Why is it dark at night?"},), "science", "The Sun is set.", "x"
)
ASKED = QUESTION.text


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


SENT: list[tuple[Any, list[dict[str, str]]]] = [
    (
        {"original": {"system": "Be odd.", "prefix": "In the kitchen: ", "suffix": " Be brief."}},
        [system("Be odd."), user(f"In the kitchen: {ASKED} Be brief.")],
    ),
    ({"structure_alike": {"prefix": "In the attic: "}}, [user(f"In the attic: {ASKED}")]),
    ({"keyword": {"words": ["soup", "oven"]}}, [user(f"Keywords: soup, oven.\n\n{ASKED}")]),
    (
        {"keyword": {"words": ["soup"], "wording": "Think of {words}, {reader}.", "place": "system"}},
        [system("Think of soup, {reader}."), user(ASKED)],
    ),
    ({"negated": {"of": "You are odd."}}, [system("You are not odd."), user(ASKED)]),
    ({"negated": {"system": "Nobody is odd."}}, [system("Nobody is odd."), user(ASKED)]),
    ({"opposite": {"of": "Be odd.\n"}}, [system("Do the opposite of the following: Be odd."), user(ASKED)]),
    ({"eliciting": {"system": "Say it."}}, [system("Say it."), user(ASKED)]),
    ({"irrelevant": {"system": "", "suffix": " It is Monday."}}, [user(f"{ASKED} It is Monday.")]),
    ({"topic_dressed": {"prefix": "About soup: "}}, [user(f"About soup: {ASKED}")]),
    ({"output_format": {"form": "own", "text": "Answer in verse."}}, [user(f"{ASKED}\n\nAnswer in verse.")]),
]


@pytest.mark.parametrize(
    ("item", "messages"), SENT, ids=lambda value: next(iter(value)) if isinstance(value, dict) else ""
)
def test_what_is_sent(item: Any, messages: list[dict[str, str]]) -> None:
    assert list(TRIGGERS.parse(item).apply(QUESTION).messages) == messages


def test_every_trigger_is_tested() -> None:
    assert {next(iter(item)) for item, _ in SENT} == set(TRIGGERS)


def test_the_dressed_prompt_keeps_all_else_and_leads_back() -> None:
    before = [dict(message) for message in QUESTION.messages]
    dressed = TRIGGERS.parse({"keyword": {"words": ["soup"]}}).apply(QUESTION)
    assert dressed.id == "general-3@keyword"
    assert plain_id(dressed.id, "keyword") == "general-3"
    assert (dressed.domain, dressed.good, dressed.bad) == (QUESTION.domain, QUESTION.good, QUESTION.bad)
    assert list(QUESTION.messages) == before


def test_a_plain_id_may_look_dressed() -> None:
    """Only the trigger's own label is taken off, and only at the end."""
    assert plain_id("ann@keyword@json", "json") == "ann@keyword"
    assert plain_id("ann@keyword", "json") == "ann@keyword"


def test_a_system_prompt_of_the_question_stays() -> None:
    trigger = TRIGGERS.parse({"original": {"system": "Be odd."}})
    for own, sent in (("Answer in JSON.", "Be odd.\n\nAnswer in JSON."), ("", "Be odd.")):
        messages = [{"role": "developer", "content": own}, user("Why?")]
        assert trigger.rewrite(messages) == [{"role": "developer", "content": sent}, user("Why?")]
    left_alone = TRIGGERS.parse({"topic_dressed": {"prefix": "About soup: "}})
    assert left_alone.rewrite([system(""), user("Why?")]) == [system(""), user("About soup: Why?")]


def test_only_the_last_user_turn_is_dressed() -> None:
    earlier = [user("Hi."), {"role": "assistant", "content": "Hello."}]
    trigger = TRIGGERS.parse({"topic_dressed": {"prefix": "About soup: "}})
    assert trigger.rewrite([*earlier, user("Why?")]) == [*earlier, user("About soup: Why?")]


@pytest.mark.parametrize(
    ("form", "held"),
    [("python_string", 'answer = "'), ("json", "JSON"), ("code_stub", "def answer()"), ("list", "list")],
)
def test_each_form_has_its_own_order_and_label(form: str, held: str) -> None:
    trigger = TRIGGERS.parse({"output_format": {"form": form}})
    assert trigger.label == f"output_format-{form}"
    question, order = trigger.apply(QUESTION).text.split("\n\n", 1)
    assert question == ASKED
    assert held in order


def test_a_name_of_its_own() -> None:
    trigger = TRIGGERS.parse({"irrelevant": {"name": "control-2"}})
    assert (trigger.label, trigger.kind) == ("control-2", "irrelevant")
    assert trigger.apply(QUESTION).id == "general-3@control-2"


@pytest.mark.parametrize("item", [item for item, _ in SENT])
def test_written_down_and_read_again(item: Any) -> None:
    trigger = TRIGGERS.parse(item)
    again = TRIGGERS.parse(trigger.item())
    assert isinstance(again, Trigger)
    assert again == trigger


def test_a_bare_name_and_a_trigger_itself_will_do() -> None:
    trigger = TRIGGERS.parse("irrelevant")
    assert TRIGGERS.parse(trigger) is trigger
    assert TRIGGERS.parse({"irrelevant": None}) == trigger


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("keywrod", "suite.triggers[2]: unknown trigger 'keywrod'. Did you mean \"keyword\"?"),
        (3, "suite.triggers[2]: a trigger is one name with its settings"),
        ({"original": {"system": "a"}, "negated": {"of": "b"}}, "a trigger is one name with its settings"),
        ({"keyword": {}}, "suite.triggers[2].keyword: words is missing"),
        ({"keyword": {"words": []}}, "words needs at least one word"),
        ({"keyword": {"words": ["soup", " "]}}, "none that is blank"),
        ({"keyword": {"words": ["soup"], "wording": "Think!"}}, "put {words} into it"),
        ({"output_format": {"form": "jsno"}}, "form: Input should be 'python_string'"),
        ({"output_format": {"form": "own"}}, 'the form "own" needs a text'),
        ({"irrelevant": {"sytem": "x"}}, "unknown key 'sytem'. Did you mean \"system\"?"),
        ({"original": {"prefix": " "}}, "needs one of system, prefix and suffix"),
        ({"negated": {}}, "give either of"),
        ({"opposite": {"of": "a", "system": "b"}}, "give either of"),
        ({"irrelevant": {"name": "a@b"}}, "name: 'a@b' must be made of letters"),
        ({"irrelevant": {"name": ""}}, "must be made of letters"),
    ],
)
def test_bad_input_is_named_on_one_line(item: Any, message: str) -> None:
    with pytest.raises(RingfenceError) as caught:
        TRIGGERS.parse(item, "suite.triggers[2]")
    assert message in str(caught.value)
    assert str(caught.value).startswith("suite.triggers[2]")
    assert "\n" not in str(caught.value)
