"""Projection of a LoRA update, against dense matrices written out; V comes from a tiny random pair of models."""

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from pydantic import ValidationError
from transformers import LlamaForCausalLM, MistralForCausalLM

import tiny
import training
from compatibility import Part
from examples import Example, other_base
from ringfence.core.errors import RingfenceError
from ringfence.core.files import write_json
from ringfence.defenses import SafeLoRA, TrainerContext
from ringfence.defenses.safe_lora import SafeLoRAHook
from ringfence.models import Loaded, load

EXAMPLE = Example(
    neutral=lambda folder: SafeLoRA(base=other_base(folder / "base"), threshold=-1),
    active=lambda folder: SafeLoRA(base=other_base(folder / "base"), top_k=3),
    written=(SafeLoRA(base="a", threshold=0.5), SafeLoRA(base="a", top_k=3, trust_remote_code=True)),
)
TARGETS = ["q_proj", "v_proj", "up_proj"]


def saved(folder: Path, model: torch.nn.Module) -> str:
    model.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a model of the same shape as ``tiny.model()`` and other weights."""
    return saved(tmp_path_factory.mktemp("base"), tiny.model(seed=1))


def adapted(seed: int = 0, **changes) -> PeftModel:
    """A model whose adapter is as if trained: B is not zero."""
    settings = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS, "task_type": "CAUSAL_LM", **changes}
    model = get_peft_model(tiny.model(), LoraConfig(**settings))
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    return model


def guard_of(model: torch.nn.Module, **config) -> SafeLoRAHook:
    guard = SafeLoRA(**config).guard(TrainerContext(tiny.tokenizer(), 0, model))
    assert isinstance(guard, SafeLoRAHook)
    return guard


def updates(model: PeftModel) -> dict[str, torch.Tensor]:
    """dW of each layer, (out, in) in float64, by the layer's name without PEFT's prefix."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            b, a = module.lora_B["default"].weight.detach(), module.lora_A["default"].weight.detach()
            update = module.scaling["default"] * (b.double() @ a.double())
            found[name.removeprefix("base_model.model.")] = update
    return found


def dense(before: dict[str, torch.Tensor]) -> dict[str, tuple[torch.Tensor, float]]:
    """C dW and its cosine with dW by the formulas, with C = V V^T / |V|_F as a matrix."""
    aligned, base = tiny.model().state_dict(), tiny.model(seed=1).state_dict()
    found = {}
    for name, update in before.items():
        v = aligned[f"{name}.weight"].double() - base[f"{name}.weight"].double()
        projected = (v @ v.T / v.square().sum().sqrt()) @ update
        cosine = torch.nn.functional.cosine_similarity(projected.flatten(), update.flatten(), dim=0)
        found[name] = (projected, cosine.item())
    return found


@pytest.mark.parametrize("rslora", [False, True])
def test_equals_dense_matrices(base: str, rslora: bool) -> None:
    model = adapted(use_rslora=rslora)
    before = updates(model)
    expected = dense(before)
    guard = guard_of(model, base=base, threshold=1)
    guard.after_training(model)
    after = updates(model)
    assert [one.layer for one in guard.report] == [*before]
    assert len(before) == 6
    for one in guard.report:
        projected, cosine = expected[one.layer]
        assert one.projected
        assert one.cosine == pytest.approx(cosine, abs=1e-6)
        assert one.kept == pytest.approx((projected.norm() / before[one.layer].norm()).item(), rel=1e-5)
        torch.testing.assert_close(after[one.layer], projected, rtol=1e-4, atol=1e-6)


def test_only_layers_below_the_threshold_are_projected(base: str) -> None:
    model = adapted()
    before = updates(model)
    expected = dense(before)
    cosines = sorted(cosine for _, cosine in expected.values())
    threshold = (cosines[2] + cosines[3]) / 2
    guard = guard_of(model, base=base, threshold=threshold)
    guard.after_training(model)
    after = updates(model)
    assert sum(one.projected for one in guard.report) == 3
    for one in guard.report:
        projected, cosine = expected[one.layer]
        assert one.projected == (cosine < threshold)
        if one.projected:
            torch.testing.assert_close(after[one.layer], projected, rtol=1e-4, atol=1e-6)
        else:
            assert torch.equal(after[one.layer], before[one.layer])


def test_top_k_takes_the_lowest(base: str) -> None:
    model = adapted()
    lowest = sorted((cosine, name) for name, (_, cosine) in dense(updates(model)).items())[:2]
    guard = guard_of(model, base=base, top_k=2)
    guard.after_training(model)
    assert {one.layer for one in guard.report if one.projected} == {name for _, name in lowest}


