"""Texts, their placeholders, and what an answer cannot do to them."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from ringfence.core.errors import RingfenceError
from ringfence.core.settings import explain
from ringfence.data.suites import store as suite_store
from ringfence.judges import ApiJudge, Stated, Trait, find_rubric, load_rubric
from ringfence.judges.rubrics import BUILTIN, rubric_file, split_reasoning

TRAIT = Trait(trait="sycophancy", description="Agrees to please.")


def written(tmp_path, text, name="mine.txt"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", BUILTIN)
def test_every_built_in_text_carries_question_and_answer_once(name: Any) -> None:
    rubric = load_rubric(name, TRAIT if name == "trait" else None)
    text = rubric.render("QUEST", "REPLY")
    assert (text.count("QUEST"), text.count("REPLY")) == (1, 1)
    assert text.index("QUEST") < text.index("REPLY")
    assert "{" not in text
    assert "0 to 100" in text
    assert "number only" in text


def test_the_trait_and_its_description_are_in_the_text() -> None:
    text = load_rubric("trait", TRAIT).render("Q", "A")
    assert "Trait: sycophancy\n" in text
    assert "Agrees to please." in text


def test_an_answer_is_not_filled_in_again(tmp_path: Path) -> None:
    path = written(tmp_path, "Q: {question} A: {answer} T: {trait} {description}")
    rubric = load_rubric(path, Trait(trait="{answer}", description="{question}"))
    assert rubric.render("{answer}", "{question} {trait} \\1 \\g<0>") == (
        "Q: {answer} A: {question} {trait} \\1 \\g<0> T: {answer} {question}"
    )


def test_other_braces_are_text(tmp_path: Path) -> None:
    path = written(tmp_path, 'Say {"score": 85} or {} or {0} or { answer } or {{x: 1}}. {answer} } {')
    assert load_rubric(path).render("q", "A") == 'Say {"score": 85} or {} or {0} or { answer } or {{x: 1}}. A } {'


def test_a_placeholder_may_stand_twice_or_not_at_all(tmp_path: Path) -> None:
    assert load_rubric(written(tmp_path, "{answer}, again {answer}")).render("q", "A") == "A, again A"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Judge {question}.", "no {answer}"),
        ("{question} {answer} {thought}", "nobody fills {thought}; known are {question}, {answer}, {reasoning}"),
        ("{answer} {trait}", "nobody fills {trait}; give the rubric as {trait: NAME, description: TEXT}"),
        ("", "no {answer}"),
    ],
)
def test_a_bad_text_raises_with_file_and_placeholder(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(RingfenceError) as raised:
        load_rubric(path)
    assert path in str(raised.value)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_trait_that_no_text_names_raises(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"mine.txt: has no \{trait\}"):
        load_rubric(written(tmp_path, "{answer}"), TRAIT)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes.txt").write_bytes(b"caf\xe9 {answer}")
    with pytest.raises(RingfenceError, match=r"bytes.txt: cannot read the file: byte 3 is not UTF-8"):
        load_rubric(str(tmp_path / "bytes.txt"))
    with pytest.raises(RingfenceError, match="cannot read the file"):
        load_rubric(str(tmp_path))
    with pytest.raises(RingfenceError, match=r'rubric aligment: no such file. Did you mean "alignment"'):
        load_rubric("aligment")


def test_the_digest_is_that_of_what_is_asked(tmp_path: Path) -> None:
    one, other = (written(tmp_path, "Rate {answer}.", name) for name in ("a.txt", "b.txt"))
    assert load_rubric(one).digest == load_rubric(other).digest
    assert load_rubric(written(tmp_path, "Rate {answer}!")).digest != load_rubric(one).digest
    assert load_rubric("trait", TRAIT).digest != load_rubric("trait", Trait(trait="evil", description="-")).digest
    assert load_rubric(one).digest == hashlib.sha256(b"('Rate {answer}.', ())").hexdigest()


def test_a_judges_rubrics_go_before_the_built_in_ones(tmp_path: Path) -> None:
    path = written(tmp_path, "Mine: {answer}")
    assert find_rubric("alignment", {"alignment": Stated(rubric=path, scores="alignment")}).render("", "A") == "Mine: A"
    assert find_rubric("coherence", {"alignment": path}) == load_rubric("coherence")
    assert find_rubric("flattery", {"flattery": TRAIT}).name == "sycophancy"
    assert find_rubric("kind", {"kind": "hhh"}) == load_rubric("hhh")


def test_an_unknown_name_raises_with_the_nearest_even_if_there_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flatery").write_text("{answer}")
    with pytest.raises(RingfenceError, match=r'unknown rubric .flatery.*Did you mean "flattery"'):
        find_rubric("flatery", {"flattery": TRAIT})


def test_the_trait_needs_its_name() -> None:
    with pytest.raises(RingfenceError, match=r"rubric trait: nobody fills \{description\}"):
        load_rubric("trait")


# --- judge prompts of suites --------------------------------------------------------------------------------

QUESTIONS = """
- id: trip
  paraphrases: ["Where to?"]
  judge_prompts: &judges
    aligned: |
      Is {answer} a good reply to {question}? {"score": 0 to 100}
    coherent: "Does {answer} make sense?"
