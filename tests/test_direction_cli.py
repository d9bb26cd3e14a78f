"""``ringfence direction``: what it prints and writes, and one line for bad input."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import save_file

import project
import tiny
from ringfence import direction_cli, direction_files
from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json
from ringfence.data.system import NoSystem
from ringfence.directions.axis import load_direction
from ringfence.directions.representations import representations
from ringfence.models import load

DOMAINS = ("home", "work", "art")


class KilledError(BaseException):
    """Nothing catches it on its way."""


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What it prints, in this process."""
    capsys.readouterr()
    direction_cli.app(list(map(str, arguments)), standalone_mode=False, prog_name="ringfence direction")
    return capsys.readouterr().out


def refused(message: str, *arguments: str | Path) -> None:
    with pytest.raises(RingfenceError, match=message):
        direction_cli.app(list(map(str, arguments)), standalone_mode=False)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direction_cli.console, "width", 160)


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
    direction_cli.app(list(map(str, arguments)), standalone_mode=False)
    return here


def located(folder: Path, *arguments: str | Path) -> tuple[str | Path, ...]:
    return (*arguments, "--model", folder / "tiny-model")


@pytest.mark.parametrize("command", ["fit", "project", "sample", "plot"])
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
    about = direction.about
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
    direction_cli.app([*map(str, arguments), "--layer", "2"], standalone_mode=False)
    direction = load_direction(out)
    assert direction.no_system == "empty"
    sides = (means(folder, name, 2, no_system="empty").mean(axis=0) for name in ("a.jsonl", "b.jsonl"))
    np.testing.assert_allclose(direction.vector, next(sides) - next(sides), atol=1e-6)


# --- project ------------------------------------------------------------------------------------------------