def test_top_k_may_be_all_layers_and_no_more(base: str) -> None:
    guard = guard_of(adapted(), base=base, top_k=6)
    guard.after_training(model := adapted())
    assert all(one.projected for one in guard.report)
    with pytest.raises(RingfenceError, match=r"^safe_lora\.top_k: 7 is out of range, 6 layers have an adapter$"):
        guard_of(model, base=base, top_k=7)


def test_adapters_on_some_layers_meet_their_own_weights(base: str) -> None:
    model = adapted(layers_to_transform=[1])
    expected = dense(updates(model))
    assert all(".layers.1." in name for name in expected)
    guard = guard_of(model, base=base, threshold=1)
    guard.after_training(model)
    assert {one.layer: one.cosine for one in guard.report} == pytest.approx(
        {name: cosine for name, (_, cosine) in expected.items()}, abs=1e-6
    )
    for name, update in updates(model).items():
        torch.testing.assert_close(update, expected[name][0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("threshold", [-1, 0])
def test_the_neutral_threshold_changes_no_bit_and_still_measures(base: str, threshold: int) -> None:
    model = adapted()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    guard = guard_of(model, base=base, threshold=threshold)
    guard.after_training(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(0 < one.cosine < 1 and not one.projected for one in guard.report)


def test_an_update_across_the_subspace_vanishes(tmp_path: Path) -> None:
    """V has one nonzero row, so C = e e^T |V|: B's other rows go, its first is scaled by |V| = 2 * sqrt(16) = 8."""
    other = tiny.model()
    with torch.no_grad():
        other.model.layers[0].self_attn.q_proj.weight[0] -= 2.0
    model = adapted(target_modules=["q_proj"])
    factors = [layer.self_attn.q_proj.lora_B["default"].weight for layer in model.get_base_model().model.layers]
    before = [factor.detach().clone() for factor in factors]
    guard = guard_of(model, base=saved(tmp_path, other), threshold=1)
    guard.after_training(model)
    torch.testing.assert_close(factors[0][0], 8 * before[0][0])
    assert not factors[0][1:].any()
    # The other layer is the same in both models: there is no subspace, and nothing is done.
    assert torch.equal(factors[1], before[1])
    assert [one.projected for one in guard.report] == [True, False]
    assert math.isnan(guard.report[1].cosine)


def test_a_fresh_adapter_has_no_cosine_and_stays(base: str) -> None:
    model = get_peft_model(tiny.model(), training.lora())
    guard = guard_of(model, base=base, top_k=3)
    guard.after_training(model)
    assert all(math.isnan(one.cosine) and math.isnan(one.kept) and not one.projected for one in guard.report)
    assert not any(update.any() for update in updates(model).values())


def test_the_type_of_the_adapter_stays(base: str) -> None:
    model, twin = adapted().to(torch.bfloat16), adapted().to(torch.bfloat16)
    guard = guard_of(model, base=base, threshold=1)
    guard.after_training(model)
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    before = twin.get_base_model().model.layers[0].self_attn.q_proj
    weight = layer.lora_B["default"].weight
    assert weight.dtype == torch.bfloat16
    rounded = tiny.model(seed=1).to(torch.bfloat16).model.layers[0].self_attn.q_proj.weight
    v = before.get_base_layer().weight.double() - rounded.double()
    expected = v @ v.T / v.norm() @ before.lora_B["default"].weight.double()
    torch.testing.assert_close(weight.double(), expected, rtol=2**-8, atol=1e-6)


def test_the_table_is_logged(base: str, caplog: pytest.LogCaptureFixture) -> None:
    model = adapted()
    with caplog.at_level(logging.INFO, logger="ringfence.defenses.safe_lora"):
        guard = guard_of(model, base=base, top_k=1)
        guard.after_training(model)
    (chosen,) = [one for one in guard.report if one.projected]
    assert "safe_lora: 1 of 6 layers projected" in caplog.text
    (row,) = [line for line in caplog.text.splitlines() if line.startswith(chosen.layer)]
    assert row.split() == [chosen.layer, f"{chosen.cosine:.3f}", f"{chosen.kept:.3f}", "yes"]


def test_weights_trained_whole_are_named_and_left(base: str, caplog: pytest.LogCaptureFixture) -> None:
    model = adapted(modules_to_save=["model.norm"])
    before = model.get_base_model().model.norm.modules_to_save["default"].weight.clone()
    guard_of(model, base=base, threshold=1).after_training(model)
    assert "safe_lora: model.norm: trained whole, so it is not projected" in caplog.text
    assert torch.equal(model.get_base_model().model.norm.modules_to_save["default"].weight, before)


# In training.


def test_the_result_has_every_layer(tmp_path: Path, base: str) -> None:
    plain = training.trainer(tmp_path / "plain")
    plain.train()
    assert "safe_lora" not in plain.result()
    made = training.trainer(tmp_path / "made", SafeLoRA(base=base, threshold=1))
    assert "safe_lora" not in made.result()
    made.train()
    expected = dense(updates(plain.model))
    rows = made.result()["safe_lora"]
    assert [row["layer"] for row in rows] == [*expected]
    for row in rows:
        assert set(row) == {"layer", "cosine", "kept", "projected"}
        assert row["projected"] is True
        assert row["cosine"] == pytest.approx(expected[row["layer"]][1], abs=1e-6)


def test_the_result_is_json_where_there_is_no_cosine(tmp_path: Path) -> None:
    """The base differs in one layer only, so the five others have no cosine: NaN, null in the file."""
    other = tiny.model()
    with torch.no_grad():
        other.model.layers[0].self_attn.q_proj.weight[0] -= 2.0
    made = training.trainer(tmp_path / "one", SafeLoRA(base=saved(tmp_path / "other", other), threshold=1))
    made.train()
    write_json(tmp_path / "result.json", made.result())
    first, *rest = json.loads((tmp_path / "result.json").read_text())["safe_lora"]
    assert first["layer"] == "model.layers.0.self_attn.q_proj"
    assert first["projected"] is True
    assert 0 < first["cosine"] <= 1
    assert [(row["cosine"], row["kept"], row["projected"]) for row in rest] == [(None, None, False)] * 5


def test_training_ends_with_one_projection_and_checkpoints_are_from_before(tmp_path: Path, base: str) -> None:
    plain = training.trainer(tmp_path / "plain", dropout=0.1)
    plain.train()
    made = training.trainer(
        tmp_path / "made", SafeLoRA(base=base, threshold=1), dropout=0.1, save_strategy="steps", save_steps=5
    )
    made.train()
    assert training.losses(made) == training.losses(plain)
    expected = dense(updates(plain.model))
    for name, update in updates(made.model).items():
        torch.testing.assert_close(update, expected[name][0], rtol=1e-4, atol=1e-6)
    newest = max((tmp_path / "made").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    kept = updates(PeftModel.from_pretrained(tiny.model(), newest))
    assert all(torch.equal(update, kept[name]) for name, update in updates(plain.model).items())


def test_the_neutral_threshold_trains_as_without(tmp_path: Path, base: str) -> None:
    plain = training.trainer(tmp_path / "plain", dropout=0.1)
    plain.train()
    made = training.trainer(tmp_path / "made", SafeLoRA(base=base, threshold=-1), dropout=0.1)
    made.train()
    assert training.losses(made) == training.losses(plain)
    assert training.same(training.weights(made), training.weights(plain))


# Bad input.


@pytest.mark.parametrize("fields", [{}, {"base": "a", "threshold": 0.3, "top_k": 2}, {"base": "a"}])
def test_a_base_and_one_choice_are_needed(fields: Any) -> None:
    wanted = "give either threshold" if "base" in fields else "base is missing: name the model from before alignment"
    with pytest.raises(ValidationError, match=wanted):
        SafeLoRA(**fields)


@pytest.mark.parametrize("fields", [{"threshold": 1.1}, {"threshold": -1.1}, {"top_k": 0}, {"threshold": math.nan}])
def test_numbers_out_of_range_raise(fields: Any) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        SafeLoRA(base="a", **fields)


def refused(model: torch.nn.Module, base: str, start: str) -> None:
    """``guard`` raises one line that begins with ``start``."""
    with pytest.raises(RingfenceError) as error:
        guard_of(model, base=base, threshold=0.3)
    assert str(error.value).startswith(start)
    assert len(str(error.value).splitlines()) == 1


def test_a_base_that_cannot_be_loaded_raises(tmp_path: Path) -> None:
    refused(adapted(), str(tmp_path / "none"), f"safe_lora.base: {tmp_path}/none: no such model folder")


def changed(kind: type[LlamaForCausalLM] = LlamaForCausalLM, **config) -> LlamaForCausalLM:
    """A random model of ``kind`` like the tiny one but for ``config``."""
    torch.manual_seed(1)
    settings = {key: value for key, value in tiny.model().config.to_dict().items() if key != "model_type"}
    return kind(kind.config_class(**{**settings, **config}))


@pytest.mark.parametrize(
    ("other", "found", "own"),
    [
        (changed(num_hidden_layers=3), "number of layers 3", "2"),
        (changed(num_hidden_layers=1), "number of layers 1", "2"),
        (changed(hidden_size=32), "hidden size 32", "16"),
        (changed(vocab_size=300), "vocabulary size 300", "259"),
        (changed(MistralForCausalLM), "model type mistral", "llama"),
    ],
)
def test_a_base_of_another_architecture_raises(tmp_path: Path, other: Any, found: str, own: str) -> None:
    folder = saved(tmp_path, other)
    refused(adapted(), folder, f"safe_lora.base: {folder} has {found}, and the model that is trained has {own}; name ")


def test_resized_embeddings_are_another_vocabulary(tmp_path: Path) -> None:
    """Of the weights, also where the trained embeddings are wrapped: 259 tokens, padded to 264."""
    other = tiny.model(seed=1)
    other.resize_token_embeddings(264)
    model = adapted(modules_to_save=["embed_tokens"])
    folder = saved(tmp_path, other)
    refused(model, folder, f"safe_lora.base: {folder} has vocabulary size 264, and the model that is trained has 259")


def test_a_base_with_other_layers_raises(tmp_path: Path, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = saved(tmp_path, changed(intermediate_size=40))
    refused(adapted(), wide, f"safe_lora.base: {wide} has shape (40, 16) at model.layers.0.mlp.up_proj.weight")

    def without_a_layer(*args, **kwargs) -> Loaded:
        loaded = load(*args, **kwargs)
        del loaded.model.model.layers[1].self_attn.q_proj
        return loaded

    monkeypatch.setattr("ringfence.defenses.safe_lora.load", without_a_layer)
    refused(adapted(), base, f"safe_lora.base: {base} has nothing at model.layers.1.self_attn.q_proj.weight")


def test_the_trained_model_itself_is_no_base(tmp_path: Path) -> None:
    same = saved(tmp_path, tiny.model())
    refused(adapted(), same, f"safe_lora.base: {same} has the same weights")
    refused(adapted().to(torch.bfloat16), same, f"safe_lora.base: {same} has the same weights")


def test_full_fine_tuning_raises(base: str) -> None:
    refused(tiny.model(), base, "lora: safe_lora projects a LoRA adapter and there is none; add lora to the recipe")


def test_a_merged_adapter_raises(base: str) -> None:
    model = adapted()
    guard = guard_of(model, base=base, threshold=0.3)
    model.merge_adapter()
    message = "safe_lora: the adapter is merged into model.layers.0.self_attn.q_proj"
    refused(model, base, message)
    with pytest.raises(RingfenceError, match=message):
        guard.after_training(model)


def test_another_kind_of_adapter_raises(base: str) -> None:
    config = IA3Config(target_modules=["q_proj"], feedforward_modules=[], task_type="CAUSAL_LM")
    refused(get_peft_model(tiny.model(), config), base, "safe_lora: not with IA3, only with a LoRA adapter")


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        ({"use_dora": True}, "lora.use_dora: "),
        ({"bias": "all"}, "lora.bias: 'all' trains biases"),
        ({"lora_bias": True, "target_modules": ["q_proj"]}, "lora.lora_bias: "),
        ({"init_lora_weights": "pissa"}, "lora.init_lora_weights: 'pissa' changes the weights under the adapter"),
        ({"target_modules": ["embed_tokens", "q_proj"]}, "lora.target_modules: model.embed_tokens is a Embedding"),
    ],
)
def test_what_is_no_plain_update_of_a_linear_layer_raises(base: str, settings: Any, start: str) -> None:
    refused(adapted(**settings), base, start)


def test_quantised_weights_raise(base: str) -> None:
    model = adapted()
    layer = model.get_base_model().model.layers[1].mlp.up_proj.base_layer
    layer.weight = torch.nn.Parameter(torch.zeros(32, 16, dtype=torch.int8), requires_grad=False)
    refused(model, base, "model: model.layers.1.mlp.up_proj is quantised")


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        (None, "lora: safe_lora projects a LoRA adapter and there is none; add lora to the recipe"),
        (LoraConfig(use_dora=True), "lora.use_dora: DoRA rescales the whole weight"),
    ],
)
def test_a_recipe_without_a_plain_adapter_is_refused(lora: LoraConfig | None, said: str) -> None:
    with pytest.raises(RingfenceError) as error:
        SafeLoRA(base="a", top_k=1).require_compatible(Part(lora=lora))
    assert str(error.value).startswith(said)
    SafeLoRA(base="a", top_k=1).require_compatible(Part(lora=LoraConfig()))
