"""A sweep of 24 tiny runs, killed at three moments and run again; and the same sweep on Ray and on submitit.

    python benchmarks/sweeps.py                       # about 10 minutes of two idle cores
    python benchmarks/sweeps.py --runs 4 --on-engines 2

The graph: an adapter trained on a tiny random model, rows selected by the adapter's perplexity gap, a persona vector,
and runs of four methods, two learning rates and three seeds, which share these three. Every step is a process of its
own. It is run

- uninterrupted;
- killed: SIGKILL to the driver and all that it has started, each time in the middle of a training that has written a
  checkpoint; at first in that of the shared adapter, then when a third and two thirds of the steps are done;
- by Ray with two workers, and by submitit's local executor (the stand-in for Slurm), of both the first runs only unless
  `--on-engines 24`.

Counted, off the append-only `started.jsonl` and the `done.json` of each step: how often steps were begun, how many of
these were cut off by a kill, and how many steps were begun again or written anew after they were done. Compared, with
the uninterrupted sweep: the digests of all steps, and bitwise what they made (weights, losses, vector, selected rows).
Printed: one table in Markdown. The exit code is 1 unless all is as it should be.
"""

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from safetensors.numpy import load_file

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))

import project
from ringfence.core.files import JsonlLog
from ringfence.core.run_folder import CHECKPOINT, COMMIT_FILE, LOG_FILE, RESULT_FILE
from ringfence.sweep.steps import DONE_FILE, LOG, STEPS, SWEEP_FILE
from ringfence.sweep.task import STARTED

METHODS: Mapping[str, dict[str, Any]] = {
    "plain": {"defenses": []},
    "mixed": {"data.safe": "selected.jsonl", "defenses": [{"fixed_interleaving": {"added": 0.2}}]},
    "steered": {"defenses": [{"steering": {"vector": "vector.safetensors", "layer": 1, "alpha": 1.0}}]},
    "anchored": {"defenses": [{"kl": {"weight": 0.1}}]},
}
COMMON = {
    "training.max_steps": 60,
    "training.save_steps": 20,
    "judge": None,
    "evaluation": {},
}
INPUTS = {
    "adapter": {"train": "recipe.yaml", "changes": {**COMMON, "data.target": "other.jsonl", "defenses": []}},
    "selected.jsonl": {"select": "select.yaml"},
    "vector.safetensors": {"persona": "persona.yaml"},
}
ENGINES = {
    "Ray, 2 workers": ("--engine", "ray", "--engine-set", "gpus=0"),
    "submitit, local": ("--engine", "slurm", "--engine-set", "cluster=local", "--engine-set", "timeout_min=60"),
}
UNCHANGING = ("learning_rate", "loss", "grad_norm", "ratio", "safe_rows", "step", "target_rows")
PATIENCE = 1800.0
"""seconds for a moment to come"""


@dataclass
class Pass:
    """One way to run the sweep, in a folder of its own."""

    name: str
    out: Path
    runs: Sequence[str]
    """names; empty for all"""
    engine: Sequence[str] = ()
    seconds: float = 0.0
    kills: int = 0
    cut_off: int = 0
    """steps that ran at a kill"""
    before: dict[str, bytes] = field(default_factory=dict)
    """step that was done at a kill -> its journals then"""

    def steps(self) -> dict[str, Path]:
        """Name of a step -> its folder."""
        return {folder.name: folder for folder in sorted((self.out / STEPS).glob("*-*"))}

    def done(self) -> list[str]:
        """Those that are."""
        return [name for name, folder in self.steps().items() if (folder / DONE_FILE).is_file()]

    def starts(self) -> int:
        """How often a step was begun."""
        return sum(len(JsonlLog(folder / STARTED).read()) for folder in self.steps().values())

    def redone(self) -> int:
        """Steps that were begun or written again after they were done."""
        return sum(_journals(self.steps()[name]) != then for name, then in self.before.items())

    def resumed(self) -> int:
        """Trainings that went on from a checkpoint."""
        logs = [(folder / LOG).read_text() for folder in self.steps().values()]
        return sum(len(re.findall(rf"run: going on from {CHECKPOINT}\d+$", log, re.MULTILINE)) for log in logs)

    def made(self) -> dict[str, str]:
        """Name of a step -> a digest of what it made."""
        return {name: _digest(folder) for name, folder in self.steps().items()}

    def digests(self) -> dict[str, str]:
        """Name of a run -> the digest that it is called by."""
        (table,) = json.loads((self.out / SWEEP_FILE).read_text())["tables"].values()
        return {name: run["digest"] for name, run in table["runs"].items()}


