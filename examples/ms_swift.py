"""Defenses in ms-swift: swift sft --external_plugins examples/ms_swift.py --model ... --dataset target.jsonl ...

Everything else of the command is as it would be without. ``--output_dir`` becomes a run folder of Ringfence.
"""

from ringfence.integrations.swift import defend

defend(
    [{"fixed_interleaving": {"added": 0.25}}, {"kl": {"weight": 0.1}}],  # as in a recipe
    safe="safe.jsonl",  # in the form of a recipe's `data.safe`; encoded by ms-swift's template
)
