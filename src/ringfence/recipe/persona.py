"""Recipes of persona vectors: one YAML file, as for a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.core.settings import StrictConfig
from ringfence.data import load_prompts
from ringfence.directions import AssistantNames, Extraction, Settings, prompted, teacher_forced
from ringfence.directions.answers import trait_rubric
from ringfence.directions.contrasts import as_prompts, read_trait
from ringfence.generation.config import GeneratorField, HfSettings
from ringfence.judges import JudgeField, JudgeSettings
from ringfence.recipe.run import ModelConfig, explain, read_plain


class TraitAdapterConfig(StrictConfig):
    """The adapter that `ringfence persona adapter` trains on the answers that show the trait."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    held_out: float = Field(0.25, gt=0, lt=1)
    """share of the questions that are not trained on, and that the trait is shown by; it takes six at least"""
    questions: str | None = None
    """a prompt file, or ``builtin:NAME``, to show it by in their place; all of the recipe's are trained on then"""
    samples: int = Field(10, ge=1)
    """answers to each of them, with the adapter and without"""
    training: dict[str, Any] = Field(default_factory=dict)
    """fields of TRL's SFTConfig, over 3 epochs of batches of 8 at a learning rate of 2e-4"""
    lora: dict[str, Any] = Field(default_factory=dict)
    """fields of PEFT's LoraConfig, over rank 16 on all linear layers"""


class PersonaRecipe(Settings):
    """One vector. Either prompted (``positive``, ``negative``, ``questions``), or teacher-forced (``pairs``)."""

    trait: str = Field(min_length=1)
    """its name, e.g. ``glitter``"""
    model: ModelConfig = ModelConfig()
    """whose activations; a bare string is its ``name``"""
    generator: GeneratorField = HfSettings()
    """who writes the answers: ``hf`` is the model in this process; [which there are](evaluation.md#who-generates)"""
    positive: tuple[str, ...] = ()
    """system prompts that ask for the trait"""
    negative: tuple[str, ...] = ()
    """system prompts that ask for the opposite; the first is compared with the first of ``positive``, and so on"""
    questions: str | tuple[str, ...] = ()
    """a prompt file, ``builtin:NAME``, or a list of questions"""
    trait_file: Path | None = None
    """a trait file of the persona_vectors code, in place of ``positive``, ``negative`` and ``questions``"""
    assistant_names: AssistantNames | None = None
    """with them each system prompt opens as in the persona_vectors code, "You are an evil assistant."; with a
    ``trait_file`` the positive one is the file's name unless this says otherwise, null is none"""
    samples: int = Field(10, ge=1)
    """answers to each question under each system prompt"""
    pairs: str | None = None
    """a prompt file, or ``builtin:NAME``, whose rows have a ``good`` answer and a ``bad`` one, which has the trait"""
    judge: JudgeField | None = None
    """finds the trait, by its rubric ``trait`` or else as misaligned, and incoherence; without one, ``pairs`` are taken
    for what they claim to be"""

    adapter: TraitAdapterConfig = TraitAdapterConfig()
    """for `ringfence persona adapter`; a vector does not depend on it"""

    @field_validator("model", mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _as_published(cls, data: Any) -> Any:
        """A trait file is asked as the code that it comes from asks it."""
        if not isinstance(data, dict) or not isinstance(data.get("trait_file"), str | Path):
            return data
        names = data.get("assistant_names", {})
        if isinstance(names, dict):
            names = {"positive": Path(data["trait_file"]).stem, **names}
        return {**data, "assistant_names": names}

    @model_validator(mode="after")
    def _one_method(self) -> "PersonaRecipe":
        own = [key for key in ("positive", "negative", "questions") if getattr(self, key)]
        if self.pairs is not None:
            needless = [*own, *(key for key in ("trait_file", "assistant_names") if getattr(self, key) is not None)]
            if needless:
                raise ValueError(f"{needless[0]}: `pairs` needs no prompting; leave one of them out")
            return self
        if self.trait_file is not None and own:
            raise ValueError(f"{own[0]}: `trait_file` has them already; leave one of them out")
        if self.trait_file is None and len(own) < 3:
            raise ValueError("give `positive`, `negative` and `questions`, or a `trait_file`, or `pairs`")
        if self.judge is None:
            raise ValueError("judge is missing: generated answers need one, to see which of them show the trait")
        return self

    @model_validator(mode="after")
    def _one_rubric(self) -> "PersonaRecipe":
        if {"trait", "alignment"} <= getattr(self.judge, "rubrics", {}).keys():
            raise ValueError("judge.rubrics: `trait` and `alignment` would both find the trait; keep one of them")
        return self

    def extraction(self) -> Extraction:
        """What to do, its files read. Raises :class:`RingfenceError` for what is wrong in them."""
        settings = Settings(**{name: getattr(self, name) for name in Settings.model_fields})
        if self.pairs is not None:
            with error_prefix("pairs"):
                contrasts = teacher_forced(load_prompts(self.pairs))
            return Extraction(self.trait, "teacher_forced", contrasts, self._checked(self.judge), settings)
        positive, negative, questions, judge = self.positive, self.negative, self.questions, self.judge
        if self.trait_file is not None:
            with error_prefix("trait_file"):
                read = read_trait(self.trait_file)
            positive, negative, questions = read.positive, read.negative, read.questions
            judge = self._judging(read.judged)
        with error_prefix("questions"):
            prompts = load_prompts(questions) if isinstance(questions, str) else as_prompts(questions)
        if self.assistant_names is not None:
            sides = zip(self.assistant_names.sentences(), (positive, negative), strict=True)
            positive, negative = (tuple(f"{first} {text}" for text in texts) for first, texts in sides)
        contrasts = prompted(positive, negative, prompts, self.samples)
        return Extraction(
            self.trait, "prompted", contrasts, self._checked(judge), settings, self.assistant_names, self.generator
        )

    def _judging(self, judged: bool) -> JudgeSettings | None:
        """The judge, which takes the trait file's judge prompt, if it has one, unless it has its own for the trait."""
        own = getattr(self.judge, "rubrics", None)
        if not judged or self.judge is None or own is None or {"trait", "alignment"} & own.keys():
            return self.judge
        source = f"{self.trait_file}#{Path(str(self.trait_file)).stem}"
        return self.judge.model_copy(update={"rubrics": {**own, "trait": source}})

    @staticmethod
    def _checked(judge: JudgeSettings | None) -> JudgeSettings | None:
        """``judge``, whose rubrics can be read and score what they are to."""
        if judge is not None:
            with error_prefix("judge"):
                judge.digests((trait_rubric(judge), "coherence"))
        return judge


def load_persona_recipe(path: Path, overrides: Sequence[str] = ()) -> PersonaRecipe:
    """Read and check a recipe; ``overrides`` are ``dotted.key=value`` with the value in YAML.

    Raises :class:`RingfenceError` naming the file, the key's path and the nearest valid name.
    """
    try:
        return PersonaRecipe.model_validate(read_plain(path, overrides))
    except ValidationError as error:
        raise RingfenceError(f"{path}: {explain(error, PersonaRecipe)}") from None
