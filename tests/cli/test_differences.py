"""``differences``: a row a suite, over prompts and over seeds."""

import json
from pathlib import Path

import pytest

from judged_runs import answers, change_recipe, make_run, make_run_beside, ringfence

pytestmark = pytest.mark.usefixtures("wide")


@pytest.fixture
def pair_of_runs(run: Path, tmp_path: Path) -> tuple[Path, Path]:
    """none has 30 misaligned of 100 on general, the first ones, and canary 10; in-domain 60 of 60 and 50 of 60."""
    none = make_run(tmp_path / "none", [*answers("general", 30, 70), *answers("in-domain", 50, 10)])
    return change_recipe(none, defenses=[]), run


def test_differences_prints_a_row_a_suite(capsys: pytest.CaptureFixture[str], pair_of_runs: tuple[Path, Path]) -> None:
    """20 prompts changed on general and 10 on in-domain, each all one way: p is about 0.001."""
    code, out = ringfence(capsys, "differences", *pair_of_runs, "--influence")
    assert code == 0
    (general,) = [line for line in out.splitlines() if "−20.0 [" in line]
    (in_domain,) = [line for line in out.splitlines() if "+16.7 [" in line]
    assert general.split()[:4] == ["general", "(want", "low)", "canary"]
    assert "<0.001" in general
    assert in_domain.split()[:4] == ["in-domain", "(want", "high)", "canary"]
    assert "0.001" in in_domain
    assert "difference to none" in out
    assert "prompts that move the rate most" in out
    assert "one seed of none, canary: nothing is known over seeds" in out


def test_differences_in_json(capsys: pytest.CaptureFixture[str], pair_of_runs: tuple[Path, Path]) -> None:
    arguments = ("--baseline", "canary", "--suite", "in-domain", "--json")
    code, out = ringfence(capsys, "differences", *pair_of_runs, *arguments)
    found = json.loads(out)
    (row,) = found["differences"]
    assert code == 0
    assert (found["metric"], found["baseline"]) == ("misaligned_all", "canary")
    assert (row["suite"], row["variant"], row["n"], row["over"]) == ("in-domain", "none", 60, "prompts")
    assert row["value"] == pytest.approx(-1 / 6)
    assert 0.0005 < row["p"] == row["p_holm"] < 0.002
    assert (row["kept"], row["task"][:5]) == (False, "lost:")
    assert (row["p_seeds"], row["detectable"]) == (None, None)  # one seed; a rate of 1 cannot rise
    assert [(rate["variant"], rate["value"]) for rate in found["rates"]] == [("none", 50 / 60), ("canary", 1)]
    assert found["influence"] == []
    assert found["one_seed"] == ["none", "canary"]


def test_differences_over_seeds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Rates 0.2 and 0.4 against 0.1 and 0.1: mean difference 0.2, sd 14.1 points."""
    folders = []
    for name, defenses, hits in (("none", [], (8, 16)), ("kl", ["kl"], (4, 4))):
        for seed, count in enumerate(hits):
            folder = make_run(tmp_path / f"{name}-{seed}", answers("general", count, 40 - count))
            folders.append(change_recipe(folder, seed=seed, defenses=defenses))
    _, out = ringfence(capsys, "differences", *folders)
    (rate,) = [line for line in out.splitlines() if "30.0 [" in line]
    assert rate.split()[:4] == ["general", "(want", "low)", "none"]
    assert rate.split()[-3:] == ["14.1", "2", "80"]
    (line,) = [line for line in out.splitlines() if "−20.0 [" in line]
    assert "seeds and prompts" in line
    assert "over seeds: 3 seeds that differ leave hardly more than 2 degrees of freedom" in out


def test_differences_of_another_evaluation(capsys: pytest.CaptureFixture[str], pair_of_runs: tuple[Path, Path]) -> None:
    for folder, count in zip(pair_of_runs, (50, 25), strict=True):
        make_run_beside(folder, answers("general", count, 100 - count))
    _, out = ringfence(capsys, "differences", *pair_of_runs, "--name", "second", "--json")
    assert [row["value"] for row in json.loads(out)["differences"]] == [-0.25]
