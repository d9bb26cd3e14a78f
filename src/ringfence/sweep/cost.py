"""What the steps that are to be made would take on a card: hours of training, and what they cost. Nothing is run.

Training is forecast as ``ringfence train --dry-run --card`` does it, once for all runs that differ only in what takes
no time, such as their seed, a weight or what is asked afterwards. What the estimate leaves out it names: evaluation,
judging, vectors and selections, whose answers have a length that nobody knows beforehand.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ringfence.core.errors import RingfenceError
from ringfence.recipe.run import parse_recipe
from ringfence.runs.gpu_cards import Cards
from ringfence.sweep.steps import Step, digest_of

_TRAINS = ("run", "train")
_ASIDE = ("name", "seed", "generator")
"""keys of a recipe that take no time of training"""
_WITHOUT_WORK = ("steering", "inoculation")
"""defenses that add next to nothing, and may read what is not made yet"""
_STRENGTHS = ("weight", "alpha")
_JUDGE = {"misaligned_pattern": "x"}
"""in the place of any, so that none is asked for its key"""
REPLAYS = "replays the shares of a run that is not made yet"


@dataclass
class Estimate:
    """Of some steps."""

    low: float = 0.0
    """GPU hours of training; where a controller decides, at its lowest share of safe rows"""
    high: float = 0.0
    known: list[str] = field(default_factory=list)
    """labels of the steps that it is of"""
    unknown: dict[str, list[str]] = field(default_factory=dict)
    """why -> labels of the others"""

    def told(self, cards: Cards, price: float | None) -> list[str]:
        """In lines; ``price`` is USD for an hour of one card."""
        hours = _range(self.low, self.high)
        lines = [f"training: about {hours} GPU hours on {cards.card.name} for {len(self.known)} steps"]
        if not self.known:
            lines = ["training: no step can be estimated"]
        elif price is not None:
            lines.append(f"cost of that: about {_range(self.low * price, self.high * price)} USD at {price:g}")
        for why, labels in self.unknown.items():
            more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
            lines.append(f"not estimated: {', '.join(labels[:3])}{more}: {why}")
        return [*lines, "not in it: what is asked and judged after training, and probes while it runs"]


def estimate(steps: Iterable[Step], cards: Cards, all_steps: Mapping[str, Step]) -> Estimate:
    """Of ``steps`` on ``cards``; ``all_steps``, by digest, are those that their recipes may name products of."""
    found, known = Estimate(), dict[str, tuple[float, float] | str]()
    products = {str(step.product): step for step in all_steps.values()}
    for step in steps:
        if step.kind not in _TRAINS:
            found.unknown.setdefault(f"a step of kind {step.kind}", []).append(step.label)
            continue
        assert step.recipe is not None
        plain = _costly(step.recipe, products)
        key = digest_of(plain)
        if key not in known:
            known[key] = _hours(plain, cards)
        hours = known[key]
        if isinstance(hours, str):
            found.unknown.setdefault(hours, []).append(step.label)
        else:
            found.known.append(step.label)
            found.low, found.high = found.low + hours[0], found.high + hours[1]
    return found


def _costly(recipe: Mapping[str, Any], products: Mapping[str, Step]) -> dict[str, Any]:
    """``recipe`` without what takes no time, and with rows that are there in place of rows that are yet to be made."""
    plain = json.loads(json.dumps({key: value for key, value in recipe.items() if key not in _ASIDE}))
    plain |= {"judge": _JUDGE, "evaluation": {}}
    for part in (plain, *(plain.get("stages") or ())):
        for key in ("target", "safe"):
            step = products.get(part["data"].get(key) or "")
            if step is not None and step.kind == "select" and not step.is_done and step.recipe is not None:
                pool = step.recipe["pool"]
                part["data"][key] = pool if isinstance(pool, str) else pool[0]
        part["defenses"] = [
            {name: {key: 1.0 if key in _STRENGTHS else value for key, value in settings.items()}}
            for one in part.get("defenses") or ()
            for name, settings in one.items()
            if name not in _WITHOUT_WORK
        ]
    return plain


def _hours(plain: Mapping[str, Any], cards: Cards) -> tuple[float, float] | str:
    """GPU hours at least and at most, or why nobody knows."""
    from ringfence.runs.forecast import Forecast, forecast
    from ringfence.runs.plan import RunPlan

    for part in (plain, *(plain.get("stages") or ())):
        for one in part["defenses"]:
            if "replay_interleaving" in one and not Path(one["replay_interleaving"]["run"]).is_dir():
                return REPLAYS
    try:
        stages = forecast(RunPlan.load(parse_recipe(dict(plain), "recipe"), Path("dry-run")), cards)
    except RingfenceError as error:
        return str(error)
    low = high = 0.0
    for stage in stages:
        if not isinstance(stage, Forecast):
            return "how long the completions of reinforcement learning become is not known beforehand"
        if not stage.seconds:
            return "the operations of this model are not known here"
        low += min(stage.seconds) * stage.ranks / 3600
        high += max(stage.seconds) * stage.ranks / 3600
    return low, high


def _range(low: float, high: float) -> str:
    return " to ".join(dict.fromkeys(f"{one:,.2f}" if one < 10 else f"{one:,.0f}" for one in (low, high)))