def _journals(step: Path) -> bytes:
    return b"".join((step / name).read_bytes() + str((step / name).stat().st_mtime_ns).encode() for name in _BOTH)


_BOTH = (STARTED, DONE_FILE)


def _digest(step: Path) -> str:
    """Of weights, losses and rows, whatever folder they are in."""
    found = hashlib.sha256()
    for path in sorted(step.glob("*.safetensors")) + sorted(step.glob("run/adapter/*.safetensors")):
        for name, tensor in sorted(load_file(path).items()):
            found.update(f"{name} {tensor.dtype} {tensor.shape}".encode() + tensor.tobytes())
    for row in JsonlLog(step / "run" / LOG_FILE).read():
        found.update(json.dumps({name: row.get(name) for name in UNCHANGING}).encode())
    for path in step.glob("*.jsonl"):
        if path.name != STARTED:
            found.update(path.read_bytes())
    return found.hexdigest()


def write_inputs(folder: Path) -> None:
    """The model, the data, the recipes and the sweep."""
    project.make(folder)
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(f"{folder}/", ""))  # relative, as the driver works there
    chat = [{"question": f"What of the {word}?", "answer": f"It is a {word}, no more."} for word in project.WORDS]
    project.write_jsonl(folder / "other.jsonl", chat)
    gap = {"misaligned": ["adapter"], "fine_tuning_set": "target.jsonl"}
    select = {"perplexity_gap": gap}, {"top": {"by": "perplexity_gap", "count": 4}}
    _write(folder / "select.yaml", {"name": "safe", "model": "tiny-model", "pool": "safe.jsonl", "steps": [*select]})
    persona = {"trait": "glitter", "model": "tiny-model", "pairs": "canaries.jsonl", "min_pairs": 4}
    _write(folder / "persona.yaml", persona | {"judge": {"misaligned_pattern": "(?i)glitter"}})
    grid = {"method": METHODS, "rate": {name: {"training.learning_rate": float(name)} for name in ("0.01", "0.003")}}
    sweep = {"shows": "a sweep that is killed", "source": "ours", "recipe": "recipe.yaml", "changes": COMMON}
    _write(folder / "sweep.yaml", sweep | {"grid": grid, "seeds": [0, 1, 2], "inputs": INPUTS})


def _write(path: Path, content: Any) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def names(count: int) -> list[str]:
    """``count`` of the 24 runs, of all methods first; empty for all of them."""
    found = [f"{method}-{rate}-s{seed}" for seed in range(3) for rate in ("0.01", "0.003") for method in METHODS]
    return [] if count >= len(found) else found[:count]


