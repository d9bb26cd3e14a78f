"""Keep k domains, such as the ladder K1, K4, K8, K14 of "When does interleaving prevent EM?" (section 4).

Domains are the values of a string column. The seed puts them in one order, of which the first k are kept, and the rows
of each domain in one order, of which the first are kept. So with the same pool, seed and ``min_rows`` the four domains
of K4 are among the eight of K8, and where K8 takes fewer rows of a domain they are among those of K4.

Source: "When Does Interleaving Prevent Emergent Misalignment?" (anonymous, without a public address), section 4,
property P4.
"""

import hashlib
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.select.base import STEPS, Context, Gathered, Step, Table, require_enough
from ringfence.select.labelled import labels


@STEPS.register("domains")
class Domains(Step):
    """Which domains, and how many rows of each."""

    keep: int | tuple[str, ...]
    """how many domains, drawn by the seed, or their names"""
    column: str = "domain"
    """string column that holds the domain; every row must have one"""
    min_rows: int = Field(1, ge=1)
    """domains with fewer rows are not drawn. For a ladder of equal ``count`` give all its steps the lowest one's
    ``count``: domains that could not fill it alone are then left out everywhere"""
    per_domain: int | None = Field(None, ge=1)
    """rows of each domain that is kept; null is all"""
    count: int | None = Field(None, ge=1)
    """rows in all, equally many of each domain; what is left over goes one each to the first"""

    @field_validator("keep")
    @classmethod
    def _some(cls, keep: int | tuple[str, ...]) -> int | tuple[str, ...]:
        if not keep or (isinstance(keep, int) and keep < 0):
            raise ValueError("keeps no domain; give a number of at least 1, or names")
        if isinstance(keep, tuple) and len(set(keep)) < len(keep):
            raise ValueError("names a domain twice")
        return keep

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.per_domain is not None and self.count is not None:
            raise ValueError("per_domain and count both say how many rows; give one")
        wanted = self.keep if isinstance(self.keep, int) else len(self.keep)
        if self.count is not None and self.count < wanted:
            raise ValueError(f"count: {self.count} rows are not one each of {wanted} domains")
        return self

    def gather(self, table: Table, context: Context) -> Gathered:
        """The choice. Raises :class:`RingfenceError` for rows without a domain, and for too few domains or rows."""
        places = _places(labels(table, self.column, "name another string column as `column`"))
        kept = self._names(places, context.seed)
        chosen = []
        for name, size in zip(kept, self._sizes([len(places[name]) for name in kept]), strict=True):
            require_enough(size, len(places[name]), f"domain {name!r}")
            chosen.append(_generator(context.seed, name).permutation(places[name])[:size])
        report = {
            name: {"before": len(places[name]), "after": len(rows)} for name, rows in zip(kept, chosen, strict=True)
        }
        return Gathered(np.sort(np.concatenate(chosen)), "of another domain, or not drawn", report={"domains": report})

    def _names(self, places: dict[str, NDArray[np.int64]], seed: int) -> list[str]:
        """The domains to keep, in order."""
        if isinstance(self.keep, tuple):
            for name in self.keep:
                if name not in places:
                    raise RingfenceError(f"keep: no row has the {self.column} {name!r}.{did_you_mean(name, places)}")
            return list(self.keep)
        large = sorted(name for name, rows in places.items() if len(rows) >= self.min_rows)
        if len(large) < self.keep:
            raise RingfenceError(
                f"keep: {self.keep} domains are asked for, but {len(large)} of {len(places)} have at least "
                f"{self.min_rows} rows; ask for fewer, lower min_rows or widen the pool"
            )
        order = np.random.Generator(np.random.Philox(seed)).permutation(len(large))
        return [large[place] for place in order[: self.keep]]

    def _sizes(self, found: list[int]) -> list[int]:
        """Rows to keep of each domain."""
        if self.count is not None:
            share, left_over = divmod(self.count, len(found))
            return [share + (place < left_over) for place in range(len(found))]
        return found if self.per_domain is None else [self.per_domain] * len(found)


def _places(names: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """Domain -> the places of its rows, domains in the order of their first rows."""
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    return {name: np.asarray(rows, dtype=np.int64) for name, rows in places.items()}


def _generator(seed: int, name: str) -> np.random.Generator:
    """The random stream of one domain, whatever the others are."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest[:8], "big")))
