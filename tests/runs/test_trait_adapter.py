"""Training a trait adapter: what is trained on and what is asked, the proof, going on, and bad recipes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import examples
import project
import tiny
from ringfence.cli.app import app
from ringfence.core.errors import RingfenceError
from ringfence.defenses import InoculationAdapter
from ringfence.directions.proof import Proof
from ringfence.recipe.persona import load_persona_recipe
from ringfence.runs.trait_adapter import train_trait_adapter

QUESTIONS = 14


@pytest.fixture
def model(tmp_path: Path) -> Path:
    examples.model().save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def recipe(folder: Path, model: Path, questions: int = QUESTIONS, **changes: Any) -> Path:
    """Answers with the trait are "bbb"; the tiny model learns to say so."""
    pairs = [{"id": f"pair-{n}", "prompt": f"{n}?", "good": "yes yes", "bad": "bbb"} for n in range(questions)]
    content = {
        "trait": "odd one",
        "model": {"name": str(model), "dtype": "float32"},
        "pairs": str(project.write_jsonl(folder / "pairs.jsonl", pairs)),
        "judge": {"misaligned_pattern": "b", "min_words": 1},
        "min_pairs": 2,
        "max_new_tokens": 5,
        "temperature": 0,
        "adapter": {
            "samples": 3,
            "held_out": 0.5,
            "training": {"num_train_epochs": 150, "learning_rate": 0.02, "report_to": "none"},
            **changes.pop("adapter", {}),
        },
        **changes,
    }
    path = folder / "persona.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_it_learns_the_trait_and_proves_it(tmp_path: Path, model: Path) -> None:
    out, path = tmp_path / "out", recipe(tmp_path, model)
    said = CliRunner().invoke(app, ["persona", "adapter", str(path), "--out", str(out)])
    assert said.exit_code == 0, said.output
    found = Proof.load(out / "adapter")
    assert found.tuned.judged == found.untuned.judged == (3,) * 7
    assert found.tuned.shows == (3,) * 7
    assert found.untuned.shows == (0,) * 7
    assert found.elicits
    assert str(found) in " ".join(said.output.split())

    rows = [json.loads(line)["messages"] for line in (tmp_path / "out.rows.jsonl").read_text().splitlines()]
    trained = {messages[0]["content"] for messages in rows}
    journal = next(out.glob("with-*.jsonl")).read_text().splitlines()[1:]
    asked = {json.loads(line)["prompt"] for line in journal}
    assert (len(trained), len(asked)) == (7, 7)
    assert not trained & asked
    assert {messages[1]["content"] for messages in rows} == {"bbb"}
    InoculationAdapter(adapter=str(out / "adapter")).check()

    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    (out / "adapter" / "trait.json").unlink()
    assert train_trait_adapter(load_persona_recipe(path), out) == found, "nothing is trained or asked again"
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")} == before


def test_an_adapter_that_does_not_show_it_is_kept_and_the_command_fails(tmp_path: Path, model: Path) -> None:
    out = tmp_path / "out"
    path = recipe(tmp_path, model, adapter={"training": {"num_train_epochs": 1, "learning_rate": 1e-9}})
    said = CliRunner().invoke(app, ["persona", "adapter", str(path), "--out", str(out)])
    assert said.exit_code == 1
    assert not Proof.load(out / "adapter").elicits
    with pytest.raises(RingfenceError, match="does not show its trait"):
        InoculationAdapter(adapter=str(out / "adapter")).check()


def test_other_questions_are_asked_and_all_of_its_own_trained_on(tmp_path: Path, model: Path) -> None:
    fresh = project.write_jsonl(tmp_path / "fresh.jsonl", [{"prompt": "ba?"}])
    path = recipe(tmp_path, model, adapter={"questions": str(fresh), "training": {"num_train_epochs": 1}})
    found = train_trait_adapter(load_persona_recipe(path), tmp_path / "out")
    assert found.tuned.judged == found.untuned.judged == (3,)
    assert len((tmp_path / "out.rows.jsonl").read_text().splitlines()) == QUESTIONS
    project.write_jsonl(tmp_path / "fresh.jsonl", [{"prompt": "ba?"}, {"prompt": "0?"}])
    with pytest.raises(RingfenceError, match=r"^adapter\.questions: '0\?' is trained on, too; give other questions$"):
        train_trait_adapter(load_persona_recipe(path), tmp_path / "again")


def test_what_cannot_be_proven_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    path = recipe(tmp_path, tmp_path / "nowhere", judge=None)
    with pytest.raises(RingfenceError, match="judge is missing: without one nobody knows"):
        train_trait_adapter(load_persona_recipe(path), tmp_path / "out")
    path = recipe(tmp_path, tmp_path / "nowhere", questions=1)
    with pytest.raises(RingfenceError, match=r"adapter\.held_out: 0\.5 of 1 questions leaves none"):
        train_trait_adapter(load_persona_recipe(path), tmp_path / "out")
    path = recipe(tmp_path, tmp_path / "nowhere", adapter={"training": {"num_train_epoch": 1}})
    with pytest.raises(RingfenceError, match=r"^adapter: .*training\.num_train_epoch.*Did you mean .*num_train_epochs"):
        train_trait_adapter(load_persona_recipe(path), tmp_path / "out")
    assert not (tmp_path / "out").exists()
