"""Whether a run kept its task."""

import math
from typing import Any

import pytest
from tests.report.conftest import rate

from ringfence.core.errors import RingfenceError
from ringfence.report.keeping import kept_task, task_reference
from ringfence.report.loading import load_run

LOG = [{"step": 1}]


@pytest.fixture
def doing(make_run):
    """``doing("a", 0.8, 0.6, 0.9)``: a trained run with that rate on the task; ``log=[]`` for the untuned model."""

    def make(name, *value_low_high, log=LOG):
        return load_run(make_run(name, log=log, rates=[rate("in-domain", "misaligned_all", *value_low_high)]))

    return make


def test_a_run_that_lost_the_task(doing: Any) -> None:
    """0.95 [0.85, 1] against 0.0 [0, 0.1]: lost 0.95, at least 0.95 - sqrt(0.1^2 + 0.1^2) = 0.81 of it."""
    none, useless = doing("none", 0.95, 0.85, 1.0), doing("inoculation", 0.0, 0.0, 0.1)
    found = kept_task(useless, none)
    assert (found.kept, found.sure, found.reference) == (False, True, "none")
    assert found.lost.value == pytest.approx(0.95)
    assert found.lost.low == pytest.approx(0.95 - math.sqrt(0.02))
    assert found.why == "lost: 0.0% on in-domain, 95.0 points below none"


def test_a_loss_within_what_is_allowed(doing: Any) -> None:
    none, run = doing("none", 0.95, 0.85, 1.0), doing("b", 0.90, 0.80, 0.95)
    assert kept_task(run, none).kept
    assert not kept_task(run, none).sure  # up to 0.05 + sqrt(0.05^2 + 0.1^2) = 0.16 of it may be lost
    assert "may be chance" in kept_task(run, none).why
    assert not kept_task(run, none, allowed=0.04).kept
    assert kept_task(run, none, allowed=0.2).sure
    assert kept_task(none, none).sure


def test_doing_more_is_no_loss(doing: Any) -> None:
    found = kept_task(doing("b", 1.0, 0.9, 1.0), doing("none", 0.9, 0.8, 0.95))
    assert found.kept
    assert "10.0 points above none" in found.why


def test_a_task_that_was_not_asked_is_not_known(doing: Any, make_run: Any) -> None:
    unasked = load_run(make_run("b", log=LOG, rates=[rate("general", "misaligned_all", 0.1, 0.0, 0.2)]))
    none = doing("none", 0.9, 0.8, 0.95)
    for found in (kept_task(unasked, none), kept_task(none, unasked), kept_task(unasked, unasked)):
        assert found.kept is None
        assert not found.sure


def test_the_untuned_model_is_no_reference(doing: Any) -> None:
    base, low, high = doing("base", 0.0, 0.0, 0.1, log=[]), doing("a", 0.5, 0.3, 0.7), doing("b", 0.9, 0.8, 0.95)
    assert task_reference([base, low, high], "base") is high
    assert task_reference([base, low, high], "a") is low
    assert task_reference([base, low, high, none := doing("none", 0.8, 0.7, 0.9)], "base") is none
    assert task_reference([base]) is None


def test_what_is_allowed_is_a_fraction(doing: Any) -> None:
    none = doing("none", 0.9, 0.8, 0.95)
    with pytest.raises(RingfenceError, match=r"loss of 10 is allowed: give a fraction"):
        kept_task(none, none, allowed=10)
