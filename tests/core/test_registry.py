"""Names filed once, found again, suggested when misspelt."""

import sys
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ringfence.core.errors import RingfenceError
from ringfence.core.registry import Preset, Registry, TaggedRegistry
from ringfence.core.settings import explain


class Base(BaseModel):
    model_config = ConfigDict(extra="forbid")


def empty(what: str = "defense") -> Registry[Base]:
    return Registry(what, Base, "kl: {weight: 1}")


def filled(registry: Registry[Base]) -> Registry[Base]:
    @registry.register("kl")
    class Kl(Base):
        kind: str = "kl"
        weight: float = Field(0.1, ge=0)

    @registry.register("canary")
    class Canary(Base):
        kind: str = "canary"
        model: str

    return registry


@pytest.fixture
def defenses() -> Registry[Base]:
    return filled(empty())


@pytest.fixture
def judges() -> Registry[Base]:
    return filled(TaggedRegistry("judge", Base, "{weight: 1}", tag="kind", default="kl"))


def test_register_returns_the_class_itself() -> None:
    class Kl(Base):
        pass

    registry = empty()
    assert registry.register("kl")(Kl) is Kl
    assert registry.get("kl") is Kl
    assert registry.name_of(Kl) == "kl"


def test_names_are_sorted(defenses: Registry[Base]) -> None:
    assert list(defenses) == ["canary", "kl"]
    assert "kl" in defenses
    assert "ldifs" not in defenses


def test_a_name_is_filed_once(defenses: Registry[Base]) -> None:
    with pytest.raises(ValueError, match=r"defense 'kl' is registered twice: .*Kl.* and .*int"):
        defenses.register("kl")(int)
    assert defenses.get("kl").__name__ == "Kl"


def test_an_unknown_name_suggests_the_nearest(defenses: Registry[Base]) -> None:
    with pytest.raises(RingfenceError, match=r"""^unknown defense 'canari'\. Did you mean "canary"\?$"""):
        defenses.get("canari")
    with pytest.raises(RingfenceError, match=r"^unknown defense 'zzz'\. Known: canary, kl\.$"):
        defenses.get("zzz")


def test_a_registry_without_classes_still_names_what_is_unknown() -> None:
    with pytest.raises(RingfenceError, match=r"^unknown defense 'kl'\.$"):
        empty().get("kl")


def test_a_class_that_is_not_filed_has_no_name(defenses: Registry[Base]) -> None:
    with pytest.raises(KeyError):
        defenses.name_of(int)


def test_a_subclass_is_not_filed_with_its_parent(defenses: Registry[Base]) -> None:
    class Sub(defenses.get("kl")):
        pass

    with pytest.raises(KeyError):
        defenses.name_of(Sub)


def test_registries_do_not_share() -> None:
    first, second = empty("a"), empty("b")
    first.register("x")(int)
    assert list(second) == []


def test_a_class_of_a_package_is_imported_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "__init__.py").write_text(
        "from pydantic import BaseModel\nfrom ringfence.core.registry import Registry\n"
        "SHAPES = Registry('shape', BaseModel, 'square', __name__, beside=('base',))\n"
    )
    (tmp_path / "shapes" / "base.py").write_text("")
    (tmp_path / "shapes" / "square.py").write_text(
        "from shapes import SHAPES\n@SHAPES.register('square')\nclass Square: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from shapes import SHAPES  # type: ignore[import-not-found]

    assert [*SHAPES] == ["square"]
    assert "shapes.square" not in sys.modules
    assert SHAPES.get("square").__name__ == "Square"
    with pytest.raises(RingfenceError, match=r"unknown shape 'squar'\. Did you mean \"square\"\?"):
        SHAPES.get("squar")
    with pytest.raises(RingfenceError, match="unknown shape 'base'"):
        SHAPES.get("base")


# --- items of a recipe --------------------------------------------------------------------------------------


@pytest.mark.parametrize("item", [{"kl": {"weight": 2}}, {"kl": {"weight": "2"}}])
def test_an_item_is_a_name_with_its_settings(defenses: Registry[Base], item: object) -> None:
    assert defenses.item(defenses.parse(item)) == {"kl": {"kind": "kl", "weight": 2}}


@pytest.mark.parametrize("item", ["kl", {"kl": None}, {"kl": {}}])
def test_a_bare_name_has_the_defaults(defenses: Registry[Base], item: object) -> None:
    assert defenses.parse(item) == defenses.get("kl")()


def test_what_is_made_already_is_taken_as_it_is(defenses: Registry[Base]) -> None:
    made = defenses.get("canary")(model="m")  # type: ignore[call-arg]
    assert defenses.parse(made) is made
    assert defenses.parse_list([made, "kl"])[0] is made


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (3, "defenses.0: a defense is one name with its settings, e.g. `- kl: {weight: 1}`, in Python a Base"),
        ({"kl": {}, "canary": {}}, "defenses.0: a defense is one name with its settings"),
        ("kll", "defenses.0: unknown defense 'kll'. Did you mean \"kl\"?"),
        ({"kl": {"weight": -1}}, "defenses.0.kl: weight: Input should be greater than or equal to 0, got -1"),
        ({"kl": {"wait": 1}}, "defenses.0.kl: unknown key 'wait'. Did you mean \"weight\"?"),
        ({"kl": 3}, "defenses.0.kl: Input should be a valid dictionary"),
        ({"canary": None}, "defenses.0.canary: model is missing"),
    ],
)
def test_a_wrong_item_is_said_on_one_line(defenses: Registry[Base], item: object, said: str) -> None:
    for parsed in (lambda: defenses.parse(item, "defenses.0"), lambda: defenses.parse_list([item], "defenses")):
        with pytest.raises(RingfenceError) as error:
            parsed()
        assert str(error.value).startswith(said)
        assert "\n" not in str(error.value)