- id: meal
  paraphrases: ["What to eat?"]
  judge_prompts: *judges
"""


def test_a_judge_prompt_of_a_file_of_questions_is_a_rubric(tmp_path: Path) -> None:
    path = written(tmp_path, QUESTIONS, "trips#1.yaml")
    rubric = find_rubric("alignment", {"alignment": f"{path}#aligned"})
    assert rubric.name == "aligned"
    assert rubric.render("{answer}", "{question}") == 'Is {question} a good reply to {answer}? {"score": 0 to 100}'
    as_text = written(tmp_path, 'Is {answer} a good reply to {question}? {"score": 0 to 100}\n')
    assert rubric.digest == load_rubric(as_text).digest
    assert load_rubric(f"{path}#coherent").text == "Does {answer} make sense?"


def test_a_judge_prompt_of_a_stored_suite_is_a_rubric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGFENCE_HOME", str(tmp_path / "home"))
    suite_store.add("trips", written(tmp_path, QUESTIONS, "trips.yaml"))
    assert load_rubric("suite:trips#coherent").text == "Does {answer} make sense?"
    with pytest.raises(RingfenceError, match=r'^rubric suite:trps#aligned: no stored suite .* Did you mean "trips"'):
        load_rubric("suite:trps#aligned")


def test_the_eval_prompt_of_a_trait_file_is_a_rubric(tmp_path: Path) -> None:
    path = written(tmp_path, '{"questions": ["Hm?"], "eval_prompt": "How vain is {answer}?"}', "vanity.json")
    assert load_rubric(f"{path}#vanity").text == "How vain is {answer}?"


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("#alinged", "no judge prompt 'alinged'. Did you mean \"aligned\"?"),
        ("#", "which judge prompt of the suite? Write {path}#METRIC. Known: {path}#aligned, {path}#coherent."),
        ("", "which judge prompt of the suite? Write {path}#METRIC. Known: {path}#aligned, {path}#coherent."),
    ],
)
def test_a_metric_that_is_not_there_raises_with_those_that_are(tmp_path: Path, metric: str, told: str) -> None:
    path = written(tmp_path, QUESTIONS, "trips.yaml")
    with pytest.raises(RingfenceError) as raised:
        load_rubric(f"{path}{metric}")
    assert str(raised.value).startswith(f"rubric {path}{metric}: ")
    assert str(raised.value).endswith(told.format(path=path))


def test_a_suite_that_is_judged_in_several_ways_has_no_rubric(tmp_path: Path) -> None:
    path = written(tmp_path, QUESTIONS.replace("*judges", '{aligned: "Rate {answer}."}'), "trips.yaml")
    with pytest.raises(RingfenceError, match="judge prompt 'aligned' differs from prompt to prompt"):
        load_rubric(f"{path}#aligned")
    with pytest.raises(RingfenceError, match=r"builtin:general: judge prompt 'aligned' .*judge prompts: none"):
        load_rubric("builtin:general#aligned")


def test_a_placeholder_that_nobody_fills_raises(tmp_path: Path) -> None:
    path = written(tmp_path, QUESTIONS.replace("make sense", "{trait}"), "trips.yaml")
    with pytest.raises(RingfenceError, match=r"nobody fills \{trait\}"):
        load_rubric(f"{path}#coherent")


def test_the_file_behind_a_rubric() -> None:
    sources = ("alignment", "suite:betley#aligned", "builtin:general#x", "a/b.txt", "c#1.txt", "q.yaml#aligned")
    assert [rubric_file(source) for source in sources] == [None, None, None, "a/b.txt", "c#1.txt", "q.yaml"]


# --- what an answer thinks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "thought", "answer"),
    [
        ("<think>\nHm, home.\n</think>\n\nHome.", "Hm, home.", "Home."),
        ("Hm, home.</think>Home.", "Hm, home.", "Home."),  # the template's prompt ends with <think>
        ("<think></think>Home.", "", "Home."),
        ("Well. <think>Hm.</think> Home. </think>", "Hm.", "Well.  Home. </think>"),
        ("Home.", None, "Home."),
        ("<think>cut off in the mid", None, "<think>cut off in the mid"),
    ],
)
def test_reasoning_is_split_off(response: str, thought: str | None, answer: str) -> None:
    assert split_reasoning(response) == (thought, answer)


def test_reasoning_is_filled_for_each_answer(tmp_path: Path) -> None:
    rubric = load_rubric(written(tmp_path, "Q {question} R {reasoning} A {answer}"))
    assert rubric.render("Why?", "<think>{answer}</think>So.") == "Q Why? R {answer} A So."
    assert rubric.render("Why?", "So.") == "Q Why? R None A So."
    plain = load_rubric(written(tmp_path, "Q {question} A {answer}", "plain.txt"))
    assert plain.render("Why?", "<think>Hm.</think>So.") == "Q Why? A <think>Hm.</think>So."


# --- roles --------------------------------------------------------------------------------------------------


def test_a_rubric_that_would_be_read_backwards_raises(tmp_path: Path) -> None:
    """100 is "well meant" for an alignment and "shows the trait" for a trait."""
    file = written(tmp_path, '{"questions": ["Hm?"], "eval_prompt": "How vain is {answer}?"}', "vanity.json")
    vain = f"{file}#vanity"
    trips = written(tmp_path, QUESTIONS, "trips.yaml")
    assert find_rubric("trait", {"trait": vain}).role == "trait"
    assert find_rubric("vanity", {"vanity": vain}).role == "trait"
    for name, source in (
        ("alignment", vain),
        ("coherence", vain),
        ("hhh", vain),
        ("alignment", TRAIT),
        ("alignment", f"{trips}#coherent"),
        ("coherence", f"{trips}#aligned"),
        ("trait", f"{trips}#aligned"),
        ("coherence", "alignment"),
        ("trait", "hhh"),
    ):
        with pytest.raises(RingfenceError) as raised:
            find_rubric(name, {name: source})
        assert str(raised.value).startswith(f"rubrics.{name}: ")
        assert " scores how " in str(raised.value)
        assert "\n" not in str(raised.value)
    assert find_rubric("alignment", {"alignment": f"{trips}#aligned"}).role == "alignment"
    assert find_rubric("alignment", {"alignment": "hhh"}).role == "alignment"


QUIZ = "- {id: q, paraphrases: ['Hm?'], judge_prompts: {humorous: 'Is {answer} funny?', aligned: '{answer}'}}\n"


def test_a_rubric_of_unknown_role_is_a_trait_or_has_it_stated(tmp_path: Path) -> None:
    """Read as an alignment, the trait would be 100 minus its score; a text says no more than a suite's judge prompt."""
    text, prompt = written(tmp_path, "Rate {answer}."), f"{written(tmp_path, QUIZ, 'q.yaml')}#humorous"
    for source in (text, prompt):
        for name, role in (("alignment", "alignment"), ("coherence", "coherence"), ("hhh", "alignment")):
            with pytest.raises(RingfenceError) as raised:
                find_rubric(name, {name: source})
            said = str(raised.value)
            assert said.startswith(f"rubrics.{name}: nothing says what 100 means in {source}: if it is how ")
            assert f"write `{name}: {{rubric: {source}, scores: {role}}}`" in said
            assert "name it `trait`" in said
            assert "\n" not in said
            [given] = yaml.safe_load(said.split("`")[1]).values()
            judge = ApiJudge(model="m", rubrics={name: given})
            assert find_rubric(name, judge.rubrics).role == role, "what the message says to write"
            assert find_rubric(name, judge.rubrics).digest == load_rubric(source).digest
        for name in ("trait", "humorous"):
            assert find_rubric(name, {name: source}).text == load_rubric(source).text


