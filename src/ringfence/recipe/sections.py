"""The sections of a recipe: ``model``, ``data``, ``rl`` and ``evaluation``, each with the meaning of its keys."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ringfence.core.packages import require_package
from ringfence.core.settings import StrictConfig
from ringfence.core.training_arguments import LARGEST_SEED
from ringfence.data.task import parse_spec
from ringfence.rl.rewards import REWARDS, CompositeReward, Reward
from ringfence.triggers.kinds import TRIGGERS, Trigger

HELD_OUT = "held-out"
"""the suite of the target prompts that are held out"""
SAMPLES = 10
"""answers to a question of a benign task"""
_FLASH = {"flash_attention_2": ("flash_attn",), "flash_attention_3": ("flash_attn_interface",)}


class Section(StrictConfig):
    """What all parts of a recipe have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True)


class ModelConfig(Section):
    """The model to fine-tune; a bare string in a recipe is its ``name``."""

    name: str = "smollm2-135m"
    """``smollm2-135m`` (embedded), a Hugging Face id, or a folder"""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """of the base weights; adapters stay float32"""
    trust_remote_code: bool = False
    """whether code that comes with a hub model may run"""
    revision: str | None = None
    """branch, tag or commit of a hub id; null is its main branch"""
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3"] | None = None
    """how attention is computed; null is the library's choice for the model"""
    load_in_4bit: bool = False
    """whether the base weights are quantised to 4 bits (nf4) by bitsandbytes, under an adapter"""
    load_in_8bit: bool = False
    """the same with 8 bits"""

    @property
    def bits(self) -> int | None:
        """Of quantised weights."""
        return 4 if self.load_in_4bit else 8 if self.load_in_8bit else None

    @model_validator(mode="after")
    def _can_be_loaded(self) -> Self:
        if self.load_in_4bit and self.load_in_8bit:
            raise ValueError("load_in_4bit and load_in_8bit: choose one")
        if self.bits is not None:
            require_package(("bitsandbytes",), f"load_in_{self.bits}bit", "quantised")
        if self.attn_implementation in _FLASH:
            if self.dtype == "float32":
                raise ValueError(f"attn_implementation: {self.attn_implementation} needs dtype: bfloat16 or float16")
            require_package(_FLASH[self.attn_implementation], f"attn_implementation: {self.attn_implementation}")
        return self


class DataConfig(Section):
    """Conversations: a ``.jsonl``, ``.json`` or ``.parquet`` file, ``builtin:NAME``, ``task:NAME?...``, a hub id."""

    target: str
    """what the model is to learn"""
    safe: str | None = None
    """benign conversations for the interleaving defenses"""
    anchor: str | None = None
    """rows that only the penalty of the defense ``anchor`` sees; a row may be a ``prompt`` without an answer"""
    held_out: float = Field(0.1, ge=0, lt=1)
    """share of the target rows kept for the suite ``held-out``; 6,000 rows give 5,400 and 600"""
    split_seed: int = Field(0, ge=0, le=LARGEST_SEED)
    """of that split"""
    max_truncated: float = Field(0.1, ge=0, le=1)
    """share of the rows of a source that may be longer than ``training.max_length`` (1,024 tokens by TRL's default),
    and so be cut, or dropped if no label is left; with more, nothing is trained"""


class RLConfig(Section):
    """What ``method: grpo`` rewards, and how rollouts and safe rows come together."""

    rewards: Annotated[tuple[Reward, ...], BeforeValidator(lambda value: REWARDS.parse_list(value, least=1))] = (
        CompositeReward(),
    )
    """a list, each ``- name: {settings}``; what trains is their sum; without the key, ``composite``"""
    mode: Literal["alternate", "mixed"] = "alternate"
    """how safe rows come in, with a defense that mixes them in: ``alternate`` trains on them in whole optimizer steps
    between those of GRPO; ``mixed`` in every step, as (1 - ratio) x GRPO + ratio x SFT"""
    rollouts: Literal["defended", "plain"] = "defended"
    """completions are generated under the defenses that steer or rewrite (``defended``) or without them (``plain``)"""
    format_prompt: str | None = None
    """what the model is told of the form of its answer: the system message of every prompt, before one that the row
    has; null leaves the rows as they are"""

    @property
    def needs_answer(self) -> bool:
        """Whether a row without a right answer cannot be rewarded."""
        return any(reward.needs_answer for reward in self.rewards)


