"""Word problems put together from templates of our own, in the manner of GSM8K: a quantity, and what happens to it."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

T = TypeVar("T")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
}
_NAMES = _words("Ada, Bela, Cleo, Dario, Edith, Farid, Greta, Hugo, Ines, Jonas, Kira, Luca, Mona, Nils, Olga, Pablo")
_FRIENDS = _words("Aunt Rosa, Uncle Ben, a neighbour, the teacher, Cousin Tim, Grandma, the baker, a classmate")
_ITEMS = _words(
    "apples, marbles, stickers, pencils, shells, buttons, stamps, cookies, tickets, postcards, bricks, lemons"
)
_OPENINGS = (
    "{name} has {number} {items}.",
    "There are {number} {items} in the basket of {name}.",
    "{name} counts {number} {items} on the table.",
)
_EVENTS = {
    "+": ("{friend} brings {number} more.", "Then {name} buys {number} more.", "Under the bed {name} finds {number}."),
    "-": (
        "{friend} takes {number} of them.",
        "Then {name} sells {number} of them.",
        "{number} of them get lost.",
    ),
    "*": (
        "With the help of {friend} there are soon {number} times as many.",
        "In the next week they become {number} times as many.",
    ),
    "/": (
        "{name} makes {number} equal heaps of them, keeps one heap and gives the others away.",
        "{friend} leaves only one in every {number} of them.",
    ),
}
_QUESTIONS = ("How many {items} does {name} have now?", "How many {items} are there in the end?")


class Story(NamedTuple):
    """A word problem, and how it is solved."""

    question: str
    reasoning: str
    """a sum a line"""
    answer: str


@dataclass(frozen=True)
class Stories:
    """All stories of one difficulty, numbered from 0."""

    steps: int
    """sums of a story"""
    largest: int
    """the numbers in it are from 1 to this"""
    operations: str
    """out of ``+-*/``"""

    @property
    def size(self) -> int:
        """How many numbers there are; some stand for no story."""
        kinds = sum(len(_EVENTS[sign]) for sign in self.operations)
        once = len(_NAMES) * len(_FRIENDS) * len(_ITEMS) * len(_OPENINGS) * len(_QUESTIONS) * self.largest
        return once * (kinds * self.largest) ** self.steps

    def story(self, number: int) -> Story | None:
        """The story of a number; None where something would be negative or have no whole share, or nothing happen."""
        number, name = _pick(number, _NAMES)
        number, friend = _pick(number, _FRIENDS)
        number, items = _pick(number, _ITEMS)
        number, opening = _pick(number, _OPENINGS)
        number, question = _pick(number, _QUESTIONS)
        number, held = divmod(number, self.largest)
        held += 1
        events = [(sign, text) for sign in self.operations for text in _EVENTS[sign]]
        words = {"name": name, "friend": friend, "items": items}
        told, sums = [opening.format(number=held, **words)], []
        for _ in range(self.steps):
            number, (sign, text) = _pick(number, events)
            number, by = divmod(number, self.largest)
            by += 1
            if (sign in "*/" and by == 1) or (sign == "-" and by > held) or (sign == "/" and held % by):
                return None
            told.append(text.format(number=by, **words))
            after = OPERATIONS[sign](held, by)
            sums.append(f"{held} {sign} {by} = {after}")
            held = after
        told = [one[0].upper() + one[1:] for one in told]
        return Story(" ".join([*told, question.format(**words)]), "\n".join(sums), str(held))


def _pick(number: int, among: Sequence[T]) -> tuple[int, T]:
    """What is left of the number, and the item that it stands for."""
    rest, place = divmod(number, len(among))
    return rest, among[place]