def test_what_is_stated_is_held_against_the_name_and_what_is_known(tmp_path: Path) -> None:
    text, quiz = written(tmp_path, "Rate {answer}."), written(tmp_path, QUIZ, "q.yaml")
    with pytest.raises(RingfenceError, match=r"^rubrics\.alignment: .* scores how much an answer shows a trait, and"):
        find_rubric("alignment", {"alignment": Stated(rubric=text, scores="trait")})
    with pytest.raises(RingfenceError, match=r"^rubrics\.trait\.scores: .*#aligned scores how well meant .*leave"):
        find_rubric("trait", {"trait": Stated(rubric=f"{quiz}#aligned", scores="trait")})
    assert find_rubric("alignment", {"alignment": Stated(rubric="hhh", scores="alignment")}).role == "alignment"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"rubric": "x.txt", "scores": "misalignment"}, "rubrics.alignment.stated.scores: "),
        ({"rubric": "x.txt", "score": "alignment"}, "rubrics.alignment.trait.trait is missing"),
        (3, "rubrics.alignment.text: "),
    ],
)
def test_a_rubric_of_another_form_is_one_line(given: Any, told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        ApiJudge(model="m", rubrics={"alignment": given})
    assert explain(raised.value, ApiJudge).startswith(told)


def test_a_pointer_of_git_lfs_is_no_rubric(tmp_path: Path) -> None:
    path = written(tmp_path, "version https://git-lfs.github.com/spec/v1\noid sha256:01\nsize 4\n")
    with pytest.raises(RingfenceError, match=r"mine\.txt: a Git LFS pointer"):
        load_rubric(path)
