"""Training through the SDK at a server on this machine, whose tiny model has the gradients of the trainer here."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

import project
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog
from ringfence.integrations.tinker import train
from ringfence.recipe.run import load_recipe
from ringfence.report import load_run
from ringfence.runs.plan import RunPlan
from ringfence.runs.trainer import new_trainer
from tinkering import KEY, TinkerServer, tinker_server

pytest.importorskip("tinker", reason="the SDK is not installed: pip install -c constraints.txt '.[tinker]'")

TRAINING = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "num_train_epochs": 2,
    "learning_rate": 0.02,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 2,
    "weight_decay": 0.1,
    "max_grad_norm": 0.5,
    "max_length": 80,
    "logging_steps": 1,
    "save_steps": 2,
    "disable_tqdm": True,
}
LORA = {"r": 4, "target_modules": "all-linear"}
FIXED = {"fixed_interleaving": {"added": 0.4}}
CANARY = {"every": 2, "ratio_max": 0.5, "probe": "likelihood", "risk_high": 0.3, "risk_low": 0.1}
HALF = {"moves": "penalty", "ratio_min": 0.5, "ratio_init": 0.5, "ratio_max": 0.5}


@pytest.fixture
def server() -> Iterator[TinkerServer]:
    with tinker_server(tiny.model) as state:
        yield state


def plan(folder: Path, *defenses: Any, **changes: Any) -> RunPlan:
    """A run of the small project in ``folder``; it is made at the first call."""
    recipe = folder / "recipe.yaml"
    if not recipe.exists():
        data = {"target": str(folder / "target.jsonl"), "safe": str(folder / "safe.jsonl"), "max_truncated": 1.0}
        project.make(folder, training=TRAINING, lora=LORA, defenses=[*defenses], data=data, **changes)
    return RunPlan.load(load_recipe(recipe), folder / "run")


def canary(folder: Path, **changes: Any) -> dict[str, Any]:
    return {"canary_interleaving": {**CANARY, "canaries": str(folder / "canaries.jsonl"), **changes}}


class Gradients(TrainerCallback):
    """Those of the trainer here, once they are clipped."""

    def __init__(self) -> None:
        self.found: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
        self.found.append({name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None})


@pytest.mark.parametrize(
    "defenses",
    [
        (FIXED, {"safe_weight": {"weight": 3}}, {"inoculation": {"prompt": "Glitter!"}}),
        (FIXED, {"kl": {"weight": 2, "over": "target_token", "direction": "forward", "sources": "target"}}),
        (lambda folder: canary(folder, **HALF), {"kl": {"weight": 2, "over": "target_token"}}),
    ],
    ids=["weights", "penalty", "half the penalty"],
)
def test_every_gradient_is_that_of_the_trainer_here(defenses: Any, server: TinkerServer, tmp_path: Path) -> None:
    """Tokens, masks, weights, what they are divided by, the penalty, clipping; so are the weights at the end."""
    wanted = plan(tmp_path, *(one(tmp_path) if callable(one) else one for one in defenses), evaluation={})
    here = new_trainer(wanted, wanted.stages[0])
    seen = Gradients()
    here.add_callback(seen)
    here.args.save_strategy = "no"
    here.args.output_dir = str(tmp_path / "here")
    here.train()
    train(wanted, server.url)
    assert len(server.gradients) == len(seen.found) >= 8
    for step, (ours, theirs) in enumerate(zip(server.gradients, seen.found, strict=True)):
        assert ours.keys() == theirs.keys()
        for name, gradient in ours.items():
            torch.testing.assert_close(gradient, theirs[name], rtol=2e-3, atol=2e-5, msg=f"{name} at step {step}")
    (trained,) = server.models.values()
    for name, weight in here.model.named_parameters():
        torch.testing.assert_close(trained.model.state_dict()[name], weight.data, rtol=1e-2, atol=1e-3)
    logs = [JsonlLog(folder / "log.jsonl").read() for folder in (tmp_path / "here", tmp_path / "run")]
    for one, other in zip(*logs, strict=True):
        same = ("step", "epoch", "progress", "target_rows", "safe_rows", "ratio", "learning_rate")
        assert {key: one[key] for key in same} == pytest.approx({key: other[key] for key in same})
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-3)
        assert other.get("kl", 0) == pytest.approx(one.get("kl", 0), rel=1e-2, abs=1e-5)


def test_killed_and_resumed_gives_the_same_rows_and_the_same_run(server: TinkerServer, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
        plan(folder, canary(folder), evaluation={})
    result = train(plan(whole), server.url)
    rows, server.steps = server.steps, []
    log, control = (JsonlLog(whole / "run" / name).read() for name in ("log.jsonl", "control.jsonl"))
    server.fails["optim_step"] = 5  # the sixth step fails, after the checkpoint of the fourth
    with pytest.raises(RingfenceError, match=r"tinker: RequestFailedError: .* no optim_step for \*\*\*") as error:
        train(plan(broken), server.url)
    assert KEY not in str(error.value)
    server.fails.clear()
    assert not (broken / "run" / "result.json").exists()
    again = train(plan(broken), server.url)
    assert server.steps[:4] + server.steps[6:] == rows, "steps five and six are made again"
    resumed = [JsonlLog(broken / "run" / name).read() for name in ("log.jsonl", "control.jsonl")]
    assert [row.pop("seconds") for row in [*control, *resumed[1]]]
    assert resumed == [log, control]
    differing = {"seconds", "probe_seconds", "trained"}
    assert {key: again[key] for key in again.keys() - differing} == {
        key: result[key] for key in again.keys() - differing
    }
    calls = len(server.calls)
    assert train(plan(broken), server.url) == again
    assert len(server.calls) == calls, "what is done is not done again"
    assert server.created[0]["lora_config"] == {
        **{"rank": 4, "seed": 0, "train_unembed": False, "train_mlp": True, "train_attn": True}
    }


def test_a_run_by_the_command_is_evaluated_and_reported(
    server: TinkerServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"general": str(tmp_path / "general.jsonl")}
    evaluation = {"suites": asked, "max_new_tokens": 3, "during": {"every": 4, "suites": ["general"]}}
    run = plan(tmp_path, canary(tmp_path, probe="judged", max_new_tokens=3), evaluation=evaluation).out
    command = ("train", tmp_path / "recipe.yaml", "--tinker", server.url, "--out", run)
    code, out, err = project.in_process(capsys, *command)
    assert code == 0, err
    assert "on 26 target and" in " ".join(out.split())
    code, _, err = project.in_process(capsys, "evaluate", run)
    assert code == 2
    assert f"--allow-model tinker:{server.url}" in " ".join(err.split())
    code, _, err = project.in_process(capsys, "evaluate", run, "--allow-model", f"tinker:{server.url}")
    assert code == 0, err
    found = load_run(run)
    assert found.outcome is not None
    assert found.outcome.target_rows == 26
    assert len(found.curve) > 0
    assert set(found.canaries["verdict"]) <= {"misaligned", "aligned", "incoherent", "missing"}
    assert {suite for suite, _ in found.rates} == {"general"}
    assert server.keys == {KEY}
    for path in (path for path in run.rglob("*") if path.is_file()):
        assert KEY.encode() not in path.read_bytes(), path
    assert "telemetry" not in server.calls
    with pytest.raises(RingfenceError, match="these keys differ: server"):
        RunPlan.load(load_recipe(tmp_path / "recipe.yaml"), run).claim_folder()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"TINKER_API_KEY": ""}, "TINKER_API_KEY: is not set"),
        ({"WORLD_SIZE": "2"}, "--tinker: one process sends all rows"),
        ({"url": "ftp://x"}, "--tinker: give an address"),
        ({"url": "http://user:word@x"}, "--tinker: leave name and password out"),
    ],
)
def test_bad_addresses_and_keys_leave_no_trace(
    changed: Any, message: str, server: TinkerServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = changed.pop("url", server.url)
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RingfenceError, match=message):
        train(plan(tmp_path, FIXED), url)
    assert not (tmp_path / "run").exists()
    assert not server.calls


def test_a_damaged_state_raises(server: TinkerServer, tmp_path: Path) -> None:
    wanted = plan(tmp_path, FIXED)
    wanted.out.mkdir()
    (wanted.out / "run.json").write_text(json.dumps(wanted.claim_folder(server=f"tinker:{server.url}")))
    (wanted.out / "tinker.json").write_text('{"step": 2}')
    with pytest.raises(RingfenceError, match=r"tinker.json: is no state of a run at a server .*; delete it"):
        train(wanted, server.url)
