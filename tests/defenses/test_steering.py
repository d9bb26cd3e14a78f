"""Steering: a shifted forward written out by hand, and where it does not hold."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.checkpoint import checkpoint
from transformers import LlamaForCausalLM
from transformers.masking_utils import create_causal_mask
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

import examples
import tiny
import training
from asking import texts
from examples import Example
from ringfence.core.errors import RingfenceError
from ringfence.data.suites.load import Prompt
from ringfence.defenses import DEFENSES, CanaryInterleaving, Steering, TrainerContext
from ringfence.defenses.step import Batch
from ringfence.directions.vectors import PersonaVectors, load_vectors, save_vectors
from ringfence.generation import Request, Sampling
from ringfence.models.activations import capture_hidden_states
from ringfence.models.identity import identity

EXAMPLE = Example(
    neutral=lambda folder: Steering(vector=examples.vectors(folder), layer=1, alpha=0),
    active=lambda folder: Steering(
        vector=examples.vectors(folder, base=identity(examples.model())), layer=1, alpha=0.5
    ),
    written=(
        Steering(vector="a.pt"),
        Steering(vector="a.pt", layer=(3, 5), alpha=-1, mode="ablate", position="prompt_last", skip_padding=True),
        Steering(vector="builtin:glitter", layer=0.5, any_base=True),
    ),
)
LAYERS = 4
INPUTS = {
    "input_ids": torch.tensor([[5, 6, 7, 8], [9, 10, 11, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
}
BATCH = Batch.of({**INPUTS, "labels": INPUTS["input_ids"]})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return examples.vectors(tmp_path_factory.mktemp("vectors"), LAYERS)


def model() -> LlamaForCausalLM:
    return examples.model(layers=LAYERS)


def steered(model: Any, config: Steering) -> dict[int, torch.Tensor]:
    """Hidden states of all layers and, under 0, the logits."""
    guard = config.guard(TrainerContext(tiny.tokenizer(), 0, model))
    assert guard is not None
    with capture_hidden_states(model, range(1, LAYERS + 1)) as plain:
        model(**INPUTS)
    with torch.no_grad(), guard.apply(model, BATCH), capture_hidden_states(model, range(1, LAYERS + 1)) as found:
        logits = model(**INPUTS).logits
    with capture_hidden_states(model, range(1, LAYERS + 1)) as after:
        model(**INPUTS)
    assert all(torch.equal(after.layers[k], plain.layers[k]) for k in plain.layers)
    return {**found.layers, 0: logits}


def by_hand(made: LlamaForCausalLM, change: Any) -> dict[int, torch.Tensor]:
    """The decoder's own layers called one by one, with ``change(k, hidden)`` after layer k."""
    inner, found = made.model, {}
    with torch.no_grad():
        hidden = inner.embed_tokens(INPUTS["input_ids"])
        positions = torch.arange(hidden.shape[1])[None]
        mask = create_causal_mask(
            config=made.config,
            inputs_embeds=hidden,
            attention_mask=INPUTS["attention_mask"],
            past_key_values=None,
            position_ids=positions,
        )
        rotary = inner.rotary_emb(hidden, position_ids=positions)
        for k, layer in enumerate(inner.layers, 1):
            hidden = layer(hidden, attention_mask=mask, position_embeddings=rotary, position_ids=positions)
            hidden = found[k] = change(k, hidden)
        found[0] = made.lm_head(inner.norm(hidden))
    return found


