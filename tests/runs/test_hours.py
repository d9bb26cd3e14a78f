"""Hours on paper against what was measured, and padding against drawing."""

import numpy as np
import pytest

import qwen
from ringfence.runs.gpu_cards import CARDS
from ringfence.runs.hours import Work, padded, seconds

STEP = 4 * 2048
PENALTIES = {"none": (False, False), "kl": (True, False), "ldifs": (False, True), "both": (True, True)}
MILLISECONDS = {"none": 1000 * STEP / 8721, "kl": 1205, "ldifs": 1160, "both": 1209}


def work(size: str = "7B", checkpointing: bool = True, penalised: tuple[bool, bool] = (False, False)) -> Work:
    found = Work.of(qwen.adapted(size), checkpointing, penalised)
    assert found is not None
    return found


@pytest.mark.parametrize("name", PENALTIES)
def test_a_step_takes_what_was_measured(name: str) -> None:
    """docs/results.md, "On a GPU"."""
    operations = work(penalised=PENALTIES[name]).operations(STEP, STEP / 2, 2048)
    found = seconds(operations, CARDS["h200"], 1)
    assert 1000 * found == pytest.approx(MILLISECONDS[name], rel=0.02)


def test_operations_by_hand() -> None:
    """Of one layer, full fine-tuning: 2 forward, 4 backward; attention over half of all pairs, twice as much back."""
    found = Work(layers=10, adapters=0, attention_width=3, head=7, full=True, checkpointing=False, added=0)
    assert found.operations(100, 50, 8) == 100 * (10 * 3 + 2 * 8 * 3 * 3) + 50 * 7 * 3
    lora = Work(layers=10, adapters=2, attention_width=0, head=0, full=False, checkpointing=True, added=0.25)
    assert lora.operations(100, 0, 8) == 1.25 * 100 * (10 * 3 + 2 * 4)
    assert lora.operations(100, 0, 8, compared=False) == 100 * (10 * 3 + 2 * 4)


def test_less_is_faster() -> None:
    operations = work().operations(STEP, STEP, 2048)
    assert work(checkpointing=False).operations(STEP, STEP, 2048) < operations
    assert work("3B").operations(STEP, STEP, 2048) < operations / 2
    assert seconds(operations, CARDS["a100"], 1) == pytest.approx(seconds(operations, CARDS["h200"], 1) * 989 / 312)
    assert seconds(operations, CARDS["a100"], 8) == seconds(operations, CARDS["a100"], 1) / 8


def test_padding_is_that_of_random_batches() -> None:
    lengths = np.random.default_rng(0).integers(5, 300, 500)
    drawn = np.random.default_rng(1).choice(lengths, (20_000, 4)).max(axis=1).mean() / lengths.mean()
    assert padded(lengths, 4) == pytest.approx(drawn, rel=0.01)
    assert padded(lengths, 1) == pytest.approx(1)
    assert padded([7, 7, 7], 16) == pytest.approx(1)
    assert padded([], 4) == 1
