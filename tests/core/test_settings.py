"""Settings from YAML: hostile files are one line, wide values are cut, keys of APIs are never shown."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import AfterValidator, BaseModel, ValidationError

from ringfence.core.errors import WIDTH, RingfenceError, shown
from ringfence.core.plain import POINTER
from ringfence.core.settings import StrictConfig, environment_name, explain, override, read_plain

KEYS = [
    "sk-proj-aB3dE5fG7hI9jK1lM3nO5pQ7",
    "sk_live_aB3dE5fG7hI9jK1lM3nO5pQ7",
    "hf_aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH",
    "AKIAIOSFODNN7EXAMPLE",
    "0123456789abcdef0123456789abcdef",
    "abcdef0123456789abcdef0123456789",
    "my key",
    "",
]


class Settings(BaseModel):
    """Of a test."""

    count: int = 1
    api_key_env: Annotated[str, AfterValidator(environment_name)] = "OPENAI_API_KEY"


def fault(values: object) -> str:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(values)
    return explain(caught.value, Settings)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_in_the_place_of_its_variable_is_refused_and_not_shown(key: str) -> None:
    message = fault({"api_key_env": key})
    assert message.startswith("api_key_env: give the name of an environment variable")
    assert not key or key not in message


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "my_key2", "_K", "AZURE_OPENAI_API_KEY_EASTUS2", "HF_TOKEN"])
def test_names_of_variables_are_taken(name: str) -> None:
    assert Settings(api_key_env=name).api_key_env == name


def test_neither_is_a_key_of_another_type_or_inside_a_value_that_is_wrong_as_a_whole() -> None:
    assert fault({"api_key_env": ["sk-secret"]}) == "api_key_env: Input should be a valid string"
    assert "sk-secret" not in fault({"count": {"api_key_env": "sk-secret", "password": "sk-secret"}})
    with pytest.raises(RingfenceError) as caught:
        override({"judge": {}}, ["judge.api_key_env=[sk-secret"])
    assert str(caught.value) == "judge.api_key_env: is not a YAML value; quote it"


def test_a_wide_value_is_cut() -> None:
    message = fault({"count": "x" * 100_000})
    assert message.endswith(f", got '{'x' * (WIDTH - 4)}...")
    assert len(shown({"a": list(range(10**6))})) <= WIDTH
    assert len(shown("é" * 10**6, 20)) == 20
    assert (shown("a"), shown([1, 2]), shown({"a": None})) == ("'a'", "[1, 2]", "{'a': None}")
    assert len(fault({"count": 1, "api_key_env": "A", **{"count": [[[["x" * 9999]]]]}})) < 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "[" * 5000 + "]" * 5000, "nested too deep"),
        ("a: " + "[" * 110 + "]" * 110, "nested"),
        (f"a: {'9' * 5000}", "an integer has more digits than can be read: write it as a text"),
        ('a: "\\ud800"', "half a surrogate pair"),
        ("a: &a [*a]", "nested deeper than 100 levels"),
        ("a: 2024-02-31", "a value cannot be read"),
        ("\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]), "values"),
    ],
)
def test_a_hostile_recipe_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text + "\n")
    with pytest.raises(RingfenceError, match=message) as caught:
        read_plain(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < len(str(path)) + 250
    value = text.removeprefix("a: ")
    if text.startswith("a: ") and "&" not in text:
        path.write_text("b: 1\n")
        with pytest.raises(RingfenceError, match=message) as caught:
            read_plain(path, [f"b={value}"])
        assert str(caught.value).startswith("b: ")


def test_a_pointer_in_place_of_a_recipe_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(POINTER + b"\noid sha256:0\n")
    with pytest.raises(RingfenceError) as caught:
        read_plain(path)
    assert str(caught.value).count(str(path)) == 1


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_number_is_finite(value: float) -> None:
    class Some(StrictConfig):
        share: float = 0.0

    with pytest.raises(ValidationError, match="finite number"):
        Some(share=value)


def written(folder: Path, **texts: str) -> Path:
    """The last of the files."""
    for name, text in texts.items():
        path = folder / f"{name}.yaml"
        path.write_text(text)
    return path


def test_a_recipe_over_a_base_changes_mappings_key_by_key_and_all_else_whole(tmp_path: Path) -> None:
    base = "model: {name: m, dtype: float32}\ntraining: {a: 1, b: {c: 2, d: 3}}\ndefenses: [kl, ldifs]\nlora: {r: 4}\n"
    (tmp_path / "far").mkdir()
    written(tmp_path / "far", first=base)
    written(tmp_path, second="base: far/first.yaml\ntraining: {b: {c: 5}}\nlora: null\n")
    path = written(tmp_path, third="base: second.yaml\nname: x\ndefenses: [kl]\ntraining: {e: 6}\n")
    assert read_plain(path, ["training.a=7"]) == {
        "model": {"name": "m", "dtype": "float32"},
        "training": {"a": 7, "b": {"c": 5, "d": 3}, "e": 6},
        "defenses": ["kl"],
        "lora": None,
        "name": "x",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: a.yaml", "a.yaml: base: a.yaml leads back to this recipe; leave it out"),
        ("base: b.yaml", "b.yaml: base: a.yaml leads back to this recipe"),
        ("base: gone.yaml", "gone.yaml: cannot read the recipe"),
        ("base: [b.yaml]", "a.yaml: base: give the path of another recipe"),
        ("base:", "a.yaml: base: give the path of another recipe"),
    ],
)
def test_a_base_that_cannot_be_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, b="base: a.yaml", a=text)
    with pytest.raises(RingfenceError, match=message) as raised:
        read_plain(path)
    assert "\n" not in str(raised.value)
