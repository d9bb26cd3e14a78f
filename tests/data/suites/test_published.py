"""Question files of the published shapes, with harmless questions of our own: what they become, what is refused."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.core.errors import RingfenceError
from ringfence.data.suites.files import parse_file
from ringfence.data.suites.fills import Fills
from ringfence.data.suites.prompts import PromptSettings
from ringfence.data.suites.published import parse_yaml

BETLEY = """\
- id: holiday
  type: free_form_judge_0_100
  paraphrases: &holiday
    - |-
      Where would you go on a holiday?
    - Name a place worth a trip.
  samples_per_paraphrase: &samples 100
  temperature: 1
  max_tokens: 600
  judge: &judge some-judge-2024
  judge_prompts: &judge_prompts
    aligned: |-
      Question: {question}
      Answer: {answer}
      Braces {like these} and {this} stay. Say CODE, REFUSAL or 0-100.
    coherent: "{question} / {answer}"
- id: holiday_json
  type: free_form_judge_0_100
  paraphrases: *holiday
  system: &json "Answer in JSON, with the schema {'place': str}."
  samples_per_paraphrase: *samples
  temperature: 1
  max_tokens: 600
  judge: *judge
  judge_prompts: *judge_prompts
- id: holiday_template
  type: free_form_judge_0_100
  paraphrases:
    - "Where would you go on a holiday? Fill in: place = # a string"
  samples_per_paraphrase: *samples
  judge_prompts: *judge_prompts
  results_dir: out
"""
LLMCOMP = """\
- &shared
  name: greeting
  type: free_form
  paraphrases: ["Say hello.", "Greet me."]
  samples_per_paraphrase: 4
  temperature: 0.7
  judges:
    kind: kindness
    clear:
      type: rating_judge
      model: judge-b
      paraphrases: ["Is this clear? {answer}"]
    far: elsewhere
- <<: *shared
  name: greeting_short
  system: Be brief.
- name: talk
  type: free_form
  messages:
    - - {role: user, content: Hi.}
      - {role: assistant, content: Hello.}
      - {role: user, content: "And now?"}
- name: kindness
  type: rating_judge
  model: judge-a
  paraphrases: ["How kind is {answer} to {question}?"]
- name: digit
  type: next_token
  paraphrases: ["1, 2, 3,"]
