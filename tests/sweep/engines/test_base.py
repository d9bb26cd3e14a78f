"""Engines by their names: which there are, and what is said of another one."""

import typing

import pytest

from ringfence.core.errors import RingfenceError
from ringfence.sweep.engines import ENGINES, Engine, engine_of
from ringfence.sweep.engines.local import LocalEngine, LocalTask
from ringfence.sweep.engines.ray import RayEngine, RayTask
from ringfence.sweep.engines.slurm import SlurmEngine, SlurmTask


def test_an_engine_that_there_is_not_is_named_with_the_nearest() -> None:
    assert set(ENGINES) == {"local", "slurm", "ray"}
    with pytest.raises(RingfenceError, match=r'^--engine slrm: no such engine\. Did you mean "slurm"\?$'):
        engine_of("slrm", None, {})


def test_jobs_are_the_slots_and_local_processes_have_no_settings() -> None:
    assert engine_of("local", 3, {}).slots == 3
    with pytest.raises(RingfenceError, match="--engine-set x: local processes have no settings but --jobs"):
        engine_of("local", None, {"x": 1})


@pytest.mark.parametrize(("engine", "task"), [(LocalEngine, LocalTask), (RayEngine, RayTask), (SlurmEngine, SlurmTask)])
def test_all_have_what_the_driver_calls(engine: type, task: type) -> None:
    handle = typing.get_type_hints(Engine.start)["return"]
    for interface, made in ((Engine, engine), (handle, task)):
        wanted = {name for name, value in vars(interface).items() if callable(value) and not name.startswith("_")}
        assert wanted <= set(dir(made))
