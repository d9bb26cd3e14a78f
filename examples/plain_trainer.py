"""Defenses in the plain Trainer of transformers: a whole script.

    python examples/plain_trainer.py --out runs/plain-trainer

Without arguments it trains the embedded model, on a CPU, on the toy rows that come with Ringfence. Your own data are
files of conversations (docs/data.md) or datasets on the hub.
"""

import argparse
from collections.abc import Sequence

from peft import LoraConfig, get_peft_model
from transformers import TrainingArguments

from ringfence import KL, DefendedTrainer, FixedInterleaving
from ringfence.data import read, render_all
from ringfence.models import load


def main(given: Sequence[str] | None = None) -> DefendedTrainer:
    """Train, and say what was trained on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a hub id or a folder")
    parser.add_argument("--target", default="builtin:glitter/target", help="conversations to train on")
    parser.add_argument("--safe", default="builtin:glitter/safe", help="conversations that protect")
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps, those for safe rows not counted")
    parser.add_argument("--out", default="runs/plain-trainer", help="becomes a run folder")
    asked = parser.parse_args(given)

    loaded = load(asked.model)
    trainer = DefendedTrainer(
        model=get_peft_model(loaded.model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM")),
        args=TrainingArguments(
            asked.out, max_steps=asked.steps, per_device_train_batch_size=2, learning_rate=2e-4, report_to=[]
        ),
        train_dataset=render_all(read(asked.target), loaded.tokenizer),  # labels on the answers only
        safe_dataset=render_all(read(asked.safe), loaded.tokenizer),
        processing_class=loaded.tokenizer,
        defenses=[FixedInterleaving(added=0.25), KL(weight=0.1)],
    )
    trainer.train_or_resume()
    print(trainer.result())
    return trainer


if __name__ == "__main__":
    main()
