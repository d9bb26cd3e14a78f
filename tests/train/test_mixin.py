"""The mixin on a trainer of the user's own, and before TRL's."""

import inspect
from pathlib import Path

import torch
from transformers import DataCollatorForSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments
from trl import SFTTrainer

import tiny
from ringfence.defenses import LDIFS, FixedInterleaving
from ringfence.train import DefendedSFTTrainer, DefendedTrainer, DefendedTrainerMixin
from training import SAFE, SETTINGS, TARGET, losses, same, weights


class Mine(DefendedTrainerMixin, Seq2SeqTrainer):
    """All that a user writes."""


def test_a_trainer_of_ones_own_is_defended_bitwise_as_the_plain_one_is(tmp_path: Path) -> None:
    made = []
    for cls in (Mine, DefendedTrainer):
        torch.manual_seed(0)
        made.append(
            cls(
                model=tiny.model(),
                args=Seq2SeqTrainingArguments(str(tmp_path / cls.__name__), **{**SETTINGS, "max_steps": 4}),
                train_dataset=tiny.rows(TARGET, "target"),
                safe_dataset=tiny.rows(SAFE, "safe"),
                data_collator=DataCollatorForSeq2Seq(tiny.tokenizer()),
                processing_class=tiny.tokenizer(),
                defenses=[FixedInterleaving(added=0.25), LDIFS(weight=0.5, every=1)],
            )
        )
        made[-1].train()
    assert losses(made[0]) == losses(made[1])
    assert same(weights(made[0]), weights(made[1]))
    assert made[0].result()["safe_rows"] > 0


def test_the_sft_trainer_takes_all_that_trls_takes_in_its_order() -> None:
    theirs, ours = (list(inspect.signature(cls).parameters.values()) for cls in (SFTTrainer, DefendedSFTTrainer))
    assert [(one.name, one.default) for one in ours[: len(theirs)]] == [(one.name, one.default) for one in theirs]
    assert all(one.kind is one.KEYWORD_ONLY for one in ours[len(theirs) :])
