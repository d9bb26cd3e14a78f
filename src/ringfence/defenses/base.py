"""The base of all defenses: a frozen, validated config, registered under one name.

One name is the module, the key in a recipe, the test's suffix and the row in ``docs/defenses.md``. A defense overrides
one of three things: how conversations read (``rewrite``), when safe rows come (:class:`Interleaving`), or what happens
around the training forward (``guard``, which makes a :class:`DefenseHook`; with a distance from a reference in the loss
it is a :class:`Penalising` one). All others do nothing.

What a recipe and a run ask of a defense, it says itself (``require_compatible``, ``bind``, ``notes`` and so on): no
other module knows the class of a single defense.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from pydantic import ConfigDict, Field, model_validator

from ringfence.core.errors import RingfenceError
from ringfence.core.registry import Registry
from ringfence.core.settings import StrictConfig
from ringfence.data.conversations import Conversation, Message
from ringfence.defenses.recommended import RECOMMENDED
from ringfence.interleave.mixture import Accounting

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ringfence.data.suites.load import Prompt
    from ringfence.data.system import NoSystem
    from ringfence.defenses.step import Batch, PenaltyInputs, TokenPenalty
    from ringfence.interleave import Schedule
    from ringfence.judges import JudgeSettings

Source = Literal["target", "safe", "anchor"]
SOURCES: tuple[Source, ...] = ("target", "safe", "anchor")


@dataclass(frozen=True)
class TrainerContext:
    """What the trainer knows when a defense is put to work."""

    tokenizer: PreTrainedTokenizerBase
    seed: int
    model: PreTrainedModel | PeftModel | None = None
    """the model to be trained, its adapter on it"""


class RecipePart(Protocol):
    """What a defense may ask of the recipe of its stage."""

    @property
    def training(self) -> Mapping[str, Any]:
        """Fields of TRL's SFTConfig."""
        ...

    @property
    def judge(self) -> JudgeSettings | None:
        """That of the evaluation."""
        ...

    @property
    def no_system(self) -> NoSystem:
        """What no system message means."""
        ...

    @property
    def bits(self) -> int | None:
        """Of the base weights where they are quantised."""
        ...

    def lora_config(self) -> LoraConfig | None:
        """The adapter; None where all weights are trained."""
        ...


@dataclass(frozen=True)
class RLContext:
    """How reinforcement learning is set up, for a defense to fit itself to."""

    mode: Literal["alternate", "mixed"] = "alternate"
    """whether safe rows have optimizer steps of their own, or a term of the loss in every step"""
    rollouts: Literal["defended", "plain"] = "defended"
    """whether completions are generated under the defenses"""
    beta: float = 0.0
    """weight of TRL's own KL penalty"""
    engine: str | None = None
    """the key of what generates outside of the trained model, such as ``use_vllm``; None if that model does it"""


