"""Recipes: one YAML file that names everything a run depends on. Unknown keys raise; nothing in it is executed."""

import dataclasses
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from peft import LoraConfig
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from trl import SFTConfig

from ringfence.core.errors import RingfenceError, did_you_mean
from ringfence.defenses import DEFENSES, Defense, parse
from ringfence.judges import RuleJudge

HELD_OUT = "held-out"
# Set by Ringfence itself, or a secret that does not belong in a file that is copied into run folders.
_OURS = {"output_dir": "the --out folder", "seed": "the recipe's own `seed`"}
_SECRETS = {"hub_token", "push_to_hub_token"}


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=True)


class ModelConfig(_Config):
    """The model to fine-tune; a bare string in a recipe is its ``name``."""

    name: str = "smollm2-135m"
    """``smollm2-135m`` (embedded), a Hugging Face id, or a folder"""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """of the base weights; adapters stay float32"""
    trust_remote_code: bool = False
    """whether code that comes with a hub model may run"""


class DataConfig(_Config):
    """Conversations: a ``.jsonl``, ``.json`` or ``.parquet`` file, ``builtin:NAME``, ``org/name[@config][:split]``."""

    target: str
    """what the model is to learn"""
    safe: str | None = None
    """benign conversations for the interleaving defenses"""
    held_out: float = Field(0.1, ge=0, lt=1)
    """share of the target rows kept for the suite ``held-out``; 6,000 rows give 5,400 and 600"""
    split_seed: int = Field(0, ge=0)
    """of that split"""


class DuringConfig(_Config):
    """Evaluation while training runs."""

    every: int = Field(ge=1)
    """optimizer steps"""
    suites: tuple[str, ...] = ("general",)
    """names from ``evaluation.suites``"""


class EvaluationConfig(_Config):
    """What is asked after training, and how answers are drawn."""

    suites: dict[str, str] = Field(default_factory=dict)
    """name -> prompt file, ``builtin:NAME``, or ``held-out`` (the held-out target prompts)"""
    samples: int = Field(1, ge=1)
    """answers a prompt"""
    max_new_tokens: int = Field(128, ge=1)
    """tokens an answer"""
    temperature: float = Field(1.0, ge=0)
    """0 is greedy"""
    batch_size: int = Field(64, ge=1)
    """answers generated together"""
    during: DuringConfig | None = None


