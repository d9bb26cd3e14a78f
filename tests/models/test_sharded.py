"""Of a model that is not split, everything is itself; split ones are in ``invariants/test_ranks.py``."""

import torch
from peft import get_peft_model

import examples
from ringfence.models.sharded import is_sharded, overwrite, run_inside, split_again, trained_state, whole
from training import lora


def test_of_a_whole_model_everything_is_itself() -> None:
    model = get_peft_model(examples.model(), lora())
    weight = model.get_output_embeddings().weight
    assert not is_sharded(model)
    assert whole(weight) is weight
    assert run_inside(model, lambda: 3) == 3
    split_again(model)
    overwrite(weight, torch.ones_like(weight))
    assert weight.unique().tolist() == [1]


def test_what_is_saved_is_the_adapter_alone_or_the_whole_model_with_its_tied_names() -> None:
    model = get_peft_model(examples.model(), lora())
    kept = trained_state(model, keep=True)
    assert {name.split(".")[-3] for name in kept} == {"lora_A", "lora_B"}
    assert trained_state(model, keep=False) == {}
    bare = examples.model()
    state = trained_state(bare, keep=True)
    assert state.keys() == bare.state_dict().keys()
    assert state["lm_head.weight"] is state["model.embed_tokens.weight"]
