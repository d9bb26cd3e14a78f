"""JSON Schema of every recipe, for editors: completion, the meaning of a key, and what is wrong while it is typed.

Made of the same classes that read a recipe. What can be one of several by name (defenses, judges, steps) becomes a
choice of all that are registered. What goes together and what does not is beyond a schema; reading a recipe says that.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import ringfence.select  # noqa: F401 - its steps register themselves
from ringfence.core.registry import Registry, TaggedRegistry
from ringfence.defenses import DEFENSES
from ringfence.generation.config import GENERATORS
from ringfence.judges import JUDGES
from ringfence.recipe.persona import PersonaRecipe
from ringfence.recipe.run import Recipe
from ringfence.recipe.sections import ModelConfig, TaskConfig
from ringfence.recipe.selection import SelectRecipe
from ringfence.rl.rewards import REWARDS
from ringfence.select.base import STEPS
from ringfence.triggers.kinds import TRIGGERS

RECIPES: Mapping[str, type[BaseModel]] = {"run": Recipe, "select": SelectRecipe, "persona": PersonaRecipe}
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CHOICES: tuple[Registry[Any], ...] = (DEFENSES, TRIGGERS, REWARDS, JUDGES, GENERATORS, STEPS)
_OR_TEXT: tuple[type[BaseModel], ...] = (ModelConfig, TaskConfig)
"""sections that a bare string may stand for"""
_REF = "#/$defs/"


def schema_of(recipe: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a recipe's YAML."""
    classes = {registry: {name: registry.get(name) for name in registry} for registry in _CHOICES}
    every = [recipe, *_OR_TEXT, *(registry.base for registry in _CHOICES)]
    every += [one for named in classes.values() for one in named.values()]
    refs, whole = models_json_schema([(one, "validation") for one in dict.fromkeys(every)])
    found = {cls: str(ref["$ref"]).removeprefix(_REF) for (cls, _), ref in refs.items()}
    defs = whole["$defs"]
    for registry, named in classes.items():
        defs[found[registry.base]] = _choice(registry, {name: found[one] for name, one in named.items()})
    for cls in _OR_TEXT:
        defs[found[cls]] = {"anyOf": [{"type": "string"}, defs[found[cls]]]}
    top = defs.pop(found[recipe])
    return {"$schema": _DIALECT, **top, "$defs": _reached(top, defs)}


def _choice(registry: Registry[Any], named: Mapping[str, str]) -> dict[str, Any]:
    """One of ``named``: its name, or a mapping of its name to its settings; of a tagged one the settings alone, too."""
    settings = {name: {"anyOf": [{"$ref": _REF + ref}, {"type": "null"}]} for name, ref in named.items()}
    one: dict[str, Any] = {"type": "object", "properties": settings, "additionalProperties": False}
    ways = [{"enum": [*named, *registry.presets]}, {**one, "minProperties": 1, "maxProperties": 1}]
    if isinstance(registry, TaggedRegistry):
        ways += [{"$ref": _REF + ref} for ref in named.values()]
    return {"anyOf": ways, "description": f"a {registry.what}, such as {registry.example}"}


def _reached(top: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """Those of ``defs`` that ``top`` needs."""
    wanted, found = [top], dict[str, Any]()
    while wanted:
        for name in _named(wanted.pop()):
            if name not in found:
                found[name] = defs[name]
                wanted.append(defs[name])
    return dict(sorted(found.items()))


def _named(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"].removeprefix(_REF)} if isinstance(part.get("$ref"), str) else set[str]()
        return own.union(*map(_named, part.values()))
    return set[str]().union(*map(_named, part)) if isinstance(part, list) else set()
