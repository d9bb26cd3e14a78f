"""Log probabilities of fixed tokens tell the weights that answer from others; arithmetic done by hand."""

import json
import math

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.generation.self_check import Check, Expected, Fingerprint, Text, compare

TUNED, BASE = (-1.0, -2.0, -3.0, -4.0), (-2.0, -1.0, -4.0, -3.0)  # differ by 1 in every token
LABELS = ("Boil", " water", ",", " wait")
HOW = "prompt log probabilities"


def expected(base: tuple[float, ...] | None = BASE, dtype: str = "float32") -> Expected:
    return Expected(LABELS, TUNED, base, dtype)


def moved(by: float, values: tuple[float, ...] = TUNED) -> list[float]:
    """``values``, each token off by ``by`` in turn up and down."""
    return [value + (by if place % 2 else -by) for place, value in enumerate(values)]


def test_the_same_weights_pass_with_their_noise() -> None:
    """Every token 0.001 off: root mean square 0.001; the share is 1 + sum(+-0.001 * d) / 4 = 1 -+ 0.001."""
    check = compare("http://localhost", expected(), moved(0.001), HOW)
    assert (check.state, check.tokens, check.limit) == ("passed", 4, 2e-3)
    assert check.difference == pytest.approx(0.001)
    assert check.share == pytest.approx(0.999)  # -0.001 where d is 1, 0.001 where d is -1
    assert "has this run's weights" in check.sentence("http://localhost")


def test_the_bases_own_answers_raise_and_name_both_sides_and_the_reason() -> None:
    with pytest.raises(RingfenceError, match="is the adapter applied") as raised:
        compare("http://localhost", expected(), BASE, HOW)
    said = str(raised.value)
    assert "'Boil': -2.000 there, -1.000 by PEFT" in said
    assert "differ from PEFT's by 1 nats over 4 tokens (noise: 0.002)" in said


def test_an_adapter_below_the_noise_of_a_token_is_found_by_all_tokens_together() -> None:
    """bfloat16: 0.15 is noise. 900 tokens that the adapter moves by 0.1: effect sqrt(900) = 3 > 8 * 0.15 = 1.2."""
    base = tuple(-2.0 for _ in range(900))
    tuned = tuple(-1.9 for _ in range(900))
    weak = Expected(("x",) * 900, tuned, base, "bfloat16")
    assert compare("s", weak, moved(0.1, tuned), HOW).share == pytest.approx(1)
    with pytest.raises(RingfenceError, match="is the adapter applied"):
        compare("s", weak, moved(0.05, base), HOW)  # within 0.15 of both


def test_an_adapter_applied_twice_raises() -> None:
    """In float16, where 0.02 is noise: the effect of 0.03 a token twice is 0.03 off, and its share is 2."""
    base = (-2.0,) * 400
    twice = Expected(("x",) * 400, (-1.985,) * 400, base, "float16")
    with pytest.raises(RingfenceError, match="200% of the adapter's effect is there"):
        compare("s", twice, [-1.97] * 400, HOW)


def test_an_adapter_that_moves_nothing_is_not_said_to_be_checked() -> None:
    check = compare("s", expected(base=TUNED), TUNED, HOW)
    assert (check.state, check.share) == ("blind", None)
    assert "NOT CHECKED" in check.sentence("s")


def test_whole_models_have_no_base_and_are_compared_all_the_same() -> None:
    assert compare("s", expected(base=None), TUNED, HOW).state == "passed"
    with pytest.raises(RingfenceError, match="other weights"):
        compare("s", expected(base=None), moved(1), HOW)


def test_the_noise_is_that_of_the_coarser_number_format() -> None:
    off = moved(0.1)
    with pytest.raises(RingfenceError, match="differ from PEFT's"):
        compare("s", expected(), off, HOW)
    assert compare("s", expected(), off, HOW, dtype="bfloat16").limit == 0.15


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        ([], "hold none of the tokens"),
        ([-1.0], "of 1 tokens where the fixed texts have 4"),
        ([math.nan, *TUNED[1:]], "not finite"),
    ],
)
def test_what_is_no_measurement_raises(measured: list[float], said: str) -> None:
    with pytest.raises(RingfenceError, match=said):
        compare("s", expected(), measured, HOW)


def text() -> Text:
    first = {"Boil": (-1.0, -2.0), "Take": (-2.0, -1.0)}
    return Text("How?", (1, 2, 3), ("a", "b", "c"), (-1.0, -2.0), (-2.0, -1.0), first)


def test_a_fingerprint_is_read_back_as_it_was_written() -> None:
    made = Fingerprint("m", "float32", (text(), text()))
    assert Fingerprint.from_json(json.loads(json.dumps(made.to_json())), "f") == made
    assert made.of_tokens() == Expected(("b", "c") * 2, (-1.0, -2.0) * 2, (-2.0, -1.0) * 2, "float32")


@pytest.mark.parametrize("damaged", [{}, {"model": "m", "dtype": "float32", "texts": [{"ids": 1}]}, {"texts": None}])
def test_a_damaged_fingerprint_says_what_to_do(damaged: dict[str, object]) -> None:
    with pytest.raises(RingfenceError, match=r"^RUN/fingerprint.json: .*delete it"):
        Fingerprint.from_json(damaged, "RUN/fingerprint.json")


def test_candidates_for_the_first_token_are_compared_where_both_sides_have_them() -> None:
    made = Fingerprint("m", "float32", (text(), text()))
    known, measured = made.of_first([[("Boil", -1.0), ("Never", -9.0)], [("Take", -2.0)]])
    assert known == Expected(("Boil", "Take"), (-1.0, -2.0), (-2.0, -1.0), "float32")
    assert compare("s", known, measured, "first tokens").state == "passed"
    with pytest.raises(RingfenceError, match="hold none of the tokens"):
        compare("s", *made.of_first([[], [("Never", -9.0)]]), "first tokens")


def test_a_server_without_log_probabilities_is_said_loudly() -> None:
    assert "NOT CHECKED" in Check("not offered", "tried /completions").sentence("s")
