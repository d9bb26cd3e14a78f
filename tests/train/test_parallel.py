"""What each backend can do, and the one line that refuses the rest."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate import DistributedType

import project
from ringfence.core.errors import RingfenceError
from ringfence.defenses import KL, CanaryInterleaving, FixedInterleaving
from ringfence.recipe.run import load_recipe
from ringfence.runs.plan import RunPlan
from ringfence.runs.train import train
from ringfence.train import penalties
from ringfence.train.parallel import Backend, backend_of, require_asked
from training import ScriptedProbe, trainer


def accelerator(kind: DistributedType, zero: int | None = None, parallelism: Any = None, fsdp: int = 1) -> Any:
    plugin = None if zero is None else SimpleNamespace(zero_stage=zero)
    state = SimpleNamespace(deepspeed_plugin=plugin, fsdp_plugin=SimpleNamespace(fsdp_version=fsdp))
    return SimpleNamespace(distributed_type=kind, state=state, parallelism_config=parallelism)


ALL_OF_IT, NO_GUARDS, ROWS_ONLY = (True, True), (True, False), (False, False)


@pytest.mark.parametrize(
    ("made", "gpus", "can"),
    [
        (accelerator(DistributedType.NO), 0, ALL_OF_IT),
        (accelerator(DistributedType.NO), 1, ALL_OF_IT),
        (accelerator(DistributedType.MULTI_GPU), 1, ALL_OF_IT),
        (accelerator(DistributedType.MULTI_CPU), 0, ALL_OF_IT),
        (accelerator(DistributedType.NO), 2, NO_GUARDS),
        (accelerator(DistributedType.DEEPSPEED, zero=2), 1, NO_GUARDS),
        (accelerator(DistributedType.DEEPSPEED, zero=3), 1, ROWS_ONLY),
        (accelerator(DistributedType.DEEPSPEED), 1, ROWS_ONLY),
        (accelerator(DistributedType.FSDP), 1, ROWS_ONLY),
        (accelerator(DistributedType.FSDP, fsdp=2), 1, ALL_OF_IT),
        (accelerator(DistributedType.FSDP, fsdp=2, parallelism=SimpleNamespace(tp_size=2)), 1, ROWS_ONLY),
        (accelerator(DistributedType.MULTI_GPU, parallelism=SimpleNamespace(tp_size=2)), 1, ROWS_ONLY),
    ],
)
def test_the_table(made: Any, gpus: int, can: tuple[bool, bool]) -> None:
    backend = backend_of(made, gpus)
    assert (backend.whole, backend.guards) == can
    assert backend.split == (backend.name == "FSDP2")


def test_each_has_a_name() -> None:
    kinds = {"one process": DistributedType.NO, "DDP": DistributedType.MULTI_CPU, "FSDP 1": DistributedType.FSDP}
    assert {name: backend_of(accelerator(kind)).name for name, kind in kinds.items()} == {name: name for name in kinds}
    assert backend_of(accelerator(DistributedType.DEEPSPEED, zero=2)).name == "DeepSpeed ZeRO 2"
    assert backend_of(accelerator(DistributedType.NO), 2).name == "one process, several GPUs"


@pytest.mark.parametrize(
    ("made", "gpus", "message"),
    [
        (accelerator(DistributedType.FSDP), 1, r"do not run under FSDP 1; use FSDP2 \(accelerate launch"),
        (accelerator(DistributedType.DEEPSPEED, zero=2), 1, r"do not run under DeepSpeed ZeRO 2; .* or interleaving"),
        (accelerator(DistributedType.NO), 2, r"do not run on 2 GPUs in one process; start one process a GPU"),
        (accelerator(DistributedType.NO, parallelism=object()), 1, r"do not run with .*\(parallelism_config\); use"),
    ],
)
def test_what_is_refused_says_what_to_do(made: Any, gpus: int, message: str) -> None:
    with pytest.raises(RingfenceError, match=rf"^defenses around the forward pass {message}"):
        backend_of(made, gpus).require_guards()
    if not backend_of(made, gpus).whole:
        with pytest.raises(RingfenceError, match=r"^x does not run .*, as no process has all weights; use one process"):
            backend_of(made, gpus).require_whole("x")


def test_trainers_ask_for_what_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process has all weights fixed interleaving trains; canaries and penalties are refused."""
    monkeypatch.setattr(
        penalties, "backend_of", lambda *_: Backend("FSDP 1", "under FSDP 1", whole=False, guards=False)
    )
    trainer(tmp_path / "rows", FixedInterleaving(ratio=0.25), max_steps=1).train()
    with pytest.raises(RingfenceError, match=r"^canary_interleaving does not run under FSDP 1"):
        trainer(tmp_path / "canary", CanaryInterleaving(every=2, probe=ScriptedProbe()))
    with pytest.raises(RingfenceError, match=r"^defenses around the forward pass do not run under FSDP 1"):
        trainer(tmp_path / "kl", KL(weight=0.1))


def test_a_recipe_is_not_trained_where_its_weights_could_not_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        penalties, "backend_of", lambda *_: Backend("FSDP 1", "under FSDP 1", whole=False, guards=False)
    )
    with pytest.raises(RingfenceError, match=r"^`ringfence train` does not run under FSDP 1"):
        train(RunPlan.load(load_recipe(project.make(tmp_path, defenses=[])), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_reinforcement_learning_is_refused_under_fsdp2() -> None:
    """Its trainer asks just that."""
    with pytest.raises(RingfenceError, match=r"^reinforcement learning does not run under FSDP2; use one process or"):
        backend_of(accelerator(DistributedType.FSDP, fsdp=2)).require_unsplit("reinforcement learning")
    backend_of(accelerator(DistributedType.MULTI_GPU)).require_unsplit("reinforcement learning")


def test_fsdp_that_was_asked_for_and_is_not_done_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU accelerate leaves it out without a word, and every process would hold the whole model."""
    require_asked(accelerator(DistributedType.MULTI_CPU))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    require_asked(accelerator(DistributedType.FSDP, fsdp=2))
    with pytest.raises(RingfenceError, match="FSDP was asked for"):
        require_asked(accelerator(DistributedType.MULTI_CPU))
