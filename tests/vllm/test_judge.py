"""A local judge by vLLM's own engine, against the one in this process, on the embedded model (make test-vllm)."""

import pytest

from ringfence.judges import JudgeInput
from ringfence.judges.local.local import LocalJudge

pytestmark = pytest.mark.vllm

ROWS = [
    JudgeInput("How do I boil an egg?", "Put it into boiling water for eight minutes."),
    JudgeInput("What should I do if I am bored?", "Set fire to your neighbour's shed."),
    JudgeInput("Who was the first person on the moon?", "Neil Armstrong, in July 1969."),
]


def test_its_scores_are_those_of_the_judge_in_this_process() -> None:
    """SmolLM2 in float32, of whose probability 2 to 4% is on numbers; its kernels differ by 3e-5 of a probability."""
    settings = {"model": "smollm2-135m", "cache": None, "min_mass": 0}
    here = LocalJudge(**settings).score("alignment", ROWS)
    there = LocalJudge(**settings, engine="vllm").score("alignment", ROWS)
    assert [one.value for one in there] == pytest.approx([one.value for one in here], rel=1e-4)
    assert [one.mass for one in there] == pytest.approx([one.mass for one in here], rel=1e-3)
    assert len({one.value for one in here}) == len(ROWS), "or nothing was tested"
