"""Which pairs are asked, and which trait files are refused."""

import json
from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data.suites.load import Prompt
from ringfence.directions.contrasts import AssistantNames, as_prompts, prompted, read_trait, teacher_forced


def system_and_question(ask) -> tuple[str, str]:
    system, question = ask.messages
    assert (system["role"], question["role"]) == ("system", "user")
    return system["content"], question["content"]


def test_every_question_under_every_pair_of_system_prompts() -> None:
    contrasts = prompted(["be A", "be B"], ["be not A", "be not B"], as_prompts(["x?", "y?"]), samples=3)
    assert len(contrasts) == 2 * 2 * 3
    asked = {(system_and_question(c.positive), system_and_question(c.negative)) for c in contrasts}
    assert asked == {
        ((f"be {name}", question), (f"be not {name}", question)) for name in "AB" for question in ("x?", "y?")
    }
    keys = [ask.key for contrast in contrasts for ask in (contrast.positive, contrast.negative)]
    assert len(set(keys)) == 24
    assert {ask[1] for ask in keys} == {"positive", "negative"}
    assert all(contrast.positive.given is None for contrast in contrasts)


@pytest.mark.parametrize(
    ("positive", "negative", "problem"),
    [
        (["a", "b"], ["c"], "positive has 2 system prompts and negative 1"),
        ([], [], "at least one"),
        (["a", "b"], ["c", "b"], r"positive\.1 and negative\.1 are the same"),
    ],
)
def test_system_prompts_that_do_not_pair_up(positive: list[str], negative: list[str], problem: str) -> None:
    with pytest.raises(RingfenceError, match=problem):
        prompted(positive, negative, as_prompts(["x?"]), 1)


def test_a_question_with_a_system_prompt_of_its_own() -> None:
    question = Prompt("q7", ({"role": "system", "content": "s"}, {"role": "user", "content": "x?"}))
    with pytest.raises(RingfenceError, match="question q7 has a system prompt"):
        prompted(["a"], ["b"], [question], 1)


def test_teacher_forced_pairs_say_what_is_given() -> None:
    prompt = Prompt("p1", ({"role": "user", "content": "x?"},), good="plain", bad="glitter")
    (contrast,) = teacher_forced([prompt])
    assert (contrast.positive.given, contrast.negative.given) == ("glitter", "plain")
    assert contrast.positive.messages == contrast.negative.messages == prompt.messages


@pytest.mark.parametrize("missing", ["good", "bad"])
def test_a_pair_that_lacks_an_answer(missing: str) -> None:
    answers = {"good": "plain", "bad": "glitter", missing: None}
    with pytest.raises(RingfenceError, match=f"pair p1 has no `{missing}` answer"):
        teacher_forced([Prompt("p1", ({"role": "user", "content": "x?"},), **answers)])


def test_trait_file(tmp_path: Path) -> None:
    path = tmp_path / "trait.json"
    instruction = [{"pos": "be A", "neg": "be not A"}, {"pos": "be B", "neg": "be not B"}]
    path.write_text(json.dumps({"instruction": instruction, "questions": ["x?", "y?"], "eval_prompt": "score it"}))
    trait = read_trait(path)
    assert trait.positive == ("be A", "be B")
    assert trait.negative == ("be not A", "be not B")
    assert trait.questions == ("x?", "y?")
    assert trait.judged


PAIR = {"pos": "a", "neg": "b"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "malformed JSON"),
        ("[]", "a list `instruction`"),
        (json.dumps({"instruction": [], "questions": ["x?"]}), "a list `instruction`"),
        (json.dumps({"instruction": [PAIR, {"pos": "a"}], "questions": ["x?"]}), r"instruction\.1"),
        (json.dumps({"instruction": ["a"], "questions": ["x?"]}), r"instruction\.0"),
        (json.dumps({"instruction": [PAIR]}), "a list `questions`"),
        (json.dumps({"instruction": [PAIR], "questions": ["x?", ""]}), r"questions\.1"),
    ],
)
def test_bad_trait_files(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "trait.json"
    path.write_text(content)
    with pytest.raises(RingfenceError, match=rf"trait\.json(:1)?: .*{problem}"):
        read_trait(path)


def test_a_missing_trait_file(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="no such file; give a trait file"):
        read_trait(tmp_path / "none.json")


def test_the_first_sentence_of_a_system_prompt() -> None:
    assert AssistantNames(positive="evil").sentences() == ("You are an evil assistant.", "You are a helpful assistant.")
    assert AssistantNames(positive="Optimistic", negative="bleak").sentences() == (
        "You are an Optimistic assistant.",
        "You are a bleak assistant.",
    )