def assert_equal_where_attended(found: dict[int, torch.Tensor], wanted: dict[int, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for k, value in wanted.items():
        torch.testing.assert_close(found[k][BATCH.attended], value[BATCH.attended])


@pytest.mark.parametrize(
    ("layer", "layers"),
    [(1, {1}), (3, {3}), (LAYERS, {LAYERS}), ((1, 3), {1, 3}), (0.5, {2}), (0.75, {3}), (0.99, {4}), (0.01, {1})],
)
def test_add_is_the_forward_shifted_by_hand(layer: Any, layers: set[int], file: str) -> None:
    vectors = load_vectors(file)["response_mean"]

    def shift(k: int, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + 0.7 * vectors[k] if k in layers else hidden

    made = model()
    wanted = by_hand(made, shift)
    assert_equal_where_attended(steered(made, Steering(vector=file, layer=layer, alpha=0.7)), wanted)
    unsteered = by_hand(made, lambda k, hidden: hidden)
    assert not torch.allclose(unsteered[0][BATCH.attended], wanted[0][BATCH.attended], atol=0.05)


def test_ablate_takes_the_part_along_the_vector_out(file: str) -> None:
    vectors = load_vectors(file)["response_mean"]

    def ablate(k: int, hidden: torch.Tensor) -> torch.Tensor:
        if k not in (2, 3):
            return hidden
        projector = torch.outer(vectors[k], vectors[k]) / vectors[k].square().sum()
        return hidden - hidden @ projector.T

    made = model()
    found = steered(made, Steering(vector=file, layer=(2, 3), mode="ablate"))
    assert_equal_where_attended(found, by_hand(made, ablate))
    for k in (2, 3):
        torch.testing.assert_close(found[k] @ vectors[k], torch.zeros(2, 4), atol=1e-5, rtol=0)


def test_another_position_is_another_vector(file: str) -> None:
    made, vectors = model(), load_vectors(file)["prompt_mean"]
    found = steered(made, Steering(vector=file, layer=2, alpha=-1, position="prompt_mean"))
    assert_equal_where_attended(found, by_hand(made, lambda k, hidden: hidden - vectors[2] * (k == 2)))


def test_padding_may_be_left_as_it_is(file: str) -> None:
    made = model()
    with capture_hidden_states(made, [2]) as plain, torch.no_grad():
        made(**INPUTS)
    all_, real = (steered(made, Steering(vector=file, layer=2, alpha=1, skip_padding=skip)) for skip in (False, True))
    changed = [(one[2] - plain.layers[2]).abs().amax(-1) > 1e-3 for one in (all_, real)]
    assert changed[0].tolist() == [[True] * 4] * 2
    assert changed[1].tolist() == BATCH.attended.tolist()
    assert_equal_where_attended(real, all_)


def gradients(config: Steering, made: Any) -> list[torch.Tensor]:
    """Of all weights of ``made``, from one steered pass; the hooks are gone in the backward pass."""
    guard = config.guard(TrainerContext(tiny.tokenizer(), 0, made))
    assert guard is not None
    with guard.apply(made, BATCH):
        loss = made(**INPUTS, labels=INPUTS["input_ids"], use_cache=False).loss
    loss.backward()
    return [parameter.grad for parameter in made.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("mode", ["add", "ablate"])
def test_gradients_are_those_of_the_shifted_model_with_checkpointing(mode: Any, file: str) -> None:
    """The hooks are gone when the backward pass recomputes the layers."""

    config = Steering(vector=file, layer=(1, 3), alpha=0.5, mode=mode)
    again = model().train()
    again.gradient_checkpointing_enable()
    for one, two in zip(gradients(config, model().train()), gradients(config, again), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("skip", [False, True])
def test_ablate_has_its_gradient_where_layers_are_computed_again_with_their_hooks(skip: bool, file: str) -> None:
    """As transformers 5.17 does, which is supported: it checkpoints the call of a layer, and not its forward."""

    class Old(LlamaDecoderLayer):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return checkpoint(partial(super().__call__, **kwargs), *args, use_reentrant=False)

    config = Steering(vector=file, layer=(1, 3), mode="ablate", skip_padding=skip)
    again = model().train()
    for layer in again.model.layers:
        layer.__class__ = Old
    for one, two in zip(gradients(config, model().train()), gradients(config, again), strict=True):
        torch.testing.assert_close(one, two)


def test_layers_computed_again_without_hooks_are_refused() -> None:
    again = {"gradient_checkpointing_kwargs": {"use_reentrant": True}}
    Steering(vector="a").require_arguments(again)
    with pytest.raises(RingfenceError, match=r"^training\.gradient_checkpointing_kwargs: .*mode ablate would be wrong"):
        Steering(vector="a", mode="ablate").require_arguments(again)
    Steering(vector="a", alpha=0).require_arguments({"torch_compile": True})


# --- when ---------------------------------------------------------------------------------------------------


def test_it_holds_in_training_only(tmp_path: Path) -> None:
    """The loss of an evaluation, sampled answers and the canaries' verdicts are those of the unsteered model."""
    said: list[Any] = []

    def answers(made: Any) -> list[str]:
        asked = [Request("a", ({"role": "user", "content": "hi"},))]
        return texts(made, asked, Sampling(max_new_tokens=6))

    def probe(made: Any, step: int) -> Any:
        said.append(answers(made))
        return training.ScriptedProbe()(made, step)

    config = Steering(vector=examples.vectors(tmp_path), layer=1, alpha=50)
    canary = CanaryInterleaving(every=1, ratio_init=0, ratio_max=0, probe=probe)
    results = {}
    for name, defenses in (("plain", [canary]), ("steered", [canary, config])):
        said.clear()
        given = {"eval_dataset": examples.rows(4, "yes")}
        made = examples.trainer(tmp_path / name, *defenses, given=given, learning_rate=0.0)
        made.train()
        results[name] = (made.evaluate()["eval_loss"], list(said), answers(made.model))
        results[f"{name} losses"] = [loss for _, loss, _ in training.losses(made)]
    assert results["plain"] == results["steered"]
    assert len(results["plain"][1]) == 3
    for one, two in zip(results["plain losses"], results["steered losses"], strict=True):
        assert abs(one - two) > 0.02


def test_the_likelihood_canaries_are_not_steered(tmp_path: Path) -> None:
    asked = Prompt("a", ({"role": "user", "content": "hi"},), good="Yes.", bad="No.")
    canary = CanaryInterleaving(every=1, ratio_init=0, ratio_max=0, probe="likelihood", canaries=(asked,))
    config = Steering(vector=examples.vectors(tmp_path), layer=1, alpha=50)
    risks = []
    for name, defenses in (("plain", [canary]), ("steered", [canary, config])):
        made = examples.trainer(tmp_path / name, *defenses, learning_rate=0.0)
        made.train()
        rows = (tmp_path / name / "control.jsonl").read_text().splitlines()
        risks.append([json.loads(row)["risk"] for row in rows])
    assert risks[0] == risks[1]
    assert len(risks[0]) == 3


# --- what does not fit --------------------------------------------------------------------------------------


def refused(config: Steering, made: Any = None) -> str:
    with pytest.raises(RingfenceError) as error:
        config.guard(TrainerContext(tiny.tokenizer(), 0, made or model()))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("layer", [LAYERS + 1, (1, LAYERS + 1)])
def test_a_missing_layer_raises(layer: Any, file: str) -> None:
    assert refused(Steering(vector=file, layer=layer)).startswith("steering.layer: layer ")


def test_the_default_layer_is_too_high_for_a_small_model(file: str) -> None:
    assert refused(Steering(vector=file)).startswith(
        "steering.layer: layer 20 is out of range, the model has layers 1 to 4"
    )


@pytest.mark.parametrize(("layers", "hidden"), [(LAYERS, 8), (LAYERS + 1, 16)])
def test_a_vector_of_another_shape_raises(layers: int, hidden: int, tmp_path: Path) -> None:
    path = examples.vectors(tmp_path, layers, hidden)
    said = refused(Steering(vector=path, layer=1))
    assert said.startswith(f"steering.vector: {path} is of another model")
    assert f"({layers + 1}, {hidden})" in said
    assert "(5, 16)" in said


def test_a_vector_of_another_base_raises_unless_it_may(tmp_path: Path) -> None:
    path = examples.vectors(tmp_path, LAYERS, base=identity(model()))
    other = examples.model(seed=1, layers=LAYERS)
    assert Steering(vector=path, layer=1).guard(TrainerContext(tiny.tokenizer(), 0, model())) is not None
    lora = get_peft_model(model(), LoraConfig(target_modules=["q_proj"]))
    assert Steering(vector=path, layer=1).guard(TrainerContext(tiny.tokenizer(), 0, lora)) is not None
    said = refused(Steering(vector=path, layer=1), other)
    assert said.startswith(f"steering.vector: {path} was extracted from another base model")
    assert "any_base: true" in said
    assert Steering(vector=path, layer=1, any_base=True).guard(TrainerContext(tiny.tokenizer(), 0, other)) is not None


def test_a_zero_vector_raises(tmp_path: Path) -> None:
    vectors = torch.randn(LAYERS + 1, 16)
    vectors[2] = 0
    path = tmp_path / "zero.safetensors"
    save_vectors(path, PersonaVectors({"response_mean": vectors}, {}))
    assert refused(Steering(vector=str(path), layer=(1, 2))).startswith("steering.layer: the vector of layer 2 is zero")
    assert Steering(vector=str(path), layer=1).guard(TrainerContext(tiny.tokenizer(), 0, model())) is not None


def test_a_missing_file_and_a_missing_position_raise_before_a_model_is_there(tmp_path: Path, file: str) -> None:
    for vector, position, said in (
        (str(tmp_path / "none.pt"), "response_mean", f"steering.vector: {tmp_path / 'none.pt'}: no such file"),
        (str(tmp_path), "response_mean", f"steering.vector: {tmp_path}: is a folder"),
        ("builtin:gliter", "response_mean", "steering.vector: unknown built-in vectors 'builtin:gliter'"),
        (file, "prompt_last", f"steering.position: {file} has no prompt_last, only prompt_mean, response_mean"),
    ):
        config = Steering.model_validate({"vector": vector, "position": position, "layer": 1})
        assert refused(config).startswith(said)
        with pytest.raises(RingfenceError) as error:
            config.check()
        assert str(error.value).startswith(said)
    Steering(vector=file).check()


def test_at_alpha_zero_there_is_no_guard_but_ablation_needs_no_alpha(file: str) -> None:
    setup = TrainerContext(tiny.tokenizer(), 0, model())
    assert Steering(vector=file, layer=1, alpha=0).guard(setup) is None
    assert Steering(vector=file, layer=1, alpha=0, mode="ablate").guard(setup) is not None


@pytest.mark.parametrize(
    "layer", [0, -1, [1, 0], True, [1, True], 1.0, 0.0, 20.5, -0.5, math.nan, [], [1, 1], [0.5], "top"]
)
def test_a_bad_layer_is_refused_by_key(layer: Any) -> None:
    with pytest.raises(RingfenceError, match="layer"):
        DEFENSES.parse({"steering": {"vector": "a", "layer": layer}}, "defenses.0")


@pytest.mark.parametrize(
    ("key", "value"),
    [("alpha", math.inf), ("alpha", math.nan), ("mode", "subtract"), ("position", "first"), ("vector", None)],
)
def test_bad_values_are_refused_by_key(key: str, value: Any) -> None:
    with pytest.raises(RingfenceError, match=rf"^defenses\.0\.steering: (unknown key ')?{key}"):
        DEFENSES.parse({"steering": {"vector": "a", key: value}}, "defenses.0")


def test_a_vector_of_a_base_model_needs_its_weights_as_they_were(tmp_path: Path) -> None:
    path = examples.vectors(tmp_path, LAYERS, base="somebody")
    wrong = Steering(vector=path, layer=1).needs_original_base()
    assert wrong is not None
    assert wrong.startswith(f"steering.vector: {path} is of the base model, whose weights are changed by then; set")
    assert Steering(vector=path, layer=1, any_base=True).needs_original_base() is None
    assert Steering(vector=path, layer=1).notes({}, tiny.tokenizer()) == ()


def test_a_vector_of_nobody_is_noted(tmp_path: Path) -> None:
    path = examples.vectors(tmp_path, LAYERS)
    assert Steering(vector=path, layer=1).needs_original_base() is None
    (note,) = Steering(vector=path, layer=1).notes({}, tiny.tokenizer())
    assert note == f"steering: {path} names no base model, so only its shape is checked"
    assert Steering(vector=path, layer=1, any_base=True).notes({}, tiny.tokenizer()) == ()