def test_a_list_is_wanted_and_as_many_as_are_needed(defenses: Registry[Base]) -> None:
    assert defenses.parse_list([]) == ()
    with pytest.raises(RingfenceError, match=r"^defenses: give a list, e\.g\. `- kl: \{weight: 1\}`$"):
        defenses.parse_list("kl", "defenses")
    with pytest.raises(RingfenceError, match=r"^give a list of at least one, e\.g\."):
        defenses.parse_list([], least=1)


@pytest.fixture
def with_preset() -> Registry[Base]:
    preset = Preset([{"kl": {"weight": 2}}, {"canary": {"model": "m"}}], "docs/why.md")
    return filled(Registry("defense", Base, "kl: {weight: 1}", presets={"usual": preset}))


@pytest.mark.parametrize("item", ["usual", {"usual": None}, {"usual": {}}])
def test_a_preset_stands_for_its_items_and_the_log_says_which(
    with_preset: Registry[Base], item: object, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        found = with_preset.parse_list([item, "kl"], "defenses")
    assert [with_preset.item(one) for one in found] == [
        {"kl": {"kind": "kl", "weight": 2}},
        {"canary": {"kind": "canary", "model": "m"}},
        {"kl": {"kind": "kl", "weight": 0.1}},
    ]
    (record,) = caplog.records
    written = '[{"kl": {"weight": 2}}, {"canary": {"model": "m"}}]'
    assert record.getMessage() == f"defense usual is {written}; why: docs/why.md"


def test_a_preset_has_no_settings_and_stands_in_a_list_only(with_preset: Registry[Base]) -> None:
    with pytest.raises(RingfenceError, match=r"^defenses\.0\.usual: it has no settings; write what it stands for, \["):
        with_preset.parse_list([{"usual": {"weight": 1}}], "defenses")
    with pytest.raises(RingfenceError, match=r'unknown defense .usul.\. Did you mean "usual"'):
        with_preset.parse_list(["usul"], "defenses")
    assert "usual" not in [*with_preset]


def test_inside_another_model_the_fault_has_the_whole_path(defenses: Registry[Base]) -> None:
    class Recipe(BaseModel):
        steps: Annotated[tuple[Base, ...], BeforeValidator(defenses.parse_list)]

    def fault(value: object) -> str:
        with pytest.raises(ValidationError) as error:
            Recipe.model_validate({"steps": value})
        return explain(error.value, Recipe)

    assert fault(["kl", {"kl": {"weight": -1}}]).startswith("steps.1.kl: weight: Input should be greater")
    assert fault(["kll"]).startswith("steps.0: unknown defense 'kll'")
    assert fault("kl").startswith("steps: give a list, e.g.")


@pytest.mark.parametrize(
    ("item", "made"),
    [
        ({"kind": "canary", "model": "m"}, ("canary", {"kind": "canary", "model": "m"})),
        ({"canary": {"model": "m"}}, ("canary", {"kind": "canary", "model": "m"})),
        ({"weight": 3}, ("kl", {"kind": "kl", "weight": 3})),
        ({}, ("kl", {"kind": "kl", "weight": 0.1})),
        ("kl", ("kl", {"kind": "kl", "weight": 0.1})),
    ],
)
def test_with_a_tag_the_name_may_be_among_the_settings(
    judges: Registry[Base], item: object, made: tuple[str, object]
) -> None:
    assert judges.item(judges.parse(item)) == dict([made])


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"kind": "kll"}, "judge.kind: unknown judge 'kll'. Did you mean \"kl\"?"),
        ({"kind": "kl", "weight": -1}, "judge.weight: Input should be greater"),
        ({"kl": {"weight": -1}}, "judge.kl: weight: Input should be greater"),
        ({"wait": 1}, "judge.unknown key 'wait'"),
        (3, "judge: a judge is a mapping of its settings, e.g. `{weight: 1}`, in Python a Base"),
    ],
)
def test_a_wrong_item_with_a_tag(judges: Registry[Base], item: object, said: str) -> None:
    with pytest.raises(RingfenceError) as error:
        judges.parse(item, "judge")
    assert str(error.value).startswith(said)
