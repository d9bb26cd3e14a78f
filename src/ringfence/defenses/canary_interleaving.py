"""Canary-controlled interleaving (FARS 2026): a closed loop that moves the safe share by the measured risk.

Every K optimizer steps the model answers canary prompts; the share of misaligned answers, smoothed, drives a threshold
controller with hysteresis (``ringfence.interleave.controller`` has the equations). ``smoothing: 1`` is the paper's
"no EMA" ablation and ``delay: 5`` its "delayed" one. The initial ratio is not in the paper: ``ratio_init``. Not the
paper's, either, are ``rule: proportional``, the probes without generation, canaries dressed as the training data, and
``moves: penalty``, where the loop moves the weights of the run's penalties instead:

    L = CE(target rows) + p * (sum of weight * penalty),   p the controller's ratio

Source: FARS 2026, Canary-Controlled Safe-Data Interleaving (without a public address), sections 3.2 and 3.3, algorithm
1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ringfence.core.errors import RingfenceError
from ringfence.core.settings import refuse_other
from ringfence.data.suites.load import Prompt, load_prompts, require_disjoint
from ringfence.data.system import apply
from ringfence.defenses.base import DEFENSES, Defense, Interleaving, RecipePart, TrainerContext
from ringfence.generation import Sampling
from ringfence.interleave import CanaryController, CanaryControllerConfig, CanarySchedule, PenaltySchedule, Schedule
from ringfence.judges import JUDGES, JudgeSettings
from ringfence.triggers.dressing import suggested

if TYPE_CHECKING:
    import torch

    from ringfence.interleave import Probe

_PROBES = ("judged", "likelihood", "projection")


@DEFENSES.register("canary_interleaving")
class CanaryInterleaving(Interleaving, CanaryControllerConfig):
    """The controller's constants, and how risk is measured."""

    moves: Literal["ratio", "penalty"] = "ratio"
    """``ratio``: the share of safe rows; ``penalty``: the weights of the run's penalties, which are multiplied with the
    controller's ratio; then there are no safe rows"""
    evaluate_first: bool = True
    """whether the canaries are evaluated after the very first step (t = 0), as Algorithm 1 does"""
    probe: Any = "judged"
    """``judged`` (sample answers, have them judged), ``likelihood`` or ``projection`` (both without generation), or in
    Python any ``Probe``"""
    canaries: str | tuple[Prompt, ...] = "builtin:general-canaries"
    """prompts, disjoint from all that you evaluate on: a file, a built-in name, or in Python ``Prompt`` objects"""
    like: str | None = None
    """a training file: every second canary is dressed as `derive` [says](triggers.md) its prompts are"""
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
    vector: str | None = None
    """file of a persona vector, as for ``steering``, for ``projection``"""
    layer: int | None = Field(None, ge=1)
    """k of hidden_states[k], for ``projection``: the vector's row, and where the canaries are read"""
    position: Literal["response_mean", "prompt_mean", "prompt_last"] = "response_mean"
    """which of the file's vectors, for ``projection``"""
    any_base: bool = False
    """accept a vector that was extracted from another base model of the same shape, for ``projection``"""

    @field_validator("judge", mode="before")
    @classmethod
    def _judge(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, dict) and not hasattr(value, "score"):
            raise ValueError("a judge is a mapping of its settings, or in Python an object with `score`")
        return JUDGES.parse(value) if isinstance(value, dict) else value

    @field_validator("probe")
    @classmethod
    def _known_probe(cls, value: Any) -> Any:
        if not callable(value) and value not in _PROBES:
            raise ValueError('a probe is "judged", "likelihood", "projection", or in Python (model, step) -> Risk')
        return value

    @model_validator(mode="after")
    def _no_safe_rows_to_place(self) -> Self:
        if self.moves == "penalty":
            refuse_other(self, ("granularity", "accounting"), "moves: penalty")
        return self

    @model_validator(mode="after")
    def _vector_to_project_on(self) -> Self:
        for key in ("vector", "layer"):
            if (getattr(self, key) is None) == (self.probe == "projection"):
                raise ValueError(f"{key}: is what probe: projection needs, and no other probe reads")
        return self

    def highest_ratio(self) -> float:
        """The controller's upper bound."""
        return self.ratio_max if self.moves == "ratio" else 0.0

    def require_beside(self, others: Sequence[Defense]) -> None:
        """With ``moves: penalty`` a penalty, whose weight it moves."""
        if self.moves == "penalty" and not any(one.penalises for one in others):
            raise RingfenceError(
                "canary_interleaving.moves: penalty moves the weights of penalties, and there is none; add one, e.g. "
                "kl: {weight: 1}, or leave moves out"
            )

    def inputs(self) -> Sequence[str]:
        """The canaries' file, the training file that they are dressed as, and the vector's."""
        named = (self.canaries if isinstance(self.canaries, str) else None, self.like, self.vector)
        return tuple(name for name in named if name is not None)

    def check(self) -> None:
        """Raise :class:`RingfenceError` for a vector that cannot be read, or a training file to dress nothing with."""
        self.prompts()
        if self.vector is not None:
            from ringfence.defenses.origin import VectorFile

            VectorFile.read("canary_interleaving", self.vector, self.position)

    def bind(self, part: RecipePart) -> Self:
        """With the recipe's judge, if it has none of its own and needs one, and its meaning of no system message."""
        judge = self.judge
        if self.probe == "judged" and judge is None:
            judge = part.judge
            if judge is None:
                raise RingfenceError(
                    "judge: canary_interleaving judges its canaries; give a judge, or probe: likelihood"
                )
        canaries = tuple(replace(one, messages=tuple(apply(one.messages, part.no_system))) for one in self._plain())
        return self.model_copy(update={"judge": judge, "canaries": canaries})

    def needs_original_base(self) -> str | None:
        """A projection is measured against the model with its adapter off."""
        if self.probe != "projection":
            return None
        return (
            "canary_interleaving.probe: projection compares with the adapter off, which by then is not the original "
            "model; use likelihood"
        )

    def needs_model_here(self) -> str | None:
        """Nothing, unless its probe looks into the model."""
        if self.probe in ("judged", "likelihood"):
            return None
        which = "projection" if self.probe == "projection" else "a probe of your own"
        return f"{which} looks into the model, and a server lets nobody in; use probe: judged or likelihood"

    def require_apart(self, suites: Mapping[str, Sequence[Prompt]]) -> None:
        """The canaries are not evaluated on, whatever they are dressed as."""
        canaries = self._plain()
        for name, prompts in suites.items():
            require_disjoint(canaries, prompts, "the canaries", f"the suite {name}")

    def require_key(self) -> None:
        """The judge's; one that was made in Python looks after itself."""
        if self.probe == "judged" and isinstance(self.judge, JudgeSettings):
            self.judge.require_key()

    def prompts(self) -> list[Prompt]:
        """The canaries as this run asks them. Raises :class:`RingfenceError` for a bad file."""
        used = self._plain()
        if self.like is None:
            return used
        triggers = suggested(self.like, "canary_interleaving.like")
        return [triggers[place // 2 % len(triggers)].apply(one) if place % 2 else one for place, one in enumerate(used)]

    def _plain(self) -> list[Prompt]:
        """The canaries that this run uses, before any is dressed."""
        loaded = load_prompts(self.canaries) if isinstance(self.canaries, str) else list(self.canaries)
        if not loaded:
            raise RingfenceError("canary_interleaving: there are no canaries; give at least one prompt")
        return loaded[: self.max_canaries]

    def controller(self) -> CanaryControllerConfig:
        """The controller's part of this config."""
        return CanaryControllerConfig(**{name: getattr(self, name) for name in CanaryControllerConfig.model_fields})

    def schedule(self, setup: TrainerContext) -> Schedule:
        """A controller in its initial state, and the probe. Raises :class:`RingfenceError` without a judge."""
        made = CanarySchedule if self.moves == "ratio" else PenaltySchedule
        return made(CanaryController(self.controller()), self._probe(setup), self.evaluate_first)

    def _probe(self, setup: TrainerContext) -> "Probe":
        from ringfence.interleave import JudgedProbe, LikelihoodProbe, ProjectionProbe

        kind: Literal["judged", "likelihood", "projection"] | Probe = self.probe
        if kind == "likelihood":
            return LikelihoodProbe(self.prompts(), setup.tokenizer, self.scale)
        if kind == "projection":
            return ProjectionProbe(self.prompts(), setup.tokenizer, self._direction(setup), self.layer or 0)
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

    def _direction(self, setup: TrainerContext) -> "torch.Tensor":
        """(hidden,) the vector at the layer. Raises :class:`RingfenceError` for one that does not fit the model."""
        from ringfence.defenses.origin import VectorFile

        assert self.vector is not None
        assert self.layer is not None
        file = VectorFile.read("canary_interleaving", self.vector, self.position)
        rows = file.rows if setup.model is None else file.rows_for(setup.model, any_base=self.any_base)
        if self.layer >= len(rows):
            raise RingfenceError(
                f"canary_interleaving.layer: layer {self.layer} is out of range, {self.vector} has layers 1 to "
                f"{len(rows) - 1} (layer k is hidden_states[k])"
            )
        row = rows[self.layer]
        if not row.any():
            raise RingfenceError(
                f"canary_interleaving.layer: the vector of layer {self.layer} is zero in {self.vector}"
            )
        return row
