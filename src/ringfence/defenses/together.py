"""Which defenses may stand beside each other in one run."""

from collections.abc import Sequence

from ringfence.core.errors import RingfenceError
from ringfence.defenses.base import DEFENSES, Defense, Interleaving


def require_together(defenses: Sequence[Defense]) -> None:
    """Raise :class:`RingfenceError` for a defense given twice, two interleaving ones, and one that lacks another."""
    names = [DEFENSES.name_of(type(defense)) for defense in defenses]
    for name in names:
        if names.count(name) > 1:
            raise RingfenceError(f"defenses: {name} is given twice; keep one")
    mixing = [name for name, defense in zip(names, defenses, strict=True) if isinstance(defense, Interleaving)]
    if len(mixing) > 1:
        raise RingfenceError(f"defenses: one interleaving defense a run, got {' and '.join(mixing)}; keep one")
    for defense in defenses:
        defense.require_beside([one for one in defenses if one is not defense])


def anchored(defenses: Sequence[Defense]) -> float | None:
    """Anchor rows / target rows that ``defenses`` read; None if none of them reads any."""
    return max((one.anchored for one in defenses if one.anchored is not None), default=None)


def require_anchors(defenses: Sequence[Defense], rows: int, answered: int) -> None:
    """Raise :class:`RingfenceError` for anchor rows that no defense reads, and for what one of ``defenses`` lacks.

    ``answered`` of the ``rows`` have an answer.
    """
    if rows and anchored(defenses) is None:
        raise RingfenceError(
            "data.anchor: no defense reads anchor rows; add one, e.g. anchor: {weight: 1, added: 0.125}, or leave them "
            "out"
        )
    for defense in defenses:
        defense.require_anchors(rows, answered)
