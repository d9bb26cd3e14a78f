"""Texts come out of their pieces as they went in."""

import json

from ringfence.report.html.packing import PIECE, packed, unpacked


def test_any_text_comes_back() -> None:
    texts = ["", None, "</script><!-- \u2028", "\ud800 half a pair", "\u0000", "Ünïcode \U0001f600", 'a "quote" \\ \n']
    assert unpacked(list(packed(texts))) == texts


def test_pieces_are_of_one_size_and_the_same_each_time() -> None:
    texts = [f"answer {number}" for number in range(PIECE + 1)]
    first, second = packed(texts)
    assert unpacked([second]) == [f"answer {PIECE}"]
    assert list(packed(texts)) == [first, second]
    assert list(packed([])) == []


def test_it_is_much_smaller() -> None:
    texts = [
        f"The {number}th answer is about as long as answers are, and says much the same." for number in range(PIECE)
    ]
    assert sum(map(len, packed(texts))) < len(json.dumps(texts)) / 4


def test_it_cannot_end_its_element() -> None:
    assert not set("<>&").intersection("".join(packed(["</script>"])))