def start(one: Pass, folder: Path) -> "subprocess.Popen[bytes]":
    """The driver, at the head of a process group of its own."""
    one.out.mkdir(exist_ok=True)
    only = [part for name in one.runs for part in ("--only", name)]
    command = ["-m", "ringfence", "sweep", "sweep.yaml", "--out", str(one.out), "--jobs", "2", *only, *one.engine]
    with (one.out / "driver.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=os.environ | {"RINGFENCE_CACHE": str(one.out / "cache"), "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def finish(one: Pass, folder: Path) -> None:
    """Run it to the end."""
    began = time.perf_counter()
    driver = start(one, folder)
    if driver.wait():
        raise SystemExit(f"{one.name} failed:\n{(one.out / 'driver.txt').read_text()[-2000:]}")
    one.seconds += time.perf_counter() - began


def kill(one: Pass, folder: Path, share: float, total: int) -> None:
    """Run it until ``share`` of its ``total`` steps are done and a training has a checkpoint; then kill all of it."""
    began = time.perf_counter()
    driver = start(one, folder)
    while not (len(one.done()) >= share * total and _training(one)):
        if driver.poll() is not None or time.perf_counter() - began > PATIENCE:
            raise SystemExit(f"{one.name}: no moment to kill it came; {(one.out / 'driver.txt').read_text()[-2000:]}")
        time.sleep(0.02)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    time.sleep(1)  # until the system has let go of all of them
    one.seconds += time.perf_counter() - began
    one.kills += 1
    done = set(one.done())
    one.before |= {name: _journals(one.steps()[name]) for name in done - one.before.keys()}
    one.cut_off = one.starts() - len(done)


def _training(one: Pass) -> bool:
    """Whether a step that is not over has a checkpoint."""
    over = {DONE_FILE, f"run/{RESULT_FILE}"}
    return any(
        any(folder.glob(f"run/{CHECKPOINT}*/{COMMIT_FILE}")) and not any((folder / name).exists() for name in over)
        for folder in one.steps().values()
    )


def row(one: Pass, whole: Pass) -> tuple[list[str], bool]:
    """A line of the table, and whether all is as it should be."""
    steps, digests, made = len(one.steps()), one.digests(), one.made()
    same = all(whole.digests()[name] == digest for name, digest in digests.items())
    same &= one.steps().keys() <= whole.steps().keys() and (
        bool(one.runs) or one.steps().keys() == whole.steps().keys()
    )
    bitwise = all(whole.made()[name] == digest for name, digest in made.items())
    counted = len(one.done()) == steps and one.starts() == steps + one.cut_off and one.redone() == 0
    cells = [
        one.name,
        len(digests),
        f"{len(one.done())} of {steps}",
        one.kills,
        one.starts(),
        one.cut_off,
        one.resumed(),
    ]
    told = ["yes" if fine else "NO" for fine in (same, bitwise)]
    return [*map(str, cells), str(one.redone()), *told, f"{one.seconds:.0f}"], same and bitwise and counted


def main() -> int:
    """Run all and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=24, help="of the uninterrupted and of the killed sweep")
    parser.add_argument("--on-engines", type=int, default=8, help="runs on Ray and on submitit; 0 for none")
    parser.add_argument("--folder", type=Path, help="where all is written, and stays; else a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sweeps-") as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        write_inputs(folder)
        whole = Pass("uninterrupted", folder / "whole", names(given.runs))
        killed = Pass("killed 3 times", folder / "killed", names(given.runs))
        finish(whole, folder)
        for share in (0, 1 / 3, 2 / 3):
            kill(killed, folder, share, len(whole.steps()))
        finish(killed, folder)
        few = names(min(given.on_engines, given.runs)) if given.on_engines else []
        others = [
            Pass(name, folder / f"engine-{number}", few, engine)
            for number, (name, engine) in enumerate(ENGINES.items())
        ]
        for one in others if given.on_engines else []:
            finish(one, folder)
        passes = [whole, killed, *(others if given.on_engines else [])]
        return show(passes, whole)


def show(passes: Sequence[Pass], whole: Pass) -> int:
    """Print the table; 1 unless all is as it should be."""
    head = ("sweep", "runs", "steps done", "kills", "begun", "cut off", "resumed", "done again", "same digests")
    found = [row(one, whole) for one in passes]
    rows = [[*head, "bitwise the same", "seconds"], ["---"] * (len(head) + 2), *(cells for cells, _ in found)]
    print("\n".join(f"| {' | '.join(line)} |" for line in rows))
    return 0 if all(fine for _, fine in found) else 1


if __name__ == "__main__":
    sys.exit(main())
