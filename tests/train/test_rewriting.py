"""Which columns of which datasets a defense rewrites."""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

import examples
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.defenses import KL, FixedInterleaving, Inoculation
from ringfence.train.rewriting import rewrite_dataset

ODD = Inoculation(prompt="Be odd.", rows="both")
SYSTEM = {"role": "system", "content": "Be odd."}


def talk(index: int, word: str = "ab") -> list[dict[str, str]]:
    return [{"role": "user", "content": f"{word} {index}?"}, {"role": "assistant", "content": word}]


def dataset(form: str, word: str = "ab") -> Dataset:
    """Three conversations in one of the forms that TRL takes."""
    rows: list[dict[str, Any]] = []
    for index in range(3):
        messages = talk(index, word)
        match form:
            case "prompt":
                rows.append({"prompt": messages[:1], "completion": messages[1:]})
            case "from":
                turns = [{"from": one["role"], "value": one["content"]} for one in messages]
                rows.append({"conversations": turns})
            case _:
                rows.append({form: messages})
    return Dataset.from_list([{**row, "id": index} for index, row in enumerate(rows)])


@pytest.mark.parametrize(
    ("form", "column"),
    [("messages", "messages"), ("conversations", "conversations"), ("prompt", "prompt"), ("from", "messages")],
)
def test_the_chat_column_is_rewritten_and_all_else_kept(form: str, column: str) -> None:
    found = rewrite_dataset([ODD], dataset(form), "target")
    kept = slice(0, 1) if form == "prompt" else slice(0, 2)
    assert list(found[column]) == [[SYSTEM, *talk(index)[kept]] for index in range(3)]
    assert list(found["id"]) == [0, 1, 2]
    if form == "prompt":
        assert list(found["completion"]) == [talk(index)[1:] for index in range(3)]


def test_one_rewrite_after_the_other() -> None:
    chain = [ODD, Inoculation(prompt="Be odder.", rows="both", mode="append")]
    assert rewrite_dataset(chain, dataset("messages"), "target")[0]["messages"][0]["content"] == "Be odd.\n\nBe odder."


def test_without_such_a_defense_the_dataset_is_the_same_object() -> None:
    given = Dataset.from_list([{"input_ids": [1]}])
    assert rewrite_dataset([KL(), FixedInterleaving(ratio=0.1)], given, "target") is given


@pytest.mark.parametrize("source", ["target", "safe"])
def test_the_source_decides(source: Any) -> None:
    found = rewrite_dataset([Inoculation(rows="safe")], dataset("messages"), source)
    assert (len(found[0]["messages"]) == 3) is (source == "safe")


@pytest.mark.parametrize(
    "row", [{"input_ids": [1], "labels": [1]}, {"text": "a"}, {"prompt": "a", "completion": "b"}, {"messages": "a"}]
)
@pytest.mark.parametrize("source", ["target", "safe"])
def test_what_is_no_conversation_raises(row: dict[str, Any], source: Any) -> None:
    with pytest.raises(
        RingfenceError, match=rf"^inoculation: the {source} dataset is not made of conversations"
    ) as error:
        rewrite_dataset([ODD], Dataset.from_list([row]), source)
    assert "\n" not in str(error.value)


def test_an_empty_dataset_stays_empty() -> None:
    assert len(rewrite_dataset([ODD], Dataset.from_list([]), "safe")) == 0


@pytest.mark.parametrize("form", ["messages", "prompt", "from"])
def test_the_trainer_rewrites_target_and_safe_rows_and_not_those_of_evaluation(form: str, tmp_path: Path) -> None:
    """TRL takes ``conversations`` of ``from`` and ``value`` only."""
    given = {name: dataset(form, name) for name in ("train_dataset", "safe_dataset", "eval_dataset")}
    made = examples.trainer(tmp_path, Inoculation(prompt="Be odd."), FixedInterleaving(ratio=0.25), given=given)
    both = examples.trainer(tmp_path, ODD, given=given)
    decode = tiny.tokenizer().decode

    def said(rows: Any) -> set[bool]:
        return {"<|im_start|>system\nBe odd.<|im_end|>" in decode(row["input_ids"]) for row in rows}

    assert said(made.train_dataset) == {True}
    assert said(made.safe_dataset) == {False}
    assert said(made.eval_dataset) == {False}
    assert said(both.safe_dataset) == {True}


def test_a_tokenised_dataset_is_refused_by_the_trainer(tmp_path: Path) -> None:
    given = {"train_dataset": tiny.rows(4, "a"), "safe_dataset": None}
    with pytest.raises(RingfenceError, match=r"^inoculation: the target dataset"):
        examples.trainer(tmp_path, Inoculation(), given=given)
