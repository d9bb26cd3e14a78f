"""Forecast GRPO without doing it: prompts, completions, tokens at most, and optimizer steps.

Prompts and steps are exact; how long a completion is, nobody knows beforehand but for ``max_completion_length``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ringfence.core.errors import error_prefix
from ringfence.defenses import Interleaving, TrainerContext
from ringfence.interleave import RankLayout
from ringfence.interleave.mixture import Counters
from ringfence.models.load import load_tokenizer
from ringfence.rl.sizes import GenerationSizes
from ringfence.runs.arguments import training_arguments
from ringfence.runs.drawing import counted, ends, estimated, schedules
from ringfence.runs.gpu_cards import Cards
from ringfence.runs.memory import Memory
from ringfence.runs.on_paper import on_paper, told_card, told_memory
from ringfence.runs.plan import PlannedStage, RunPlan
from ringfence.train.sizes import new_stream


@dataclass(frozen=True)
class RLForecast:
    """Of one run."""

    title: str
    prompts: int
    """that there are"""
    generations: int
    """completions a prompt"""
    longest: int
    """tokens that a completion has at most"""
    iterations: int
    """times that a completion is trained on"""
    drawn: Sequence[Counters]
    """at the end, in completions that are trained on; two where a controller decides"""
    memory: Memory
    cards: Cards | None
    ranks: int

    def told(self) -> list[str]:
        """The forecast in lines."""
        lines = [f"{self.title}: nothing is written, no weights are loaded"]
        for end, one in zip(ends(self.drawn), self.drawn, strict=True):
            rollouts = one.target_rows // self.iterations
            lines.append(
                f"{end}{estimated(one)}{one.step:,} optimizer steps on {rollouts:,} completions, {self.generations} "
                f"to each of {rollouts // self.generations:,} prompts ({self.prompts:,} there are), and on "
                f"{one.safe_rows:,} safe rows"
            )
        rollouts = max(one.target_rows for one in self.drawn) // self.iterations
        lines.append(f"rollouts: at most {rollouts * self.longest:,} tokens, {self.longest:,} a completion")
        lines.append(told_memory(self.memory, None, self.ranks))
        if self.cards is not None:
            lines.append(told_card(self.memory, self.cards.card))
            lines.append("time: not estimated, since how long completions become is not known beforehand")
        return lines


def forecast_rl(plan: RunPlan, stage: PlannedStage, cards: Cards | None = None) -> RLForecast:
    """Of ``stage``. Raises :class:`RingfenceError` for what would keep it from training, up to the model's weights."""
    part, args = stage.recipe, training_arguments(stage, cards is not None)
    with error_prefix("model"):
        tokenizer = load_tokenizer(
            part.model.name, trust_remote_code=part.model.trust_remote_code, revision=part.model.revision
        )
    ranks = args.world_size if cards is None or cards.count is None else cards.count
    layout = RankLayout(args.per_device_train_batch_size, args.gradient_accumulation_steps, 0, ranks)
    prompts = len(stage.rows["target"])
    rows = (GenerationSizes.of(args, prompts, layout).epoch_rows, len(stage.rows["safe"]))
    defenses = part.fitted(stage.defenses)
    interleaving = next((one for one in defenses if isinstance(one, Interleaving)), None)
    drawn = tuple(
        counted(new_stream(args, rows, (None, None), layout, interleaving, schedule))
        for schedule in schedules(interleaving, TrainerContext(tokenizer, stage.seed))
    )
    return RLForecast(
        stage.title,
        prompts,
        generations=args.num_generations,
        longest=args.max_completion_length,
        iterations=args.num_iterations,
        drawn=drawn,
        memory=on_paper(plan, stage, args, None, ranks).memory,
        cards=cards,
        ranks=ranks,
    )
