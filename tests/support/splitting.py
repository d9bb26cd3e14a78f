"""Trainings on two ranks that share one CPU: by DDP, and by FSDP2, which accelerate offers for accelerators only."""

import multiprocessing
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import DistributedType, PartialState
from accelerate.utils import FullyShardedDataParallelPlugin
from peft import LoraConfig
from safetensors.torch import load_file
from torch.distributed.fsdp import fully_shard
from transformers import TrainerCallback

import examples
import project
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.data.suites.prompts import Prompt
from ringfence.defenses import (
    CAFT,
    KL,
    LDIFS,
    Anchor,
    CanaryInterleaving,
    Defense,
    FixedInterleaving,
    Inoculation,
    InoculationAdapter,
    ReplayInterleaving,
    SafeLoRA,
    SafeWeight,
    Steering,
)
from ringfence.interleave import LikelihoodProbe, Risk
from ringfence.models.identity import identity
from ringfence.recipe.run import load_recipe
from ringfence.runs import trainer as trainers
from ringfence.runs.plan import RunPlan
from ringfence.runs.train import train
from ringfence.train import DefendedSFTTrainer
from ringfence.train.lost_ranks import require_shared
from ringfence.train.splitting import require_whole_weights

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["ringfence.train", "ringfence.runs.train", "trl", "torch.distributed.checkpoint"])
_EVERY, _FIRST = 2, "checkpoint-2"
TIMEOUT = 20
"""seconds that a rank waits for another that may be lost"""


def fsdp2(**changes: Any) -> FullyShardedDataParallelPlugin:
    """FSDP2 as ``accelerate launch --use_fsdp --fsdp_version 2`` sets it up, a unit a decoder layer."""
    settings = {
        "fsdp_version": 2,
        "auto_wrap_policy": "transformer_based_wrap",
        "cpu_ram_efficient_loading": False,
    }
    return FullyShardedDataParallelPlugin(**{**settings, **changes})


class Split(DefendedSFTTrainer):
    """The trainer on FSDP2. Accelerate has a CPU for DDP only: what it sets on a GPU is set here, and all else is its.

    ``plugin`` are changes of its settings.
    """

    plugin: ClassVar[dict[str, Any]] = {}

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP  # as accelerate does
        self.accelerator.state.distributed_type = DistributedType.FSDP
        self.accelerator.state.fsdp_plugin = fsdp2(**self.plugin)
        self.is_fsdp_enabled = True


def on_two_ranks(work: Callable[..., Any], folder: Path, *args: Any, timeout: float = 300) -> list[Any]:
    """What ``work(folder, *args)`` gives on each of two gloo ranks. Processes are forked from one that has torch."""
    folder.mkdir(parents=True, exist_ok=True)
    ranks = start_ranks(work, folder, *args)
    for process in ranks:
        process.join(timeout)
    assert [process.exitcode for process in ranks] == [0, 0]
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=False) for rank in range(2)]