class Recipe(_Config):
    """One run."""

    name: str = Field("run", pattern=r"^[\w.+ -]+$")
    """how the run is called in tables"""
    seed: int = Field(0, ge=0)
    """of training, sampling and data order"""
    model: ModelConfig = ModelConfig()
    data: DataConfig
    training: dict[str, Any] = Field(default_factory=dict)
    """fields of TRL's SFTConfig"""
    lora: dict[str, Any] | None = None
    """fields of PEFT's LoraConfig; without it all weights are trained"""
    defenses: tuple[Defense, ...] = ()
    """any list of defenses, each ``- name: {settings}``; none is plain SFT"""
    judge: RuleJudge | None = None
    """scores answers by rule; needed by evaluation and by judged canaries"""
    evaluation: EvaluationConfig = EvaluationConfig()

    @field_validator("model", mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("training")
    @classmethod
    def _sft_config(cls, value: dict[str, Any]) -> dict[str, Any]:
        for key in value:
            if key in _OURS:
                raise ValueError(f"{key}: set by {_OURS[key]}; leave it out")
            if key in _SECRETS:
                raise ValueError(f"{key}: a secret; set the environment variable HF_TOKEN instead")
        return _fields_of(SFTConfig, value)

    @field_validator("lora")
    @classmethod
    def _lora_config(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is None:
            return None
        checked = _fields_of(LoraConfig, value)
        try:
            LoraConfig(**checked)  # what goes together and what does not is PEFT's to say
        except TypeError as error:
            raise ValueError(f"fields: {error}") from error
        return checked

    @field_validator("defenses", mode="before")
    @classmethod
    def _defenses(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError("defenses is a list, e.g. `- fixed_interleaving: {ratio: 0.05}`")
        return tuple(_parse_defense(item, index) for index, item in enumerate(value))

    def resolved(self) -> dict[str, Any]:
        """The whole recipe as plain data, defaults filled in, in the form that :func:`load_recipe` reads."""
        plain = self.model_dump(mode="json", exclude={"defenses"})
        plain["defenses"] = [
            {DEFENSES.name_of(type(defense)): defense.model_dump(mode="json")} for defense in self.defenses
        ]
        return plain


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe; ``overrides`` are ``dotted.key=value`` with the value in YAML.

    Raises :class:`RingfenceError` naming the file, the key's path and the nearest valid name.
    """
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise RingfenceError(f"{path}: cannot read the recipe ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise RingfenceError(f"{path}: cannot read the recipe: byte {error.start} is not UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise RingfenceError(f"{path}{where}: not valid YAML: {problem}") from None
    if not isinstance(data, dict):
        raise RingfenceError(f"{path}: a recipe is a mapping of keys such as model, data and defenses")
    for override in overrides:
        _override(data, override)
    return parse_recipe(data, str(path))


def parse_recipe(data: dict[str, Any], where: str) -> Recipe:
    """A checked recipe from plain data. Raises :class:`RingfenceError` that begins with ``where``."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise RingfenceError(f"{where}: {_explain(error, Recipe)}") from None


class _Loader(yaml.SafeLoader):
    """Safe YAML with 1e-4 as a number, as YAML 1.2 has it, and without doubled keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *anchor`, which keys beside it may override
                continue
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} stands twice", problem_mark=key_node.start_mark)
            keys.append(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RingfenceError(f"{override!r}: an override is key=value, e.g. training.learning_rate=1e-4")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise RingfenceError(f"{key}: {text!r} is not a YAML value; quote it") from None
    keys = key.split(".")
    *path, last = keys
    place: Any = data
    for depth, name in enumerate(path):
        index = _index(place, name, key)
        if isinstance(place, dict) and place.get(index) is None:
            if depth + 1 < len(keys) and keys[depth + 1].isdecimal():
                raise RingfenceError(f"{key}: the recipe has no list {name}; set it whole, e.g. '{name}=[...]'")
            place[index] = {}
        place = place[index]
    place[_index(place, last, key)] = value


def _index(place: Any, name: str, key: str) -> str | int:
    """``name`` as a key of a mapping or an index of a list; raises :class:`RingfenceError` if it cannot be."""
    if isinstance(place, list):
        if not name.isdecimal() or int(name) >= len(place):
            raise RingfenceError(f"{key}: {name!r} is not an index of a list of {len(place)}")
        return int(name)
    if not isinstance(place, dict):
        raise RingfenceError(f"{key}: {name!r} cannot be set inside {place!r}; set the whole, e.g. KEY={{{name}: ...}}")
    return name


def _parse_defense(item: Any, index: int) -> Defense:
    try:
        return parse(item, f"defenses.{index}")
    except ValidationError as error:
        name = item if isinstance(item, str) else next(iter(item))
        # Raised as a ValueError, since the outer model would report an inner ValidationError as its own.
        raise RingfenceError(f"defenses.{index}.{name}: {_explain(error, DEFENSES.get(name))}") from None


def _fields_of(config: type, values: dict[str, Any]) -> dict[str, Any]:
    """``values`` checked against the fields of a dataclass of TRL's or PEFT's, by name and by type."""
    known = {field.name: field for field in dataclasses.fields(config) if field.init}
    hints = typing.get_type_hints(config)
    checked = dict(values)
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"{key}: {config.__name__} has no such field.{did_you_mean(key, known)}")
        if not _plain(hints[key]):
            continue  # types of the library's own, checked when the config is built
        try:
            checked[key] = TypeAdapter(hints[key]).validate_python(value)  # "1e-4" in quotes is a number, too
        except ValidationError as error:
            raise ValueError(f"{key}: {error.errors()[0]['msg']}, got {value!r}") from None
    return checked


def _plain(hint: Any) -> bool:
    """Whether a type hint is made of numbers, strings, booleans and None only."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return all(_plain(part) for part in get_args(hint))
    return hint in (int, float, str, bool, type(None))


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    """All faults of a pydantic error on one line, each with its key's path."""
    faults = "; ".join(_fault(fault, model) for fault in error.errors(include_url=False))
    return " ".join(faults.splitlines())


def _fault(fault: Any, model: type[BaseModel]) -> str:
    path = [str(part) for part in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        known = _known_at(model, path[:-1])
        return f"unknown key {'.'.join(path)!r}.{did_you_mean(path[-1], known)}"
    if fault["type"] == "missing":
        return f"{'.'.join(path)} is missing"
    message = fault["msg"].removeprefix("Value error, ")
    shown = f", got {fault['input']!r}" if fault["type"] not in ("value_error", "missing") else ""
    if message.startswith("defenses."):
        return message
    # The checks of training and lora name the field inside themselves.
    joint = "." if path in (["training"], ["lora"]) and fault["type"] == "value_error" else ": "
    return f"{'.'.join(path)}{joint}{message}{shown}" if path else message + shown


def _known_at(model: type[BaseModel], path: Sequence[str]) -> set[str]:
    """Field names of the model that sits at ``path`` inside ``model``."""
    for name in path:
        annotation = model.model_fields[name].annotation if name in model.model_fields else None
        inner = [part for part in (annotation, *get_args(annotation)) if isinstance(part, type)]
        model = next((part for part in inner if issubclass(part, BaseModel)), model)
    return set(model.model_fields)
