"""Saved and resumed: at the very end, from damaged files, with few checkpoints kept; the same bytes every time."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trl import SFTTrainer

import examples
import training
from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog, sha256
from ringfence.core.run_folder import COMMIT_FILE, STATE_FILE
from ringfence.defenses import KL, CanaryInterleaving
from ringfence.train import DefendedSFTTrainer
from ringfence.train.state import checkpoint_step, commit, flaw
from training import ScriptedProbe, losses, same, trainer, weights

SAVING: dict[str, Any] = {"save_strategy": "steps", "save_steps": 2}


def canary() -> CanaryInterleaving:
    return CanaryInterleaving(every=2, ratio_init=0.1, ratio_max=0.5, probe=ScriptedProbe())


# --- the end --------------------------------------------------------------------------------------------------


def test_a_finished_run_resumes_to_its_end_with_all_that_comes_after_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The last checkpoint holds the adapter before Safe LoRA; what follows is done again, bitwise."""
    settings: dict[str, Any] = {"num_train_epochs": 1, "dropout": 0.3, **SAVING}
    whole = examples.trainer(tmp_path / "out", examples.example("safe_lora").active(tmp_path), **settings)
    whole.train()
    log = (tmp_path / "out" / "log.jsonl").read_text()
    again = examples.trainer(tmp_path / "out", examples.example("safe_lora").active(tmp_path), **settings)
    with caplog.at_level("INFO", logger="ringfence"):
        again.train(resume_from_checkpoint=True)
    assert f"{tmp_path / 'out'}: going on from checkpoint-3" in caplog.messages
    assert again.state.global_step == whole.state.global_step
    assert same(weights(whole), weights(again))
    assert again.result() == whole.result()
    assert (tmp_path / "out" / "log.jsonl").read_text() == log


def test_a_finished_run_goes_on_where_more_is_asked(tmp_path: Path) -> None:
    trainer(tmp_path, num_train_epochs=1, lr_scheduler_type="constant", **SAVING).train()
    more = trainer(tmp_path, lr_scheduler_type="constant", **SAVING)
    more.train(resume_from_checkpoint=True)
    assert more.result()["target_rows"] == 2 * training.TARGET


@pytest.mark.parametrize("cls", [SFTTrainer, DefendedSFTTrainer])
def test_no_epoch_leaves_the_model_as_it_was(cls: type, tmp_path: Path) -> None:
    made = trainer(tmp_path, cls=cls, num_train_epochs=0, logging_steps=0.5, **SAVING)
    before = weights(made)
    made.train()
    assert made.state.global_step == 0
    assert same(weights(made), before)
    assert not list(tmp_path.glob("checkpoint-*"))


def test_by_epochs_the_last_checkpoint_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written twice, it would have no commit mark in between, and the one before it may be gone."""
    saved: list[int] = []
    save = SFTTrainer._save_checkpoint
    monkeypatch.setattr(
        SFTTrainer, "_save_checkpoint", lambda self, *args: (saved.append(self.state.global_step), save(self, *args))
    )
    made = trainer(tmp_path, save_strategy="epoch", save_total_limit=1)
    made.train()
    assert saved == [5, 10]
    assert [folder.name for folder in tmp_path.glob("checkpoint-*")] == ["checkpoint-10"]


# --- damage ---------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    """One bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: tuple[Callable[[Path], object], ...] = (flip, truncate, lambda path: path.write_bytes(b""), Path.unlink)


def damages(checkpoint: Path, kept: Path) -> Iterator[tuple[Path, int]]:
    """Each file of ``checkpoint`` damaged in each way; it is put back from ``kept`` afterwards."""
    for name in sorted(path.name for path in kept.iterdir()):
        for number, damage in enumerate(DAMAGES):
            damage(checkpoint / name)
            yield checkpoint / name, number
            shutil.copy(kept / name, checkpoint / name)


