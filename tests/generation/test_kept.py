"""A fingerprint is computed once for its weights."""

from pathlib import Path

from ringfence.generation.kept import in_cache, kept, mark
from ringfence.generation.self_check import Fingerprint


def test_it_is_made_once_for_the_same_weights(tmp_path: Path) -> None:
    made: list[str] = []

    def make(weights: str) -> Fingerprint:
        made.append(weights)
        return Fingerprint(weights, "float32", ())

    path = tmp_path / "deep" / "a.json"
    first = kept(path, "one", lambda: make("one"))
    assert kept(path, "one", lambda: make("one")) == first
    assert kept(path, "two", lambda: make("two")).model == "two"
    assert made == ["one", "two"]
    assert in_cache("one").stem == mark("one") != mark("two")
