"""Recipes of selections: one YAML file from a pool of candidates to the safe set that a run's recipe names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from ringfence.core.errors import RingfenceError
from ringfence.core.settings import StrictConfig, explain, read_plain
from ringfence.data.system import NoSystem
from ringfence.generation.config import GeneratorField, HfSettings
from ringfence.recipe.run import ModelConfig
from ringfence.select import STEPS, Context, Selection, Step
from ringfence.select.pipeline import SHARD_ROWS


def _parse_steps(value: Any) -> tuple[Step, ...]:
    return STEPS.parse_list(value, least=1)


class SelectRecipe(StrictConfig):
    """One selection."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field("selection", pattern=r"^[\w.+ -]+$")
    """how it is called in its manifest"""
    seed: int = Field(0, ge=0)
    """of everything that is drawn"""
    model: ModelConfig = ModelConfig()
    """the aligned model: it scores, embeds, and writes on-policy answers; a bare string is its ``name``"""
    no_system: NoSystem = "template_default"
    """what no system message means, as in the recipe of a run"""
    pool: str | tuple[str, ...]
    """the candidates: one data set or a list of them"""
    max_length: int | None = Field(None, ge=1)
    """tokens; longer conversations are not scored but dropped; null: as many as the model has positions"""
    batch_tokens: int = Field(8192, ge=1)
    """tokens that go through the model together, padding included"""
    shard_rows: int = Field(SHARD_ROWS, ge=1)
    """rows of a shard, the unit of resuming and of parallel work; batches are sorted by length inside of one"""
    generator: GeneratorField = HfSettings()
    """who writes the answers of ``on_policy``, and of ``rewrite`` by the aligned model: ``hf`` is the model in this
    process; [which there are](evaluation.md#who-generates)"""
    steps: Annotated[tuple[Step, ...], BeforeValidator(_parse_steps)]
    """what is done, one after the other, each ``- name: {settings}``; [which there are](selection.md)"""

    @field_validator("model", mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_a_pool(self) -> Self:
        if not self.sets:
            raise ValueError("pool: names no data set; give at least one")
        return self

    @property
    def sets(self) -> tuple[str, ...]:
        """The data sets of the pool."""
        return (self.pool,) if isinstance(self.pool, str) else self.pool

    def selection(self) -> Selection:
        """What :func:`ringfence.select.run` takes."""
        context = Context(
            model=self.model.name,
            dtype=self.model.dtype,
            trust_remote_code=self.model.trust_remote_code,
            seed=self.seed,
            no_system=self.no_system,
            max_length=self.max_length,
            batch_tokens=self.batch_tokens,
            generator=self.generator,
        )
        return Selection(self.sets, self.steps, context, self.shard_rows)

    def resolved(self) -> dict[str, Any]:
        """The whole recipe as plain data, defaults filled in, in the form that :func:`load_select_recipe` reads."""
        plain = self.model_dump(mode="json", exclude={"steps"})
        if isinstance(self.generator, HfSettings):
            del plain["generator"]  # as selections from before there was a choice
        return plain | {"steps": [STEPS.item(step) for step in self.steps]}


def load_select_recipe(path: Path, overrides: Sequence[str] = ()) -> SelectRecipe:
    """Read and check a recipe; ``overrides`` are ``dotted.key=value`` with the value in YAML.

    Raises :class:`RingfenceError` naming the file, the key's path and the nearest valid name.
    """
    plain = read_plain(path, overrides)
    if "pool" not in plain and "data" in plain:
        raise RingfenceError(f"{path}: a recipe for `ringfence train`; one for a selection has `pool` and `steps`")
    try:
        return SelectRecipe.model_validate(plain)
    except ValidationError as error:
        raise RingfenceError(f"{path}: {explain(error, SelectRecipe)}") from None
