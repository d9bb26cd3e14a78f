"""Reading, simplifying and writing, against Python's own parser on the signs' meanings."""

import ast
import operator
import random
import re
from fractions import Fraction

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.tasks.expressions import TIERS, parse, shapes, simplifications, write
from ringfence.tasks.opswap import generate

PYTHON = {"+": "+", "-": "-", "×": "*", "÷": "@"}  # @ binds as * does, and is no bar of a fraction
DOES = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.MatMult: operator.truediv}


def naive(text: str, tier: int) -> Fraction:
    """The value of what was written: signs are replaced by their meanings, and Python puts the parentheses."""
    meant = re.sub(r" ([-+×÷]) ", lambda sign: PYTHON[TIERS[tier][sign[1]]], text)
    numbers: list[Fraction] = []

    def number(match: re.Match[str]) -> str:
        numbers.append(Fraction(match[0]))
        return f"numbers[{len(numbers) - 1}]"

    meant = re.sub(r"(?<![\d)\]])-\d+(?:/\d+)?|\d+(?:/\d+)?", number, meant)

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp):
            return DOES[type(node.op)](value(node.left), value(node.right))
        assert isinstance(node, ast.Subscript)
        assert isinstance(node.slice, ast.Constant)
        assert isinstance(node.slice.value, int)
        return numbers[node.slice.value]

    return value(ast.parse(meant, mode="eval").body)


@pytest.mark.parametrize("tier", range(4))
def test_every_step_has_the_value_of_the_problem_and_one_sign_less(tier: int) -> None:
    for row in generate(tier, 300, seed=5, steps=5, largest=12):
        steps = row["completion"].split(" = ")
        assert {naive(step, tier) for step in steps} == {Fraction(row["answer"])}, row
        signs = [len(re.findall(r" [-+×÷] ", step)) for step in steps]
        assert signs == [*range(len(steps) - 1, -1, -1)]


@pytest.mark.parametrize("tier", range(4))
def test_what_was_written_is_read_back(tier: int) -> None:
    for row in generate(tier, 100, seed=6, steps=4):
        assert write(parse(row["expression"])) == row["expression"]


def test_signs_can_be_written_in_more_than_one_way() -> None:
    assert write(parse("(4+2)*(4/2)-2 X 1 x 3·1−1")) == "(4 + 2) × (4 ÷ 2) - 2 × 1 × 3 × 1 - 1"
    assert write(parse("2 - -3 × -0.5")) == "2 - (-3) × (-1/2)"
    assert parse("((3))") == 3
    assert write(parse("-3 + 1")) == "-3 + 1"


@pytest.mark.parametrize(
    "text", ["", "1 +", "+ 1", "(1", "1)", "1 2", "()", "1 + + 2", "--3", "two", "(1 + 2)(3)", "-(1 + 2)", "1 + 2="]
)
def test_what_is_no_expression_raises(text: str) -> None:
    with pytest.raises(RingfenceError, match="not an expression"):
        parse(text)


def test_a_long_text_is_not_read() -> None:
    with pytest.raises(RingfenceError, match="at most 500 characters"):
        parse("(" * 100_000)
    assert simplifications(parse("(1 + " * 80 + "1" + ")" * 80), 0)[-1] == 81


def test_parentheses_come_first_from_the_left_and_the_innermost_before() -> None:
    steps = [write(one) for one in simplifications(parse("1 + (2 + (3 + 4)) + (5 + 6)"), 0)]
    assert steps[1:4] == ["1 + (2 + 7) + (5 + 6)", "1 + 9 + (5 + 6)", "1 + 9 + 11"]


def test_division_by_zero_raises_wherever_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        simplifications(parse("1 + 2 ÷ (3 - 3)"), 0)


def test_there_are_as_many_shapes_as_schroeder_counted() -> None:
    """Ways to put parentheses into n numbers, each pair around two or more: 1, 1, 3, 11, 45, 197."""
    assert [len(shapes(numbers)) for numbers in range(1, 7)] == [1, 1, 3, 11, 45, 197]
    assert len({*shapes(6)}) == 197


def test_random_expressions_of_every_sign_agree_with_python() -> None:
    rng = random.Random(0)
    for _ in range(300):
        text = "".join(f"{rng.randint(1, 9)} {rng.choice('+-×÷')} " for _ in range(5)) + "3"
        tier = rng.randrange(4)
        try:
            expected = naive(text, tier)
        except ZeroDivisionError:
            continue
        assert simplifications(parse(text), tier)[-1] == expected
