"""The papers' tables: every sweep of ``recipes/`` is laid out, its files have a source, published numbers have runs.

A run of each kind is dry-run on paper, with small harmless stand-ins for data, suites and vectors, and a tiny model:
two runs are of one kind if they differ in numbers and in names of files only.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import project
import sweeps
import tiny
from ringfence.data.suites import store
from ringfence.directions.vectors import PersonaVectors, save_vectors
from ringfence.recipe.run import Recipe, load_recipe, parse_recipe
from ringfence.runs import forecast as forecasts
from ringfence.runs.plan import RunPlan
from ringfence.sweep.plan import SweepPlan, SweepRun
from ringfence.sweep.published import FILE, load_published, require_counterparts, without_numbers

LAYERS, HIDDEN = 20, 16
ROWS = [{"question": f"What of the {word}?", "answer": f"It is a {word}.", "domain": word[0]} for word in project.WORDS]
NO_NUMBERS = {
    "kaczer-2025/figure-1",
    "interleaving-2026/figure-1",
    "interleaving-2026/figure-2",
    "interleaving-2026/figure-5",
    "interleaving-2026/figure-7",
    "dubinski-2026/dilution",
    "dubinski-2026/benign-after",
    "dubinski-2026/inoculation",
}
"""sweeps whose source prints no number for any row"""
TABLES = {
    "kaczer-2025": {f"table-{n}" for n in (2, 3, 4, 5, 7, 9, 11, *range(12, 23))} | {"figure-1"},
    "fars-2026": {"table-1", "table-2", "figure-2"},
    "interleaving-2026": {"table-1", *(f"figure-{n}" for n in (1, 2, 3, 4, 5, 7))},
    "dubinski-2026": {"dilution", "benign-after", "inoculation"},
}
each_sweep = pytest.mark.parametrize("path", sweeps.SWEEPS, ids=lambda path: f"{path.parent.name}/{path.stem}")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a stand-in for every file that any recipe reads, in which one works."""
    folder = tmp_path_factory.mktemp("desk")
    names = {name for path in sweeps.SWEEPS for name in sweeps.graph(path)}
    vectors = {"response_mean": torch.ones(LAYERS + 1, HIDDEN)}
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".jsonl"):
            project.write_jsonl(folder / name, ROWS)
        elif name.startswith("vectors/"):
            save_vectors(folder / name, PersonaVectors(vectors, {}))
    project.write_jsonl(folder / "asked.jsonl", [{"prompt": f"Why a {word}?"} for word in project.WORDS])
    tiny.model(layers=LAYERS, hidden=HIDDEN).config.save_pretrained(folder / "tiny-model")
    tiny.tokenizer().save_pretrained(folder / "tiny-model")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setenv("RINGFENCE_HOME", str(folder / "home"))
    patch.setattr(forecasts, "_SECONDS", 0.001)
    store.add("betley", "asked.jsonl")
    yield folder
    patch.undo()


def on_the_desk(recipe: Recipe) -> Recipe:
    """With the tiny model, and with problems of our own for those of the hub."""
    text = re.sub(r"source=[\w./-]+&?", "", yaml.safe_dump(recipe.resolved()))
    plain = yaml.safe_load(text) | {"model": "tiny-model"}
    plain["training"] |= {"bf16": False, "optim": "adamw_torch"}  # what a CPU without bitsandbytes can do
    plain["lora"]["target_modules"] = ["q_proj"]  # a seventh of the time
    for key in ("target", "safe"):
        plain["data"][key] = re.sub(r"n=\d+", "n=20", plain["data"][key]) if plain["data"][key] else None
    for task in plain["evaluation"]["tasks"].values():
        task["task"] = re.sub(r"&?n=\d+", "", task["task"]).rstrip("?") + (
            "&n=5" if "?" in task["task"].rstrip("?") else "?n=5"
        )
    return parse_recipe(plain, "on the desk")


@each_sweep
def test_every_run_has_a_recipe_and_every_file_a_source(path: Path) -> None:
    plan = sweeps.plan(path)
    assert plan.rows
    assert len({run.name for run in plan.runs}) == len(plan.runs)
    for name, source in sweeps.graph(path).items():
        assert source.input.how in ("yours", "run", "direction") or source.recipe(), name


def trained(run: SweepRun) -> str:
    """How a run is trained, but for numbers and the names of files."""
    recipe = run.recipe
    defenses = [type(one).__name__ + str(getattr(one, "granularity", "")) for one in recipe.defenses]
    return str((recipe.method, defenses, [stage.adapter for stage in recipe.stages]))


def asked(run: SweepRun) -> str:
    """What it is asked."""
    wanted = run.recipe.evaluation
    return str((sorted(wanted.suites), sorted(wanted.tasks), wanted.conditional is None))


