"""Names filed once, found again, suggested when misspelt."""

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
