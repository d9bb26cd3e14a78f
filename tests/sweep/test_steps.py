"""A step's folder, when it is done, and products in the places of names."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ringfence.core.files import write_json
from ringfence.core.plain import read_json
from ringfence.sweep.steps import Step, digest_of, folder_of, replaced


def step(folder: Path, recipe: dict[str, Any] | None = None) -> Step:
    return Step("select", "safe.jsonl", "abc", ("def",), recipe, (("select", "recipe.yaml"),), folder)


def test_it_is_done_once_its_mark_and_its_product_are_there(tmp_path: Path) -> None:
    made = step(tmp_path)
    assert (made.is_done, made.seconds) == (False, None)
    write_json(tmp_path / "done.json", {"seconds": 2.5, "attempts": 1})
    assert not made.is_done, "the product was deleted"
    made.product.touch()
    assert (made.is_done, made.seconds, made.product.name) == (True, 2.5, "selected.jsonl")


def test_what_is_written_is_what_is_to_be_done(tmp_path: Path) -> None:
    step(tmp_path / "a", {"name": "säfe", "pool": "pool.jsonl"}).write()
    assert yaml.safe_load((tmp_path / "a" / "recipe.yaml").read_text()) == {"name": "säfe", "pool": "pool.jsonl"}
    told = read_json(tmp_path / "a" / "step.json")
    assert told == {
        "kind": "select",
        "label": "safe.jsonl",
        "digest": "abc",
        "needs": ["def"],
        "commands": [["select", "recipe.yaml"]],
        "product": "selected.jsonl",
    }
    step(tmp_path / "b").write()
    assert not (tmp_path / "b" / "recipe.yaml").exists()


def test_a_digest_is_of_contents_not_of_their_order() -> None:
    assert digest_of({"a": 1, "b": [2]}, "x") == digest_of({"b": [2], "a": 1}, "x") != digest_of({"a": 1, "b": [2]})
    assert folder_of(Path("out"), "run", "0123456789abcdef").as_posix() == "out/steps/run-0123456789ab"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("safe.jsonl", "/steps/1"),
        ("safe.jsonl/adapter", "/steps/1/adapter"),
        ("unsafe.jsonl", "unsafe.jsonl"),
        ("safe.jsonl.bak", "safe.jsonl.bak"),
        ({"data": ["safe.jsonl", 3, None]}, {"data": ["/steps/1", 3, None]}),
    ],
)
def test_names_are_put_in_their_places_also_inside_of_them(value: Any, wanted: Any) -> None:
    assert replaced(value, {"safe.jsonl": "/steps/1"}) == wanted