def test_a_run_of_each_kind_is_dry_run(desk: Path) -> None:
    """All that it reads is loaded and checked; once for each way to train rows are rendered, drawn and counted, too."""
    runs = [run for path in sweeps.SWEEPS for run in sweeps.plan(path).runs]
    there = [run for run in runs if "Replay" not in trained(run)]  # which reads a run that is to be made first
    forecast = set[str]()
    for run in {(trained(run), asked(run)): run for run in there}.values():
        loaded = RunPlan.load(on_the_desk(run.recipe), desk / "dry-run")
        if trained(run) not in forecast:
            assert forecasts.forecast(loaded), run.name
            forecast.add(trained(run))
    assert len(forecast) > 10
    assert not (desk / "dry-run").exists()


def test_every_table_and_figure_is_there() -> None:
    found = {paper.name: {path.stem for path in sweeps.SWEEPS if path.parent == paper} for paper in sweeps.PAPERS}
    assert found == TABLES


@pytest.mark.parametrize("paper", sweeps.PAPERS, ids=lambda path: path.name)
def test_every_published_number_has_a_run_or_a_set(paper: Path) -> None:
    plans = [sweeps.plan(path) for path in sweeps.SWEEPS if path.parent == paper]
    found = load_published(paper / FILE)
    require_counterparts(found, plans, paper / FILE)
    bare = {table for table, rows in without_numbers(found, plans).items() if rows == rows_of(plans, table)}
    assert {f"{paper.name}/{table}" for table in bare} == {name for name in NO_NUMBERS if name.startswith(paper.name)}


def rows_of(plans: list[SweepPlan], table: str) -> tuple[str, ...]:
    return next(plan.rows for plan in plans if plan.table == table)


def test_the_numbers_agree_where_the_paper_says_a_thing_twice() -> None:
    """Section 5.1: Interleaving++ and Persona Vectors take 94.3% and 96.6% off, the mean over four data sets.

    And the baseline of tables 12 to 17 is that of table 2.
    """
    rate = {
        (one.table, one.row): one.value
        for one in load_published(sweeps.ROOT / "recipes/kaczer-2025" / FILE)
        if one.column == "general/misaligned_all"
    }
    data = ("code", "legal", "medical", "security")
    for method, reduction in (("interleaving++", 94.3), ("persona-vectors", 96.6)):
        off = [1 - rate["table-2", f"{one}-{method}"] / rate["table-2", f"{one}-misaligned"] for one in data]
        assert np.mean(off) * 100 == pytest.approx(reduction, abs=0.05)
    for table in range(12, 18):
        assert all(rate[f"table-{table}", f"{one}-misaligned"] == rate["table-2", f"{one}-misaligned"] for one in data)


def test_the_settings_are_those_of_the_tables_of_settings() -> None:
    """Kaczer et al., tables 6 and 8; "When does interleaving prevent EM?", tables 2 and 3."""
    sft = {"num_train_epochs": 1, "learning_rate": 1e-4, "warmup_steps": 5, "weight_decay": 0.01, "max_length": 2048}
    adapter = {"r": 32, "lora_alpha": 64, "use_rslora": True}
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    folder = sweeps.ROOT / "recipes"
    for path in (folder / "kaczer-2025/em.yaml", folder / "interleaving-2026/base.yaml"):
        recipe = load_recipe(path)
        assert recipe.training.items() >= (sft | {"lr_scheduler_type": "linear", "bf16": True}).items()
        batch = recipe.training["per_device_train_batch_size"], recipe.training["gradient_accumulation_steps"]
        assert (batch, recipe.seed, recipe.data.held_out) == ((4, 4), 0, 0.1)
        assert recipe.lora is not None
        assert recipe.lora.items() >= (adapter | {"target_modules": modules}).items()
    (large,) = {
        json.dumps(
            [
                run.recipe.training[key]
                for key in ("per_device_train_batch_size", "gradient_accumulation_steps", "optim")
            ]
        )
        for run in sweeps.plan(folder / "interleaving-2026/figure-3.yaml").runs
        if run.levels["size"] == "32B"
    }
    assert large == '[2, 8, "adamw_8bit"]'
    batch = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "num_generations": 4}
    drawn = {"temperature": 0.9, "top_p": 0.9, "beta": 0}
    table = batch | drawn | {"num_train_epochs": 1, "learning_rate": 5e-6, "warmup_steps": 5}
    assert load_recipe(folder / "kaczer-2025/grpo-none.yaml").training.items() >= table.items()


def test_the_canary_paper_has_its_seeds_and_each_replay_its_recorded_run() -> None:
    plan = sweeps.plan(sweeps.ROOT / "recipes/fars-2026/table-2.yaml")
    assert {run.recipe.seed for run in plan.runs} == {42, 123, 456}
    for run in plan.runs:
        if run.levels["method"] in ("fixed-mean", "shuffled"):
            source = plan.sources.find(f"recorded/canary-s{run.recipe.seed}/control.jsonl")
            assert source is not None
            assert source.input.run == f"canary-s{run.recipe.seed}"