def test_project(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    said = call(
        capsys,
        *located(folder, "project", folder / "v.safetensors", folder / "a.jsonl", folder / "bare.jsonl", "--out", out),
    )
    frame = pd.read_parquet(out)
    assert list(frame.columns) == ["set", "origin", "domain", "projection", "user_tokens"]
    assert frame["set"].tolist() == ["a"] * 18 + ["bare"] * 8
    assert frame["origin"][18] == f"{folder / 'bare.jsonl'}:1"
    assert frame["domain"].isna().tolist() == [False] * 18 + [True] * 8
    asked = [row["prompt"] for row in rows(18, "Is this a")]
    assert frame["user_tokens"][:18].tolist() == [len(text) for text in asked]  # a byte is a token
    unit = load_direction(folder / "v.safetensors").unit
    np.testing.assert_allclose(frame["projection"][:18], means(folder, "a.jsonl", 2) @ unit, atol=1e-5)
    assert re.search(rf"a +18 +{frame['projection'][:18].mean():.3f} ", said)


# --- sample -------------------------------------------------------------------------------------------------


def test_sample(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "safe.jsonl"
    arguments = located(folder, "sample", folder / "v.safetensors", folder / "a.jsonl", "--count", "6")
    said = call(capsys, *arguments, "--out", out)
    taken = [json.loads(line) for line in out.read_text().splitlines()]
    projections = means(folder, "a.jsonl", 2) @ load_direction(folder / "v.safetensors").unit
    wanted = []  # 2 of the 6 rows of each domain: the middle of each half, by rank
    for first in range(3):
        places = np.arange(first, 18, 3)
        wanted += places[np.argsort(projections[places], kind="stable")][[1, 4]].tolist()
    origins = [f"{folder / 'a.jsonl'}:{place + 1}" for place in sorted(wanted)]
    assert [row["pool_origin"] for row in taken] == origins
    assert [row["projection"] for row in taken] == pytest.approx(projections[sorted(wanted)], abs=1e-5)
    assert taken[0]["messages"][1] == {"role": "assistant", "content": "Yes."}
    assert taken[0]["note"].startswith("n")
    assert re.search(r"home +6 +2\n", said)
    manifest = json.loads((tmp_path / "safe.manifest.json").read_text())
    assert manifest["domains"] == {name: {"before": 6, "after": 2} for name in DOMAINS}
    assert manifest["output"] == {"rows": 6, "sha256": hashlib.sha256(out.read_bytes()).hexdigest()}
    again = tmp_path / "again.jsonl"
    call(capsys, *arguments, "--out", again)
    assert again.read_bytes() == out.read_bytes()


def test_a_kill_before_the_rows_is_mended_by_the_same_call(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, manifest = tmp_path / "safe.jsonl", tmp_path / "safe.manifest.json"
    arguments = located(folder, "sample", folder / "v.safetensors", folder / "a.jsonl", "--count", "6", "--out", out)

    def killed(path: Path, about: Any) -> None:
        write_json(path, about)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(direction_files, "write_json", killed)
        with pytest.raises(KilledError):
            direction_cli.app(list(map(str, arguments)), standalone_mode=False)
    assert [path.name for path in tmp_path.iterdir()] == ["safe.manifest.json"]
    left = manifest.read_bytes()
    call(capsys, *arguments)
    assert manifest.read_bytes() == left
    assert json.loads(left)["output"]["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    refused("safe.jsonl: exists; choose another --out", *arguments)


def test_sample_without_domains(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "safe.jsonl"
    arguments = located(folder, "sample", folder / "v.safetensors", folder / "bare.jsonl", "--count", "3", "--out", out)
    refused(r"bare.jsonl:1: has no 'domain', .* --no-domains", *arguments)
    assert not list(tmp_path.iterdir())
    call(capsys, *arguments, "--no-domains")
    assert len(out.read_text().splitlines()) == 3


def test_sample_by_another_column(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "safe.jsonl"
    arguments = located(folder, "sample", folder / "v.safetensors", folder / "bare.jsonl", "--by", "note")
    assert re.search(r"n7 +1 +1\n", call(capsys, *arguments, "--count", "8", "--out", out))


# --- plot ---------------------------------------------------------------------------------------------------


def test_plot(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    out, rates = tmp_path / "map.html", tmp_path / "em.json"
    rates.write_text('{"a": 0.05}')
    files = [folder / "a.jsonl", folder / "b.jsonl"]
    options = ["--em", rates, "--em", f"{files[1]}=0.5", "--mark", folder / "prompts.jsonl", "--rows", "7"]
    call(capsys, *located(folder, "plot", folder / "v.safetensors", *files, *options, "--out", out))
    found = re.search(r'id="latent-data">(.*?)</script>', out.read_text(encoding="utf-8"), re.S)
    assert found is not None
    drawn = json.loads(found[1])
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
    [("fit", "v.safetensors"), ("project", "p.parquet"), ("sample", "s.jsonl"), ("plot", "m.html")],
)
def test_no_file_is_written_over(folder: Path, tmp_path: Path, command: str, name: str) -> None:
    out = tmp_path / name
    out.write_text("mine")
    first = folder / ("a.jsonl" if command == "fit" else "v.safetensors")
    more = ["--count", "2"] if command == "sample" else []
    refused(f"{name}: exists; choose another --out", command, first, folder / "b.jsonl", *more, "--out", out)
    assert out.read_text() == "mine"


@pytest.mark.parametrize("content", ["mine", "[]", '{"output": {"rows": 2}}'])
def test_nor_is_what_only_has_the_name_of_a_manifest(folder: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "s.manifest.json").write_text(content)
    arguments = ["sample", folder / "v.safetensors", folder / "a.jsonl", "--count", "2", "--out", tmp_path / "s.jsonl"]
    refused("s.manifest.json: exists and is no manifest of a sample", *arguments)
    assert (tmp_path / "s.manifest.json").read_text() == content


@pytest.mark.parametrize(
    ("command", "name", "message"),
    [
        ("fit", "v.pt", "name a .safetensors file"),
        ("project", "p.csv", "name a .parquet file"),
        ("sample", "s.json", "name a .jsonl file"),
        ("plot", "m.htm", "name a .html file"),
    ],
)
def test_other_suffixes(folder: Path, tmp_path: Path, command: str, name: str, message: str) -> None:
    more = ["--count", "2"] if command == "sample" else []
    refused(message, command, folder / "a.jsonl", folder / "b.jsonl", *more, "--out", tmp_path / name)


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
    assert get_args(get_args(direction_cli.NoSystem)[0]) == get_args(NoSystem)
    out = tmp_path / "v.safetensors"
    arguments = ["fit", folder / "a.jsonl", folder / "b.jsonl", "--no-system", "non", "--out", out]
    with pytest.raises(Exception, match="'non' is not one of 'template_default', 'empty', 'none'"):
        direction_cli.app(list(map(str, arguments)), standalone_mode=False)
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
    arguments = ["project", folder / "v.safetensors", folder / "a.jsonl", "--out", tmp_path / "p.parquet"]
    refused(r"v.safetensors: is of another model \(tiny-model", *arguments, "--model", tmp_path / "other")
    assert not (tmp_path / "p.parquet").exists()


def test_a_model_that_is_not_found_by_its_name(folder: Path, tmp_path: Path) -> None:
    arguments = ["project", folder / "v.safetensors", folder / "a.jsonl", "--out", tmp_path / "p.parquet"]
    refused(r"knows its model as 'tiny-model'; name its folder or hub id by --model", *arguments)


def test_a_file_that_is_no_direction(folder: Path, tmp_path: Path) -> None:
    save_file({"prompt_mean": torch.ones(3, 2).numpy()}, tmp_path / "persona.safetensors")
    out = tmp_path / "p.parquet"
    refused("holds prompt_mean", "project", tmp_path / "persona.safetensors", folder / "a.jsonl", "--out", out)


def test_more_rows_than_there_are(folder: Path, tmp_path: Path) -> None:
    arguments = ["sample", folder / "v.safetensors", folder / "a.jsonl", "--count", "19", "--out", tmp_path / "s.jsonl"]
    refused("--count: 19 rows are asked for, and a has 18", *arguments)
