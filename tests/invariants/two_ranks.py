"""One rank of a two-rank training; started by torchrun from ``test_ranks.py``. Writes what it ended with."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import torch

import examples
from training import losses, trainer, weights


def main(folder: Path, resume: bool, name: str) -> None:
    defenses = examples.together(name)
    made = trainer(
        folder / "run",
        *defenses,
        given={"model": examples.model()},
        per_device_train_batch_size=2,
        ddp_backend="gloo",
        save_strategy="steps",
        save_steps=4,
    )
    made.train(resume_from_checkpoint=resume)
    rank = made.args.process_index
    total = {name: value.double().sum().item() for name, value in weights(made).items()}
    ended = {
        "losses": losses(made),
        "result": made.result(),
        "ratio": made.stream.ratio,
        "calls": getattr(made.stream.probe, "calls", []),
        "penalties": {key: examples.logged(made, key) for key in ("kl", "ldifs")},
    }
    (folder / f"rank-{rank}.json").write_text(json.dumps({**ended, "weights": total}))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "resume", sys.argv[3])