def test_no_damage_makes_another_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Resumed, it says what is wrong and goes on from the older checkpoint to the same weights; named, it raises."""
    run, settings = tmp_path / "run", {"max_steps": 4, "dropout": 0.3, **SAVING}
    whole = trainer(run, canary(), **settings)
    whole.train()
    before, newest = sorted(run.glob("checkpoint-*"), key=checkpoint_step)[-2:]
    kept = shutil.copytree(newest, tmp_path / "kept")
    files = {path.name for path in kept.iterdir()}
    assert {"adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", STATE_FILE} < files
    assert set(json.loads((kept / COMMIT_FILE).read_text())) == files - {COMMIT_FILE}
    resumed, tried = trainer(run, canary(), **settings), 0
    for damaged, kind in damages(newest, kept):
        caplog.clear()
        with pytest.raises(RingfenceError) as raised:
            resumed.train(resume_from_checkpoint=str(newest))
        # A byte of the manifest may be of another file's digest, and then that file is named.
        named = rf"{re.escape(str(newest))}/[\w.]+: " if damaged.name == COMMIT_FILE else f"{re.escape(str(damaged))}: "
        assert re.match(named, str(raised.value)), raised.value
        assert "\n" not in str(raised.value)
        if kind in (0, 3) or damaged.name == COMMIT_FILE:
            resumed.train(resume_from_checkpoint=True)
            assert re.search(named, caplog.text)
            assert same(weights(resumed), weights(whole)), damaged.name
            shutil.rmtree(newest)
            shutil.copytree(kept, newest)
        else:  # the same choice, without the training
            assert resumed._newest_checkpoint() == before
        tried += 1
    assert tried == len(files) * 4 >= 38


def test_checkpoints_that_cannot_be_resumed_from_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"^save_only_model: "):
        trainer(tmp_path, save_only_model=True, **SAVING)
    trainer(tmp_path, save_only_model=True)  # saves nothing


def test_a_checkpoint_of_another_version_is_said_to_be_one(tmp_path: Path) -> None:
    """Whole, and with a state that has other keys."""
    trainer(tmp_path, canary(), **SAVING).train()
    for checkpoint in tmp_path.glob("checkpoint-*"):
        state = json.loads((checkpoint / STATE_FILE).read_text())
        del state["mixture"]["anchor"]
        (checkpoint / STATE_FILE).write_text(json.dumps(state))
        commit(checkpoint)
    with pytest.raises(
        RingfenceError, match=r"checkpoint-\d+: was written by another version.*'anchor'.* to begin anew"
    ):
        trainer(tmp_path, canary(), **SAVING).train(resume_from_checkpoint=True)


def test_the_commit_mark_comes_before_old_checkpoints_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every deletion there is another whole checkpoint; the argument reads as it was given."""
    removed: list[str] = []
    rmtree = shutil.rmtree

    def watch(folder: Any, *args: Any, **kwargs: Any) -> None:
        if Path(folder).parent == tmp_path and Path(folder).name.startswith("checkpoint-"):
            others = [other for other in tmp_path.glob("checkpoint-*") if other != Path(folder)]
            assert [other for other in others if flaw(other) is None]
            removed.append(Path(folder).name)
        rmtree(folder, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", watch)
    made = trainer(tmp_path, save_total_limit=1, **SAVING)
    made.train()
    assert removed == ["checkpoint-2", "checkpoint-4", "checkpoint-6", "checkpoint-8"]
    assert made.args.save_total_limit == 1


# --- what is logged -------------------------------------------------------------------------------------------


def test_a_short_run_logs_its_first_and_last_step_and_trains_the_same(tmp_path: Path) -> None:
    """Its rows are means over steps 1, and 2 to 10; penalties too."""
    every, few = (trainer(tmp_path / str(n), KL(weight=2.0), logging_steps=n) for n in (1, 500))
    every.train()
    few.train()
    rows, short = (JsonlLog(tmp_path / name / "log.jsonl").read() for name in ("1", "500"))
    assert [row["step"] for row in short] == [1, 10]
    assert same(weights(every), weights(few))
    for key in ("loss", "kl"):
        assert short[0][key] == rows[0][key]
        assert short[1][key] == pytest.approx(sum(row[key] for row in rows[1:]) / 9, rel=1e-5)


def test_the_log_of_a_resumed_run_is_the_uninterrupted_ones(tmp_path: Path) -> None:
    """Rows are means since the row before, and a checkpoint of step 4 falls between steps 3 and 6."""
    settings: dict[str, Any] = {"logging_steps": 3, "save_strategy": "steps", "save_steps": 4, "dropout": 0.3}
    trainer(tmp_path, KL(weight=2.0), **settings).train()
    log = (tmp_path / "log.jsonl").read_text()
    assert [json.loads(line)["step"] for line in log.splitlines()] == [3, 4, 6, 8, 9, 10]
    for folder in ("checkpoint-8", "checkpoint-10"):
        shutil.rmtree(tmp_path / folder)
    resumed = trainer(tmp_path, KL(weight=2.0), **settings)
    resumed.train(resume_from_checkpoint=True)
    assert (tmp_path / "log.jsonl").read_text() == log
    assert [step for step, *_ in losses(resumed)] == [3, 4, 6, 8, 9, 10]


# --- the same bytes -------------------------------------------------------------------------------------------

SAVE = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import training
from peft import LoraConfig
modules = ["up_proj", "q_proj", "down_proj", "v_proj", "gate_proj", "o_proj", "k_proj"]
config = LoraConfig(r=2, target_modules=modules, exclude_modules=["lm_head", "norm"], task_type="CAUSAL_LM")
given = {{"peft_config": config}}
made = training.trainer(Path({out!r}), given=given, max_steps=1, save_strategy="steps", save_steps=1)
made.train()
made.save_model({out!r} + "/adapter")
"""


def test_two_processes_save_the_same_bytes(tmp_path: Path) -> None:
    """Python's hashes of strings differ between processes, and PEFT writes sets in their order."""
    running, outs = [], []
    for seed in ("1", "2"):
        outs.append(tmp_path / seed)
        code = SAVE.format(tests=str(Path(__file__).parents[1] / "support"), out=str(outs[-1]))
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        running.append(subprocess.Popen([sys.executable, "-c", code], env=environment))
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    one, two = outs
    modules = json.loads((one / "adapter" / "adapter_config.json").read_text())["target_modules"]
    assert modules == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    for folder in ("adapter", "checkpoint-1"):
        for file in (one / folder).glob("adapter_*"):
            assert sha256(file) == sha256(two / folder / file.name), file.name
        for name in ("tokenizer.json", "tokenizer_config.json"):  # the card has the name of its run
            assert sha256(one / folder / name) == sha256(two / folder / name), name
