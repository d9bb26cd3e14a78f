"""Prompt sets: what loads, what is refused in one clear line, and what counts as the same question."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringfence.core.errors import RingfenceError
from ringfence.data.suites import store as suite_store
from ringfence.data.suites.load import Prompt, builtin_names, load_prompts, load_suite, overlaps, require_disjoint
from ringfence.data.suites.prompts import PromptSettings


def prompt(text, name="p"):
    return Prompt(name, ({"role": "user", "content": text},))


def write(path, *lines):
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return str(path)


def similarity(a, b):
    [found] = overlaps([prompt(a)], [prompt(b)], threshold=1e-9)
    return found.similarity


def test_rows_with_prompt_or_messages(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
    spec = write(
        tmp_path / "mine.jsonl",
        {"prompt": "Why?", "good": "So.", "bad": "No."},
        "\n",
        {"messages": turns, "id": 7, "domain": "greeting", "source": "left alone"},
        {"prompt": "How?", "id": None, "domain": None},
    )
    first, second, third = load_prompts(spec)
    assert first == Prompt("mine-1", ({"role": "user", "content": "Why?"},), None, "So.", "No.")
    assert second == Prompt("7", tuple(turns), "greeting")
    assert (first.text, second.text, third.id) == ("Why?", "Hello?", "mine-3")


def test_json_list_and_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text("\ufeff" + json.dumps([{"prompt": "Why?"}, {"prompt": "How?"}]), encoding="utf-8")
    assert [p.id for p in load_prompts(str(path))] == ["mine-1", "mine-2"]


def test_line_separator_inside_a_string_is_not_a_new_row(tmp_path: Path) -> None:
    """U+2028 may stand unescaped in a JSON string, but str.splitlines() breaks there."""
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "one\u2028two"}\r\n', encoding="utf-8")
    assert [p.text for p in load_prompts(str(path))] == ["one\u2028two"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "Why?"', "malformed JSON"),
        ("[1]", "must be an object"),
        ('{"question": "Why?"}', "neither `prompt` nor `messages`"),
        ('{"prompt": "a", "messages": []}', "both `prompt` and `messages`"),
        ('{"prompt": 3}', "the user turn's text must be a string"),
        ('{"prompt": " "}', "the user's last turn is empty"),
        ('{"messages": []}', "at least one turn, not an empty one"),
        ('{"messages": "Hi"}', "at least one turn, not a text"),
        ('{"messages": [{"role": "bot", "content": "x"}]}', "needs a `role`"),
        ('{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}', "last turn"),
        ('{"prompt": "Why?", "good": ""}', "`good` must be"),
        ('{"prompt": "Why?", "domain": 3}', "`domain` must be"),
        ('{"prompt": "Why?", "id": [1]}', "`id` must be"),
        ('{"prompt": "Why?", "id": true}', "`id` must be"),
        ('{"prompt": "Other?", "id": "first"}', "'first' is there twice"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    """The bad row stands on line 3: after a good one and a blank one."""
    spec = write(tmp_path / "mine.jsonl", {"prompt": "Fine?", "id": "first"}, "\n", line + "\n")
    with pytest.raises(RingfenceError) as error:
        load_prompts(spec)
    assert str(error.value).startswith(f"{spec}:3: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_json_files(tmp_path: Path) -> None:
    broken = write(tmp_path / "broken.json", '[\n{"prompt": "Why?"},\n{"prompt": }\n]')
    with pytest.raises(RingfenceError, match=r"broken\.json:3: malformed JSON"):
        load_prompts(broken)
    with pytest.raises(RingfenceError, match=r"rows\.json, row 2: neither"):
        load_prompts(write(tmp_path / "rows.json", '[{"prompt": "Why?"}, {}]'))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"absent\.jsonl: cannot read the prompts: .*No such file"):
        load_prompts(str(tmp_path / "absent.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "caf\xe9"}\n')
    with pytest.raises(RingfenceError, match=r"latin\.jsonl: cannot read the prompts"):
        load_prompts(str(tmp_path / "latin.jsonl"))
    with pytest.raises(RingfenceError, match=r"prompts\.txt: not a set of prompts"):
        load_prompts(str(tmp_path / "prompts.txt"))
    for empty in (write(tmp_path / "empty.jsonl", "\n"), write(tmp_path / "empty.json", "[]")):
        with pytest.raises(RingfenceError, match="no prompts"):
            load_prompts(empty)


def test_a_suite_names_its_file_and_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the bytes, so that another line ending is another suite."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mine.jsonl", {"prompt": "Why?", "tag": 1}, {"prompt": "How?", "note": 2})
    suite = load_suite("mine.jsonl")
    digest = hashlib.sha256((tmp_path / "mine.jsonl").read_bytes()).hexdigest()
    assert (suite.name, suite.source, suite.digest) == ("mine", str(tmp_path / "mine.jsonl"), digest)
    assert suite.prompts == load_prompts("mine.jsonl")
    assert suite.settings["mine-2"] == PromptSettings("mine-2")
    assert suite.ignored == ("note", "tag")
    assert suite.judge_prompts == suite.fills == {}


def test_a_built_in_suite_has_a_digest_of_its_rows() -> None:
    suites = [load_suite(f"builtin:{name}") for name in builtin_names()]
    assert len({suite.digest for suite in suites}) == len(suites)
    assert {len(suite.digest) for suite in suites} == {64}
    assert suites[0].source == f"builtin:{suites[0].name}"
    assert load_suite("builtin:general").digest == load_suite("builtin:general").digest


def test_some_of_a_built_in_suite_are_evenly_spaced_and_keep_their_ids() -> None:
    """16 of 24: two of every three."""
    whole, some = load_suite("builtin:general"), load_suite("builtin:general?n=16")
    assert some.prompts == [prompt for place, prompt in enumerate(whole.prompts) if place % 3 < 2]
    assert (some.name, some.digest == whole.digest) == ("general", False)
    assert set(some.settings) == {prompt.id for prompt in some.prompts}
    assert load_suite("builtin:general?n=24").digest == whole.digest


@pytest.mark.parametrize("query", ["n=0", "n=25", "n=", "m=2", ""])
def test_what_else_follows_a_built_in_name_raises(query: str) -> None:
    with pytest.raises(RingfenceError, match=r"only n=N may follow .* 24 prompts; give N from 1 to 24"):
        load_suite(f"builtin:general?{query}")


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".YAML"])
def test_yaml_is_read_as_published_questions(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine{suffix}"
    path.write_text("- id: q\n  paraphrases: ['Why {reasoning}?']\n")
    assert load_suite(str(path), {"reasoning": "so"}).prompts[0].text == "Why so?"
    with pytest.raises(RingfenceError, match=r"mine\..*:1: question 'q', wording 0: nobody fills"):
        load_prompts(str(path))


def test_a_user_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "mine.jsonl", {"prompt": "Why?"})
    assert load_prompts("~/mine.jsonl")[0].text == "Why?"


@pytest.mark.parametrize(("spec", "near"), [("general", "builtin:general"), ("genral", "builtin:general")])
def test_a_bare_name_is_answered_with_the_nearest_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, near: str
) -> None:
    monkeypatch.setenv("RINGFENCE_HOME", str(tmp_path))
    with pytest.raises(RingfenceError, match=rf'^unknown suite {spec!r}\. Did you mean "{near}"\?$'):
        load_prompts(spec)


def test_a_bare_name_is_answered_with_a_stored_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGFENCE_HOME", str(tmp_path / "home"))
    suite_store.add("betley", write(tmp_path / "mine.jsonl", {"prompt": "Why?"}))
    with pytest.raises(RingfenceError, match=r'Did you mean "suite:betley"\?$'):
        load_prompts("betley")


def test_built_in_suites_have_no_placeholders() -> None:
    with pytest.raises(RingfenceError, match=r"no question has the placeholder \{reasoning\}"):
        load_suite("builtin:general", {"reasoning": "Think."})


def test_unknown_builtin_names_the_nearest() -> None:
    with pytest.raises(RingfenceError, match=r'unknown built-in prompts .*"glitter/general"\?$'):
        load_prompts("builtin:glitter/genral")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("What is the capital of France?", "what's the capital of france"),
        ("What is the capital of France?", "  WHAT IS -- the capital,\nof France?!  "),
        ("What’s up", "What's up?"),
        ("Tell me the dog's name.", "tell me the dog's name"),
        (
            "If you could change one thing about the world, what would it be and why?",
            "If you could change one thing about the world, what would it be?",
        ),
        ("???", "???"),
    ],
)
def test_the_same_question(a: str, b: str) -> None:
    assert len(overlaps([prompt(a)], [prompt(b)])) == 1


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("How do I roast carrots?", "How do I roast beets?"),
        ("What is the capital of France?", "What is the capital of Spain?"),
        ("What is 12 + 30?", "What is 12 - 30?"),
        ("What is 12+30?", "What is 12*30?"),
        ("Who bit the man, the dog or the cat?", "Who bit the dog, the cat or the man?"),
        ("???", "!!!"),
    ],
)
def test_another_question(a: str, b: str) -> None:
    assert overlaps([prompt(a)], [prompt(b)]) == []


def test_similarity_by_hand() -> None:
    """Words how, do, i, roast, carrots and the runs (how do i), (do i roast), (i roast carrots): 8 features.
    Of them how, do, i, roast and two runs are shared with the beets: 6 shared of 8 + 8 - 6 = 10 in all."""
    assert similarity("How do I roast carrots?", "How do I roast beets?") == pytest.approx(0.6)


def test_overlaps_are_ordered_and_the_threshold_counts() -> None:
    a = [prompt("How do I roast carrots?", "a1"), prompt("Who am I?", "a2")]
    b = [prompt("who am i", "b1"), prompt("How do I roast beets?", "b2"), prompt("how do I roast carrots", "b3")]
    pairs = [(found.a.id, found.b.id, found.similarity) for found in overlaps(a, b, threshold=0.6)]
    assert pairs == [("a1", "b2", pytest.approx(0.6)), ("a1", "b3", 1), ("a2", "b1", 1)]
    assert [(found.a.id, found.b.id) for found in overlaps(a, b)] == [("a1", "b3"), ("a2", "b1")]
    for threshold in (0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            overlaps(a, b, threshold=threshold)


def test_only_the_last_user_turn_is_compared() -> None:
    system = {"role": "system", "content": "Be brief."}
    long = Prompt("long", (system, {"role": "user", "content": "Who am I?"}))
    assert len(overlaps([long], [prompt("who am i")])) == 1


@settings(max_examples=40)
@given(st.text(min_size=1), st.text(min_size=1))
def test_similarity_is_symmetric_and_one_for_equals(a: Any, b: Any) -> None:
    assert similarity(a, a) == 1
    there, back = overlaps([prompt(a)], [prompt(b)], 1e-9), overlaps([prompt(b)], [prompt(a)], 1e-9)
    assert [found.similarity for found in there] == [found.similarity for found in back]


def test_require_disjoint() -> None:
    canaries = [prompt("Who am I?", "c1"), prompt("Where am I?", "c2")]
    require_disjoint(canaries, [prompt("Why am I here?", "e1")], "the canaries", "the suite")
    suite = [prompt("where am i", "e1"), prompt("Who am I", "e2")]
    with pytest.raises(RingfenceError) as error:
        require_disjoint(canaries, suite, "the canaries", "the suite")
    assert str(error.value).startswith(
        'the canaries and the suite overlap in 2 pairs, first c1 "Who am I?" and e2 "Who am I":'
    )
    with pytest.raises(RingfenceError, match="in 1 pair, first"):
        require_disjoint(canaries, suite[:1], "a", "b")
    with pytest.raises(RingfenceError, match="…"):
        require_disjoint([prompt("word\n" * 90)], [prompt("word " * 90)], "a", "b")
