"""Ray is asked for once, quietly; a cluster that is there is not left."""

import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.core.ray_cluster import import_ray, join_cluster


def ray(initialized: bool, begin: Any) -> Any:
    return SimpleNamespace(is_initialized=lambda: initialized, init=begin)


def test_without_ray_there_is_one_line_and_no_usage_pings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RingfenceError, match="--engine ray needs Ray"):
        import_ray()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_cluster_is_joined_or_started(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert not join_cluster(ray(True, None), 2)
    assert join_cluster(ray(False, lambda **given: asked.append(given)), 2)
    assert (asked[0]["num_cpus"], asked[0]["address"]) == (2, None)
    monkeypatch.setenv("RAY_ADDRESS", "ray://nobody")

    def fails(**given: Any) -> None:
        raise ConnectionError("refused")

    with pytest.raises(RingfenceError, match=r"RAY_ADDRESS=ray://nobody cannot be reached \(refused\)"):
        join_cluster(ray(False, fails), 2)
