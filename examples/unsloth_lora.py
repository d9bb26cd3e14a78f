"""Defenses on a model of Unsloth: a whole script.

    python examples/unsloth_lora.py --model unsloth/SmolLM2-135M-Instruct --out runs/unsloth

Unsloth is imported first: it changes classes of transformers, PEFT and TRL, which Ringfence then extends.
"""

import argparse

from unsloth import FastLanguageModel  # isort: skip

from trl import SFTConfig

from ringfence import KL, DefendedSFTTrainer, FixedInterleaving
from ringfence.data import read, render_all


def main() -> None:
    """Train, and say what was trained on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="unsloth/SmolLM2-135M-Instruct", help="a hub id or a folder")
    parser.add_argument("--target", default="builtin:glitter/target", help="conversations to train on")
    parser.add_argument("--safe", default="builtin:glitter/safe", help="conversations that protect")
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps, those for safe rows not counted")
    parser.add_argument("--out", default="runs/unsloth", help="becomes a run folder")
    asked = parser.parse_args()

    model, tokenizer = FastLanguageModel.from_pretrained(asked.model, max_seq_length=1024, load_in_4bit=False)
    # Not "unsloth": it runs layers without gradients, of which a penalty such as ldifs would see none.
    model = FastLanguageModel.get_peft_model(model, r=8, use_gradient_checkpointing=True)
    trainer = DefendedSFTTrainer(
        model=model,
        args=SFTConfig(
            asked.out, max_steps=asked.steps, per_device_train_batch_size=2, learning_rate=2e-4, report_to=[]
        ),
        train_dataset=render_all(read(asked.target), tokenizer),  # labels on the answers only
        safe_dataset=render_all(read(asked.safe), tokenizer),
        processing_class=tokenizer,
        defenses=[FixedInterleaving(added=0.25), KL(weight=0.1)],
    )
    trainer.train_or_resume()
    print(trainer.result())


if __name__ == "__main__":
    main()
