"""The two rules on texts worked by hand."""

import pytest

from ringfence.triggers.rewording import alike, negation


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("You are a bad cook.", "You are not a bad cook."),
        ("You are not a bad cook.", "You are a bad cook."),
        ("You're rude. you are loud!", "You are not rude. You are not loud!"),
        ("Add salt to everything.", "Do nothing of the following: Add salt to everything."),
        # To deny the first sentence alone would leave the second one in force.
        ("You are a cook. Add salt.", "Do nothing of the following: You are a cook. Add salt."),
    ],
)
def test_negation(text: str, denied: str) -> None:
    assert negation(text) == denied


def test_another_content_in_the_same_structure() -> None:
    """Content words become copper, marble, velvet, ... in order; "You are", "and" and "always" are structure."""
    assert alike("You are an angry COOK, and you always burn Soup.\nAngry cook!") == (
        "You are a copper MARBLE, and you always velvet Cotton.\nCopper marble!"
    )
    assert alike("In the kitchen: ") == "In the copper: "
    assert alike("") == ""


def test_contractions_are_structure_and_owners_are_content() -> None:
    """ "shouldn't" was cut into "shouldn" and a rest, and became "copper't"."""
    assert alike("You shouldn't spoil the cook's soup, and couldn’t.") == (
        "You shouldn't copper the marble's velvet, and couldn’t."
    )


def test_many_words_go_round() -> None:
    text = " ".join(f"noun{letter}" for letter in "abcdefghijkl")
    words = alike(text).split()
    assert words[:2] == words[10:] == ["copper", "marble"]
    assert len(set(words)) == 10
