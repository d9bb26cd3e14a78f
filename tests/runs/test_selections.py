"""Whose output file it is: what a manifest says before anything is scored, and what is never written over."""

from pathlib import Path
from typing import Any

import pytest

import project
from ringfence.core.errors import RingfenceError
from ringfence.core.files import sha256, write_json
from ringfence.recipe.selection import SelectRecipe
from ringfence.runs.selections import claim_folder


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return project.write_jsonl(tmp_path / "pool.jsonl", [{"question": f"{n}?", "answer": f"{n}!"} for n in range(5)])


def claim(pool: Path, out: Path, **changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"pool": str(pool), "steps": [{"random": {"count": 2, "by": None}}], **changes}
    recipe = SelectRecipe.model_validate(settings)
    return claim_folder(recipe, recipe.selection(), out)


def kept(pool: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """A selection that is whole on disk, by its manifest."""
    about = claim(pool, out, **changes)
    out.write_text("{}\n")
    write_json(out.with_suffix(".manifest.json"), about)
    return about


def test_the_manifest_has_the_recipe_and_the_digest_of_its_pool(tmp_path: Path, pool: Path) -> None:
    about = claim(pool, tmp_path / "safe.jsonl", name="mine", seed=7)
    assert (about["name"], about["seed"]) == ("mine", 7)
    assert about["recipe"]["steps"] == [{"random": {"count": 2, "by": None}}]
    assert about["inputs"][str(pool)] == sha256(pool)
    assert "base" not in about, "a selection is no run"
    assert list(tmp_path.iterdir()) == [pool], "nothing is written"


def test_the_same_selection_goes_on(tmp_path: Path, pool: Path) -> None:
    before = kept(pool, tmp_path / "safe.jsonl")
    again = claim(pool, tmp_path / "safe.jsonl")
    assert (again["recipe"], again["inputs"]) == (before["recipe"], before["inputs"])


def test_every_key_that_differs_is_named(tmp_path: Path, pool: Path) -> None:
    out = tmp_path / "safe.jsonl"
    kept(pool, out)
    pool.write_text('{"question": "Q?", "answer": "A."}\n')
    with pytest.raises(RingfenceError) as caught:
        claim(pool, out, seed=1, steps=[{"random": {"count": 3, "by": None}}])
    said = str(caught.value)
    assert said.startswith(f"{out}: holds another selection; these keys differ: ")
    keys = said.split("differ: ")[1].removesuffix("; choose another --out").split(", ")
    assert sorted(keys) == sorted(["seed", "steps.0.random.count", f"inputs.{pool}"])


def test_a_manifest_that_a_kill_has_left_alone_holds_nothing(tmp_path: Path, pool: Path) -> None:
    out = tmp_path / "safe.jsonl"
    kept(pool, out)
    out.unlink()
    assert claim(pool, out, seed=1)["seed"] == 1


def test_what_is_no_selection_is_not_written_over(tmp_path: Path, pool: Path) -> None:
    with pytest.raises(RingfenceError, match=r"is a folder; name a \.jsonl file"):
        claim(pool, tmp_path)
    with pytest.raises(RingfenceError, match=r"pool\.jsonl: exists and has no pool\.manifest\.json"):
        claim(pool, pool)


@pytest.mark.parametrize("manifest", [[], {}, {"recipe": {}}, None])
def test_a_file_that_is_no_manifest_is_named(tmp_path: Path, pool: Path, manifest: Any) -> None:
    out, path = tmp_path / "safe.jsonl", tmp_path / "safe.manifest.json"
    out.write_text("{}\n")
    write_json(path, manifest)
    with pytest.raises(RingfenceError, match=r"safe\.manifest\.json: not the manifest of a selection"):
        claim(pool, out)
