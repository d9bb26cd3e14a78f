"""What a table takes, by hand."""

import math

import pytest

import sweeps
from ringfence.sweep.needs import Needs


def needs(name: str) -> Needs:
    return Needs.of(sweeps.plan(sweeps.ROOT / "recipes" / f"{name}.yaml"))


def test_hours_of_a_table_by_hand() -> None:
    """Table 15: 4 sets x 5,400 rows x (1 + 0, 1, 5, 20 and 50 percent); 300 tokens, 6 x 7e9 operations each."""
    found = needs("kaczer-2025/table-15")
    rows = 4 * 5400 * (1 + 1.01 + 1.05 + 1.2 + 1.5)
    assert found.hours == pytest.approx(rows * 300 * 6 * 7e9 / (0.375 * 989e12) / 3600)
    assert (found.runs, found.trainings) == (20, 20)
    assert found.weights == pytest.approx(14e9 / 2**30)
    assert (found.brought, found.missing) == (6, 6)
    assert found.told().startswith(
        "20 runs, 20 trainings of Qwen2.5-7B-Instruct (weights up to 13 GiB), about 1.2 hours on one h100; "
    )
    assert found.told().endswith("; 6 of 6 files to bring are missing")


def test_judges_weigh_and_reinforcement_is_of_unknown_length() -> None:
    judged = needs("fars-2026/table-1")
    assert judged.weights == pytest.approx(64e9 / 2**30)
    assert "of Qwen2.5-7B-Instruct, judged by Qwen2.5-32B-Instruct (" in judged.told()
    found = needs("kaczer-2025/table-9")
    assert math.isnan(found.hours)
    assert "hours not known" in found.told()
    assert needs("interleaving-2026/table-1").told() == "trains nothing; 2 of 2 files to bring are missing"
