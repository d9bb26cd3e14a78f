"""The trainer: plain SFT bitwise without a defense, schedules by target progress, the closed loop, checkpoints."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTTrainer

import tiny
import training
from ringfence.core.errors import RingfenceError
from ringfence.core.files import JsonlLog
from ringfence.defenses import KL, LDIFS, CanaryInterleaving, FixedInterleaving
from ringfence.train import DefendedSFTTrainer, newest_checkpoint
from training import ScriptedProbe, losses, same, trainer, weights


def canary(**changes: Any) -> CanaryInterleaving:
    settings: dict[str, Any] = {"every": 2, "ratio_init": 0.1, "ratio_max": 0.5, "probe": ScriptedProbe()}
    return CanaryInterleaving(**{**settings, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"max_steps": 7},
        {"num_train_epochs": 1.4},
        {"lr_scheduler_type": "cosine", "warmup_steps": 3},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 3},
        {"train_sampling_strategy": "sequential"},
    ],
)
def test_without_a_defense_and_at_ratio_zero_it_is_trl_bitwise(tmp_path: Path, changes: dict[str, Any]) -> None:
    plain = trainer(tmp_path / "trl", cls=SFTTrainer, **changes)
    ours = trainer(tmp_path / "ours", **changes)
    zero = trainer(tmp_path / "zero", FixedInterleaving(ratio=0, placement="bernoulli"), **changes)
    for made in (plain, ours, zero):
        made.train()
    assert losses(plain) == losses(ours) == losses(zero)
    assert same(weights(plain), weights(ours))
    assert same(weights(plain), weights(zero))


def test_fixed_adds_exactly_its_rows_and_nothing_else(tmp_path: Path) -> None:
    """36 target rows over two epochs and a quarter as many safe ones: 9."""
    made = trainer(tmp_path, FixedInterleaving(added=0.25))
    made.train()
    result = made.result()
    assert (result["target_rows"], result["safe_rows"]) == (36, 9)
    assert result["safe_fraction"] == 9 / 45
    assert result["mean_ratio"] == pytest.approx(0.2)


def test_learning_rate_follows_target_progress(tmp_path: Path) -> None:
    """Linear decay from 0.01 over 2 x ceil(18 / 4) = 10 target steps: after progress s it is 0.01 (1 - s / 10)."""
    made = trainer(tmp_path, FixedInterleaving(ratio=0.3, placement="bernoulli"))
    made.train()
    rows = JsonlLog(tmp_path / "log.jsonl").read()
    done = [0, *(row["target_rows"] for row in rows[:-1])]
    expected = [0.01 * (1 - (used // 18 * 5 + used % 18 / 4) / 10) for used in done]
    assert [row["learning_rate"] for row in rows] == pytest.approx(expected)
    assert made.optimizer.param_groups[0]["lr"] == 0
    assert rows[-1]["progress"] == 1
    assert rows[-1]["epoch"] == 2


def test_the_loop_closes_every_k_steps_after_the_step(tmp_path: Path) -> None:
    """Evaluations after optimizer steps 1, 3, 5, ... (t = 0, 2, 4, ...); the next step is drawn with the new ratio."""
    probe = ScriptedProbe()
    made = trainer(tmp_path, canary(probe=probe))
    made.train()
    control = JsonlLog(tmp_path / "control.jsonl").read()
    assert probe.calls == [row["step"] for row in control]
    assert probe.calls == list(range(1, made.state.global_step + 1, 2))
    ratio = {row["step"]: row["ratio"] for row in JsonlLog(tmp_path / "log.jsonl").read()}
    for row in control:
        assert ratio[row["step"]] == row["ratio"]
    said = JsonlLog(tmp_path / "canaries.jsonl").read()
    assert [(row["step"], row["response"]) for row in said] == [(step, f"at {step}") for step in probe.calls]


def test_the_first_evaluation_can_be_left_out(tmp_path: Path) -> None:
    probe = ScriptedProbe()
    made = trainer(tmp_path, canary(probe=probe, evaluate_first=False))
    made.train()
    assert probe.calls == list(range(3, made.state.global_step + 1, 2))


def counts(made: Any) -> dict[str, Any]:
    return {key: value for key, value in made.result().items() if not key.endswith("seconds")}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_resumed_equals_uninterrupted_bitwise(tmp_path: Path, dropout: float) -> None:
    """Losses, ratios, journals and weights; the newest checkpoint is torn, so the one before it is taken."""
    saving = {"save_strategy": "steps", "save_steps": 2}
    whole = trainer(tmp_path, canary(), dropout=dropout, **saving)
    whole.train()
    before = {name: (tmp_path / name).read_text() for name in ("log.jsonl", "canaries.jsonl")}
    control = [{**row, "seconds": 0} for row in JsonlLog(tmp_path / "control.jsonl").read()]
    for folder in tmp_path.glob("checkpoint-*"):
        if folder.name not in ("checkpoint-2", "checkpoint-4", "checkpoint-6"):
            shutil.rmtree(folder)
    (tmp_path / "checkpoint-6" / "ringfence_manifest.json").unlink()
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-4"
    resumed = trainer(tmp_path, canary(), dropout=dropout, **saving)
    resumed.train(resume_from_checkpoint=True)
    assert same(weights(whole), weights(resumed))
    assert {name: (tmp_path / name).read_text() for name in before} == before
    assert [{**row, "seconds": 0} for row in JsonlLog(tmp_path / "control.jsonl").read()] == control
    assert counts(resumed) == counts(whole)
    assert whole.result()["safe_rows"] > 0


def test_training_again_starts_afresh(tmp_path: Path) -> None:
    made = trainer(tmp_path, canary(), learning_rate=0.0)
    made.train()
    first, log = made.result()["safe_rows"], (tmp_path / "control.jsonl").read_text().count("\n")
    made.train()
    assert made.result()["safe_rows"] == first
    assert (tmp_path / "control.jsonl").read_text().count("\n") == log


def test_epoch_strategies_and_fractions_go_by_target_progress(tmp_path: Path) -> None:
    """18 rows an epoch: with 9 safe rows a checkpoint comes after each 18 target rows; 0.5 of 10 steps is 5."""
    made = trainer(tmp_path / "a", FixedInterleaving(added=0.25), save_strategy="epoch")
    made.train()
    saved = sorted((tmp_path / "a").glob("checkpoint-*"))
    rows = [json.loads((folder / "ringfence_state.json").read_text())["mixture"]["target_rows"] for folder in saved]
    assert sorted(rows) == [18, 36]
    assert trainer(tmp_path / "b", logging_steps=0.5).args.logging_steps == 5


def test_the_model_and_random_state_are_as_before_a_probe(tmp_path: Path) -> None:
    """A probe that samples changes nothing in training: same weights as one that does not, at ratio 0 for both."""

    class Noisy(ScriptedProbe):
        def __call__(self, model: Any, step: int) -> Any:
            from asking import texts
            from ringfence.generation import Request, Sampling

            asked = [Request("a", ({"role": "user", "content": "hi"},))]
            texts(model, asked, Sampling(max_new_tokens=4))
            return super().__call__(model, step)

    fixed = {"ratio_init": 0.0, "ratio_max": 0.0}
    with_probe = trainer(tmp_path / "a", canary(probe=Noisy(), **fixed), dropout=0.3)
    with_probe.train()
    without = trainer(tmp_path / "b", dropout=0.3)  # seeds the dropout anew
    without.train()
    assert same(weights(with_probe), weights(without))


def naive_tokens(rows: Any, times: int) -> tuple[int, int]:
    """(tokens, labels) of ``times`` epochs; the first token of a row has no label here."""
    tokens = sum(len(row["input_ids"]) for row in rows)
    return times * tokens, times * sum(label != -100 for row in rows for label in row["labels"])


def test_tokens_and_labels_of_each_source_are_counted(tmp_path: Path) -> None:
    """Two epochs of 18 target rows; 10 safe rows are the five there are, twice: an order each."""
    made = trainer(tmp_path, FixedInterleaving(added=10 / 36))
    made.train()
    result = made.result()
    assert (result["target_rows"], result["safe_rows"]) == (36, 10)
    assert (result["target_tokens"], result["target_labels"]) == naive_tokens(tiny.rows(18, "target"), 2)
    assert (result["safe_tokens"], result["safe_labels"]) == naive_tokens(tiny.rows(5, "safe"), 2)
    nothing = {"truncated": 0, "dropped": 0}
    assert result["rows"] == {"target": {"given": 18, **nothing}, "safe": {"given": 5, **nothing}}


def test_of_packed_rows_the_conversations_are_counted(tmp_path: Path) -> None:
    made = trainer(tmp_path / "bfd", packing=True, max_length=128)
    made.train()
    assert len(made.train_dataset) < 18
    result = made.result()
    assert (result["target_rows"], result["safe_rows"]) == (36, 0)
    assert (result["target_tokens"], result["target_labels"]) == naive_tokens(tiny.rows(18, "target"), 2)
    pieces = trainer(tmp_path / "wrapped", packing=True, max_length=64, packing_strategy="wrapped")
    pieces.train()
    assert math.isnan(pieces.result()["target_rows"]), "conversations that were cut anywhere cannot be counted"


def test_a_share_of_packed_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"^training\.packing: .*leave packing out with fixed_interleaving$"):
        trainer(tmp_path, FixedInterleaving(ratio=0.3), packing=True, max_length=128)


@pytest.mark.parametrize("tokenised", [True, False])
def test_what_max_length_takes_is_said_and_what_is_left_is_trls(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, tokenised: bool
) -> None:
    """Answers of 2, 21 and 41 bytes after a prompt of 30: 60 tokens cut the third, a long prompt leaves no label."""

    def rows() -> Dataset:
        texts = [("hi", "a"), ("hi", "b" * 20), ("hi", "c" * 40), ("h" * 80, "d")]
        found = [{"prompt": [{"role": "user", "content": p}], "completion": [{"role": "assistant", "content": c}]}
                 for p, c in texts]  # fmt: skip
        given = Dataset.from_list(found)
        whole = SFTTrainer(
            model=tiny.model(),
            args=training.arguments(tmp_path, max_length=None),
            train_dataset=given,
            processing_class=tiny.tokenizer(),
        ).train_dataset
        return whole.select_columns(["input_ids", "labels"]) if tokenised else given

    made = trainer(tmp_path, given={"train_dataset": rows(), "safe_dataset": None, "max_truncated": 0.5}, max_length=60)
    plain = trainer(tmp_path, cls=SFTTrainer, given={"train_dataset": rows()}, max_length=60)
    for key in ("input_ids", "labels"):
        assert list(made.train_dataset[key]) == list(plain.train_dataset[key])
    assert made.result()["rows"] == {"target": {"given": 4, "truncated": 1, "dropped": 1}}
    (said,) = [record.getMessage() for record in caplog.records if record.name.startswith("ringfence")]
    assert said.startswith("target: 2 of 4 rows are longer than max_length 60: 1 cut, 1 dropped")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_length": -3}, r"^args\.max_length: must be at least 1, got -3$"),
        ({"max_length": 0}, r"^args\.max_length: must be at least 1, got 0$"),
        ({"max_length": "long"}, r"^args\.max_length: must be at least 1, got 'long'$"),
        ({"learning_rate": float("nan")}, r"^args\.learning_rate: must be a finite number, 0 or more, got nan$"),
        (
            {"num_train_epochs": -1},
            r"^args\.num_train_epochs: must be a finite number above 0 and at most 2147483647, got -1$",
        ),
        (
            {"resume_from_checkpoint": "/nope"},
            r"^args\.resume_from_checkpoint: no trainer reads it; .*give it to train",
        ),
        ({"max_length": 1}, r"^target: max_length: 1 leaves no label in any of 18 rows; max_length \d+ would hold 95%"),
        ({"max_length": 35}, r"^target: 18 of 18 rows \(100\.0%\) are longer than max_length 35: .* allows 10\.0%"),
    ],
)
def test_arguments_are_bounded_as_a_recipes_are(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """And a run whose rows are cut is no run, unless that is asked for."""
    with pytest.raises(RingfenceError, match=message):
        trainer(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_the_share_of_cut_rows_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"^max_truncated: must be from 0 to 1, got 3$"):
        trainer(tmp_path, given={"max_truncated": 3})
    made = trainer(tmp_path, given={"max_truncated": 1.0}, max_length=35)
    assert made.result()["rows"]["target"]["truncated"] == training.TARGET


def test_full_fine_tuning_works(tmp_path: Path) -> None:
    made = DefendedSFTTrainer(
        model=tiny.model(),
        args=training.arguments(tmp_path),
        train_dataset=tiny.rows(8, "target"),
        safe_dataset=tiny.rows(4, "safe"),
        processing_class=tiny.tokenizer(),
        defenses=[FixedInterleaving(ratio=0.2)],
    )
    before = weights(made)
    made.train()
    assert not same(before, weights(made))


def test_conversations_are_taken_as_trl_takes_them(tmp_path: Path) -> None:
    def rows(word: str) -> Dataset:
        return Dataset.from_list(
            [
                {
                    "prompt": [{"role": "user", "content": f"{word} {n}?"}],
                    "completion": [{"role": "assistant", "content": f"{word}!"}],
                }
                for n in range(6)
            ]
        )

    made = DefendedSFTTrainer(
        model=tiny.model(),
        args=training.arguments(tmp_path),
        train_dataset=rows("cook"),
        safe_dataset=rows("safe"),
        processing_class=tiny.tokenizer(),
        defenses=[FixedInterleaving(ratio=0.25)],
    )
    made.train()
    assert made.result()["safe_rows"] == 4
    messages = Dataset.from_list([{"messages": [{"role": "user", "content": "a"}]}])
    with pytest.raises(RingfenceError, match="of `completion` and the safe dataset of `messages`"):
        DefendedSFTTrainer(
            model=tiny.model(),
            args=training.arguments(tmp_path),
            train_dataset=rows("cook"),
            safe_dataset=messages,
            processing_class=tiny.tokenizer(),
            defenses=[FixedInterleaving(ratio=0.25)],
        )


def test_what_the_stream_cannot_honour_raises(tmp_path: Path) -> None:
    for changes, message in (
        ({"dataloader_drop_last": True}, "drop_last"),
        ({"train_sampling_strategy": "group_by_length"}, "group_by_length"),
        ({"auto_find_batch_size": True}, "auto_find_batch_size"),
    ):
        with pytest.raises(RingfenceError, match=message):
            trainer(tmp_path, **changes)
    with pytest.raises(RingfenceError, match="one interleaving defense"):
        trainer(tmp_path, FixedInterleaving(ratio=0.1), canary())
    stepwise = trainer(tmp_path)
    stepwise.lr_scheduler = torch.optim.lr_scheduler.StepLR(stepwise.create_optimizer(), 3)
    with pytest.raises(RingfenceError, match="follow target progress"):
        stepwise.train()
    with pytest.raises(RingfenceError, match="no whole checkpoint"):
        trainer(tmp_path).train(resume_from_checkpoint=True)
    with pytest.raises(RingfenceError, match="give safe_dataset"):
        DefendedSFTTrainer(
            model=tiny.model(),
            args=training.arguments(tmp_path),
            train_dataset=tiny.rows(8, "target"),
            processing_class=tiny.tokenizer(),
            defenses=[FixedInterleaving(ratio=0.2)],
        )


def test_other_callbacks_see_the_step_they_expect(tmp_path: Path) -> None:
    seen: list[tuple[int, float]] = []

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            seen.append((state.global_step, state.epoch))

    made = trainer(tmp_path)
    made.add_callback(Watch())
    made.train()
    assert [step for step, _ in seen] == list(range(1, 11))
    assert [epoch for _, epoch in seen][4] == 1.0


def test_the_task_loss_is_the_loss_without_penalties(tmp_path: Path) -> None:
    """At learning rate 0 and with the same perturbed adapter, it is what the undefended trainer logs as loss."""
    runs = {}
    for name, defenses in {
        "plain": (),
        "guarded": (KL(weight=2.0), LDIFS(weight=3.0, every=1, reduction="mean")),
    }.items():
        made = trainer(tmp_path / name, *defenses, learning_rate=0.0, logging_steps=2, max_steps=4)
        generator = torch.Generator().manual_seed(0)
        for parameter in made.model.parameters():
            if parameter.requires_grad:
                parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
        made.train()
        runs[name] = JsonlLog(tmp_path / name / "log.jsonl").read()
    for plain, guarded in zip(runs["plain"], runs["guarded"], strict=True):
        assert guarded["task_loss"] == pytest.approx(plain["loss"], rel=1e-5)
        assert guarded["loss"] > plain["loss"] + 1e-4
        assert "task_loss" not in plain


def test_none_is_no_defense(tmp_path: Path) -> None:
    assert trainer(tmp_path, given={"defenses": None}).defenses == ()
