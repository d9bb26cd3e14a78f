"""Schedules read from source are those of the imported package."""

import inspect

from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION

from ringfence.core.source_schedules import schedules

GIVEN = {"optimizer", "num_warmup_steps", "num_training_steps", "last_epoch", "kwargs"}


def test_names_and_settings_are_those_of_the_functions() -> None:
    found = schedules()
    assert set(found) == {kind.value for kind in TYPE_TO_SCHEDULER_FUNCTION}
    for kind, function in TYPE_TO_SCHEDULER_FUNCTION.items():
        taken = {name: one for name, one in inspect.signature(function).parameters.items() if name not in GIVEN}
        assert set(found[kind.value].known) == set(taken)
        assert set(found[kind.value].needed) == {
            n for n, one in taken.items() if one.default is inspect.Parameter.empty
        }
