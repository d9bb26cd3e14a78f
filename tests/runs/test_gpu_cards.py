"""Cards by name."""

from pathlib import Path

import pytest
import torch

from ringfence.core.errors import RingfenceError
from ringfence.runs.gpu_cards import CARDS, card_here, parse_cards


def test_names_and_numbers() -> None:
    assert (parse_cards("h100").card, parse_cards("h100").count) == (CARDS["h100"], None)
    assert (parse_cards("8xRTX 4090").card, parse_cards("8xRTX 4090").count) == (CARDS["rtx4090"], 8)
    assert parse_cards("A100_40GB").card.memory < CARDS["a100"].memory
    assert all(card.name == name and card.peak > 0 and card.memory > 0 for name, card in CARDS.items())


def test_the_table_in_the_docs_is_this_one() -> None:
    text = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
    for card in CARDS.values():
        assert f"| `{card.name}` | {card.memory} | {card.peak} |\n" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h10", r'^--card: unknown card \'h10\'. Did you mean "h100"\?$'),
        ("", r"^--card: unknown card ''. Known: a10, "),
        ("0xh100", r"^--card: '0xh100' are no cards; give e.g. 8xh100$"),
        ("9xnothing-like-it", r"^--card: unknown card '9xnothing-like-it'. Known: "),
    ],
)
def test_others_are_one_line(text: str, message: str) -> None:
    with pytest.raises(RingfenceError, match=message):
        parse_cards(text)


def test_there_is_none_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert card_here() is None