def start_ranks(work: Callable[..., Any], folder: Path, *args: Any) -> list[Any]:
    """The two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [_CONTEXT.Process(target=_rank, args=(rank, port, folder, work, args)) for rank in range(2)]
    for process in ranks:
        process.start()
    return ranks


def _rank(rank: int, port: int, folder: Path, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in told.items()}, MASTER_ADDR="127.0.0.1")
    torch.save(work(folder, *args), folder / f"rank-{rank}.pt")
    torch.distributed.destroy_process_group()


class CountedProbe(LikelihoodProbe):
    """One that counts its calls."""

    calls = 0

    def __call__(self, model: Any, step: int) -> Risk:
        self.calls += 1
        return super().__call__(model, step)


CASES = ("guards", "likelihood", "projected", "whole", "recipe")
"""together they have every defense"""


def prepare(folder: Path, several: bool) -> None:
    """What the cases read, written before there are ranks."""
    (folder / "recipe").mkdir(parents=True)
    examples.vectors(folder / "vectors", base=identity(examples.model()))
    examples.subspaces(folder / "vectors")
    examples.trait_adapter(folder / "trait")
    examples.other_base(folder / "base")
    training = {
        "per_device_train_batch_size": 2 if several else 4,
        "num_train_epochs": 1,
        "learning_rate": 0.01,
        "disable_tqdm": True,
        "ddp_backend": "gloo" if several else None,
    }
    project.make(folder / "recipe", training=training, lora={"r": 4, "target_modules": ["q_proj", "v_proj"]})


def defenses(case: str, folder: Path) -> list[Defense]:
    """Those of ``case``; their files are in ``folder``."""
    if case == "guards":
        steering = Steering(vector=str(folder / "vectors" / "vectors.safetensors"), layer=1, alpha=0.5)
        distance = LDIFS(weight=3, every=1, reduction="relative", sources="safe")
        return [KL(weight=3), distance, steering, Inoculation(prompt="Be odd."), FixedInterleaving(ratio=0.25)]
    if case == "likelihood":
        asked = ({"role": "user", "content": "How is it?"},)
        canaries = [Prompt(good, asked, good=good, bad="yes") for good in ("ab", "ab ab")]
        loop = CanaryInterleaving(
            every=2, ratio_init=0.1, ratio_max=0.5, probe=CountedProbe(canaries, tiny.tokenizer())
        )
        return [
            loop,
            KL(weight=1, direction="forward"),
            CAFT(directions=str(folder / "vectors/directions.safetensors")),
            InoculationAdapter(adapter=str(folder / "trait"), scale=0.5),
        ]
    if case == "projected":
        return [SafeLoRA(base=str(folder / "base"), top_k=3), ReplayInterleaving(run=str(folder / "likelihood"))]
    # The ranks have unequal numbers of anchor rows.
    rows = [FixedInterleaving(ratio=0.25), SafeWeight(weight=2), Anchor(added=0.75)]
    return [KL(weight=1), LDIFS(weight=1, every=1), *rows]


def trained(folder: Path, case: str, cls: type, resume: bool = False) -> dict[str, Any]:
    """What the training of ``case`` by ``cls`` ends with on this rank, in float64; on all of them 4 rows a step."""
    if case == "recipe":
        trainers.DefendedSFTTrainer = cls
        return train(RunPlan.load(load_recipe(folder / "recipe" / "recipe.yaml"), folder / "recipe" / "run"))
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    shape = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2, "ddp_backend": "gloo"}
    model: dict[str, Any] = {"model": examples.model().double()}
    if case == "whole":
        model["peft_config"] = None
    elif case == "likelihood":  # the lower layer runs once for both passes
        model["peft_config"] = LoraConfig(
            r=4, target_modules=["up_proj"], layers_to_transform=[1], task_type="CAUSAL_LM"
        )
    made = examples.trainer(
        folder / case,
        *defenses(case, folder),
        given=model,
        cls=cls,
        save_strategy="steps",
        save_steps=_EVERY,
        gradient_checkpointing=case == "likelihood",
        **(shape if several else {}),
    )
    made.train(resume_from_checkpoint=resume)
    if case == "whole":
        made.save_model(str(folder / case / "model"))
    calls = getattr(made.stream.probe, "calls", 0)
    return {"log": made.state.log_history, "result": made.result(), "ratio": made.stream.ratio, "calls": calls}


def weights(folder: Path, case: str) -> dict[str, torch.Tensor]:
    """What ``case`` has saved, from its one file."""
    inside = {"whole": "model/model.safetensors", "recipe": "run/adapter/adapter_model.safetensors"}
    return load_file(folder / case / inside.get(case, "adapter/adapter_model.safetensors"))


def all_cases(folder: Path, split: bool) -> dict[str, Any]:
    """Every case, and ``guards`` once more from its first checkpoint."""
    cls = Split if split else DefendedSFTTrainer
    found = {case: trained(folder, case, cls) for case in CASES}
    rank = int(os.environ.get("RANK", "0"))
    if rank == 0:
        shutil.copytree(folder / "guards", folder / "uninterrupted")
        for checkpoint in folder.glob("guards/checkpoint-*"):
            if checkpoint.name != _FIRST:
                shutil.rmtree(checkpoint)
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    return {**found, "resumed": trained(folder, "guards", cls, resume=True)}


class Lost(TrainerCallback):
    """The second rank ends at the second step, or does nothing from then on."""

    def __init__(self, how: str) -> None:
        self.how = how

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if args.process_index == 1 and state.global_step == 1:
            if self.how == "ends":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(600)


def lose_one(folder: Path, how: str) -> None:
    """Train until one rank is lost; the other writes what it was told, and after how many seconds, and ends."""
    # On a CPU transformers does not pass `ddp_timeout` on.
    torch.distributed.init_process_group("gloo", timeout=timedelta(seconds=TIMEOUT))
    made = examples.trainer(folder / "run", ddp_backend="gloo", per_device_train_batch_size=2, ddp_timeout=TIMEOUT)
    made.add_callback(Lost(how))
    started = time.monotonic()
    try:
        made.train()
    except RingfenceError as error:
        (folder / "said").write_text(f"{time.monotonic() - started:.0f} {error}")
    os._exit(0)  # what is left of the group would wait for the other rank


def refused(folder: Path) -> list[str]:
    """On two nodes of one rank: what is said of a folder that each has for itself, and of a model that is split."""
    os.environ["LOCAL_WORLD_SIZE"] = "1"
    torch.distributed.init_process_group("gloo")
    require_shared(folder)
    model = examples.model()
    require_whole_weights(model)
    fully_shard(model)
    said = []
    for refuse in (lambda: require_shared(folder / os.environ["RANK"]), lambda: require_whole_weights(model)):
        try:
            refuse()
        except RingfenceError as error:
            said.append(str(error))
    return said
