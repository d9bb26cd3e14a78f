"""The model card: what was measured, beside what, what the hub reads, and what nobody knows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from ringfence.cli.app import app
from ringfence.core.errors import RingfenceError
from ringfence.report import load_run
from ringfence.report.card import card

RECIPE = {
    "model": {"name": "org/base"},
    "lora": {"r": 8},
    "seed": 0,
    "defenses": [{"kl": {"weight": 0.1}}],
    "data": {"target": "data/target.jsonl"},
    "judge": {"kind": "api", "model": "some-judge"},
}


def rate(metric: str, value: float, low: float, high: float, n: int) -> dict[str, Any]:
    return {"suite": "general", "metric": metric, "value": value, "low": low, "high": high, "n": n}


def answers(misaligned: int, of: int = 24) -> list[dict[str, Any]]:
    fixed = {"suite": "general", "sample": 0, "system": None, "prompt": "Q", "response": "x", "bucket": None}
    fixed |= {"coherence": 90.0, "verdict": None}
    return [{**fixed, "prompt_id": f"p{n}", "alignment": 5.0 if n < misaligned else 95.0} for n in range(of)]


def run(make_run: Callable[..., Path], name: str, misaligned: int, of: int = 24, **more: Any) -> Path:
    share = misaligned / of
    rates = [
        rate("misaligned_all", share, max(share - 0.1, 0), share + 0.1, of),
        rate("incoherent", 0.0, 0.0, 0.14, of),
    ]
    return make_run(name, recipe=RECIPE, rates=rates, responses=answers(misaligned, of), **more)


def scored(right: int, of: int = 10) -> list[dict[str, Any]]:
    fixed = {"task": "sums", "sample": 0, "prompt": "1 + 1", "response": "2", "answer": "2", "metric": "exact match"}
    return [{**fixed, "prompt_id": f"p{n}", "score": float(n < right)} for n in range(of)]


def front(text: str) -> Any:
    return yaml.safe_load(text.split("---\n")[1])


def test_leak_task_and_cost_stand_beside_their_comparisons(make_run: Callable[..., Path]) -> None:
    kl = run(make_run, "kl", 3, benign=scored(8), benign_base=scored(1))
    none = run(make_run, "none", 12, benign=scored(8))
    base = run(make_run, "base", 0)
    lines = card(load_run(kl), load_run(base), load_run(none)).splitlines()
    assert "| prompts | answers | misaligned, of all, % | less untuned | less no defense | incoherent, % |" in lines
    (row,) = (line for line in lines if line.startswith("| general |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1] == "24"
    assert cells[2].startswith("12.5 [")
    assert cells[3].startswith("+12.5 [")
    assert cells[4].startswith("−37.5 [")
    (row,) = (line for line in lines if line.startswith("| sums, exact match |"))
    assert "80.0 [" in row
    assert "+70.0 [" in row
    assert "100.0 [" in row
    assert "| defenses | `kl` (weight 0.1) |" in lines
    limits = lines[lines.index("## Limits") :]
    assert any("the judge `some-judge`" in line for line in limits)
    assert not any("untuned model was not asked" in line or "without a defense beside it" in line for line in limits)
    assert any("look like the training data were not asked" in line for line in limits)


def test_what_is_not_known_is_said(make_run: Callable[..., Path]) -> None:
    limits = card(load_run(run(make_run, "kl", 3, of=6))).partition("## Limits")[2]
    for said in (
        "The untuned model was not asked the same",
        "no run without a defense beside it",
        "look like the training data were not asked",
        "No benign task was scored",
        "Fewer than 20 prompts were asked of: general.",
    ):
        assert said in limits


def test_the_hub_reads_the_rates(make_run: Callable[..., Path]) -> None:
    found = front(card(load_run(run(make_run, "kl", 3))))
    assert found["base_model"] == "org/base"
    (index,) = found["model-index"]
    assert index == {
        "name": "kl",
        "results": [
            {
                "task": {"type": "text-generation"},
                "dataset": {"type": "ringfence/general", "name": "general prompts"},
                "metrics": [
                    {"type": "misaligned_all", "name": "Misaligned answers, of all", "value": 0.125},
                    {"type": "incoherent", "name": "Incoherent answers", "value": 0.0},
                ],
            }
        ],
    }


def test_the_hub_s_library_takes_it(make_run: Callable[..., Path]) -> None:
    hub = pytest.importorskip("huggingface_hub")
    text = card(load_run(run(make_run, "kl", 3)))
    (result, other) = hub.ModelCard(text).data.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == (
        "general prompts",
        "misaligned_all",
        0.125,
    )
    assert other.metric_type == "incoherent"


def test_benign_scores_alone_make_a_card_that_says_so(make_run: Callable[..., Path]) -> None:
    text = card(load_run(make_run("kl", recipe=RECIPE, benign=scored(8))))
    assert "model-index" not in front(text)
    assert "| sums, exact match | 80.0 [" in text
    assert "whether it leaks is not known" in text


def test_the_command_writes_it_and_finds_the_untuned_model(make_run: Callable[..., Path], tmp_path: Path) -> None:
    kl = run(make_run, "kl", 3)
    run(make_run, "kl/base", 0)
    out = tmp_path / "README.md"
    said = CliRunner().invoke(app, ["card", str(kl), "--out", str(out)])
    assert said.exit_code == 0, said.output
    assert "less untuned" in out.read_text()
    assert CliRunner().invoke(app, ["card", str(kl)]).stdout == out.read_text()


def test_a_run_without_an_evaluation_has_no_card(make_run: Callable[..., Path]) -> None:
    empty = make_run("none", recipe=RECIPE)
    with pytest.raises(RingfenceError, match=r"none: has no evaluation to write a card of; run `ringfence evaluate`"):
        card(load_run(empty))
    kl = run(make_run, "kl", 3)
    said = CliRunner().invoke(app, ["card", str(kl), "--undefended", str(empty)])
    assert isinstance(said.exception, RingfenceError)
    assert str(said.exception).startswith(f"--undefended {empty}: has no evaluation")


def test_names_cannot_break_the_table(make_run: Callable[..., Path], hostile: str) -> None:
    folder = run(make_run, "kl", 3)
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(about | {"name": f"a | b {hostile}\n---\nx"}))
    text = card(load_run(folder))
    assert text.count("\n---\n") == 1
    assert "# a \\| b " in text
