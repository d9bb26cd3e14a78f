"""Canary-controlled interleaving (FARS 2026): a closed loop that moves the safe share by the measured risk.

Every K optimizer steps the model answers canary prompts; the share of misaligned answers, smoothed, drives a threshold
controller with hysteresis (``ringfence.interleave.controller`` has the equations). ``smoothing: 1`` is the paper's
"no EMA" ablation and ``delay: 5`` its "delayed" one. The initial ratio is not in the paper: ``ratio_init``.

Source: FARS 2026, Canary-Controlled Safe-Data Interleaving (without a public address), sections 3.2 and 3.3, algorithm
1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator

from ringfence.core.errors import RingfenceError
from ringfence.data.suites.load import Prompt, load_prompts, require_disjoint
from ringfence.data.system import apply
from ringfence.defenses.base import DEFENSES, Interleaving, RecipePart, TrainerContext
from ringfence.generation import Sampling
from ringfence.interleave import CanaryController, CanaryControllerConfig, CanarySchedule, Schedule
from ringfence.judges import JUDGES, JudgeSettings

if TYPE_CHECKING:
    from ringfence.interleave import Probe


@DEFENSES.register("canary_interleaving")
class CanaryInterleaving(Interleaving, CanaryControllerConfig):
    """The controller's constants, and how risk is measured."""

    evaluate_first: bool = True
    """whether the canaries are evaluated after the very first step (t = 0), as Algorithm 1 does"""
    probe: Any = "judged"
    """``judged`` (sample answers, have them judged), ``likelihood`` (no generation), or in Python any ``Probe``"""
    canaries: str | tuple[Prompt, ...] = "builtin:general-canaries"
    """prompts, disjoint from all that you evaluate on: a file, a built-in name, or in Python ``Prompt`` objects"""
    max_canaries: int | None = Field(None, ge=1)
    """use the first so many canaries (M in the paper, 20 there)"""
    judge: Any = None
    """for ``judged``: in a recipe settings as the recipe's own judge has them, its default; in Python any judge"""
    max_new_tokens: int = Field(64, ge=1)
    """tokens a canary answer, for ``judged``"""
    temperature: float = Field(1.0, ge=0)
    """sampling temperature, for ``judged``; 0 is greedy"""
    scale: float = Field(8.0, gt=0)
    """slope of the sigmoid per nat and token, for ``likelihood``"""

    @field_validator("judge", mode="before")
    @classmethod
    def _judge(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, dict) and not hasattr(value, "score"):
            raise ValueError("a judge is a mapping of its settings, or in Python an object with `score`")
        return JUDGES.parse(value) if isinstance(value, dict) else value

    @field_validator("probe")
    @classmethod
    def _known_probe(cls, value: Any) -> Any:
        if not callable(value) and value not in ("judged", "likelihood"):
            raise ValueError('a probe is "judged", "likelihood", or in Python a callable (model, step) -> Risk')
        return value

    def highest_ratio(self) -> float:
        """The controller's upper bound."""
        return self.ratio_max

    def inputs(self) -> Sequence[str]:
        """The canaries' file."""
        return (self.canaries,) if isinstance(self.canaries, str) else ()

    def bind(self, part: RecipePart) -> Self:
        """With the recipe's judge, if it has none of its own and needs one, and its meaning of no system message."""
        judge = self.judge
        if self.probe == "judged" and judge is None:
            judge = part.judge
            if judge is None:
                raise RingfenceError(
                    "judge: canary_interleaving judges its canaries; give a judge, or probe: likelihood"
                )
        canaries = tuple(replace(one, messages=tuple(apply(one.messages, part.no_system))) for one in self.prompts())
        return self.model_copy(update={"judge": judge, "canaries": canaries})

    def require_apart(self, suites: Mapping[str, Sequence[Prompt]]) -> None:
        """The canaries are not evaluated on."""
        for name, prompts in suites.items():
            require_disjoint(self.prompts(), prompts, "the canaries", f"the suite {name}")

    def require_key(self) -> None:
        """The judge's; one that was made in Python looks after itself."""
        if self.probe == "judged" and isinstance(self.judge, JudgeSettings):
            self.judge.require_key()

    def prompts(self) -> list[Prompt]:
        """The canaries that this run uses. Raises :class:`RingfenceError` for a bad file."""
        loaded = load_prompts(self.canaries) if isinstance(self.canaries, str) else list(self.canaries)
        if not loaded:
            raise RingfenceError("canary_interleaving: there are no canaries; give at least one prompt")
        return loaded[: self.max_canaries]

    def controller(self) -> CanaryControllerConfig:
        """The controller's part of this config."""
        return CanaryControllerConfig(**{name: getattr(self, name) for name in CanaryControllerConfig.model_fields})

    def schedule(self, setup: TrainerContext) -> Schedule:
        """A controller in its initial state, and the probe. Raises :class:`RingfenceError` without a judge."""
        return CanarySchedule(CanaryController(self.controller()), self._probe(setup), self.evaluate_first)

    def _probe(self, setup: TrainerContext) -> "Probe":
        from ringfence.interleave import JudgedProbe, LikelihoodProbe

        kind: Literal["judged", "likelihood"] | Probe = self.probe
        if kind == "likelihood":
            return LikelihoodProbe(self.prompts(), setup.tokenizer, self.scale)
        if kind != "judged":
            return kind
        if self.judge is None:
            raise RingfenceError(
                "canary_interleaving: the judged probe needs a judge; set `judge` in the recipe, pass "
                "judge=RuleJudge(...), or use `probe: likelihood`"
            )
        self.require_key()
        sampling = Sampling(self.max_new_tokens, self.temperature, setup.seed)
        return JudgedProbe(self.prompts(), self.judge, setup.tokenizer, sampling)
