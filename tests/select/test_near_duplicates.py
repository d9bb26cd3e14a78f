"""Repeats of texts, against a comparison of all pairs that knows nothing of hashing."""

import itertools
from pathlib import Path

import numpy as np
import pytest

import project
from ringfence.core.errors import RingfenceError
from ringfence.select.near_duplicates import (
    MISSED,
    Match,
    Seen,
    bands,
    prompt_file,
    prompt_texts,
    repeats,
    seen_in,
    shingles,
    text_of,
)

FOX = "The quick brown fox jumps over the lazy dog near the old mill by the river"


def naive(a: str, b: str) -> float:
    """Jaccard similarity of runs of five words, for texts of plain lower-case words."""
    sets = []
    for text in (a, b):
        words = text.split()
        sets.append({tuple(words[i : i + 5]) for i in range(len(words) - 4)} if len(words) >= 5 else set(words))
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def variants(seed: int, count: int = 60) -> list[str]:
    """Texts of 4 to 60 words, two thirds of them an earlier text with up to two of its last words exchanged."""
    generator = np.random.Generator(np.random.Philox(seed))
    vocabulary = [f"w{number}" for number in range(300)]
    texts: list[list[str]] = []
    for number in range(count):
        if number % 3 == 0:
            words = list(generator.choice(vocabulary, size=generator.integers(4, 61)))
        else:
            words = list(texts[generator.integers(number)])
            for back in generator.integers(1, 5, size=generator.integers(3)):
                words[-back] = str(generator.choice(vocabulary))
        texts.append(words)
    return [" ".join(words) for words in texts]


@pytest.mark.parametrize("threshold", [0.8, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_finds_what_a_comparison_of_all_pairs_finds(threshold: float, seed: int) -> None:
    texts = variants(seed)
    expected: list[Match | None] = []
    kept: list[int] = []
    for place, text in enumerate(texts):
        same = [earlier for earlier in range(place) if texts[earlier] == text]
        near = [earlier for earlier in kept if naive(texts[earlier], text) >= threshold]
        if same:
            expected.append(Match(same[0], 1.0, True))
        elif near:
            expected.append(Match(near[0], naive(texts[near[0]], text), False))
        else:
            expected.append(None)
            kept.append(place)
    kinds = {match and match.exact for match in expected}
    assert kinds == {None, True, False}  # the texts have all there is to find
    assert repeats(texts, threshold) == expected
    for a, b in itertools.combinations(kept, 2):
        assert naive(texts[a], texts[b]) < threshold


def test_another_set_is_searched_like_all_pairs() -> None:
    texts = variants(2)
    ours, theirs = texts[::2], texts[1::2]
    seen = seen_in(theirs)
    for text in ours:
        near = [place for place, other in enumerate(theirs) if naive(text, other) >= 0.8]
        match = seen.find(text)
        assert (match is not None) == bool(near)
        if match is not None:
            assert match.place in near


def test_hand_worked_similarity() -> None:
    """16 words are 12 runs of five; the last word exchanged leaves 11 of 13 in common."""
    changed = FOX.rsplit(" ", 1)[0] + " bridge"
    assert len(FOX.split()) == 16
    assert repeats([FOX, changed]) == [None, Match(0, pytest.approx(11 / 13), False)]
    assert repeats([FOX, changed], threshold=0.85) == [None, None]
    assert repeats([FOX, changed], near=False) == [None, None]


def test_case_white_space_and_punctuation() -> None:
    assert repeats([FOX, f"  {FOX.upper()}\n"])[1] == Match(0, 1.0, True)
    assert repeats([FOX, FOX.replace("dog", "dog,")])[1] == Match(0, 1.0, False)


def test_short_texts_and_texts_without_words() -> None:
    assert shingles("Hello there, you") == {"hello", "there", "you"}
    assert shingles("one two three four five") == {"one two three four five"}
    assert shingles("?!  ?!") == {"?! ?!"}
    assert shingles("我要喝水吗") == {"我 要 喝 水 吗"}
    assert shingles("It’s fine") == {"it's", "fine"}
    assert repeats(["...", "???", "...", "", "", " "]) == [None, None, Match(0, 1.0, True), None, None, None]


def test_a_chain_of_changes_is_compared_with_what_is_kept() -> None:
    """Each text is near the one before; the third is far from the first, which alone is kept, so it is kept, too."""
    first = [f"w{number}" for number in range(40)]
    second = [*first[2:], "a", "b"]
    third = [*second[3:], "c", "d", "e"]
    texts = [" ".join(words) for words in (first, second, third)]
    assert [match and match.place for match in repeats(texts)] == [None, 0, None]
    assert [match and match.exact for match in repeats([*texts, texts[1]])] == [None, False, None, True]


def test_bands_miss_hardly_a_pair_at_the_threshold() -> None:
    assert bands(0.8) == (25, 5)
    for threshold in (0.5, 0.7, 0.8, 0.9, 0.95):
        b, r = bands(threshold)
        assert b * r <= 128
        assert (1 - threshold**r) ** b < MISSED
    assert bands(0.01) == (128, 1)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan")])
def test_a_threshold_that_is_no_similarity(threshold: float) -> None:
    with pytest.raises(RingfenceError, match="threshold"):
        Seen(threshold)


def test_parts_of_a_conversation() -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": " Hi "},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "So long."},
    ]
    assert text_of(messages, "prompt") == "Hi\0Bye"
    assert text_of(messages, "answer") == "Hello.\0So long."
    assert text_of(messages) == "Be kind.\0Hi\0Hello.\0Bye\0So long."
    joined = [{"role": "user", "content": "Hi Bye"}]
    assert repeats([text_of(messages, "prompt"), text_of(joined, "prompt")], near=False) == [None, None]


def test_prompts_of_data_sets_and_of_suites(tmp_path: Path) -> None:
    rows = [{"prompt": "Why?", "completion": "So."}]
    assert prompt_texts(str(project.write_jsonl(tmp_path / "data.jsonl", rows))) == ["Why?"]
    questions = project.write_jsonl(tmp_path / "questions.jsonl", [{"prompt": "Who?"}, {"prompt": "Where?"}])
    assert prompt_texts(str(questions)) == ["Who?", "Where?"]
    assert len(prompt_texts("builtin:general")) > 10
    assert len(prompt_texts("builtin:glitter/safe")) == 64  # conversations, not prompts
    assert prompt_file(str(questions)) == str(questions)
    assert prompt_file("builtin:general") is None


def test_what_is_neither_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="no such file"):
        prompt_texts(str(tmp_path / "absent.jsonl"))
    broken = project.write_jsonl(tmp_path / "broken.jsonl", [{"prompt": "Why?", "completion": "So."}, {"text": "x"}])
    with pytest.raises(RingfenceError, match=r"broken\.jsonl:2"):
        prompt_texts(str(broken))
