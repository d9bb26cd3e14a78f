"""Hours and cost of what is to do: a step each, forecast once for what takes the same; what is unknown is told."""

from pathlib import Path
from typing import Any

import pytest

import project
from ringfence.core.errors import RingfenceError
from ringfence.runs import forecast as forecasts
from ringfence.runs.gpu_cards import parse_cards
from ringfence.sweep import cost
from ringfence.sweep.cost import estimate
from ringfence.sweep.steps import Step

CARDS = parse_cards("h100")
HOUR = {"lo": (1.0, 1.0), "hi": (1.0, 2.0)}


def step(label: str, kind: Any = "run", **recipe: Any) -> Step:
    plain = {"name": label, "seed": len(label), "data": {"target": "target.jsonl"}, "defenses": []} | recipe
    return Step(kind, label, label, (), plain, (), Path("out") / label)


def test_hours_are_forecast_once_and_summed_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two strengths of one penalty are one forecast; a controller has two ends."""
    asked = []

    def hours(plain: Any, cards: Any) -> tuple[float, float]:
        asked.append(plain)
        return HOUR["hi" if "canary_interleaving" in str(plain) else "lo"]

    monkeypatch.setattr(cost, "_hours", hours)
    steps = [
        step("a", defenses=[{"kl": {"weight": 0.1}}]),
        step("bb", defenses=[{"kl": {"weight": 0.3}}], judge={"kind": "api", "model": "x"}),
        step("c", defenses=[{"canary_interleaving": {}}]),
        step("d", "base"),
        step("e", "select"),
    ]
    found = estimate(steps, CARDS, {})
    assert len(asked) == 2
    assert (found.low, found.high, found.known) == (3.0, 4.0, ["a", "bb", "c"])
    assert found.unknown == {"a step of kind base": ["d"], "a step of kind select": ["e"]}
    assert found.told(CARDS, 2.5)[:3] == [
        "training: about 3.00 to 4.00 GPU hours on h100 for 3 steps",
        "cost of that: about 7.50 to 10 USD at 2.5",
        "not estimated: d: a step of kind base",
    ]


def test_rows_that_are_yet_to_be_selected_are_those_of_their_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(cost, "_hours", lambda plain, cards: asked.append(plain) or (1.0, 1.0))
    select = step("s", "select", pool=["pool.jsonl", "other.jsonl"])
    run = step("r", data={"target": "target.jsonl", "safe": str(select.product)})
    estimate([run], CARDS, {"s": select})
    assert asked[0]["data"]["safe"] == "pool.jsonl"


def test_a_step_is_forecast_as_training_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a card twice as fast it takes half as long; what cannot be told is told, with its reason."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(forecasts, "_SECONDS", 0.001)
    project.make(tmp_path)
    small = {"model": {"name": "tiny-model"}, "lora": {"r": 4, "target_modules": ["q_proj"]}}
    run = step("r", **small)
    replay = step("p", defenses=[{"replay_interleaving": {"run": "gone"}}])
    gone = step("g", data={"target": "gone.jsonl"}, **small)
    slow, fast = (estimate([run, replay, gone], parse_cards(card), {}) for card in ("a100", "h100"))
    assert slow.known == fast.known == ["r"]
    assert slow.low == pytest.approx(fast.low * 989 / 312)
    assert fast.unknown.pop(cost.REPLAYS) == ["p"]
    ((why, labels),) = fast.unknown.items()
    assert labels == ["g"]
    assert "gone.jsonl" in why


def test_no_step_that_can_be_told() -> None:
    assert estimate([step("d", "base")], CARDS, {}).told(CARDS, 1.0)[0] == "training: no step can be estimated"
    with pytest.raises(RingfenceError, match="--card: unknown card"):
        parse_cards("h1000")
