"""The self-check of what is served: against PEFT, with the ways in which servers go wrong."""

from pathlib import Path

import pytest
from peft import PeftModel
from transformers import PreTrainedModel

import scripted
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.models.engine import Engine
from ringfence.models.fingerprint import Fingerprint, Verdict, distance, fingerprint, require_same, text_ids
from scripted import Scripted


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny.model().eval()


@pytest.fixture(scope="module")
def tuned(model: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PeftModel]:
    folder = tmp_path_factory.mktemp("adapter")
    return folder, scripted.adapter(folder, model)


def checked(engine: Engine, wanted: Fingerprint, folder: Path | None, dtype: str = "float32") -> Verdict:
    ids = text_ids(tiny.tokenizer())
    base, served = engine.log_probabilities(ids), engine.log_probabilities(ids, folder)
    return require_same("vLLM, my-run", wanted, served, base, dtype)


def test_what_is_served_right_passes(model: PreTrainedModel, tuned: tuple[Path, PeftModel]) -> None:
    wanted = fingerprint(tuned[1], tiny.tokenizer())
    verdict = checked(scripted.engine(Scripted(model)), wanted, tuned[0])
    assert verdict.distance < 1e-6
    assert verdict.effect == wanted.effect > 1e-3
    assert verdict.power
    assert "training has moved them by" in verdict.text
    alone = fingerprint(model, tiny.tokenizer())
    assert alone == Fingerprint(wanted.base)
    assert checked(scripted.engine(Scripted(model)), alone, None).power


def test_an_adapter_that_is_left_out_raises(model: PreTrainedModel, tuned: tuple[Path, PeftModel]) -> None:
    engine = scripted.engine(Scripted(model, leaves_out=True))
    with pytest.raises(RingfenceError, match=r"^vLLM, my-run: does not serve .* PEFT.* seems to be left out: merge it"):
        checked(engine, fingerprint(tuned[1], tiny.tokenizer()), tuned[0])


def test_a_small_effect_has_no_power_unless_nothing_moves_at_all(model: PreTrainedModel, tmp_path: Path) -> None:
    """Training moved the numbers by less than bfloat16 rounds: only a server to the bit like the base is caught."""
    wanted = fingerprint(scripted.adapter(tmp_path, model, scale=0.1), tiny.tokenizer())
    assert 0 < wanted.effect < 0.15
    verdict = checked(scripted.engine(Scripted(model)), wanted, tmp_path, "bfloat16")
    assert not verdict.power
    assert "this cannot tell" in verdict.text
    with pytest.raises(RingfenceError, match="to the bit as if nothing was trained"):
        checked(scripted.engine(Scripted(model, leaves_out=True)), wanted, tmp_path, "bfloat16")


def test_another_base_another_adapter_and_no_numbers_raise(
    model: PreTrainedModel, tuned: tuple[Path, PeftModel], tmp_path: Path
) -> None:
    wanted = fingerprint(tuned[1], tiny.tokenizer())
    with pytest.raises(RingfenceError, match="base model alone is wrong, too"):
        checked(scripted.engine(Scripted(tiny.model(seed=1).eval())), wanted, tuned[0])
    scripted.adapter(tmp_path, model, seed=5)
    with pytest.raises(RingfenceError, match="reads the adapter otherwise"):
        checked(scripted.engine(Scripted(model)), wanted, tmp_path)
    with pytest.raises(RingfenceError, match="does not serve"):
        checked(scripted.engine(Scripted(model, noise=float("nan"))), wanted, tuned[0])


def test_weights_that_are_served_as_a_whole_have_no_base_beside_them() -> None:
    """|e - p| = 0.0005; training moved by 1, so the base in place of it would be found; by 0.0015, it might not."""
    for moved, power in ((1.0, True), (0.0015, False)):
        wanted = Fingerprint([-1.0, -2.0], [-1.0 - moved, -2.0 - moved])
        served = [value + 0.0005 for value in wanted.tuned or []]
        assert require_same("x", wanted, served, None, "float32").power is power
    with pytest.raises(RingfenceError, match="has other weights"):
        require_same("x", Fingerprint([-1.0], [-2.0]), [-1.0], None, "float32")


def test_the_distance_is_the_root_mean_square() -> None:
    """sqrt((3^2 + 4^2) / 2) = sqrt(12.5)."""
    assert distance([1.0, 2.0], [4.0, 6.0]) == pytest.approx(12.5**0.5)
