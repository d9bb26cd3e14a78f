"""What holds for every defense: one name, unknown keys raise, a config comes back from its recipe form."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from compatibility import Part
from examples import example
from ringfence import defenses
from ringfence.core.errors import RingfenceError
from ringfence.data.suites.prompts import Prompt
from ringfence.defenses import (
    DEFENSES,
    CanaryInterleaving,
    Defense,
    DefenseHook,
    FixedInterleaving,
    Inoculation,
    Interleaving,
    Penalising,
    TrainerContext,
)
from ringfence.defenses.base import recorded

WRITTEN = [config for name in DEFENSES for config in example(name).written]
BESIDE = ("__init__", "base", "origin", "recommended", "step", "together")
INTERLEAVING = [name for name in DEFENSES if name.endswith("_interleaving")]


def smallest(name: str) -> dict[str, Any]:
    """Settings that are enough."""
    return example(name).written[0].model_dump(mode="json", exclude_unset=True)


def modules() -> dict[str, ModuleType]:
    """The modules of the package that file a defense, by name."""
    folder = Path(defenses.__file__).parent
    names = [path.stem for path in folder.glob("*.py") if path.stem not in BESIDE]
    return {name: getattr(defenses, name) for name in names}


def test_the_name_of_a_defense_is_its_module() -> None:
    assert {*DEFENSES} == {*modules()}
    for name, module in modules().items():
        assert DEFENSES.get(name).__module__ == module.__name__


def test_the_class_is_the_name_without_underscores_and_is_exported() -> None:
    for name in DEFENSES:
        cls = DEFENSES.get(name)
        assert cls.__name__.lower() == name.replace("_", "")
        assert cls.__name__[0].isupper()
        assert getattr(defenses, cls.__name__) is cls
        assert issubclass(cls, Defense)


@pytest.mark.parametrize("config", WRITTEN, ids=lambda config: type(config).__name__)
def test_a_config_comes_back_from_its_recipe_form(config: Defense) -> None:
    plain = json.loads(json.dumps(DEFENSES.item(config)))
    assert DEFENSES.parse(plain, "defenses.0") == config


def test_a_bare_name_takes_the_defaults() -> None:
    assert DEFENSES.parse("canary_interleaving", "defenses.0") == CanaryInterleaving()
    assert DEFENSES.parse({"canary_interleaving": None}, "defenses.0") == CanaryInterleaving()


def test_a_defense_is_taken_as_it_is() -> None:
    config = FixedInterleaving(ratio=0.1)
    assert DEFENSES.parse(config, "defenses.0") is config


@pytest.mark.parametrize("item", [5, None, [], {}, ["fixed_interleaving"], {"fixed_interleaving": {}, "other": {}}])
def test_what_is_no_defense_raises_with_its_path(item: Any) -> None:
    with pytest.raises(RingfenceError, match=r"^defenses\.3: a defense is one name with its settings"):
        DEFENSES.parse(item, "defenses.3")


@pytest.mark.parametrize("item", ["fixd_interleaving", {"fixd_interleaving": {"ratio": 0.1}}])
def test_an_unknown_name_suggests_the_nearest(item: Any) -> None:
    with pytest.raises(RingfenceError, match=r'^defenses\.0: unknown defense .* Did you mean "fixed_interleaving"\?$'):
        DEFENSES.parse(item, "defenses.0")


@pytest.mark.parametrize("name", DEFENSES)
def test_unknown_keys_raise(name: Any) -> None:
    with pytest.raises(RingfenceError, match=rf"^defenses\.0\.{name}: unknown key 'rato'"):
        DEFENSES.parse({name: {**smallest(name), "rato": 0.1}}, "defenses.0")


def test_interleaving_is_in_the_name() -> None:
    assert [name for name in DEFENSES if issubclass(DEFENSES.get(name), Interleaving)] == INTERLEAVING


@pytest.mark.parametrize("name", INTERLEAVING)
@pytest.mark.parametrize("fields", [{"granularity": "token"}, {"accounting": "both"}])
def test_granularity_and_accounting_are_checked(name: Any, fields: Any) -> None:
    with pytest.raises(RingfenceError, match=next(iter(fields))):
        DEFENSES.parse({name: {**smallest(name), **fields}}, "defenses.0")


@pytest.mark.parametrize("name", INTERLEAVING)
def test_configs_are_frozen_and_interleave_by_example_on_top(name: Any) -> None:
    config = DEFENSES.parse({name: smallest(name)}, "defenses.0")
    assert isinstance(config, Interleaving)
    assert (config.granularity, config.accounting) == ("example", "add")
    with pytest.raises(ValidationError, match="frozen"):
        config.accounting = "replace"  # type: ignore[misc]


def test_a_recorded_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"no control\.jsonl there, so this is not a run") as error:
        recorded(tmp_path, "control.jsonl")
    assert str(error.value).startswith(str(tmp_path))
    (tmp_path / "control.jsonl").touch()
    assert recorded(tmp_path, "control.jsonl") == tmp_path / "control.jsonl"


def test_a_defense_does_nothing_by_itself() -> None:
    messages = [{"role": "user", "content": "a"}]
    assert Defense().rewrite(messages, "target") is messages
    assert not Defense().rewrites
    assert Inoculation().rewrites
    assert Defense().guard(TrainerContext(None, 0)) is None  # type: ignore[arg-type]


def test_a_guard_does_nothing_by_itself() -> None:
    guard, batch = DefenseHook(), None
    assert guard.normalizer(batch) == 0  # type: ignore[arg-type]
    with guard.apply(None, batch):  # type: ignore[arg-type]
        pass
    with pytest.raises(AssertionError, match="DefenseHook does not say what its penalty is"):
        guard.penalty(None)  # type: ignore[arg-type]


# --- what a recipe asks of a defense --------------------------------------------------------------------------


@pytest.mark.parametrize("name", INTERLEAVING)
def test_interleaving_does_not_go_with_packing(name: str) -> None:
    defense = example(name).written[0]
    defense.require_compatible(Part({"packing": False}))
    with pytest.raises(RingfenceError, match=rf"^training\.packing: .*; leave packing out with {name}$"):
        defense.require_compatible(Part({"packing": True}))


@pytest.mark.parametrize("name", [name for name in DEFENSES if name not in ("canary_interleaving", "safe_lora")])
def test_most_defenses_ask_nothing_of_the_recipe(name: str) -> None:
    defense = example(name).written[0]
    defense.require_compatible(Part())
    assert defense.bind(Part()) is defense
    defense.require_apart({"general": [Prompt("a", ({"role": "user", "content": "A?"},))]})
    defense.require_key()


@pytest.mark.parametrize("name", ["kl", "ldifs"])
def test_a_penalty_has_a_weight_and_none_at_0(name: str) -> None:
    cls = DEFENSES.get(name)
    assert issubclass(cls, Penalising)
    assert cls(weight=0.5).penalises
    assert not cls(weight=0).penalises


def test_wrong_settings_of_a_penalty_are_told_without_torch() -> None:
    """Which takes seconds to import."""
    code = (
        "import sys\n"
        "from ringfence.defenses import DEFENSES\n"
        "for item in ({'kl': {'weight': -1}}, {'ldifs': {'every': 0}}):\n"
        "    try: DEFENSES.parse(item)\n"
        "    except ValueError: continue\n"
        "    sys.exit('taken')\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
