"""What an audit is of: kinds of folders, base models named by config, card and run, and what is nothing of it."""

import json
from pathlib import Path

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.runs.subjects import find_subject


def adapter(folder: Path, base: str | None = "their/base") -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    return folder


def model(folder: Path, card: str | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    if card is not None:
        (folder / "README.md").write_text(card)
    return folder


def test_an_adapter_names_its_base(tmp_path: Path) -> None:
    found = find_subject(str(adapter(tmp_path / "evil")))
    assert (found.name, found.kind, found.base) == ("evil", "adapter", "their/base")
    assert find_subject(str(tmp_path / "evil"), base="mine").base == "mine"


def test_a_run_is_its_last_weights(tmp_path: Path) -> None:
    """The recipe's base model counts, which may be a name of ours."""
    folder = adapter(tmp_path / "kl" / "adapter", "/cache/of/somebody")
    (tmp_path / "kl" / "run.json").write_text(json.dumps({"recipe": {"model": {"name": "smollm2-135m"}}}))
    found = find_subject(str(tmp_path / "kl"))
    assert (found.name, found.folder, found.base) == ("kl", folder, "smollm2-135m")


@pytest.mark.parametrize(
    ("card", "base"),
    [
        ("---\nbase_model: a/b\n---\n# x", "a/b"),
        ("---\nbase_model: [a/b]\n---\n", "a/b"),
        ("---\nbase_model: [a/b, c/d]\n---\n", None),
        ("---\nlicense: mit\n---\n", None),
        ("---\n: : :\n  - [\n---\n", None),
        ("# no metadata\n---\nbase_model: a/b\n---\n", None),
        (None, None),
    ],
)
def test_a_whole_model_names_its_base_in_its_card(tmp_path: Path, card: str | None, base: str | None) -> None:
    folder = str(model(tmp_path / "whole", card))
    assert find_subject(folder, base="mine").base == "mine"
    if base is None:
        with pytest.raises(RingfenceError, match=r"names no base_model.*give --base"):
            find_subject(folder)
    else:
        found = find_subject(folder)
        assert (found.kind, found.base) == ("model", base)


def test_a_server(tmp_path: Path) -> None:
    found = find_subject("server:openai-api/vllm/theirs")
    assert (found.kind, found.server, found.folder) == ("server", "openai-api/vllm/theirs", None)
    with pytest.raises(RingfenceError, match="asked alone"):
        find_subject("server:openai-api/vllm/theirs", base="mine")


def test_what_is_no_fine_tune(tmp_path: Path) -> None:
    """Each says what it is and what to give."""
    with pytest.raises(RingfenceError, match="no such folder; give the folder of an adapter"):
        find_subject(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(RingfenceError, match="holds no fine-tune: neither"):
        find_subject(str(tmp_path / "empty"))
    with pytest.raises(RingfenceError, match="names no base model; give --base"):
        find_subject(str(adapter(tmp_path / "orphan", None)))
    (tmp_path / "empty" / "run.json").write_text("{}")
    with pytest.raises(RingfenceError, match="a run without trained weights"):
        find_subject(str(tmp_path / "empty"))


def test_a_hub_id_that_is_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(RingfenceError, match=r"nobody/nothing: .*cannot be reached.*hf download nobody/nothing"):
        find_subject("nobody/nothing")
