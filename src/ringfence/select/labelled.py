"""Domain labels of rows, and how many rows each domain gets when some are chosen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.select.base import Table

ALL = "all"
"""the one domain where rows are not told apart"""


def labels(table: Table, by: str | None, advice: str = "give `by: null` to leave domains out of it") -> list[str]:
    """The string column ``by`` of every row; :data:`ALL` for each where ``by`` is None.

    Raises :class:`RingfenceError`, naming the first of them, if there are rows without a label; ``advice`` says what
    else to do than to label them.
    """
    if by is None:
        return [ALL] * len(table)
    found = table.text(by)
    lacking = [place for place, label in enumerate(found) if label is None or not label.strip()]
    if lacking:
        origin = next(row.conversation["origin"] for place, row in enumerate(table.candidates()) if place == lacking[0])
        raise RingfenceError(
            f"{origin}: has no {by!r}, nor have {len(lacking) - 1} of {len(found)} rows after it; label every row, or "
            f"{advice}"
        )
    return [label for label in found if label is not None]


def quotas(sizes: Mapping[str, int], count: int, at_least_one: bool = False) -> dict[str, int]:
    """Domain -> how many of ``count`` rows it gets, in proportion to ``sizes`` by largest remainder.

    Of equal remainders the larger domain's goes first, then by name. No domain gets more rows than it has. With
    ``at_least_one`` a domain whose share is below one row gets one, and the others share the rest in proportion; only
    where ``count`` is below the number of domains some get none.

    Raises :class:`RingfenceError` if ``count`` is negative or more than there are rows.
    """
    sizes = {name: size for name, size in sizes.items() if size}
    total = sum(sizes.values())
    if not 0 <= count <= total:
        raise RingfenceError(f"count: {count} rows are asked for of {total}; ask for 0 to {total}")
    if at_least_one and count >= len(sizes):
        small = {name: 1 for name, size in sizes.items() if size * count < total}
        if small:
            rest = {name: size for name, size in sizes.items() if name not in small}
            return small | quotas(rest, count - len(small), at_least_one)
    found = {name: size * count // total for name, size in sizes.items()}
    order = sorted(sizes, key=lambda name: (-(sizes[name] * count % total), -sizes[name], name))
    for name in order[: count - sum(found.values())]:
        found[name] += 1
    return found


def before_and_after(domains: Sequence[str], keep: Sequence[int]) -> dict[str, Any]:
    """Domain -> rows before and after, for the manifest."""
    before, after = Counter(domains), Counter(domains[place] for place in keep)
    return {name: {"before": before[name], "after": after[name]} for name in sorted(before)}
