"""Recipes: one YAML file that names everything a run depends on. Unknown keys raise; nothing in it is executed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from ringfence.core.errors import RingfenceError, error_prefix
from ringfence.core.grpo_arguments import OTHER_ENGINES
from ringfence.core.lora_arguments import check_lora
from ringfence.core.settings import check_fields, explain, override, read_plain
from ringfence.core.source_fields import LORA_CONFIG, fields_in
from ringfence.core.training_arguments import LARGEST_SEED
from ringfence.data.system import NoSystem
from ringfence.defenses import DEFENSES, Defense, Penalising, RLContext
from ringfence.generation import Sampling
from ringfence.generation.config import GeneratorField, HfSettings
from ringfence.judges import JudgeField, JudgeSettings
from ringfence.recipe.defended import Defended, StageConfig
from ringfence.recipe.methods import Method, checked_training, require_fitting, require_packages
from ringfence.recipe.sections import DataConfig, EvaluationConfig, ModelConfig, RLConfig
from ringfence.rl.rewards import REWARDS

if TYPE_CHECKING:
    from peft import LoraConfig

    from ringfence.evaluate.presets import Preset


class Recipe(Defended):
    """One run."""

    name: str = Field("run", pattern=r"^[\w.+ -]+$")
    """how the run is called in tables"""
    seed: int = Field(0, ge=0, le=LARGEST_SEED)
    """of training, sampling and data order"""
    model: ModelConfig = ModelConfig()
    reference: ModelConfig | None = None
    """what penalties compare the trained model with, as ``model``; null: the model as it was before any training"""
    data: DataConfig
    no_system: NoSystem = "template_default"
    """what no system message means, in training and evaluation: ``template_default`` leaves it to the chat template,
    which may insert an identity; ``empty`` is an empty system message; ``none`` is nothing, and raises if the
    template inserts something"""
    method: Method = "sft"
    """how it is trained: ``sft`` is supervised fine-tuning, by TRL's SFTTrainer; ``grpo`` is reinforcement learning, by
    its GRPOTrainer"""
    training: dict[str, Any] = Field(default_factory=dict)
    """fields of TRL's SFTConfig; with ``method: grpo`` those of its GRPOConfig"""
    rl: RLConfig | None = Field(None, validate_default=True)
    """rewards and rollouts of ``method: grpo``"""
    lora: dict[str, Any] | None = None
    """fields of PEFT's LoraConfig; without it all weights are trained"""
    judge: JudgeField | None = None
    """scores answers; needed by evaluation and by judged canaries; its ``kind`` is ``rules`` (the default), ``api``,
    ``local`` or ``sampled``"""
    generator: GeneratorField = HfSettings()
    """who generates the answers of its evaluation: ``hf`` is the model in this process; [which there
    are](evaluation.md#who-generates)"""
    evaluation: EvaluationConfig = EvaluationConfig()
    defenses: tuple[Defense, ...] = ()
    """any list of defenses, each ``- name: {settings}``, or ``recommended``, for what [the front](front.md) speaks for;
    none is plain SFT"""
    stages: tuple[StageConfig, ...] = ()
    """what is trained on next, one stage after the other"""

    @field_validator("model", mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("stages", mode="before")
    @classmethod
    def _a_list(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError("give a list, e.g. `- {name: benign, data: {target: benign.jsonl}}`")
        return value

    @field_validator("reference", mode="before")
    @classmethod
    def _like_the_model(cls, value: Any, info: ValidationInfo) -> Any:
        value = {"name": value} if isinstance(value, str) else value
        if isinstance(value, dict) and not value.keys() - {"dtype", "trust_remote_code"}:
            raise ValueError(".name is missing: say which model to compare with")
        model = info.data.get("model")
        return {"dtype": model.dtype, **value} if isinstance(value, dict) and model else value

    @field_validator("training")
    @classmethod
    def _fields_of_the_method(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return checked_training(info.data["method"], value) if "method" in info.data else value

    @field_validator("rl")
    @classmethod
    def _of_grpo_only(cls, value: RLConfig | None, info: ValidationInfo) -> RLConfig | None:
        method = info.data.get("method")
        if method == "sft" and value is not None:
            raise ValueError("without effect with method: sft; set method: grpo, or leave it out")
        return RLConfig() if method == "grpo" and value is None else value

    @field_validator("lora")
    @classmethod
    def _lora_config(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is None:
            return None
        checked = check_fields("LoraConfig", fields_in(LORA_CONFIG), value)
        check_lora(checked)
        return checked

    @model_validator(mode="after")
    def _quantised_under_an_adapter(self) -> Self:
        bits = self.model.bits
        if bits is not None and self.lora is None:
            raise ValueError(f"model.load_in_{bits}bit: quantised weights cannot be trained themselves; add lora")
        for index, stage in enumerate(self.stages):
            if bits is not None and stage.adapter == "new":
                raise ValueError(
                    f"stages.{index}.adapter: new merges into the weights, and those of model.load_in_{bits}bit are "
                    "quantised; use continue"
                )
        return self

    @model_validator(mode="after")
    def _fits_grpo(self) -> Self:
        if self.method != "grpo":
            return self
        if self.stages:
            raise ValueError("stages: method: grpo has one stage; train the next one by a recipe of its own")
        if self.data.max_truncated != DataConfig.model_fields["max_truncated"].default:
            raise ValueError("data.max_truncated: without effect with method: grpo, which cuts no rows; leave it out")
        return self

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        names = [stage.name for stage in self.stages]
        for index, stage in enumerate(self.stages):
            if stage.name in names[:index]:
                raise ValueError(f"stages.{index}.name: {stage.name!r} is taken; give each stage a name of its own")
            if stage.adapter == "new" and self.lora is None:
                raise ValueError(f"stages.{index}.adapter: new needs lora, and the recipe has none; leave it out")
        return self

    @model_validator(mode="after")
    def _defenses_fit(self) -> Self:
        """What can be told of a stage without a model; the rest is for the defenses to say, once there is one."""
        parts = self.by_stage()
        for number, part in enumerate(parts):
            try:
                require_fitting(self.method, part.training)
            except ValueError as error:
                raise ValueError(f"{f'stages.{number - 1}.' if number else ''}training{error}") from None
        for number, part in enumerate(parts):
            merged = any(stage.adapter == "new" for stage in self.stages[:number])
            with error_prefix(f"stages.{number - 1}" if number else ""):
                for defense in part.defenses:
                    defense.require_compatible(part)
                part.fitted(part.defenses)
                _require_reference(part, merged)
        if self.reference is not None and not any(
            isinstance(one, Penalising) for part in parts for one in part.defenses
        ):
            raise ValueError("reference: no defense compares the model with it, as kl and ldifs do; leave it out")
        return self

    def by_stage(self) -> tuple["Recipe", ...]:
        """A recipe without ``stages`` for every stage, the first one first."""
        first = self.model_copy(update={"stages": ()})
        later = [
            {"data": stage.data, "training": self.training | stage.training, "defenses": stage.defenses}
            for stage in self.stages
        ]
        return (first, *(first.model_copy(update=changes) for changes in later))

    def fitted(self, defenses: Sequence[Defense]) -> tuple[Defense, ...]:
        """``defenses`` as the recipe's method has them. Raises :class:`RingfenceError` for one that it cannot take."""
        if self.rl is None:
            return tuple(defenses)
        engine = next((key for key in OTHER_ENGINES if self.training.get(key)), None)
        context = RLContext(self.rl.mode, self.rl.rollouts, self.training.get("beta", 0.0), engine)
        return tuple(defense.in_rl(context) for defense in defenses)

    @property
    def bits(self) -> int | None:
        """Of the base weights where they are quantised."""
        return self.model.bits

    def lora_config(self) -> "LoraConfig | None":
        """The adapter; None where all weights are trained.

        Raises :class:`RingfenceError`: what goes together in it and what does not is PEFT's to say.
        """
        if self.lora is None:
            return None
        from peft import LoraConfig  # takes torch, so that all else is checked before

        try:
            return LoraConfig(**{"task_type": "CAUSAL_LM", **self.lora})
        except (TypeError, ValueError) as error:
            raise RingfenceError(f"lora.fields: {' '.join(str(error).split())}") from error

    def sampling(self) -> Sampling:
        """How answers of its evaluation are drawn."""
        asked = self.evaluation
        return Sampling(
            max_new_tokens=asked.max_new_tokens,
            temperature=asked.temperature,
            seed=self.seed,
            batch_size=asked.batch_size,
            top_p=asked.top_p,
            min_p=asked.min_p,
        )

    def require_judge(self) -> JudgeSettings:
        """The judge. Raises :class:`RingfenceError` if there is none."""
        if self.judge is None:
            raise RingfenceError("judge: evaluation needs a judge; give e.g. `judge: {misaligned_pattern: '...'}`")
        return self.judge

    @property
    def unjudged(self) -> str:
        """What is missing to ask suites and judge the answers, e.g. ``judge and no evaluation.suites``; else empty."""
        given = {"judge": self.judge, "evaluation.suites": self.evaluation.suites}
        return " and no ".join(key for key, value in given.items() if not value)

    def with_preset(self, preset: "Preset") -> Self:
        """The recipe with its answers drawn as ``preset`` has them, where its source says how."""
        drawn = {
            "samples": preset.samples,
            "temperature": preset.temperature,
            "top_p": preset.top_p,
            "min_p": preset.min_p,
            "max_new_tokens": preset.max_tokens,
        }
        said = {key: value for key, value in drawn.items() if value is not None}
        evaluation = EvaluationConfig.model_validate({**dict(self.evaluation), **said})
        return self.model_copy(update={"evaluation": evaluation, "no_system": preset.no_system or self.no_system})

    def resolved(self) -> dict[str, Any]:
        """The whole recipe as plain data, defaults filled in, in the form that :func:`load_recipe` reads.

        But for ``method: sft``, ``rl`` with it, ``generator: hf`` and no ``data.anchor``: runs from before there was a
        choice do not have them, and are of the same recipe.
        """
        plain = self.model_dump(mode="json", exclude={"defenses": True, "stages": {"__all__": {"defenses"}}})
        if isinstance(self.generator, HfSettings):
            del plain["generator"]
        for part in (plain, *plain["stages"]):
            if part["data"]["anchor"] is None:
                del part["data"]["anchor"]
        if self.method == "sft":
            del plain["method"], plain["rl"]
        elif self.rl is not None:
            plain["rl"]["rewards"] = [REWARDS.item(one) for one in self.rl.rewards]
        listed = [self.defenses, *(stage.defenses for stage in self.stages)]
        for defenses, place in zip(listed, (plain, *plain["stages"]), strict=True):
            place["defenses"] = [DEFENSES.item(one) for one in defenses]
        if self.evaluation.conditional is not None:
            triggers = [trigger.item() for trigger in self.evaluation.conditional.triggers]
            plain["evaluation"]["conditional"]["triggers"] = triggers
        return plain


def _require_reference(part: Recipe, merged: bool) -> None:
    """Raise :class:`RingfenceError` if penalties of one stage are left without a reference, and for a bad adapter.

    ``merged``: the adapter is not on the base model's weights, so that penalties have those loaded beside it.
    """
    lora = part.lora_config()
    penalising = sorted(DEFENSES.name_of(type(one)) for one in part.defenses if one.penalises)
    if penalising and lora is not None and part.reference is None and not merged:
        from ringfence.models.adapters import require_base_kept

        require_base_kept(lora, " and ".join(penalising))


def require_installed(recipe: Recipe) -> None:
    """Raise :class:`RingfenceError` for what training needs and this machine lacks, as a tracker; torch-free."""
    for number, part in enumerate(recipe.by_stage()):
        try:
            require_packages(recipe.method, part.training)
        except ValueError as error:
            raise RingfenceError(f"{f'stages.{number - 1}.' if number else ''}training{error}") from None


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe; ``overrides`` are ``dotted.key=value`` with the value in YAML.

    Raises :class:`RingfenceError` naming the file, the key's path and the nearest valid name.
    """
    return parse_recipe(read_plain(path, overrides, ("model", "reference")), str(path))


def changed(recipe: Recipe, overrides: Sequence[str], where: str) -> Recipe:
    """``recipe`` with ``overrides`` as :func:`load_recipe` has them, and with the errors of :func:`parse_recipe`."""
    return parse_recipe(override(recipe.resolved(), overrides, ("model", "reference")), where)


def parse_recipe(data: dict[str, Any], where: str) -> Recipe:
    """A checked recipe from plain data. Raises :class:`RingfenceError` that begins with ``where``."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise RingfenceError(f"{where}: {explain(error, Recipe)}") from None
