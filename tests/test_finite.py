"""No number of any setting is an infinity or NaN, those of settings to come included."""

import importlib
import math
import pkgutil
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import ValidationError

import ringfence
from ringfence.core.settings import StrictConfig

APART = (
    "ringfence.__main__",  # runs
    "ringfence.integrations.inspect",  # these need another program
    "ringfence.integrations.axolotl.plugin",
    "ringfence.integrations.axolotl.rows",
    "ringfence.integrations.swift.trainer",
)


def below(cls: type[StrictConfig]) -> Iterator[type[StrictConfig]]:
    for one in cls.__subclasses__():
        yield from ([one] if one.__module__.startswith("ringfence.") else [])
        yield from below(one)


def numbers() -> list[tuple[type[StrictConfig], str]]:
    """Every setting of ours that takes a float, in whatever module."""
    for module in pkgutil.walk_packages(ringfence.__path__, "ringfence."):
        if not module.name.startswith(APART):
            importlib.import_module(module.name)
    found = {
        f"{cls.__module__}.{cls.__name__}.{name}": (cls, name)
        for cls in below(StrictConfig)
        for name, field in cls.model_fields.items()
        if float in (field.annotation, *get_args(field.annotation))
    }
    return list(found.values())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("cls", "name"), numbers(), ids=lambda one: getattr(one, "__name__", one))
def test_a_setting_is_a_finite_number(cls: type[StrictConfig], name: str, bad: float) -> None:
    texts = {key: "x" for key, field in cls.model_fields.items() if field.annotation is str and field.is_required()}
    given: dict[str, Any] = {**texts, name: bad}
    with pytest.raises(ValidationError) as raised:
        cls.model_validate(given)
    assert name in [error["loc"][0] for error in raised.value.errors() if error["loc"]]


def test_the_settings_are_found() -> None:
    """By name, those that once said so for themselves."""
    found = {(cls.__name__, name) for cls, name in numbers()}
    assert {("KL", "weight"), ("LDIFS", "weight"), ("Steering", "alpha"), ("FixedInterleaving", "added")} <= found
    assert {("PerplexityGap", "epsilon"), ("Settings", "temperature"), ("ChatServer", "timeout")} <= found
