"""Names filed once, found again, suggested when misspelt."""

import sys
from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.core.registry import Registry


@pytest.fixture
def defenses() -> Registry:
    registry = Registry("defense")

    @registry.register("kl")
    class Kl:
        pass

    @registry.register("canary")
    class Canary:
        pass

    return registry


def test_register_returns_the_class_itself():
    class Kl:
        pass

    registry = Registry("defense")
    assert registry.register("kl")(Kl) is Kl
    assert registry.get("kl") is Kl
    assert registry.name_of(Kl) == "kl"


def test_names_are_sorted(defenses):
    assert list(defenses) == ["canary", "kl"]
    assert "kl" in defenses
    assert "ldifs" not in defenses


def test_a_name_is_filed_once(defenses):
    with pytest.raises(ValueError, match=r"defense 'kl' is registered twice: .*Kl.* and .*int"):
        defenses.register("kl")(int)
    assert defenses.get("kl").__name__ == "Kl"


def test_an_unknown_name_suggests_the_nearest(defenses):
    with pytest.raises(RingfenceError, match=r"""^unknown defense 'canari'\. Did you mean "canary"\?$"""):
        defenses.get("canari")
    with pytest.raises(RingfenceError, match=r"^unknown defense 'zzz'\. Known: canary, kl\.$"):
        defenses.get("zzz")


def test_a_registry_without_classes_still_names_what_is_unknown():
    with pytest.raises(RingfenceError, match=r"^unknown defense 'kl'\.$"):
        Registry("defense").get("kl")


def test_a_class_that_is_not_filed_has_no_name(defenses):
    with pytest.raises(KeyError):
        defenses.name_of(int)


def test_a_subclass_is_not_filed_with_its_parent(defenses):
    class Sub(defenses.get("kl")):
        pass

    with pytest.raises(KeyError):
        defenses.name_of(Sub)


def test_registries_do_not_share():
    first, second = Registry("a"), Registry("b")
    first.register("x")(int)
    assert list(second) == []


def test_a_class_of_a_package_is_imported_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "__init__.py").write_text(
        "from ringfence.core.registry import Registry\nSHAPES = Registry('shape', __name__, beside=('base',))\n"
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
