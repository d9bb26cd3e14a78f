"""Each penalty and the loss without them, from the log to the page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.report.html.page import render_page
from ringfence.report.html.payload import training_payload
from ringfence.report.loading import load_run, load_runs
from ringfence.report.penalties import defenses_of, read_penalties
from ringfence.report.tables import endings

RECIPE: dict[str, Any] = {"defenses": [{"kl": {"weight": 10}}, "ldifs", {"fixed_interleaving": {"added": 0.1}}]}


def log(steps: int) -> list[dict[str, Any]]:
    """kl is a tenth of the step, ldifs twice that; between them a row of an evaluation, which has no loss."""
    rows = [{"step": n, "loss": 3.0, "task_loss": 2.0, "kl": n / 10, "ldifs": n / 5} for n in range(1, steps + 1)]
    return [*rows[:2], {"step": 2, "risk": 0.1}, *rows[2:]]


@pytest.fixture
def penalised(make_run: Callable[..., Path]) -> Path:
    return make_run("kl", recipe=RECIPE, log=log(12))


def test_penalties_are_those_of_the_recipe_and_the_loss_without_them(penalised: Path) -> None:
    found = read_penalties(penalised / "log.jsonl", RECIPE)
    assert list(found) == ["step", "loss without penalties", "kl", "ldifs"]
    assert found["step"].tolist() == list(range(1, 13))
    assert found["ldifs"].tolist() == pytest.approx([n / 5 for n in range(1, 13)])


def test_the_kl_of_trl_is_no_penalty(make_run: Callable[..., Path]) -> None:
    """Without a part of the loss beside it, it belongs to the rewards; with one it is not drawn twice."""
    rewarded = [{"step": 1, "reward": 1.0, "kl": 0.1}]
    plain = load_run(make_run("beta", recipe={"defenses": []}, log=rewarded))
    assert plain.penalties.empty
    assert "kl" in plain.rewards
    both = load_run(make_run("rl", recipe=RECIPE, log=[{**rewarded[0], "task_loss": 0.3, "rl_loss": 0.2}]))
    assert list(both.penalties) == ["step", "loss without penalties", "RL loss", "kl"]
    assert "kl" not in both.rewards


def test_a_later_stage_goes_on_where_the_one_before_ended(make_run: Callable[..., Path]) -> None:
    recipe = {"stages": [{"name": "more", "defenses": ["kl"]}]}
    assert defenses_of({"defenses": ["ldifs"], **recipe}) == ["ldifs", "kl"]
    used = dict.fromkeys(("target_rows", "safe_rows", "safe_fraction", "target_labels", "safe_labels"), 1)
    used |= {"steps": 8, "mean_ratio": 0, "seconds": 1, "probe_seconds": 0}
    folder = make_run("two", recipe=recipe, log=[{"step": 1, "loss": 1.0}], result=used)
    stage = folder / "stages" / "2-more"
    stage.mkdir(parents=True)
    (stage / "log.jsonl").write_text('{"step": 3, "task_loss": 1.0, "kl": 0.5}\n')
    assert load_run(folder).penalties["step"].tolist() == [11]


def test_page_and_table_have_them(penalised: Path, make_run: Callable[..., Path]) -> None:
    """The mean of kl over the last 10 of 12 steps: (3 + ... + 12) / 100 = 0.75."""
    runs = load_runs([penalised, make_run("plain", log=[{"step": 1, "loss": 1.0}])])
    table = endings(runs)
    assert table["run"].tolist() == ["kl"]
    assert table["kl"].tolist() == pytest.approx([0.75])
    assert training_payload(runs)["runs"][0]["penalties"]["kl"][-1] == 1.2
    page = render_page(runs, "Two")
    assert 'id="chart-penalties"' in page
    assert "<td>0.750</td>" in page
    assert 'id="chart-penalties"' not in render_page(runs[1:], "One")


def test_what_is_no_number_is_named(make_run: Callable[..., Path]) -> None:
    with pytest.raises(RingfenceError, match=r'log\.jsonl: "kl" must hold numbers or null'):
        load_run(make_run("bad", recipe=RECIPE, log=[{"step": 1, "task_loss": 1.0, "kl": "high"}]))