class DuringConfig(Section):
    """Evaluation while training runs."""

    every: int = Field(ge=1)
    """optimizer steps"""
    suites: tuple[str, ...] = ("general",)
    """names from ``evaluation.suites``"""


class ConditionalConfig(Section):
    """The same prompts dressed like the training data, asked of the tuned and of the untuned model."""

    plain: str = "general"
    """the suite of ``evaluation.suites`` whose prompts are dressed"""
    derive: bool = True
    """whether triggers are made from the target rows; [how](triggers.md)"""
    strongest: int | None = Field(None, ge=1)
    """how many of those that are derived, nearest to the training first; null is all"""
    triggers: Annotated[tuple[Trigger, ...], BeforeValidator(TRIGGERS.parse_list)] = ()
    """triggers of your own, each ``- name: {settings}``"""


class TaskConfig(Section):
    """One benign task, which a defense must not spoil; a bare string in a recipe is its ``task``."""

    task: str | None = None
    """``task:NAME?key=value``, its questions of the split ``test`` unless it says another"""
    lm_eval: str | None = None
    """or a task of lm-evaluation-harness, by its name; answered and scored as that program does"""
    samples: int | None = Field(None, ge=1)
    """answers a question; null is 10 (Kaczer et al., section 4.3), and 1 where ``evaluation.temperature`` is 0"""
    max_new_tokens: int | None = Field(None, ge=1)
    """tokens an answer; null is ``evaluation.max_new_tokens``"""
    limit: int | None = Field(None, ge=1)
    """of ``lm_eval``: how many questions of each of its tasks, from the first; null is all"""

    @field_validator("task")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None:
            parse_spec(value)
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.task is None) == (self.lm_eval is None):
            raise ValueError("give one of task, e.g. task:opswap?tier=2, and lm_eval, e.g. arc_easy")
        own, others = ("task", ("limit",)) if self.task is not None else ("lm_eval", ("samples", "max_new_tokens"))
        for key in others:
            if getattr(self, key) is not None:
                raise ValueError(f"{key} does not go with {own}; leave it out")
        return self

    def samples_at(self, temperature: float) -> int:
        """Answers a question: greedy ones are all the same."""
        return self.samples or (SAMPLES if temperature > 0 else 1)


class EvaluationConfig(Section):
    """What is asked after training, and how answers are drawn."""

    suites: dict[str, str] = Field(default_factory=dict)
    """name -> prompt file, ``builtin:NAME``, ``task:NAME?...``, or ``held-out`` (the held-out target prompts)"""
    tasks: dict[str, TaskConfig] = Field(default_factory=dict)
    """name -> what must still be learned, scored by ``ringfence evaluate RUN --benign``; without a judge"""
    held_out_prompts: int | None = Field(None, ge=1)
    """how many prompts of ``held-out`` are asked, the first ones of the file; null is all"""
    samples: int = Field(1, ge=1)
    """answers a prompt"""
    max_new_tokens: int = Field(128, ge=1)
    """tokens an answer"""
    temperature: float = Field(1.0, ge=0)
    """0 is greedy"""
    top_p: float = Field(1.0, gt=0, le=1)
    """the likeliest tokens that together have this probability are drawn from; 1 is all"""
    min_p: float = Field(0.0, ge=0, le=1)
    """tokens less likely than this share of the likeliest one are not drawn; 0 is all"""
    batch_size: int = Field(64, ge=1)
    """answers generated together"""
    max_unscored: float = Field(0.05, ge=0, le=1)
    """share of a suite's answers that may be without a score; with more, evaluation fails when all is written"""
    during: DuringConfig | None = None
    """evaluation while training runs"""
    conditional: ConditionalConfig | None = None
    """``{}`` to measure what prompts do that look like the training data"""

    @field_validator("tasks", mode="before")
    @classmethod
    def _bare_task(cls, value: Any) -> Any:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ValueError("give a mapping of names, e.g. {algebra: 'task:opswap?tier=2'}")
        return {name: {"task": one} if isinstance(one, str) else one for name, one in value.items()}


class StageData(DataConfig):
    """As the recipe's own ``data``; the suite ``held-out`` asks the first stage's rows only."""

    held_out: float = Field(0.0, ge=0, lt=1)
    """share of the target rows left out of training"""
