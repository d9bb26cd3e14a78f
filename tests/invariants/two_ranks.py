"""One rank of a two-rank training; started by torchrun from ``test_ranks.py``. Writes what it ended with."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from ringfence.defenses import CanaryInterleaving
from training import ScriptedProbe, losses, trainer, weights


def main(folder: Path) -> None:
    probe = ScriptedProbe()
    made = trainer(
        folder / "run",
        CanaryInterleaving(every=2, ratio_init=0.1, ratio_max=0.5, probe=probe),
        per_device_train_batch_size=2,
        ddp_backend="gloo",
        save_strategy="steps",
        save_steps=4,
    )
    resume = sys.argv[2] == "resume"
    made.train(resume_from_checkpoint=resume)
    rank = made.args.process_index
    total = {name: value.double().sum().item() for name, value in weights(made).items()}
    ended = {"losses": losses(made), "result": made.result(), "ratio": made.schedule.ratio, "calls": probe.calls}
    (folder / f"rank-{rank}.json").write_text(json.dumps({**ended, "weights": total}))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
