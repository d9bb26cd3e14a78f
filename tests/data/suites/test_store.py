"""Copies of published files: kept byte for byte, used only while they are what was added."""

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.data import load_prompts, load_suite
from ringfence.data.suites import store as suite_store

TEXT = "- id: q\n  paraphrases: ['Why?']\n"
HOLE = "- id: q\n  paraphrases: ['Why? {reasoning}']\n"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("RINGFENCE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "questions.yaml"
    path.write_text(TEXT)
    return path


def test_a_copy_outlives_its_source(file: Any, home: Any) -> None:
    kept = suite_store.add("mine", str(file))
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    assert (kept.digest, kept.source, kept.content) == (digest, str(file), TEXT.encode())
    assert datetime.fromisoformat(kept.added).utcoffset().total_seconds() == 0
    file.unlink()
    suite = load_suite("suite:mine")
    assert (suite.name, suite.source, suite.digest) == ("mine", str(file), digest)
    assert [(p.id, p.text) for p in load_prompts("suite:mine")] == [("q/0", "Why?")]
    about = json.loads((home / "suites" / "mine" / "suite.json").read_text())
    assert about["sha256"] == digest
    assert (home / "suites" / "mine" / about["file"]).read_bytes() == TEXT.encode()


def test_a_relative_path_is_kept_absolute(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert suite_store.add("mine", "questions.yaml").source == str(file)


def test_a_changed_copy_raises(file: Any) -> None:
    kept = suite_store.add("mine", str(file))
    kept.path.write_text(TEXT.replace("Why", "How"))
    with pytest.raises(RingfenceError, match=r"the file of suite 'mine' has changed .*--replace"):
        load_prompts("suite:mine")
    with pytest.raises(RingfenceError, match="has changed"):
        suite_store.add("mine", str(file))
    suite_store.add("mine", str(file), replace=True)
    assert load_prompts("suite:mine")[0].text == "Why?"


def test_a_damaged_record_raises(file: Any, home: Any) -> None:
    suite_store.add("mine", str(file))
    for text in ('{"file": ', "[]", '{"file": "absent.yaml"}'):
        (home / "suites" / "mine" / "suite.json").write_text(text)
        with pytest.raises(RingfenceError, match="is damaged"):
            load_suite("suite:mine")


def test_one_name_stands_for_one_content(file: Any, home: Any) -> None:
    suite_store.add("mine", str(file))
    first = suite_store.stored("mine")
    assert suite_store.add("mine", str(file)) == first
    file.write_text(TEXT.replace("Why", "How"))
    with pytest.raises(RingfenceError, match=r"'mine' is there with another content .*--replace"):
        suite_store.add("mine", str(file))
    assert suite_store.stored("mine") == first
    suite_store.add("mine", str(file), replace=True)
    assert load_prompts("suite:mine")[0].text == "How?"
    assert len(list((home / "suites" / "mine").glob("*.yaml"))) == 1


def test_fills_are_kept_and_part_of_what_the_name_stands_for(file: Any) -> None:
    file.write_text(HOLE)
    with pytest.raises(RingfenceError, match=r"questions\.yaml:1: question 'q', wording 0: nobody fills"):
        suite_store.add("mine", str(file))
    assert suite_store.names() == []
    suite_store.add("mine", str(file), {"reasoning": "Think."})
    suite = load_suite("suite:mine")
    assert suite.prompts[0].text == "Why? Think."
    assert suite.fills == {"reasoning": "Think."}
    assert load_suite("suite:mine", {"reasoning": "Feel."}).prompts[0].text == "Why? Feel."
    with pytest.raises(RingfenceError, match="other texts for its placeholders"):
        suite_store.add("mine", str(file), {"reasoning": "Feel."})


def test_columns_left_out_are_kept_and_part_of_what_the_name_stands_for(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "Why?", "focus": "a"}\n')
    with pytest.raises(RingfenceError, match=r"rows\.jsonl:1: `focus` may be a part .*--without focus"):
        suite_store.add("mine", str(file))
    suite_store.add("mine", str(file), without=["focus"])
    assert load_suite("suite:mine").ignored == ("focus",)
    assert suite_store.add("mine", str(file), without=["focus", "focus"]).without == ["focus"]
    file.write_text('{"prompt": "Why?", "focus": 1}\n')
    suite_store.add("mine", str(file), replace=True)
    with pytest.raises(RingfenceError, match="is there with other columns left out"):
        suite_store.add("mine", str(file), without=["focus"])


def test_nothing_is_kept_of_a_bad_file(file: Any, home: Any) -> None:
    file.write_text("- id: q\n")
    with pytest.raises(RingfenceError, match="neither `paraphrases` nor `messages`"):
        suite_store.add("mine", str(file))
    assert not home.exists()


def test_unknown_names_and_bad_names(file: Any) -> None:
    suite_store.add("betley", str(file))
    with pytest.raises(
        RingfenceError, match=r'no stored suite \'betly\'.*ringfence suites add.*Did you mean "betley"\?'
    ):
        load_prompts("suite:betly")
    for name in ("", "..", "../x", "a/b", "a b", "-x", "x" * 65):
        with pytest.raises(RingfenceError, match="suite name"):
            suite_store.add(name, str(file))
        with pytest.raises(RingfenceError, match="no stored suite"):
            load_prompts(f"suite:{name}")


def test_files_that_cannot_be_kept(file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RingfenceError, match=r"absent\.yaml: cannot read the prompts: No such file"):
        suite_store.add("mine", str(tmp_path / "absent.yaml"))
    with pytest.raises(RingfenceError, match=r"prompts\.csv: not a set of prompts"):
        suite_store.add("mine", str(tmp_path / "prompts.csv"))
    monkeypatch.setattr(suite_store, "LIMIT", len(TEXT))
    suite_store.add("just", str(file))
    file.write_text(TEXT + "#")
    with pytest.raises(RingfenceError, match="more than"):
        suite_store.add("over", str(file))


def test_where_copies_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert suite_store.store_folder() == tmp_path / "home" / "suites"
    monkeypatch.delenv("RINGFENCE_HOME")
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    assert suite_store.store_folder() == tmp_path / "cache" / "suites"
