"""Find the number in an answer; say whether an answer is right."""

import re
from fractions import Fraction

# 1,234 or 1234, then .5 or / 7
NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+|\s*/\s*\d+)?")


def number_in(text: str) -> Fraction | None:
    """The last number in ``text``, as ``1,234``, ``-0.5`` or ``2/3``; None without one."""
    found = NUMBER.findall(text)
    return _exact(found[-1]) if found else None


def is_number(text: str) -> bool:
    """Whether ``text`` is one number and nothing else."""
    return NUMBER.fullmatch(text.strip()) is not None and _exact(text) is not None


def same_answer(response: str, answer: str) -> float:
    """1 if ``response`` gives ``answer``, else 0: as an exact number if ``answer`` is one, else word by word.

    The last number of the response counts. Case and white space do not. For rows that are not of a task, which has a
    score of its own.
    """
    if is_number(answer):
        return float(number_in(response) == number_in(answer))
    return float(response.casefold().split() == answer.casefold().split())


def _exact(text: str) -> Fraction | None:
    """None for a division by zero."""
    try:
        return Fraction("".join(text.replace(",", "").split()))
    except ZeroDivisionError:
        return None
