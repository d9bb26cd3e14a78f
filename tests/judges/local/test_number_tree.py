"""The nodes of the trees, counted by hand, and tokenizers that have none."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from numbering import DIGITS, SOME, WHOLE
from ringfence.core.errors import RingfenceError
from ringfence.judges.local.number_tree import number_tree


def test_the_trees_have_the_expected_nodes() -> None:
    """Digits: the prompt's end, 10 first digits, 90 second ones, 100. Some: 50 to 89 have two tokens."""
    digits, whole, some = (number_tree(each, "x\n", len(each)) for each in (DIGITS, WHOLE, SOME))
    assert (len(digits.tokens), digits.depth, len(digits.digits)) == (1 + 10 + 90 + 1, 3, 10)
    assert (len(some.tokens), some.depth) == (1 + 10 + (40 + 10 + 1) + 40, 2)
    assert len(some.digits) == 10 + 40 + 10 + 1
    assert (len(whole.tokens), len(whole.whole)) == (1, 2 * 101)
    assert sorted(digits.values.values()) == sorted(some.values.values()) == list(range(101))


def test_a_number_that_the_prompts_end_swallows_raises() -> None:
    with pytest.raises(RingfenceError, match="joins the number 0 with the end of the prompt"):
        number_tree(WHOLE, "Score: ", len(WHOLE))


def test_a_tokenizer_without_digits_raises() -> None:
    words = Tokenizer(models.WordLevel({"<unk>": 0, "hi": 1}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    wordy = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<unk>")
    with pytest.raises(RingfenceError, match="cannot spell the number 0"):
        number_tree(wordy, "hi\n", 2)