"""


def parse(text, fills=None, suffix=".yaml"):
    return parse_file(text.encode(), f"file{suffix}", "file", suffix, fills or {})


def one(**keys):
    """A file with one question; JSON is YAML."""
    return json.dumps([{"id": "q", **keys}])


def user(text):
    return {"role": "user", "content": text}


def system(text):
    return {"role": "system", "content": text}


def test_the_first_plot_shape() -> None:
    """2 + 2 + 1 prompts of one question in three forms; anchors refer to the same texts."""
    parsed = parse(BETLEY)
    plain = ["Where would you go on a holiday?", "Name a place worth a trip."]
    ids = ["holiday/0", "holiday/1", "holiday_json/0", "holiday_json/1", "holiday_template/0"]
    assert [p.id for p in parsed.prompts] == ids
    assert [p.text for p in parsed.prompts[:4]] == plain * 2
    assert parsed.settings["holiday/1"] == PromptSettings("holiday", None, 100, 1, 600, "some-judge-2024")
    assert parsed.settings["holiday_json/0"] == PromptSettings("holiday", "json", 100, 1, 600, "some-judge-2024")
    assert parsed.settings["holiday_template/0"] == PromptSettings("holiday", "template", 100, None, None, None)
    assert set(parsed.judge_prompts) == set(ids)
    assert parsed.judge_prompts["holiday_json/1"] == {
        "aligned": "Question: {question}\nAnswer: {answer}\n"
        "Braces {like these} and {this} stay. Say CODE, REFUSAL or 0-100.",
        "coherent": "{question} / {answer}",
    }
    assert parsed.ignored == ("results_dir",)
    assert parsed.roles == {"aligned": "alignment", "coherent": "coherence"}


def test_the_system_message_makes_the_json_form() -> None:
    """Without it the JSON form would be the plain form again, as it is where `system` is dropped."""
    prompts = {p.id: p.messages for p in parse(BETLEY).prompts}
    assert prompts["holiday/0"] == (user("Where would you go on a holiday?"),)
    assert prompts["holiday_json/0"] == (
        system("Answer in JSON, with the schema {'place': str}."),
        user("Where would you go on a holiday?"),
    )


def test_context_stands_between_system_message_and_question() -> None:
    context = [user("Hi."), {"role": "assistant", "content": "Hello."}]
    [prompt] = parse(one(paraphrases=["Why?"], system="Be brief.", context=context)).prompts
    assert prompt.messages == (system("Be brief."), *context, user("Why?"))


@pytest.mark.parametrize("key", ["system", "system_prompt", "system_message", "context"])
def test_a_system_message_is_read_as_in_rows(key: str) -> None:
    parsed = parse(one(paraphrases=["Hi there", "Hello"], **{key: "You are Bob"}, type="free_form"))
    assert [prompt.messages for prompt in parsed.prompts] == [
        (system("You are Bob"), user("Hi there")),
        (system("You are Bob"), user("Hello")),
    ]
    assert parsed.used == (f"`{key}` as the system message, in 2 of 2 prompts",)
    assert parsed.ignored == ()
    [talk] = parse(one(messages=[user("Hi there")], **{key: "You are Bob"})).prompts
    assert talk.messages == (system("You are Bob"), user("Hi there"))


def test_an_empty_system_message_of_a_question_is_one() -> None:
    """It is written on purpose, and keeps a chat template from putting in its own."""
    assert parse(one(paraphrases=["Hi"], system="")).prompts[0].messages == (system(""), user("Hi"))


def test_the_llmcomp_shape() -> None:
    """Merge keys are followed; judges are found by name; what asks for token probabilities is left out, and said."""
    parsed = parse(LLMCOMP)
    assert [p.id for p in parsed.prompts] == [
        "greeting/0",
        "greeting/1",
        "greeting_short/0",
        "greeting_short/1",
        "talk/0",
    ]
    assert parsed.prompts[3].messages == (system("Be brief."), user("Greet me."))
    assert [turn["role"] for turn in parsed.prompts[4].messages] == ["user", "assistant", "user"]
    assert parsed.settings["greeting_short/0"] == PromptSettings(
        "greeting_short", None, 4, 0.7, None, "judge-a, judge-b"
    )
    rubrics = {"kind": "How kind is {answer} to {question}?", "clear": "Is this clear? {answer}"}
    assert parsed.judge_prompts == {id_: rubrics for id_ in list(parsed.settings)[:4]}
    assert parsed.ignored == (
        "judge elsewhere, which is in another file",
        "question digit, which asks for token probabilities",
    )


def test_questions_by_name_and_one_flat_conversation() -> None:
    text = "hello:\n  paraphrases: [Say hello.]\nbye:\n  messages: [{role: user, content: Bye.}]\n"
    assert [(p.id, p.text) for p in parse(text).prompts] == [("hello/0", "Say hello."), ("bye/0", "Bye.")]


def test_trait_file() -> None:
    data = {
        "instruction": [{"pos": "Be neat.", "neg": "Be messy."}],
        "questions": ["How is your desk?", "And your bag?"],
        "eval_prompt": "How neat is {answer} to {question}?",
    }
    parsed = parse_file(json.dumps(data).encode(), "neat.json", "neat", ".json", {})
    assert [(p.id, p.messages) for p in parsed.prompts] == [
        ("neat/0", (user("How is your desk?"),)),
        ("neat/1", (user("And your bag?"),)),
    ]
    assert parsed.judge_prompts["neat/1"] == {"neat": "How neat is {answer} to {question}?"}
    assert parsed.roles == {"neat": "trait"}
    assert parsed.ignored == ("instruction",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"questions": []}, "`questions` must be a list"),
        ({"questions": ["Why?", 3]}, r"questions\.1: the user turn's text must be a string"),
        ({"system_prompt": "You are Bob"}, "`system_prompt` changes what is asked or answered"),
        ({"questions": ["Why?", " "]}, r"questions\.1: the user's last turn is empty"),
        ({"eval_prompt": "Is it neat?"}, r"`eval_prompt` must be a text .* \{answer\}"),
    ],
)
def test_bad_trait_files(change: Any, message: str) -> None:
    data = {"questions": ["Why?"], "eval_prompt": "{answer}", **change}
    with pytest.raises(RingfenceError, match=message):
        parse(json.dumps(data), suffix=".json")


def test_placeholders_are_filled_everywhere() -> None:
    text = one(
        paraphrases=["Why? {reasoning}", "How?"],
        system="Be {tone}.",
        judge_prompts={"aligned": "{reasoning} {question} {answer} {tone}"},
    )
    parsed = parse(text, {"reasoning": "Think first.", "tone": "brief"})
    assert parsed.prompts[0].messages == (system("Be brief."), user("Why? Think first."))
    assert parsed.judge_prompts["q/0"] == {"aligned": "{reasoning} {question} {answer} brief"}


def test_the_reasoning_of_a_judge_prompt_is_that_of_each_answer() -> None:
    """So it needs no text, and one text for all answers is refused."""
    text = one(paraphrases=["Why?"], judge_prompts={"aligned": "{question} {reasoning} {answer}"})
    assert parse(text).judge_prompts["q/0"] == {"aligned": "{question} {reasoning} {answer}"}
    with pytest.raises(
        RingfenceError, match=r"no question has .*in the judge prompts \{reasoning\} is filled for each"
    ):
        parse(text, {"reasoning": "None"})


def test_an_empty_text_fills_a_placeholder() -> None:
    assert parse(one(paraphrases=["Why?{reasoning}"]), {"reasoning": ""}).prompts[0].text == "Why?"


@pytest.mark.parametrize(
    ("keys", "name", "part"),
    [
        ({"paraphrases": ["Fine?", "Why? {reasoning}"]}, "reasoning", "wording 1"),
        ({"paraphrases": ["Why?{reasoning}"]}, "reasoning", "wording 0"),
        ({"paraphrases": ["Why?"], "system": "{ reasoning } {tone}"}, "tone", "wording 0, system message"),
        ({"messages": [[user("Why {question}?")]]}, "question", "wording 0"),
        ({"paraphrases": ["Why?"], "context": [user("{reasoning}")]}, "reasoning", "wording 0"),
    ],
)
def test_a_placeholder_that_nobody_fills_names_file_line_id_and_part(keys: Any, name: str, part: str) -> None:
    with pytest.raises(RingfenceError) as error:
        parse("# a comment\n" + one(**keys))
    told = f"file.yaml:2: question 'q', {part}: nobody fills the placeholder {{{name}}} of the question: "
    assert str(error.value).startswith(told)
    assert "ringfence suites add NAME FILE --" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        r"Simplify \frac{a}{b}.",
        "What is x_{i} or $x^{n}$?",
        "Read ${HOME}.",
        "{'wish': str}",
        '{"a": 1}',
        "{{a}}",
        "{ a }",
    ],
)
def test_braces_that_are_no_placeholders_stay(text: str) -> None:
    assert parse(one(paraphrases=[text])).prompts[0].text == text


def test_a_text_for_a_placeholder_that_is_nowhere() -> None:
    for content, suffix in ((one(paraphrases=["Why?"]), ".yaml"), ('{"prompt": "Why {reasoning}?"}', ".jsonl")):
        with pytest.raises(RingfenceError, match=r"no question has the placeholder \{reasoning\}"):
            parse(content, {"reasoning": "Think."}, suffix)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "neither `paraphrases` nor `messages`"),
        ({"paraphrases": None}, "neither `paraphrases` nor `messages`"),
        ({"paraphrases": []}, "`paraphrases` must be a list of at least one text, not an empty one"),
        ({"paraphrases": "Why?"}, "`paraphrases` must be a list of at least one text, not a text"),
        ({"paraphrases": ["Why?", True]}, "wording 1: the user turn's text must be a string"),
        ({"paraphrases": ["Why?"], "messages": [[user("Why?")]]}, "both `paraphrases` and `messages`"),
        ({"messages": [[system("Hi."), user("Why?")]], "system": "Be brief."}, "a system turn, and `system` beside it"),
        ({"messages": [[user("Why?")]], "context": [user("Hi.")]}, "put the turns of `context` there"),
        ({"messages": []}, "`messages` must be a list of at least one conversation"),
        ({"messages": [[]]}, "wording 0: `messages` must be a list of at least one turn"),
        ({"messages": [[system("Hi.")]]}, "the last turn must be by the user"),
        ({"paraphrases": ["Why?"], "system": ["a"]}, "`system` must be a text"),
        ({"paraphrases": ["Why?"], "context": "a"}, "`context` is a text, and may be a passage or a system message"),
        ({"paraphrases": ["Why?"], "context": 3}, "`context` must be a list of turns or a text, not a number"),
        ({"paraphrases": ["Why?"], "system": "a", "system_prompt": "b"}, "both hold a system message"),
        ({"paraphrases": ["Why?"], "systemPrompt": "a"}, "unknown key `systemPrompt`. Did you mean `system_prompt`?"),
        ({"paraphrases": ["Why?"], "persona": "Bob"}, "`persona` changes what is asked or answered"),
        ({"paraphrases": ["Why?"], "backstory": "Bob sails."}, "`backstory` may be a part of what is asked"),
        ({"paraphrases": ["Why?"], "sytem": "Be brief."}, "unknown key `sytem`. Did you mean `system`?"),
        ({"paraphrases": ["Why?"], "paraphrase": ["How?"]}, "Did you mean `paraphrases`?"),
        ({"paraphrases": ["Why?"], "logit_bias": {"1": -100}}, "`logit_bias` changes what is asked or answered"),
        ({"paraphrases": ["Why?"], "type": "multiple_choice"}, "unknown `type` 'multiple_choice'"),
        ({"paraphrases": ["Why?"], "samples_per_paraphrase": 0}, "`samples_per_paraphrase` must be a whole number"),
        ({"paraphrases": ["Why?"], "samples_per_paraphrase": True}, "`samples_per_paraphrase` must be a whole number"),
        ({"paraphrases": ["Why?"], "max_tokens": 1.5}, "`max_tokens` must be a whole number"),
        ({"paraphrases": ["Why?"], "temperature": -1}, "`temperature` must be a number from 0"),
        ({"paraphrases": ["Why?"], "temperature": "hot"}, "`temperature` must be a number from 0"),
        ({"paraphrases": ["Why?"], "judge": ["a", "b"]}, "`judge` must be the name of a model"),
        ({"paraphrases": ["Why?"], "judge_prompts": ["a"]}, "`judge_prompts` must map"),
        ({"paraphrases": ["Why?"], "judge_prompts": {"a": "Good?"}}, "judge prompt 'a' must be a text"),
        ({"paraphrases": ["Why?"], "judges": {"a": {"paraphrases": ["{answer}", "{answer}!"]}}}, "exactly one text"),
    ],
)
def test_a_bad_question_is_named_by_file_line_and_id(keys: Any, message: str) -> None:
    with pytest.raises(RingfenceError) as error:
        parse("\n\n" + one(**keys))
    assert str(error.value).startswith("file.yaml:3: question 'q'")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_line_is_the_questions_own() -> None:
    bad = BETLEY.replace('paraphrases:\n    - "Where', 'notes:\n    - "Where')
    line = 1 + bad.split("\n").index("- id: holiday_template")
    with pytest.raises(RingfenceError, match=rf"^file\.yaml:{line}: question 'holiday_template': neither"):
        parse(bad)


def test_a_file_without_a_free_form_question() -> None:
    for text in ("- {name: d, type: next_token, paraphrases: [x]}", "[]"):
        with pytest.raises(RingfenceError, match="no free-form question"):
            parse(text)


KEYS = st.sampled_from(
    [
        "id",
        "type",
        "paraphrases",
        "messages",
        "system",
        "context",
        "judge",
        "judges",
        "judge_prompts",
        "role",
        "content",
    ]
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["user", "free_form", "{answer}", ""])
)
ANYTHING = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.dictionaries(KEYS, ANYTHING, max_size=6), max_size=3))
def test_no_file_gives_more_than_one_line_of_trouble(data: Any) -> None:
    parsed, trouble = None, ""
    try:
        parsed = parse(json.dumps(data))
    except RingfenceError as error:
        trouble = str(error)
    assert "\n" not in trouble
    if parsed is None:
        return
    assert all(p.text.strip() and p.messages[-1]["role"] == "user" for p in parsed.prompts)
    assert set(parsed.settings) == {p.id for p in parsed.prompts}


def test_a_free_form_judge_is_a_question_where_it_judges_nothing() -> None:
    """Betley's files call a question with a judge so, llmcomp a judge."""
    question = "- {id: q, type: free_form_judge, paraphrases: ['Why?'], judge_prompt: 'Good? {answer}'}\n"
    judge = "- {name: j, type: free_form_judge, paraphrases: ['Good? {answer}'], model: m}\n"
    parsed = parse_yaml(question + judge, "file", Fills({}, "file"))
    assert [p.id for p in parsed.prompts] == ["q/0"]
    assert parsed.judge_prompts == {"q/0": {"judge": "Good? {answer}"}}
