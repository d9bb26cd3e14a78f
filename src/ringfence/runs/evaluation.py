"""One evaluation of one run: what it asks, who answers, and where what is made of it goes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ringfence.core.files import cache_folder
from ringfence.core.run_folder import (
    ANSWERS,
    CONDITIONAL_FILE,
    OWN,
    SUMMARY_FILE,
    evaluation_folder,
    weights_digest,
)
from ringfence.data.suites.prompts import Prompt
from ringfence.evaluate.answers import Protocol, fingerprint
from ringfence.recipe.run import Recipe
from ringfence.runs.gaps import has_gaps
from ringfence.runs.plan import RunPlan
from ringfence.runs.stages import Stage, weights_of


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of one run, as it is to be made."""

    plan: RunPlan
    """the run's, with this evaluation's changes"""
    own: RunPlan
    """the run's as it was made"""
    name: str = OWN
    is_base: bool = False
    """whether it is the untuned model that answers"""
    server: str | None = None
    """Inspect's name of the model, if it is a server's"""
    preset: str | None = None
    """that its numbers are to be counted by"""

    @property
    def folder(self) -> Path:
        """Where ``responses.parquet`` and ``summary.json`` are."""
        return evaluation_folder(self.run, self.name)

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.plan.out

    @property
    def recipe(self) -> Recipe:
        """The run's, with this evaluation's changes."""
        return self.plan.recipe

    @property
    def stages(self) -> Sequence[Stage]:
        """Those whose last one answers; none for the untuned model and for a server's."""
        return () if self.is_base or self.server is not None else self.plan.stages

    @property
    def protocol(self) -> Protocol:
        """How its answers are drawn."""
        return Protocol(self.recipe.sampling(), self.recipe.evaluation.samples, self.recipe.no_system)

    @property
    def to_answer(self) -> int:
        """How many answers are missing, those of a suite that was begun included."""
        return sum(len(self.plan.suites[suite]) for suite in self.missing) * self.recipe.evaluation.samples

    @cached_property
    def model_digest(self) -> str:
        """What the answers depend on of the model: its weights, and who generates with them."""
        if self.server is not None:
            return self.server
        generator = self.recipe.generator.identity()
        return self.weights + (f" {json.dumps(generator, sort_keys=True)}" if generator else "")

    @cached_property
    def weights(self) -> str:
        """The model's name, revision and number format, and what was trained."""
        digests = [weights_digest(folder) for folder in weights_of(self.stages) or []] if self.stages else []
        model = self.recipe.model
        known = [model.name, self.plan.digests.get(model.name, ""), model.dtype, str(model.trust_remote_code)]
        return " ".join([*known, *digests])

    @cached_property
    def answers(self) -> dict[str, Path]:
        """Suite -> the file of its answers."""
        return {suite: self.answers_to(suite, prompts, self.protocol) for suite, prompts in self.plan.suites.items()}

    def answers_to(self, name: str, prompts: Sequence[Prompt], protocol: Protocol) -> Path:
        """The file of the answers to ``prompts``, called ``name``."""
        return self.answers_file(name, fingerprint(self.model_digest, prompts, protocol))

    def answers_file(self, name: str, mark: str) -> Path:
        """A file among the answers; ``mark`` tells of all that could change what is in it. A base's are shared."""
        return self.answers_folder / f"{name.replace('/', '--')}-{mark}.parquet"

    @property
    def answers_folder(self) -> Path:
        """Where answers are."""
        return (cache_folder() if self.is_base else self.run) / ANSWERS

    @property
    def missing(self) -> list[str]:
        """Suites without answers."""
        return [suite for suite, path in self.answers.items() if not path.is_file()]

    @property
    def is_done(self) -> bool:
        """Whether all is answered and judged."""
        judged = (self.folder / SUMMARY_FILE).is_file() and not self.missing
        return judged and (not self.has_gaps or (self.folder / CONDITIONAL_FILE).is_file())

    @property
    def has_gaps(self) -> bool:
        """Whether conditional gaps are asked for and the untuned model's answers are there to compare with."""
        return not self.is_base and has_gaps(self.plan, self.name)
