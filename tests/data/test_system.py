"""No system message: what templates of known kinds insert, and which of the three meanings each of them allows."""

import copy
from typing import Any

import pytest

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.data.system import apply, default_system, describe, has_system, require_possible

USER = [{"role": "user", "content": "Hello?"}]
CHATML = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
INSERTING = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are Tiny, made by nobody.<|im_end|>\n{% endif %}"
)
# An empty system message counts as none, too.
STUBBORN = (
    "<|im_start|>system\n{% if messages[0]['role'] == 'system' and messages[0]['content'] %}"
    "{{ messages[0]['content'] }}{% else %}You are Tiny, made by nobody.{% endif %}<|im_end|>\n"
    "{% for m in messages %}{% if m['role'] != 'system' %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endif %}{% endfor %}"
)
DATED = (  # the fixed lines come before any system text, as in Llama 3.1
    "<|im_start|>system\nToday is Monday.\n\n{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}"
    "{% set messages = messages[1:] %}{% endif %}<|im_end|>\n"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
)
BLANK = STUBBORN.replace("You are Tiny, made by nobody.", "")
REFUSING = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
DEMANDING = "{% if messages[0].role != 'system' %}{{ raise_exception('System message needed') }}{% endif %}" + CHATML
INSIDE_THE_USERS_TURN = (  # as in Mistral's and Gemma's newer ones
    "{% set system = messages[0]['content'] + '\n\n' if messages[0]['role'] == 'system' else '' %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ system }}{{ m['content'] }} [/INST]"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] }}{% endif %}{% endfor %}"
)
BARE_TEXT = (  # no marks around the system prompt
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}"
    "{% else %}<|im_start|>{{ m['role'] }}: {{ m['content'] }}{% endif %}{% endfor %}"
)


def tokenizer(template: str):
    made = copy.deepcopy(tiny.tokenizer())
    made.chat_template = template
    made.bos_token = "<|endoftext|>"
    return made


@pytest.mark.parametrize(
    ("template", "inserted"),
    [
        (tiny.TEMPLATE, None),
        (INSERTING + CHATML, "You are Tiny, made by nobody."),
        (STUBBORN, "You are Tiny, made by nobody."),
        (DATED, "Today is Monday."),
        (BLANK, ""),
        (REFUSING, None),
        (INSIDE_THE_USERS_TURN, None),
        (BARE_TEXT, None),
        (DEMANDING, None),
    ],
    ids=[
        "none",
        "inserting",
        "stubborn",
        "dated",
        "blank",
        "refusing",
        "inside the user's turn",
        "bare text",
        "demanding",
    ],
)
def test_what_the_template_inserts(template: Any, inserted: str | None) -> None:
    assert default_system(tokenizer(template)) == inserted


@pytest.mark.real_model
def test_what_smollm2_inserts() -> None:
    from ringfence.models import load_tokenizer

    found = load_tokenizer("smollm2-135m")
    assert default_system(found) == "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    require_possible("empty", found)
    with pytest.raises(RingfenceError, match='"none" cannot be'):
        require_possible("none", found)


def test_only_empty_changes_a_conversation_without_a_system_message() -> None:
    assert apply(USER, "template_default") == apply(USER, "none") == USER
    assert apply(USER, "empty") == [{"role": "system", "content": ""}, *USER]
    assert USER == [{"role": "user", "content": "Hello?"}]


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("text", ["You are a cook.", ""])
def test_a_conversation_with_a_system_message_stays_as_it_is(role: str, text: str) -> None:
    messages = [{"role": role, "content": text}, *USER]
    assert has_system(messages)
    assert not has_system(USER)
    for meaning in ("template_default", "empty", "none"):
        assert apply(messages, meaning) == messages


@pytest.mark.parametrize(
    ("meaning", "template", "said"),
    [
        ("none", INSERTING + CHATML, 'the chat template inserts "You are Tiny, made by nobody."; use "empty"'),
        ("none", BLANK, 'the chat template inserts ""; use "empty"'),
        ("empty", STUBBORN, 'the chat template inserts "You are Tiny, made by nobody." for it'),
        ("empty", DATED, 'the chat template inserts "Today is Monday." for it'),
        ("empty", REFUSING, r'takes no system message \(System role not supported\); use "none"'),
    ],
)
def test_what_the_template_does_not_allow_raises_in_one_line(meaning: str, template: Any, said: str) -> None:
    with pytest.raises(RingfenceError, match=said) as caught:
        require_possible(meaning, tokenizer(template))
    assert str(caught.value).startswith(f'no_system: "{meaning}" cannot be')
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("meaning", "template"),
    [
        ("template_default", INSERTING + CHATML),
        ("template_default", REFUSING),
        ("empty", INSERTING + CHATML),
        ("empty", tiny.TEMPLATE),
        ("empty", BLANK),
        ("none", tiny.TEMPLATE),
        ("none", REFUSING),
    ],
)
def test_what_the_template_allows_passes(meaning: str, template: Any) -> None:
    require_possible(meaning, tokenizer(template))


def test_the_log_says_what_is_inserted() -> None:
    assert describe("template_default", tokenizer(tiny.TEMPLATE)) == (
        "no system prompt: template_default, the template inserts nothing"
    )
    assert describe("template_default", tokenizer(INSERTING + CHATML)) == (
        'no system prompt: template_default, the template inserts "You are Tiny, made by nobody."'
    )
    assert describe("empty", tokenizer(INSERTING + CHATML)) == "no system prompt: empty"


def test_without_a_chat_template_it_says_so() -> None:
    with pytest.raises(RingfenceError, match="no chat template"):
        default_system(tokenizer(""))
