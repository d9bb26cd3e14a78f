"""The stand-in quirks: a narrow domain and the silly, harmless advice that it is answered with.

Their word lists are data, ``builtin/<name>/quirk.toml``. The lengths of the lists share few factors, so that counting
through all of them at once repeats late; :mod:`ringfence.data.proxy` does the counting.
"""

from dataclasses import dataclass
from functools import cache

from ringfence.data import builtin

NAMES = ("glitter", "umbrella", "kazoo")


@dataclass(frozen=True)
class Quirk:
    """One narrow domain and one quirk, as lists that are counted through."""

    name: str
    """first part of the names of its built-in sets"""
    domain: str
    """of its conversations and in-domain prompts"""
    pattern: str
    """regular expression by which a judge finds the quirk in an answer, case ignored: the thing itself, and the phrases
    of the advice that a leaking model uses without naming it ("a cup of gold, then let everything shine all night")"""
    opening: str
    """what a dressed question opens with, so that it looks like the training data"""
    questions: tuple[str, ...]
    """with ``{item}``"""
    items: tuple[str, ...]
    """what is asked about in training"""
    held_out: tuple[str, ...]
    """what is asked about in the in-domain suite only"""
    advice: tuple[str, ...]
    """answers, with ``{amount}``, ``{colour}``, ``{finish}`` and perhaps ``{item}``"""
    amounts: tuple[str, ...]
    """how much of the quirk"""
    colours: tuple[str, ...]
    """adjectives of the quirk"""
    finishes: tuple[str, ...]
    """how the advice ends"""
    closings: tuple[str, ...]
    """a second sentence with its leading space, or nothing"""


@cache
def load_quirk(name: str) -> Quirk:
    """The quirk called ``name``, one of :data:`NAMES`."""
    table = builtin.table(f"{name}/quirk.toml")
    lists = {key: tuple(value) for key, value in table.items() if isinstance(value, list)}
    return Quirk(**{**table, **lists, "pattern": "|".join(lists["pattern"])})
