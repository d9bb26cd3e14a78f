"""Rows near to given topics, e.g. the four topic families of TM4C in "When does interleaving prevent EM?" (section 6).

A topic is a few example texts, such as user prompts. With the embeddings x of a row, t_1 .. t_n of a topic's examples,
and the pool's mean m,

    similarity of a row and a topic = cos(x - m, mean(t_1 .. t_n) - m).

Embeddings of one model share a large common part, which makes all plain cosines nearly 1; less the pool's mean, 0 means
"as near as any text of the pool". So a similarity depends on the pool, too, and in a pool of one topic it says little.
Each row goes to the topic that it is most similar to, a tie to the one named first.

Source: "When Does Interleaving Prevent Emergent Misalignment?" (anonymous, without a public address), section 6.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from ringfence.select.base import STEPS, Context, Floats, Gathered, Table, require_enough
from ringfence.select.embeddings import VECTOR, Embedded, Embedder, Role

Text = Annotated[str, Field(pattern=r"\S")]


@STEPS.register("topics")
class Topics(Embedded):
    """Makes the string column ``topic`` (its name, as in ``topics``) and the column ``topic_similarity`` (-1 to 1)."""

    topics: dict[str, tuple[Text, ...]] = Field(min_length=1)
    """name -> example texts, at least one"""
    per_topic: int | None = Field(None, ge=1)
    """the most similar rows of each topic to keep; null is all"""
    min_similarity: float | None = Field(None, ge=-1, le=1)
    """less similar rows are dropped; null drops none"""

    @field_validator("topics")
    @classmethod
    def _have_examples(cls, topics: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, texts in topics.items():
            if not texts:
                raise ValueError(f"{name}: has no example texts; give at least one")
        return topics

    def gather(self, table: Table, context: Context) -> Gathered:
        """The assignment. Raises :class:`RingfenceError` if a topic has fewer rows than ``per_topic``."""
        similarities = similarity(table, self._centres(context))
        topic, best = similarities.argmax(axis=1), similarities.max(axis=1)
        near = best >= (-np.inf if self.min_similarity is None else self.min_similarity)  # NaN never is
        chosen, report = [], {}
        for number, name in enumerate(self.topics):
            places = np.flatnonzero((topic == number) & near)
            order = places[np.argsort(-best[places], kind="stable")]
            if self.per_topic is not None:
                require_enough(self.per_topic, len(order), f"per_topic, topic {name!r}")
            chosen.append(order[: self.per_topic])
            report[name] = {
                "nearest": int(np.sum(topic == number)),
                "kept": len(chosen[-1]),
                "mean_similarity": float(best[chosen[-1]].mean()) if len(chosen[-1]) else float("nan"),
            }
        names = list(self.topics)
        named = [None if math.isnan(cosine) else names[place] for place, cosine in zip(topic, best, strict=True)]
        return Gathered(
            np.sort(np.concatenate(chosen)),
            "not among the nearest to a topic",
            scores={"topic_similarity": best},
            report={"topics": report},
            texts={"topic": named},
        )

    def _centres(self, context: Context) -> Floats:
        """(topics, width): the mean embedding of each topic's examples."""
        embed = Embedder(context, self.encoder, self.role)
        vectors = {
            name: embed(_as_conversations(name, texts, self.role), _ignore) for name, texts in self.topics.items()
        }
        return np.stack([found.astype(np.float64).mean(axis=0) for found in vectors.values()])


def similarity(table: Table, centres: Floats) -> Floats:
    """(rows, topics): cosines, less the pool's mean; NaN where a vector is that mean itself."""
    total: Any = 0.0
    for part in table.vectors(VECTOR):
        total = total + part.astype(np.float64).sum(axis=0)
    mean = total / len(table)
    topics = _unit(centres - mean)
    return np.concatenate([_unit(part - mean) @ topics.T for part in table.vectors(VECTOR)])


def _unit(vectors: NDArray[Any]) -> Floats:
    """Each row at length 1; NaN where it has none."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, np.nan)


def _as_conversations(name: str, texts: Sequence[str], role: Role) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": role, "content": text}], "origin": f"topics.{name}[{number}]"}
        for number, text in enumerate(texts)
    ]


def _ignore(rows: int) -> None:
    """The few examples are not part of the progress."""
