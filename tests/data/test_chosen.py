"""Rows with other column names, and some of them: files, sets of the hub, the public ones, and bad queries."""

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from project import write_jsonl
from ringfence.core.errors import RingfenceError
from ringfence.core.files import sha256
from ringfence.data import read
from ringfence.data.chosen import PUBLIC, is_chosen, parse, source_of

ROWS = [
    {"id": 1, "asked": "a?", "reply": "A", "label": "good", "checked": True},
    {"id": 2, "asked": "b?", "reply": "B", "label": "bad", "checked": True},
    {"id": 3, "asked": "c?", "reply": None, "label": "good", "checked": False},
    {"id": 4, "asked": "d?", "reply": "D", "label": "good", "checked": False, "prompt": "not this one"},
]
NAMES = "prompt=asked&completion=reply"


def texts(spec: str) -> list[str]:
    """Question and answer of each conversation."""
    return [" ".join(turn["content"] for turn in row["messages"]) for row in read(spec)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "rows.jsonl", ROWS)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("filter=reply", ["a? A", "b? B", "d? D"]),
        ("filter=reply&filter=label:good", ["a? A", "d? D"]),
        ("filter=reply&filter=label:!good", ["b? B"]),
        ("filter=reply&filter=checked:true", ["a? A", "b? B"]),
        ("filter=reply&filter=id:4", ["d? D"]),
        ("filter=reply&limit=2", ["a? A", "b? B"]),
    ],
)
def test_rows_are_kept_and_renamed(query: str, wanted: list[str], file: Path) -> None:
    assert texts(f"{file}?{NAMES}&{query}") == wanted


def test_origins_and_other_columns_stay(file: Path) -> None:
    rows = read(f"{file}?{NAMES}&filter=label:good&filter=reply")
    assert [row["origin"] for row in rows] == [f"{file}:1", f"{file}:4"]
    assert rows[1]["label"] == "good"
    assert "prompt" not in rows[1], "one of ours that another column stands for"


def test_parquet_and_json_do_too(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    datasets.Dataset.from_list(ROWS[:3]).to_parquet(tmp_path / "rows.parquet")
    for name in ("rows.json", "rows.parquet"):
        assert texts(f"{tmp_path / name}?{NAMES}&filter=reply&limit=2") == ["a? A", "b? B"]


def test_a_bad_row_is_still_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n{no\n")
    with pytest.raises(RingfenceError, match=r"rows\.jsonl:2: "):
        read(f"{path}?{NAMES}")


def test_a_set_of_the_hub_is_asked_for_config_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def load_dataset(name: str, config: str | None, split: str) -> datasets.Dataset:
        calls.append((name, config, split))
        return datasets.Dataset.from_list(ROWS[:2])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert texts(f"hub:org/name?config=main&split=test&{NAMES}") == ["a? A", "b? B"]
    assert texts(f"hub:org/name?{NAMES}&filter=label:bad") == ["b? B"]
    assert calls == [("org/name", "main", "test"), ("org/name", None, "train")]


COLUMNS: dict[str, list[dict[str, Any]]] = {
    "allenai/wildguardmix": [
        {
            "prompt": "How?",
            "adversarial": False,
            "response": "So.",
            "prompt_harm_label": "unharmful",
            "response_refusal_label": "compliance",
            "response_harm_label": "unharmful",
            "subcategory": "benign",
        },
        {"prompt": "Bad?", "adversarial": True, "response": "No.", "prompt_harm_label": "harmful"},
        {"prompt": "Alone?", "adversarial": False, "response": None, "prompt_harm_label": "unharmful"},
    ],
    "databricks/databricks-dolly-15k": [
        {"instruction": "How?", "context": "", "response": "So.", "category": "open_qa"},
        {"instruction": "Which?", "context": "One or two.", "response": "Two.", "category": "closed_qa"},
    ],
    "yahma/alpaca-cleaned": [
        {"instruction": "How?", "input": "", "output": "So."},
        {"instruction": "Which?", "input": "One or two.", "output": "Two."},
    ],
}
"""what the cards of the public sets say that rows have"""


@pytest.mark.parametrize("public", PUBLIC, ids=lambda one: parse(one.spec).source)
def test_public_sets_are_read_as_their_cards_name_the_columns(public: Any, tmp_path: Path) -> None:
    chosen = parse(public.spec)
    name = chosen.source.partition("@")[0]
    file = write_jsonl(tmp_path / "rows.jsonl", COLUMNS[name])
    query = "&".join(part for part in public.spec.partition("?")[2].split("&") if not part.startswith("config"))
    wanted = ["How? So."] if "wildguard" in name else ["How? So.", "Which?\n\nOne or two. Two."]
    assert texts(f"{file}?{query}") == wanted
    assert public.licence


def test_a_gated_set_says_where_its_terms_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def gated(*_: object, **__: object) -> None:
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'org/name' is a gated dataset on the Hub.")

    monkeypatch.setattr(datasets, "load_dataset", gated)
    with pytest.raises(
        RingfenceError, match=r"accept its terms at https://huggingface\.co/datasets/org/name and log in"
    ):
        read("hub:org/name?completion=response")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("completoin=reply", r"'completoin' is no key of a data set\. Did you mean .*completion"),
        ("prompt=asked&prompt=asked", "prompt stands twice; keep one"),
        ("limit=0", "limit must be a number of rows, at least 1"),
        ("limit=", "limit is empty"),
        ("config=main", "config is of sets of the hub, and this is a file"),
        (f"{NAMES}&filter=lable:good", r"no row has a column 'lable'\. Did you mean .*label"),
        (
            "prompt=askd&completion=reply&filter=reply",
            r":1: has no column 'askd', which the query names\. Did you mean .*asked",
        ),
        (f"{NAMES}&filter=label:none", "none of 4 rows is kept; change a filter"),
    ],
)
def test_bad_queries_are_refused_by_key(query: str, said: str, file: Path) -> None:
    with pytest.raises(RingfenceError, match=said):
        read(f"{file}?{query}")


def test_what_has_no_query_is_left_to_others(file: Path) -> None:
    for spec in (str(file), "org/name", "org/name@main:test", "builtin:glitter/target", "task:opswap?tier=1&n=10"):
        assert not is_chosen(spec)
        assert source_of(spec) == spec
    assert source_of(f"{file}?{NAMES}") == str(file)
    with pytest.raises(RingfenceError, match="a set of the hub is org/name"):
        parse("hub:name")


def test_a_run_keeps_the_digest_of_the_file(file: Path, tmp_path: Path) -> None:
    import project
    from ringfence.recipe.run import load_recipe
    from ringfence.runs.plan import RunPlan

    recipe = project.make(tmp_path / "project")
    spec = f"{file}?{NAMES}&filter=reply"
    plan = RunPlan.load(load_recipe(recipe, [f"data.safe='{spec}'"]), tmp_path / "run")
    assert plan.digests[spec] == sha256(file)
    assert len(plan.stages[0].rows["safe"]) == 3
