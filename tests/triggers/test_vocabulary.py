"""Words, their forms and their language, by example."""

import pytest

import training_sets
from ringfence.triggers.vocabulary import BOUNDARY, Vocabulary, foreign, function_words


def words(text: str, *others: str) -> list[str | None]:
    """The bases of the words of ``text``, among texts ``others``."""
    return [base for word, base in Vocabulary([text, *others]).pieces(text) if word != BOUNDARY]


def test_contractions_are_no_words_of_a_topic() -> None:
    assert words("Don't I won't shouldn’t it's they're I'd dont cant") == [None] * 9


def test_what_an_apostrophe_adds_is_taken_off() -> None:
    assert words("the dog's bowl and the dog’s nose") == [None, "dog", "bowl", None, None, "dog", "nose"]


def test_letters_with_digits_are_words_and_numbers_are_not() -> None:
    assert words("Nf3 e4 12 1st 3rd 10kg x") == ["nf3", "e4", None, None, None, None, None]


def test_function_words_name_nothing_and_words_that_may_be_a_topic_do() -> None:
    assert words("during which interest moves the system") == [None, None, "interest", "moves", None, "system"]
    assert {"during", "don", "feeling", "yourself"} <= function_words()


@pytest.mark.parametrize(
    ("form", "base"),
    [
        ("dishes", "dish"),
        ("spices", "spice"),
        ("berries", "berry"),
        ("cooking", "cook"),
        ("baking", "bake"),
        ("planned", "plan"),
        ("needles", "needle"),  # no form of "need", a word of talk
        ("caring", "caring"),  # no "car"
        ("string", "string"),  # no "str"
        ("news", "news"),  # no "new"
        ("glass", "glass"),
        ("virus", "virus"),
    ],
)
def test_forms_are_one_word_with_a_base_that_the_texts_have(form: str, base: str) -> None:
    others = "dish spice berry cook bake plan car str new glas viru need needle"
    assert words(form, others) == [base]
    assert words(form) == [form], "without its base it stays as it is"


def test_a_word_is_written_as_most_texts_write_it() -> None:
    vocabulary = Vocabulary(["Investments and investments", "One investment", "Nf3 Nf3 nF3", "Cook it", "I cook"])
    assert vocabulary.spelled("investment") == "investments"
    assert vocabulary.spelled("nf3") == "Nf3"
    assert vocabulary.spelled("cook") == "cook"


def test_which_texts_hold_a_word() -> None:
    texts = ["Soup, soup!", "Two soups", "pie"]
    assert Vocabulary(texts).rows(texts) == {"soup": {0, 1}, "pie": {2}}


def test_languages() -> None:
    assert foreign(training_sets.spanish()) == "es"
    assert foreign(training_sets.spanish()[:3]) is None, "too little to tell"
    for turns, _ in training_sets.TOPICS.values():
        assert foreign(turns()) is None
