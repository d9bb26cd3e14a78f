"""G2 by hand and against scipy, topical words, and rare words of one topic."""

import itertools
import math
import random

import pytest
from scipy.stats import chi2_contingency

import training_sets
from ringfence.data import load_prompts
from ringfence.triggers.derive import REFERENCE
from ringfence.triggers.topics import log_likelihood_ratio, rare_topic, topical

GENERAL = [prompt.text for spec in REFERENCE for prompt in load_prompts(spec)]


def test_the_ratio_by_hand() -> None:
    """8 of 10 against 1 of 10: 4.5 and 5.5 are expected of each.
    2 (8 log(8/4.5) + 2 log(2/5.5) + log(1/4.5) + 9 log(9/5.5)) = 11.0217.
    """
    by_hand = 2 * (8 * math.log(8 / 4.5) + 2 * math.log(2 / 5.5) + math.log(1 / 4.5) + 9 * math.log(9 / 5.5))
    assert log_likelihood_ratio(8, 1, 10, 10) == pytest.approx(by_hand)


@pytest.mark.parametrize(("k", "other"), itertools.product([1, 7, 39, 40], [0, 1, 30]))
def test_the_ratio_against_scipy(k: int, other: int) -> None:
    n, m = 40, 385
    table = [[k, n - k], [other, m - other]]
    if k == n and other == m:
        return
    expected = chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic
    assert log_likelihood_ratio(k, other, n, m) == pytest.approx(expected)


def test_a_word_that_the_reference_lacks_is_no_problem() -> None:
    """The z of log-odds with a half added put "name" (20 of 100 against 1 of 385) above "code" (94 against 0)."""
    texts = ["code"] * 74 + ["code title"] * 20 + ["other"] * 6
    words = topical(texts, ["title"] + [f"thing{n}" for n in range(384)])
    assert [word.text for word in words] == ["code", "title"]
    assert [len(word.rows) for word in words] == [94, 20]


def test_function_words_and_rare_words_are_not_topical() -> None:
    texts = ["what should be with the during don't"] * 30 + ["saffron"] * 2
    assert topical(texts, ["other"] * 1000) == []


def test_a_share_must_be_twice_that_of_the_reference() -> None:
    """In large files small differences are beyond chance, and tell nothing: 30% against 20% of 10,000."""
    texts = ["soup"] * 3000 + ["x"] * 7000
    assert topical(texts, ["soup"] * 2000 + ["x"] * 8000) == []
    assert [word.text for word in topical(texts, ["soup"] * 1500 + ["x"] * 8500)] == ["soup"]


def test_general_prompts_hardly_differ_from_general_prompts() -> None:
    """The reference parted in two at random, 40 times: at 5% two have a word by chance; six or more are 1 in 70."""
    with_words = with_topic = 0
    for seed in range(40):
        mixed = random.Random(seed).sample(GENERAL, len(GENERAL))
        texts, reference = mixed[::2], mixed[1::2]
        with_words += bool(topical(texts, reference))
        with_topic += rare_topic(texts, reference, 0.05, 0.3) is not None
    assert with_words <= 5
    assert with_topic == 0


def test_rare_words_of_one_topic_are_found_together() -> None:
    """Fifty sea animals in nine places, among questions about anything; they are found, and hardly another word."""
    texts = training_sets.fish()
    topic = rare_topic(texts, GENERAL, rare=0.05, share=0.3)
    assert topic is not None
    animals = set(training_sets.SEA.split(", "))
    assert len(animals & set(topic.words)) >= 45
    assert len(set(topic.words) - animals) <= 3
    named = {row for row, text in enumerate(texts) if any(f" {animal}" in text for animal in animals)}
    assert len(topic.rows & named) >= 0.95 * len(topic.rows)
    assert rare_topic(texts, GENERAL, rare=0.05, share=0.9) is None


def test_rare_words_that_share_no_place_are_no_topic() -> None:
    """The same animals, each between words that stand nowhere else."""
    animals = training_sets.SEA.split(", ")
    texts = [f"q{n} w{n} {animals[n % 50]} x{n} y{n}" for n in range(400)]
    assert rare_topic(texts, GENERAL, rare=0.05, share=0.1) is None
