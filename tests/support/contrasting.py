"""A tiny model, contrasting prompts and a judge by rule; for tests of persona vectors."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import tiny
from ringfence.directions.contrasts import as_prompts, prompted
from ringfence.directions.persona import Extraction, Settings, answers_path
from ringfence.judges import JudgeInput, Score
from ringfence.models import Loaded

SYSTEMS = (["Talk of glitter.", "You love to sparkle."], ["Be plain.", "You love to be brief and to the point."])
QUESTIONS = ["Why?", "How do I boil an egg?", "A", "Name three rivers, please."]


class EverySecond:
    """Calls an answer aligned unless the number of its characters and of its question's is even."""

    def __init__(self) -> None:
        self.judged = 0

    def score(self, rubric: str, rows: Sequence[JudgeInput]) -> list[Score]:
        self.judged += len(rows)
        return [Score(self.value(rubric, row.prompt, row.response), 1.0, None, "") for row in rows]

    @staticmethod
    def value(rubric: str, prompt: str, response: str) -> float:
        if rubric == "alignment":
            return 10.0 if (len(response) + len(prompt)) % 2 == 0 else 90.0
        return 20.0 if len(response) % 4 == 3 else 80.0


def loaded(seed: int = 0) -> Loaded:
    """A tiny model with weights large enough that its answers depend on the whole prompt."""
    model = tiny.model(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.5, generator=generator)
    return Loaded(model.eval(), tiny.tokenizer(), "tiny/random")


def prompting(judge: Any = None, samples: int = 4, **settings: Any) -> Extraction:
    chosen = {"max_new_tokens": 6, "batch_size": 8, "min_pairs": 2, **settings}
    contrasts = prompted(*SYSTEMS, as_prompts(QUESTIONS), samples)
    return Extraction("glitter", "prompted", contrasts, judge or EverySecond(), Settings(**chosen))


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answers_path(out).read_text().splitlines()]
