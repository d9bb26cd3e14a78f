"""What holds for every defense: one name, unknown keys raise, a config comes back from its recipe form."""

import json
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import ValidationError

from ringfence import defenses
from ringfence.core.errors import RingfenceError
from ringfence.defenses import (
    DEFENSES,
    CanaryInterleaving,
    Defense,
    FixedInterleaving,
    Interleaving,
    ReplayInterleaving,
    parse,
)
from ringfence.defenses.base import recorded
from ringfence.judges import RuleJudge

CONFIGS = [
    FixedInterleaving(ratio=0.125),
    FixedInterleaving(added=0.05, placement="bernoulli", granularity="step", accounting="replace"),
    CanaryInterleaving(),
    CanaryInterleaving(
        every=4,
        delay=5,
        smoothing=1,
        ratio_init=0,
        risk_high=0.1,
        probe="likelihood",
        canaries="builtin:glitter/canaries",
        max_canaries=16,
        accounting="replace",
        evaluate_first=False,
    ),
    CanaryInterleaving(judge=RuleJudge(misaligned_pattern="sequin", min_words=3)),
    ReplayInterleaving(run=Path("runs/canary")),
    ReplayInterleaving(run=Path("runs/canary"), order="shuffled", every=4, seed=3),
]
SMALLEST = {"fixed_interleaving": {"ratio": 0.1}, "canary_interleaving": {}, "replay_interleaving": {"run": "a"}}


def modules() -> dict[str, ModuleType]:
    """The modules of the package that file a defense, by name."""
    folder = Path(defenses.__file__).parent
    names = [path.stem for path in folder.glob("*.py") if path.stem not in ("__init__", "base")]
    return {name: getattr(defenses, name) for name in names}


def test_the_name_of_a_defense_is_its_module():
    assert {*DEFENSES} == {*modules()} == {*SMALLEST}
    for name, module in modules().items():
        assert DEFENSES.get(name).__module__ == module.__name__


def test_the_class_is_the_name_in_camel_case_and_is_exported():
    for name in DEFENSES:
        cls = DEFENSES.get(name)
        assert cls.__name__ == "".join(word.capitalize() for word in name.split("_"))
        assert getattr(defenses, cls.__name__) is cls
        assert issubclass(cls, Defense)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_a_config_comes_back_from_its_recipe_form(config):
    name = DEFENSES.name_of(type(config))
    plain = json.loads(json.dumps({name: config.model_dump(mode="json")}))
    assert parse(plain, "defenses.0") == config


def test_every_defense_comes_back():
    assert {DEFENSES.name_of(type(config)) for config in CONFIGS} == {*DEFENSES}


def test_a_bare_name_takes_the_defaults():
    assert parse("canary_interleaving", "defenses.0") == CanaryInterleaving()
    assert parse({"canary_interleaving": None}, "defenses.0") == CanaryInterleaving()


def test_a_defense_is_taken_as_it_is():
    config = FixedInterleaving(ratio=0.1)
    assert parse(config, "defenses.0") is config


@pytest.mark.parametrize("item", [5, None, [], {}, ["fixed_interleaving"], {"fixed_interleaving": {}, "other": {}}])
def test_what_is_no_defense_raises_with_its_path(item):
    with pytest.raises(RingfenceError, match=r"^defenses\.3: a defense is one name with its settings"):
        parse(item, "defenses.3")


@pytest.mark.parametrize("item", ["fixd_interleaving", {"fixd_interleaving": {"ratio": 0.1}}])
def test_an_unknown_name_suggests_the_nearest(item):
    with pytest.raises(RingfenceError, match=r'^defenses\.0: unknown defense .* Did you mean "fixed_interleaving"\?$'):
        parse(item, "defenses.0")


@pytest.mark.parametrize("name", SMALLEST)
def test_unknown_keys_raise(name):
    with pytest.raises(ValidationError, match="rato"):
        parse({name: {**SMALLEST[name], "rato": 0.1}}, "defenses.0")


@pytest.mark.parametrize("name", SMALLEST)
@pytest.mark.parametrize("fields", [{"granularity": "token"}, {"accounting": "both"}])
def test_granularity_and_accounting_are_checked(name, fields):
    with pytest.raises(ValidationError, match=next(iter(fields))):
        parse({name: {**SMALLEST[name], **fields}}, "defenses.0")


@pytest.mark.parametrize("name", SMALLEST)
def test_configs_are_frozen_and_interleave_by_example_on_top(name):
    config = parse({name: SMALLEST[name]}, "defenses.0")
    assert isinstance(config, Interleaving)
    assert (config.granularity, config.accounting) == ("example", "add")
    with pytest.raises(ValidationError, match="frozen"):
        config.accounting = "replace"  # type: ignore[misc]


def test_a_recorded_file_must_be_there(tmp_path):
    with pytest.raises(RingfenceError, match=r"no control\.jsonl there, so this is not a run") as error:
        recorded(tmp_path, "control.jsonl")
    assert str(error.value).startswith(str(tmp_path))
    (tmp_path / "control.jsonl").touch()
    assert recorded(tmp_path, "control.jsonl") == tmp_path / "control.jsonl"
