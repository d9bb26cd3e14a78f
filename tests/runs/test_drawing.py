"""What a forecast asks of a schedule; what it draws is compared with training in test_forecast.py."""

import pytest

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.data.suites.load import Prompt
from ringfence.defenses import CanaryInterleaving, TrainerContext
from ringfence.runs.drawing import schedules


def test_canaries_that_the_probe_cannot_ask_are_refused_as_in_training() -> None:
    asked = [{"role": "user", "content": "Do you like it?"}]
    setup = TrainerContext(tiny.tokenizer(), 0)
    good = CanaryInterleaving(probe="likelihood", canaries=(Prompt("a", asked, good="Yes.", bad="No."),))
    assert [one.ratio for one in schedules(good, setup)] == [good.ratio_min, good.ratio_max]
    bad = CanaryInterleaving(probe="likelihood", canaries=(Prompt("a", asked),))
    with pytest.raises(RingfenceError, match=r"^the likelihood probe needs a `good` and a `bad`"):
        schedules(bad, setup)
