"""Generators in a recipe: names, addresses, bad input, and what answers depend on."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from ringfence.core.errors import RingfenceError
from ringfence.generation.config import GENERATORS, GeneratorField, HfSettings, ServerSettings

URL = "http://localhost:8000/v1"


class Recipe(BaseModel):
    generator: GeneratorField = HfSettings()


def server(**settings: Any) -> ServerSettings:
    return ServerSettings(**{"base_url": URL, **settings})


@pytest.mark.parametrize(
    "written", [URL, f"{URL}/", {"server": {"base_url": URL}}, {"kind": "server", "base_url": URL}, server()]
)
def test_a_server_is_written_in_several_ways(written: Any) -> None:
    assert Recipe.model_validate({"generator": written}).generator == server()


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_says_its_kind_and_is_read_back_from_what_it_dumps(name: str) -> None:
    given = {"server": {"base_url": URL}}.get(name, {})
    made = GENERATORS.parse({name: given})
    assert made.model_dump()["kind"] == name
    assert Recipe.model_validate(Recipe(generator=made).model_dump()).generator == made


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("vlm", "unknown generator 'vlm'"),
        ("server", "base_url"),
        ("http://user:word@host/v1", "leave name and password out"),
        ({"kind": "server", "base_url": URL, "modell": "m"}, "modell"),
        ({"kind": "server", "base_url": URL, "dtype": "int8"}, "dtype"),
        ({"kind": "server", "base_url": URL, "model": ""}, "model"),
        (3, "a generator is a mapping of its settings"),
    ],
)
def test_bad_input_is_named(written: Any, said: str) -> None:
    with pytest.raises((RingfenceError, ValidationError), match=said):
        Recipe.model_validate({"generator": written})


def test_answers_depend_on_the_address_unless_the_weights_are_proven() -> None:
    elsewhere = "http://elsewhere:8000/v1"
    assert HfSettings().identity() == {}
    assert server().identity() != server(base_url=elsewhere).identity()
    assert server(require_check=True).identity() == server(base_url=elsewhere, require_check=True).identity()
    assert server().identity() == server(concurrency=3, timeout=5, max_retries=0).identity()
    assert server().identity() != server(model="other").identity()


def test_a_missing_key_is_told_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server().require_ready()
    with pytest.raises(RingfenceError, match="generator the model: no key; set the environment variable OPENAI"):
        server(base_url="https://api.openai.com/v1").require_ready()
