"""``ringfence direction``: what it prints and writes, and one line for bad input."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import project
import tiny
from ringfence.cli import direction
from ringfence.cli.app import app
from ringfence.cli.console import console
from ringfence.core.errors import RingfenceError
from ringfence.data.system import NoSystem
from ringfence.directions.axis import load_direction
from ringfence.directions.representations import representations
from ringfence.models import load

DOMAINS = ("home", "work", "art")


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What it prints, in this process."""
    capsys.readouterr()
    app(["direction", *map(str, arguments)], standalone_mode=False, prog_name="ringfence")
    return capsys.readouterr().out


def refused(message: str, *arguments: str | Path) -> None:
    with pytest.raises(RingfenceError, match=message):
        app(["direction", *map(str, arguments)], standalone_mode=False)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 160)


def rows(count: int, sentence: str, domains: bool = True) -> list[dict[str, Any]]:
    made = []
    for number in range(count):
        asked = f"{sentence} {'very ' * (number % 4)}{project.WORDS[number % 14]} {number}?"
        made.append({"prompt": asked, "completion": "Yes.", "note": f"n{number}"})
        if domains:
            made[-1]["domain"] = DOMAINS[number % 3]
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, sets, and a direction between two of them."""
    here = tmp_path_factory.mktemp("direction")
    tiny.model(layers=3).save_pretrained(here / "tiny-model")
    tiny.tokenizer().save_pretrained(here / "tiny-model")
    project.write_jsonl(here / "a.jsonl", rows(18, "Is this a"))
    project.write_jsonl(here / "b.jsonl", rows(16, "WHY NOT SELL THE"))
    project.write_jsonl(here / "bare.jsonl", rows(8, "Where is my", domains=False))
    (here / "prompts.jsonl").write_text('{"id": "one", "prompt": "I am bored."}\n{"id": "two", "prompt": "Hm?"}\n')
    arguments = ["fit", here / "a.jsonl", here / "b.jsonl", "--model", here / "tiny-model", "--layer", "2"]
    arguments += ["--out", here / "v.safetensors", "--bootstrap", "20"]
    app(["direction", *map(str, arguments)], standalone_mode=False)
    return here


def located(folder: Path, *arguments: str | Path) -> tuple[str | Path, ...]:
    return (*arguments, "--model", folder / "tiny-model")


@pytest.mark.parametrize("command", ["fit", "plot"])
def test_every_command_teaches_by_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    out = call(capsys, command, "--help")
    assert f"ringfence direction {command}" in out.split("Example")[1]


# --- fit ----------------------------------------------------------------------------------------------------


def means(folder: Path, name: str, layer: int, **options: Any) -> Any:
    from ringfence.data import read

    loaded = load(str(folder / "tiny-model"))
    return representations(loaded, read(str(folder / name)), [layer], cache=None, **options)[layer]


def test_fit_writes_the_difference_of_the_means(folder: Path) -> None:
    direction = load_direction(folder / "v.safetensors")
    wanted = means(folder, "a.jsonl", 2).mean(axis=0) - means(folder, "b.jsonl", 2).mean(axis=0)
    np.testing.assert_allclose(direction.vector, wanted, atol=1e-6)
    assert (direction.layer, direction.role, direction.model) == (2, "user", "tiny-model")
    about = direction.metadata
    assert about["dtype"] == "float32"
    assert (about["a"]["spec"], about["a"]["rows"], about["b"]["rows"]) == (str(folder / "a.jsonl"), 18, 16)
    assert about["held_out"]["n_a"] == 18
    assert str(folder / "tiny-model") not in json.dumps(about)


def test_fit_prints_what_the_direction_is_worth(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    a, b, anchor = (folder / f"{name}.jsonl" for name in ("a", "b", "bare"))
    options = ["--layers", "1,3", "--anchor", anchor, "--bootstrap", "20", "--out", tmp_path / "v.safetensors"]
    out = call(capsys, *located(folder, "fit", a, b, *options))
    assert load_direction(tmp_path / "v.safetensors").layer == 2  # 3 x 20/28 = 2.1
    assert re.search(r"held out +1\.000", out)  # the sets have no words in common
    assert re.search(r"R2 of the projection on the number of tokens +[01]\.\d{3}", out)
    assert re.search(r"the same at equal length \(partial\) +0\.\d{3} +0\.\d{3} to", out)
    assert all(re.search(rf"^{layer}( +\d+\.\d{{3}}){{4}}", out, re.M) for layer in (1, 2, 3))
    assert all(pair in out for pair in ("A - B", "A - C", "B - C"))


def test_no_system_is_kept_and_used(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.safetensors"
    arguments = located(folder, "fit", folder / "a.jsonl", folder / "b.jsonl", "--no-system", "empty", "--out", out)
    app(["direction", *map(str, arguments), "--layer", "2"], standalone_mode=False)
    direction = load_direction(out)
    assert direction.no_system == "empty"
    sides = (means(folder, name, 2, no_system="empty").mean(axis=0) for name in ("a.jsonl", "b.jsonl"))
    np.testing.assert_allclose(direction.vector, next(sides) - next(sides), atol=1e-6)


# --- plot ---------------------------------------------------------------------------------------------------


def test_plot(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    out, rates = tmp_path / "map.html", tmp_path / "em.json"
    rates.write_text('{"a": 0.05}')
    files = [folder / "a.jsonl", folder / "b.jsonl"]
    options = ["--em", rates, "--em", f"{files[1]}=0.5", "--mark", folder / "prompts.jsonl", "--rows", "7"]
    numbers = tmp_path / "map.json"
    paths = ["--out", out, "--json", numbers]
    call(capsys, *located(folder, "plot", folder / "v.safetensors", *files, *options, *paths))
    found = re.search(r'id="latent-data">(.*?)</script>', out.read_text(encoding="utf-8"), re.S)
    assert found is not None
    drawn = json.loads(found[1])
    kept = json.loads(numbers.read_text(encoding="utf-8"))
    assert kept.pop("about")[1] == ["set a", str(files[0])]
    assert kept == drawn
    assert (drawn["sets"], drawn["em"]) == (["a", "b"], [0.05, 0.5])
    assert drawn["rows"]["set"] == [0] * 7 + [1] * 7
    unit = load_direction(folder / "v.safetensors").unit
    np.testing.assert_allclose(drawn["rows"]["projection"][0], means(folder, "a.jsonl", 2)[1] @ unit, atol=1e-4)
    assert [name.split(":")[-1] for name in drawn["marks"]["name"]] == ["one", "two"]


@pytest.mark.parametrize(
    ("em", "message"),
    [
        ("c=0.1", "no set is called 'c'"),
        ("a", r"--em a: give NAME=RATE"),
        ("a=much", "a is 'much'; give a rate from 0 to 1"),
        ("a=7", "a is 7.0; give a rate"),
        ("a=nan", "a is nan; give a rate"),
        ("missing.json", "missing.json: no such file"),
    ],
)
def test_em_that_does_not_do(folder: Path, tmp_path: Path, em: str, message: str) -> None:
    out = tmp_path / "map.html"
    refused(message, *located(folder, "plot", folder / "v.safetensors", folder / "a.jsonl", "--em", em, "--out", out))
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [("[1]", "must be one JSON object"), ("{", "malformed JSON"), ('{"a": true}', "a is True; give a rate")],
)
def test_em_files_that_do_not_do(folder: Path, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "em.json").write_text(content)
    options = ["--em", tmp_path / "em.json", "--out", tmp_path / "map.html"]
    refused(message, *located(folder, "plot", folder / "v.safetensors", folder / "a.jsonl", *options))


# --- bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "name"),
    [("fit", "v.safetensors"), ("plot", "m.html")],
)
def test_no_file_is_written_over(folder: Path, tmp_path: Path, command: str, name: str) -> None:
    out = tmp_path / name
    out.write_text("mine")
    first = folder / ("a.jsonl" if command == "fit" else "v.safetensors")
    refused(f"{name}: exists; choose another --out", command, first, folder / "b.jsonl", "--out", out)
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    ("command", "name", "message"),
    [
        ("fit", "v.pt", "name a .safetensors file"),
        ("plot", "m.htm", "name a .html file"),
        ("plot", "m.html", "map.txt: name a .json file"),
    ],
)
def test_other_suffixes(folder: Path, tmp_path: Path, command: str, name: str, message: str) -> None:
    numbers = ["--json", tmp_path / "map.txt"] if name == "m.html" else []
    refused(message, command, folder / "a.jsonl", folder / "b.jsonl", "--out", tmp_path / name, *numbers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer", "9"], "layer 9 is out of range"),
        (["--layers", "1,x"], "--layers 1,x: give whole numbers"),
        (["--anchor", "a.jsonl"], "a.jsonl: no such file"),
    ],
)
def test_bad_options_of_fit(folder: Path, tmp_path: Path, options: list[str], message: str) -> None:
    out = tmp_path / "v.safetensors"
    refused(message, *located(folder, "fit", folder / "a.jsonl", folder / "b.jsonl", *options, "--out", out))
    assert not list(tmp_path.iterdir())


def test_the_meanings_of_no_system_are_all_there(folder: Path, tmp_path: Path) -> None:
    assert get_args(get_args(direction.NoSystem)[0]) == get_args(NoSystem)
    out = tmp_path / "v.safetensors"
    arguments = ["fit", folder / "a.jsonl", folder / "b.jsonl", "--no-system", "non", "--out", out]
    with pytest.raises(Exception, match="'non' is not one of 'template_default', 'empty', 'none'"):
        app(["direction", *map(str, arguments)], standalone_mode=False)
    assert not out.exists()


def test_a_set_against_itself(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "v.safetensors"
    a = folder / "a.jsonl"
    refused("a.jsonl: is given twice", *located(folder, "fit", a, a, "--out", out))
    (tmp_path / "copy.jsonl").write_bytes(a.read_bytes())
    refused("the direction is zero", *located(folder, "fit", a, tmp_path / "copy.jsonl", "--out", out))
    assert not out.exists()


def test_another_model(folder: Path, tmp_path: Path) -> None:
    tiny.model(seed=1, layers=3).save_pretrained(tmp_path / "other")
    tiny.tokenizer().save_pretrained(tmp_path / "other")
    arguments = ["plot", folder / "v.safetensors", folder / "a.jsonl", "--out", tmp_path / "m.html"]
    refused(r"v.safetensors: is of another model \(tiny-model", *arguments, "--model", tmp_path / "other")
    assert not (tmp_path / "m.html").exists()


def test_a_model_that_is_not_found_by_its_name(folder: Path, tmp_path: Path) -> None:
    arguments = ["plot", folder / "v.safetensors", folder / "a.jsonl", "--out", tmp_path / "m.html"]
    refused(r"knows its model as 'tiny-model'; name its folder or hub id by --model", *arguments)


def test_a_file_that_is_no_direction(folder: Path, tmp_path: Path) -> None:
    save_file({"prompt_mean": torch.ones(3, 2).numpy()}, tmp_path / "persona.safetensors")
    out = tmp_path / "m.html"
    refused("holds prompt_mean", "plot", tmp_path / "persona.safetensors", folder / "a.jsonl", "--out", out)
