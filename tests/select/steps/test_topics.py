"""Rows by their nearest topic, from vectors made by hand and from the tiny model's."""

import math
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from candidates import Table, candidate, context, nobody
from ringfence.core.errors import RingfenceError
from ringfence.select.base import STEPS, Mapped
from ringfence.select.embeddings import Embedder
from ringfence.select.shards import kept
from ringfence.select.steps.domains import Domains
from ringfence.select.steps.random import Random
from ringfence.select.steps.topics import Topics, similarity

# The pool's mean is (100, 100): without it all cosines are nearly 1.
VECTORS = [(103, 100), (97, 100), (100, 102), (100, 98), (101, 101), (99, 99)]
EXAMPLES = {"east": (102, 100), "far east": (106, 100), "north": (100, 101), "no such way": (100, 100)}


class ByHand:
    """An embedder that knows the examples."""

    def __init__(self, context, encoder, role):
        self.role = role

    def __call__(self, conversations, on_rows):
        assert all(talk["messages"][0]["role"] == self.role for talk in conversations)
        return np.array([EXAMPLES[talk["messages"][0]["content"]] for talk in conversations], dtype=np.float32)


def gather(vectors=VECTORS, **settings):
    rows = [candidate(n, embedding=np.array(vector, dtype=np.float32)) for n, vector in enumerate(vectors)]
    topics = {"e": ["east", "far east"], "n": ["north"]}
    with patch("ringfence.select.steps.topics.Embedder", ByHand):
        return Topics(**{"topics": topics, **settings}).gather(Table(rows), context())


def test_rows_go_to_the_most_similar_topic() -> None:
    """East (103, 100) and north (100, 102) by themselves, north-east by a tie to the first, the others less badly."""
    found = gather()
    half = math.sqrt(0.5)
    assert found.keep.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.texts["topic"] == ["e", "n", "n", "e", "e", "e"]
    assert list(found.scores) == ["topic_similarity"]
    np.testing.assert_allclose(found.scores["topic_similarity"], [1, 0, 1, 0, half, -half], atol=1e-12)
    assert found.report["topics"]["e"] == {"nearest": 4, "kept": 4, "mean_similarity": pytest.approx(0.25)}
    assert found.report["topics"]["n"] == {"nearest": 2, "kept": 2, "mean_similarity": pytest.approx(0.5)}


def test_the_best_of_each_topic() -> None:
    assert gather(per_topic=1).keep.tolist() == [0, 2]
    assert gather(per_topic=2).keep.tolist() == [0, 1, 2, 4]


def test_ties_go_in_the_pools_order() -> None:
    vectors = [(99, 100), (101, 100), (102, 100), (98, 100)]
    assert gather(vectors, topics={"e": ["east"]}, per_topic=1).keep.tolist() == [1]


def test_later_steps_can_tell_rows_apart_by_topic() -> None:
    found = gather()
    rows = [candidate(n, topic="of the pool's own") for n in range(len(VECTORS))]
    named = kept(Mapped(rows), found.keep.tolist(), dict(found.scores), dict(found.texts)).rows
    drawn = Random(count=3, by="topic").gather(Table(named), context())
    assert drawn.report["domains"] == {"e": {"before": 4, "after": 2}, "n": {"before": 2, "after": 1}}
    assert Domains(keep=["n"], column="topic").gather(Table(named), context()).keep.tolist() == [1, 2]


def test_a_least_similarity() -> None:
    found = gather(min_similarity=0.5)
    assert found.keep.tolist() == [0, 2, 4]
    assert found.report["topics"]["e"]["nearest"] == 4
    empty = gather(min_similarity=0.9, topics={"e": ["east"], "n": ["north"], "m": ["no such way", "north"]})
    assert empty.report["topics"]["m"]["kept"] == 0
    assert math.isnan(empty.report["topics"]["m"]["mean_similarity"])


def test_too_few_rows_of_a_topic() -> None:
    with pytest.raises(RingfenceError, match="per_topic, topic 'n': 3 rows are asked for, but 2 are left"):
        gather(per_topic=3)


def test_a_vector_that_is_the_mean_is_near_to_nothing() -> None:
    vectors = [*VECTORS, (100, 100)]
    found = gather(vectors, min_similarity=-1)
    assert math.isnan(found.scores["topic_similarity"][6])
    assert found.texts["topic"][6] is None
    assert 6 not in found.keep
    assert 6 not in gather(vectors, per_topic=2).keep


def test_similarities_equal_a_naive_loop() -> None:
    rng = np.random.Generator(np.random.Philox(1))
    vectors, centres = rng.normal(3, 1, (11, 5)).astype(np.float32), rng.normal(3, 1, (3, 5))
    rows = [candidate(n, embedding=vector) for n, vector in enumerate(vectors)]
    mean = [sum(float(vector[d]) for vector in vectors) / 11 for d in range(5)]

    def cosine(a, b):
        a, b = [x - m for x, m in zip(a, mean, strict=True)], [y - m for y, m in zip(b, mean, strict=True)]
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    wanted = [[cosine(map(float, vector), centre) for centre in centres] for vector in vectors]
    for part in (1, 4, 11):
        np.testing.assert_allclose(similarity(Table(rows, part), centres), wanted, rtol=1e-9)


def test_with_the_models_own_hidden_states() -> None:
    """Examples that are questions of the pool themselves: each is nearest to its own topic, at similarity 1."""
    questions = ["How do I boil an egg?", "AAAAAAAA", "What is 12 + 7?", "zzz zzz zzz", "Why is the sky blue?"]
    rows = [candidate(n, question=text) for n, text in enumerate(questions)]
    step = Topics(topics={"eggs": [questions[0]], "sums": [questions[2]], "z": [questions[3]]}, per_topic=1)
    made = context()
    told: list[int] = []
    mapped = step.map(made)(rows, told.append)
    assert sum(told) == len(rows)
    found = step.gather(Table(mapped.rows), made)
    assert found.keep.tolist() == [0, 2, 3]
    np.testing.assert_allclose(found.scores["topic_similarity"][[0, 2, 3]], 1, atol=1e-6)
    assert [found.texts["topic"][place] for place in (0, 2, 3)] == ["eggs", "sums", "z"]
    vectors = Embedder(made)([row.conversation for row in rows], nobody)
    np.testing.assert_allclose(similarity(Table(mapped.rows), vectors)[range(5), range(5)], 1, atol=1e-6)
    halves = [*step.map(made)(rows[:3], nobody).rows, *step.map(made)(rows[3:], nobody).rows]
    for one, other in zip(mapped.rows, halves, strict=True):
        np.testing.assert_allclose(one.vectors["embedding"], other.vectors["embedding"], rtol=1e-4, atol=1e-6)


def test_finished_shards_depend_on_the_embeddings_only() -> None:
    plain = Topics(topics={"e": ["east"]})
    assert plain.map_settings() == Topics(topics={"n": ["north"]}, per_topic=4).map_settings()
    assert plain.map_settings() != Topics(topics={"e": ["east"]}, role="assistant").map_settings()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"topics": {}},
        {"topics": {"e": []}},
        {"topics": {"e": [" "]}},
        {"topics": {"e": ["east"]}, "per_topic": 0},
        {"topics": {"e": ["east"]}, "min_similarity": 2},
    ],
)
def test_bad_settings(settings: Any) -> None:
    with pytest.raises(RingfenceError):
        STEPS.parse({"topics": settings}, "steps.0")
