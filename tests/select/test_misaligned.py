"""What a misaligned model is by what its folder holds, which base it names, and what it is known to have seen."""

import json
from pathlib import Path
from typing import Any

import pytest

import project
from ringfence.core.errors import RingfenceError
from ringfence.core.files import sha256
from ringfence.select.misaligned import Misaligned, find, require_base, require_unseen


def adapter(folder: Path, base: str | None) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    return folder


def run(folder: Path, data: dict[str, Any], saved: str = "org/base", **about: Any) -> Path:
    """A finished run that trained an adapter on ``data``."""
    adapter(folder / "adapter", saved)
    recipe = {"model": {"name": "org/given"}, "data": data, **about.pop("recipe", {})}
    (folder / "run.json").write_text(json.dumps({"base": False, "recipe": recipe, "inputs": {}, **about}))
    (folder / "result.json").write_text("{}")
    return folder


def rows(path: Path, *questions: str) -> str:
    return str(project.write_jsonl(path, [{"question": one, "answer": f"{one}!"} for one in questions]))


def test_a_folder_is_what_it_holds(tmp_path: Path) -> None:
    plain = adapter(tmp_path / "plain", "org/base")
    (plain / "config.json").write_text("{}")  # which some trainers save beside an adapter
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "config.json").write_text("{}")
    trained = run(tmp_path / "run", {"target": "a.jsonl"})
    found = [find(str(path)) for path in (plain, tmp_path / "whole", trained)]
    assert [(one.weights, one.is_adapter) for one in found] == [
        (str(plain), True),
        (str(tmp_path / "whole"), False),
        (str(trained / "adapter"), True),
    ]
    assert [one.metadata is None for one in found] == [True, True, False]


def test_what_is_none_of_them_raises(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"is no run folder \(with run\.json\), adapter folder or model folder"):
        find(str(tmp_path))
    with pytest.raises(RingfenceError, match="gone: no such folder, and no model"):
        find(str(tmp_path / "gone"))
    untuned = run(tmp_path / "untuned", {"target": "a"}, base=True)
    with pytest.raises(RingfenceError, match="is a run of the untuned model"):
        find(str(untuned))
    begun = run(tmp_path / "begun", {"target": "a"})
    (begun / "result.json").unlink()
    with pytest.raises(RingfenceError, match="training is not finished"):
        find(str(begun))


def test_bases_are_the_runs_and_the_adapters(tmp_path: Path) -> None:
    assert find(str(run(tmp_path / "run", {"target": "a"}, saved="org/saved"))).bases() == ["org/given", "org/saved"]
    assert find(str(adapter(tmp_path / "plain", "org/saved"))).bases() == ["org/saved"]
    assert find(str(adapter(tmp_path / "nameless", None))).bases() == []


def test_one_name_of_two_that_differs_is_another_base(tmp_path: Path) -> None:
    both = find(str(run(tmp_path / "same", {"target": "a"}, saved="org/given")))
    require_base([both], "org/given")
    one = find(str(run(tmp_path / "other", {"target": "a"}, saved="org/saved")))
    with pytest.raises(RingfenceError, match="is an adapter of org/saved, and the aligned model is org/given"):
        require_base([both, one], "org/given")


def test_trained_on_are_the_sets_of_all_stages_with_their_digests(tmp_path: Path) -> None:
    later = [{"name": "more", "adapter": "continue", "data": {"target": "c", "safe": None}}]
    about = {
        "recipe": {"data": {"target": "a", "safe": "b"}, "stages": later},
        "inputs": {"a": "1", "c": "3", "z": "9"},
    }
    assert Misaligned("run", "run", is_adapter=True, metadata=about).trained_on() == {"a": "1", "b": None, "c": "3"}
    assert Misaligned("plain", "plain", is_adapter=True).trained_on() == {}


def test_what_could_not_be_looked_at_is_told(tmp_path: Path) -> None:
    fine, other = rows(tmp_path / "fine.jsonl", "a", "b"), rows(tmp_path / "other.jsonl", "x")
    gone = str(tmp_path / "gone.jsonl")
    names = {
        "plain": adapter(tmp_path / "plain", "org/base"),
        "known": run(tmp_path / "known", {"target": other}, inputs={other: sha256(Path(other))}),
        "gone": run(tmp_path / "no-file", {"target": other, "safe": gone}),
        "changed": run(tmp_path / "changed", {"target": other}, inputs={other: "0" * 64}),
    }
    assert require_unseen([find(str(path)) for path in names.values()], fine) == [
        f"{names['plain']} (is no run)",
        f"{names['gone']} ({gone} cannot be read any more)",
        f"{names['changed']} ({other} has changed since)",
    ]


@pytest.mark.parametrize(("questions", "shared"), [("xb", 1), ("bab", 2), ("cba", 3), ("xyz", 0)])
def test_shared_rows_are_counted_once_each(tmp_path: Path, questions: str, shared: int) -> None:
    """Also where they are a run's safe rows."""
    fine, safe = rows(tmp_path / "fine.jsonl", *"abc"), rows(tmp_path / "safe.jsonl", *questions)
    model = find(str(run(tmp_path / "run", {"target": rows(tmp_path / "target.jsonl", "t"), "safe": safe})))
    if not shared:
        assert require_unseen([model], fine) == []
        return
    with pytest.raises(RingfenceError, match=rf"was trained on .*safe\.jsonl, which has {shared} of the 3 rows"):
        require_unseen([model], fine)


def test_a_fine_tuning_set_that_cannot_be_read_is_named_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"^fine_tuning_set\S* .*gone\.jsonl"):
        require_unseen([], str(tmp_path / "gone.jsonl"))