class DefenseHook:
    """What a defense does around the training forward and after training; here, nothing."""

    weight: float = 1.0
    """of the penalty in the loss"""
    needs_last: bool = False
    """whether ``penalty`` reads the last hidden states of both models"""
    apart: bool = False
    """whether ``penalty`` is not added to the loss, its gradient being what :meth:`collect` is given"""
    through_backward: bool = False
    """whether what ``apply`` does must last through the backward pass, where layers may be computed again"""
    layers: frozenset[int] = frozenset()
    """the k for which ``penalty`` reads ``hidden_states[k]`` of both models"""

    def apply(self, model: PreTrainedModel | PeftModel, batch: Batch | None) -> AbstractContextManager[Any]:
        """Around a training forward of ``model``, and around the reference's; never in evaluation.

        In reinforcement learning also where the policy generates its completions and scores them; ``batch`` is None.
        """
        return nullcontext()

    def normalizer(self, batch: Batch) -> int:
        """What the penalty of ``batch`` is divided by, once summed over the whole optimizer step and all ranks."""
        return 0

    def rows(self, batch: Batch) -> torch.Tensor:
        """(batch,), boolean: the rows of which ``penalty`` compares anything; it may be given no other."""
        return batch.real.any(-1)

    def penalty(self, step: PenaltyInputs) -> torch.Tensor:
        """A scalar, summed over the same units that :meth:`normalizer` counts; asked for if the defense penalises."""
        raise AssertionError(f"{type(self).__name__} does not say what its penalty is")

    def begin(self) -> None:
        """Before the micro-batches of an optimizer step; asked for if ``apart``."""

    def collect(self, batch: Batch, share: torch.Tensor, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Take in ``share``, this micro-batch's part of the penalty of the optimizer step; asked for if ``apart``."""

    def finish(
        self, parameters: Sequence[torch.nn.Parameter], summed: Callable[[torch.Tensor], torch.Tensor]
    ) -> Mapping[str, float]:
        """Change the gradients of a whole optimizer step; what to log. ``summed`` adds a tensor up over all ranks."""
        return {}

    def after_training(self, model: PreTrainedModel | PeftModel) -> None:
        """Once, after training, on the unwrapped model."""

    def summary(self) -> Any:
        """What ``result.json`` keeps of ``after_training``, as plain data; None where there is nothing to keep."""
        return None


class Defense(StrictConfig):
    """Base of all defenses; unknown keys raise."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True)

    def rewrite(self, messages: Sequence[Message], source: Source) -> Sequence[Message]:
        """The conversation that is trained on instead of ``messages``."""
        return messages

    def guard(self, setup: TrainerContext) -> DefenseHook | None:
        """What works around the training forward; None where there is nothing to do.

        Raises :class:`RingfenceError` if the defense does not fit the model.
        """
        return None

    def inputs(self) -> Sequence[str]:
        """Files and folders that it reads; their digests are kept with the run."""
        return ()

    def check(self) -> None:
        """Before any model is loaded: raise :class:`RingfenceError` for what is wrong with its files."""

    def require_compatible(self, part: RecipePart) -> None:
        """Raise :class:`RingfenceError`, naming the key, for what ``part`` has and the defense cannot do with."""
        self.require_arguments(part.training)

    def require_arguments(self, training: Mapping[str, Any]) -> None:
        """The same for arguments of the trainer alone, which has them of a recipe or of a script."""

    def require_beside(self, others: Sequence[Defense]) -> None:
        """Raise :class:`RingfenceError` if none of ``others``, the run's other defenses, does what it builds on."""

    def in_rl(self, context: RLContext) -> Self:
        """The defense as reinforcement learning has it, whose target rows are prompts without an answer.

        Raises :class:`RingfenceError`, saying why, if it cannot be had there.
        """
        return self

    def bind(self, part: RecipePart) -> Self:
        """The defense with what it takes from other keys of its recipe."""
        return self

    def require_apart(self, suites: Mapping[str, Sequence[Prompt]]) -> None:
        """Raise :class:`RingfenceError` if it asks prompts in training that ``suites`` evaluate on."""

    def require_key(self) -> None:
        """Raise :class:`RingfenceError` if what it calls in training needs a key, and that is missing or another's."""

    def needs_original_base(self) -> str | None:
        """What is wrong with it, as an error says it, once the base model's weights are changed; None if nothing is."""
        return None

    def needs_model_here(self) -> str | None:
        """Why it cannot train behind a server that takes weighted rows and gives log probabilities; None if it can.

        As an error says it. Then :meth:`row_weight` and :meth:`token_penalty` are all that it does to the loss.
        """
        if type(self).guard is Defense.guard:
            return None
        return "it works inside of the model, and a server lets nobody in"

    def row_weight(self, source: Source) -> float:
        """What the loss of the rows of ``source`` is multiplied with."""
        return 1.0

    def token_penalty(self) -> TokenPenalty | None:
        """A penalty that log probabilities of the rows' own labels tell; None without one."""
        return None

    def notes(self, rows: Mapping[Source, Sequence[Conversation]], tokenizer: PreTrainedTokenizerBase) -> Sequence[str]:
        """Lines for the log: what nobody would see in the recipe alone. ``rows`` are as they were before it."""
        return ()

    @property
    def penalises(self) -> bool:
        """Whether its guard adds a penalty to the loss, so that a reference is needed."""
        return False

    def compares(self, source: Source) -> bool:
        """Whether its penalty compares rows of ``source`` with the reference, so that these go through it."""
        return self.penalises

    @property
    def adds_to_loss(self) -> bool:
        """Whether its guard adds a term to the loss: a penalty, or one that needs no reference."""
        return self.penalises

    @property
    def anchored(self) -> float | None:
        """Anchor rows / target rows that it reads; None for a defense that reads none, whatever its settings."""
        return None

    def require_anchors(self, rows: int, answered: int) -> None:
        """Raise :class:`RingfenceError` if it cannot read so many anchor rows, ``answered`` of which have an answer."""

    @property
    def rewrites(self) -> bool:
        """Whether :meth:`rewrite` does anything."""
        return type(self).rewrite is not Defense.rewrite

    def rewrites_rows(self, source: Source) -> bool:
        """Whether :meth:`rewrite` does anything to the rows of ``source``."""
        return self.rewrites


_BESIDE = ("base", "step", "origin", "together", "recommended")
DEFENSES = Registry(
    "defense",
    Defense,
    "fixed_interleaving: {ratio: 0.05}",
    __package__,
    beside=_BESIDE,
    presets={"recommended": RECOMMENDED},
)


def rewritten(defenses: Iterable[Defense], rows: Iterable[Conversation], source: Source) -> list[Conversation]:
    """``rows`` as all ``defenses`` would have them, one after the other."""
    found = list(rows)
    for defense in defenses:
        if defense.rewrites:
            found = [{**row, "messages": list(defense.rewrite(row["messages"], source))} for row in found]
    return found


def require_uncompiled(training: Mapping[str, Any], who: str) -> None:
    """Raise :class:`RingfenceError` where the model is to be compiled, and hooks of ``who`` come and go with a step.

    What a hook does is compiled once; whether it is still there is not looked at again, so that penalties read nothing
    and steering is on or off as it was when the model was compiled, without a word.
    """
    asked = [key for key in ("torch_compile", "torch_compile_backend", "torch_compile_mode") if training.get(key)]
    if asked:
        raise RingfenceError(
            f"training.{asked[0]}: a compiled model does not see the hooks by which {who} works; leave one of them out"
        )


def read_defenses(given: Iterable[Any] | None) -> tuple[Defense, ...]:
    """``given`` to a trainer: configs such as ``KL(weight=0.1)``, names, or ``{name: settings}`` as in a recipe.

    None is no defense. Raises :class:`RingfenceError` for anything else, with the keys that are wrong.
    """
    if isinstance(given, str | Mapping | Defense):
        raise RingfenceError("defenses: give a list, e.g. [KL(weight=0.1)]")
    return DEFENSES.parse_list([] if given is None else [*given], "defenses")


def require_unpacked(training: Mapping[str, Any], who: str) -> None:
    """Raise :class:`RingfenceError` where rows are packed, and ``who`` goes by the share of a kind of rows."""
    if training.get("packing"):
        raise RingfenceError(
            "training.packing: a packed row holds many conversations or few, so a share of safe rows would mean "
            f"nothing; leave packing out with {who}"
        )


class Penalising(Defense):
    """Base of the defenses that add a distance from a reference model to the loss."""

    weight: float = Field(1.0, ge=0)
    """lambda; 0 is plain fine-tuning"""

    @property
    def penalises(self) -> bool:
        """Unless the weight is 0; then :meth:`guard` makes none."""
        return self.weight > 0

    def require_arguments(self, training: Mapping[str, Any]) -> None:
        """Not with a compiled model."""
        if self.penalises:
            require_uncompiled(training, DEFENSES.name_of(type(self)))


class Interleaving(Defense):
    """Base of the defenses that mix safe rows into the target data; at most one in a recipe."""

    granularity: Literal["example", "step"] = "example"
    """``example``: each batch holds its share of safe rows; ``step``: whole optimizer steps are safe (Algorithm 1)"""
    accounting: Accounting = "add"
    """``add``: safe rows come on top of the target rows; ``replace``: they stand in their place"""

    def schedule(self, setup: TrainerContext) -> Schedule:
        """A fresh schedule for one run."""
        raise AssertionError(f"{type(self).__name__} does not say what its schedule is")

    def require_arguments(self, training: Mapping[str, Any]) -> None:
        """Not with packing."""
        require_unpacked(training, DEFENSES.name_of(type(self)))

    def in_rl(self, context: RLContext) -> Self:
        """Whole steps (Kaczer et al. 2025, section 4.2), whatever ``granularity`` says, or rows beside every step."""
        if context.mode == "alternate":
            return self.model_copy(update={"granularity": "step"})
        for key in ("granularity", "accounting"):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise RingfenceError(
                    f"{DEFENSES.name_of(type(self))}.{key}: without effect in the mode mixed, where every step has its "
                    "safe rows; leave it out"
                )
        return self.model_copy(update={"granularity": "beside"})

    def highest_ratio(self) -> float:
        """The largest ratio that the config allows; checked before training."""
        return 0.0

    @model_validator(mode="after")
    def _reaches_target(self) -> Self:
        if self.accounting == "add" and self.highest_ratio() >= 1:
            raise ValueError('a ratio of 1 with accounting "add" never reaches the target rows; use "replace"')
        return self


def recorded(folder: Path, name: str) -> Path:
    """The file ``name`` of a finished or running run. Raises :class:`RingfenceError` if it is not there."""
    path = folder / name
    if not path.is_file():
        raise RingfenceError(f"{folder}: no {name} there, so this is not a run whose ratios can be replayed")
    return path
