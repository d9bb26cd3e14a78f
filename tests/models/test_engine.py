"""An engine: adapters by the digest of their weights, and memory that is given back."""

import gc
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import scripted
import tiny
from ringfence.core.run_folder import weights_digest
from ringfence.models.engine import Draw
from scripted import Scripted


def test_an_adapter_has_a_name_of_its_weights_and_a_number_that_nobody_had(tmp_path: Path) -> None:
    model = tiny.model().eval()
    scripted.adapter(tmp_path / "a", model, seed=0)
    scripted.adapter(tmp_path / "b", model, seed=1)
    engine, other = scripted.engine(Scripted(model)), scripted.engine(Scripted(model))
    first, second, again = engine.lora(tmp_path / "a"), engine.lora(tmp_path / "b"), engine.lora(tmp_path / "a")
    assert first == again
    assert first.name == f"ringfence-{weights_digest(tmp_path / 'a')[:16]}"
    assert {first.name, first.number}.isdisjoint({second.name, second.number})
    assert other.lora(tmp_path / "a").number not in (first.number, second.number)
    # Other weights in the same folder are another adapter.
    path = tmp_path / "a" / "adapter_model.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, path)
    changed = engine.lora(tmp_path / "a")
    assert changed.name != first.name
    assert changed.number not in (first.number, second.number)


def test_log_probabilities_are_those_of_a_plain_forward_pass(tmp_path: Path) -> None:
    model = tiny.model().eval()
    tuned = scripted.adapter(tmp_path / "a", model)
    engine, ids = scripted.engine(Scripted(model)), [5, 9, 40, 7]
    for folder, one in ((None, model), (tmp_path / "a", tuned)):
        logits = one(input_ids=torch.tensor([ids])).logits[0]
        wanted = [logits[at].log_softmax(-1)[token].item() for at, token in enumerate(ids[1:])]
        assert engine.log_probabilities([ids], folder)[0] == pytest.approx(wanted, abs=1e-6)


def test_an_engine_that_nobody_holds_gives_its_memory_back() -> None:
    backend = Scripted(tiny.model().eval())
    engine = scripted.engine(backend)
    assert len(engine.generate([[5]], [Draw()])) == 1
    assert engine.generate([], []) == []
    assert not backend.closed
    del engine
    gc.collect()
    assert backend.closed
