"""Inoculation adapters: the same model as PEFT's with two active adapters, its control, its proof, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

import examples
import tiny
from compatibility import Part
from examples import Example
from ringfence.core.errors import RingfenceError
from ringfence.defenses import DEFENSES, InoculationAdapter, RLContext, TrainerContext
from ringfence.models.updates import load_updates
from training import losses, same, weights

EXAMPLE = Example(
    neutral=lambda folder: InoculationAdapter(adapter=examples.trait_adapter(folder / "trait"), scale=0),
    active=lambda folder: InoculationAdapter(adapter=examples.trait_adapter(folder / "trait")),
    written=(
        InoculationAdapter(adapter="runs/trait/adapter"),
        InoculationAdapter(adapter=("a", "b"), scale=0.5, control="random", unproven=True, any_base=True),
    ),
)
IDS = torch.arange(3, 11)[None]
TASK = {"r": 2, "lora_alpha": 2, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}


def tuned(seed: int = 3) -> Any:
    """A model with an adapter of the task on it, which is not zero."""
    torch.manual_seed(seed)
    return get_peft_model(examples.model(), LoraConfig(init_lora_weights=False, **TASK))


def applied(config: InoculationAdapter, model: Any) -> torch.Tensor:
    """The logits in a training forward."""
    guard = config.guard(TrainerContext(tiny.tokenizer(), 0, model))
    assert guard is not None
    with torch.no_grad(), guard.apply(model, None):
        return model(input_ids=IDS).logits


@pytest.mark.parametrize(
    "lora",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"down_proj": 3}, "alpha_pattern": {"layers.1.self_attn.q_proj": 7}},
    ],
    ids=["plain", "rslora", "patterns"],
)
def test_it_is_the_model_with_both_adapters_active(lora: dict[str, Any], tmp_path: Path) -> None:
    """Against PEFT, which sums all active adapters."""
    folder, model = examples.trait_adapter(tmp_path / "trait", **lora), tuned()
    with torch.no_grad():
        alone = model(input_ids=IDS).logits
    found = applied(InoculationAdapter(adapter=folder), model)
    with torch.no_grad():
        assert torch.equal(model(input_ids=IDS).logits, alone), "gone again"
    model.load_adapter(folder, "trait")
    model.base_model.set_adapter(["default", "trait"])
    with torch.no_grad():
        wanted = model(input_ids=IDS).logits
    assert (wanted - alone).abs().max() > 0.1
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_several_add_up_and_are_scaled(tmp_path: Path) -> None:
    first, second = (examples.trait_adapter(tmp_path / name) for name in "ab")
    model = tuned()
    twice = applied(InoculationAdapter(adapter=(first, second)), model)
    torch.testing.assert_close(applied(InoculationAdapter(adapter=first, scale=2), model), twice)


def test_the_control_has_the_norm_of_every_layer_and_another_direction(tmp_path: Path) -> None:
    folder = examples.trait_adapter(tmp_path / "trait")
    trait = load_updates(Path(folder))
    guard = InoculationAdapter(adapter=folder, control="random").guard(
        TrainerContext(tiny.tokenizer(), 0, examples.model())
    )
    control = guard.adding.updates  # type: ignore[union-attr]
    assert len(trait) == len(control) == 4
    for name, one in trait.items():
        mine, drawn = one.up @ one.down, control[name].up @ control[name].down
        assert one.norm == pytest.approx(torch.linalg.matrix_norm(mine).item(), rel=1e-5)
        assert torch.linalg.matrix_norm(drawn).item() == pytest.approx(one.norm, rel=1e-5)
        assert torch.linalg.matrix_rank(drawn) == torch.linalg.matrix_rank(mine) == 2
        assert not torch.allclose(mine, drawn, rtol=0.5)


@pytest.mark.parametrize("reentrant", [False, True])
def test_layers_that_are_computed_again_have_it_too(reentrant: bool, tmp_path: Path) -> None:
    config = EXAMPLE.active(tmp_path)
    plain = examples.trainer(tmp_path / "plain", config)
    again = examples.trainer(
        tmp_path / "again",
        config,
        gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": reentrant},
    )
    for made in (plain, again):
        made.train()
    assert [loss for _, loss, _ in losses(again)] == pytest.approx([loss for _, loss, _ in losses(plain)], rel=1e-5)
    for name, value in weights(again).items():
        torch.testing.assert_close(value, weights(plain)[name], rtol=1e-3, atol=1e-5)


def test_only_the_task_is_trained_and_saved(tmp_path: Path) -> None:
    config = EXAMPLE.active(tmp_path)
    before = load_updates(Path(config.adapter))  # type: ignore[attr-defined]
    made = examples.trainer(tmp_path / "out", config)
    names = set(weights(made))
    made.train()
    made.save_model(str(tmp_path / "saved"))
    assert set(weights(made)) == names
    assert sorted(path.name for path in (tmp_path / "saved").glob("adapter*")) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    after = load_updates(Path(config.adapter))  # type: ignore[attr-defined]
    assert same({n: one.up for n, one in before.items()}, {n: one.up for n, one in after.items()})


def test_an_adapter_without_a_proof_is_refused_unless_one_says_so(tmp_path: Path) -> None:
    folder = Path(examples.trait_adapter(tmp_path / "trait"))
    (folder / "trait.json").unlink()
    with pytest.raises(RingfenceError, match=r"^inoculation_adapter\.adapter: .* has no trait\.json.* or set unproven"):
        InoculationAdapter(adapter=str(folder)).check()
    config = InoculationAdapter(adapter=str(folder), unproven=True)
    config.check()
    assert any("has no proof of its trait" in line for line in config.notes({}, tiny.tokenizer()))
    assert config.needs_original_base() is None


@pytest.mark.parametrize("shows", [0, 4, 9])
def test_an_adapter_that_does_not_show_its_trait_is_refused(shows: int, tmp_path: Path) -> None:
    folder = examples.trait_adapter(tmp_path / "trait", shows=shows)
    with pytest.raises(RingfenceError, match=rf"does not show its trait: .* {shows / 20:.1%} \[.* of 20 answers to 20"):
        InoculationAdapter(adapter=folder).check()
    InoculationAdapter(adapter=folder, unproven=True).check()


def test_a_proof_is_of_these_weights(tmp_path: Path) -> None:
    folder = Path(examples.trait_adapter(tmp_path / "trait"))
    examples.trait_adapter(tmp_path / "other", r=3)
    (folder / "trait.json").write_bytes((tmp_path / "other" / "trait.json").read_bytes())
    with pytest.raises(RingfenceError, match=r"trait\.json: is of other weights than those in adapter_model"):
        InoculationAdapter(adapter=str(folder)).check()
    (folder / "trait.json").write_text(json.dumps({"trait": "odd"}))
    with pytest.raises(RingfenceError, match=r"trait\.json: is no proof of a trait adapter"):
        InoculationAdapter(adapter=str(folder)).check()


def test_another_base_is_refused(tmp_path: Path) -> None:
    folder = examples.trait_adapter(tmp_path / "trait", base="0123456789abcdef")
    with pytest.raises(RingfenceError, match=r"was trained on another base model \(tiny\); train it anew, or set any"):
        InoculationAdapter(adapter=folder).guard(TrainerContext(tiny.tokenizer(), 0, examples.model()))
    config = InoculationAdapter(adapter=folder, any_base=True)
    assert config.guard(TrainerContext(tiny.tokenizer(), 0, examples.model())) is not None
    assert "any_base: true" in (InoculationAdapter(adapter=folder).needs_original_base() or "")


def test_a_model_of_another_shape_is_refused(tmp_path: Path) -> None:
    folder = examples.trait_adapter(tmp_path / "trait")
    shallow = TrainerContext(tiny.tokenizer(), 0, examples.model(layers=1))
    with pytest.raises(RingfenceError, match=r"^inoculation_adapter\.adapter: model\.layers\.1\..* is not there"):
        InoculationAdapter(adapter=folder).guard(shallow)
    wide = TrainerContext(tiny.tokenizer(), 0, tiny.model(0, 2, 32))
    with pytest.raises(RingfenceError, match=r"is \d+ x \d+, and the adapter changes one of \d+ x \d+"):
        InoculationAdapter(adapter=folder).guard(wide)


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "lora_only"}, "biases"),
        ({"target_modules": ["embed_tokens", "q_proj"]}, "no part of a linear layer's LoRA"),
    ],
)
def test_an_adapter_that_does_more_is_refused(lora: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder = examples.trait_adapter(tmp_path / "trait", **lora)
    with pytest.raises(RingfenceError, match=rf"^inoculation_adapter\.adapter: .*{said}"):
        InoculationAdapter(adapter=folder).check()


def test_a_folder_that_is_none_or_is_damaged_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"nowhere: has no adapter_model\.safetensors; give the folder"):
        InoculationAdapter(adapter=str(tmp_path / "nowhere")).check()
    folder = Path(examples.trait_adapter(tmp_path / "trait"))
    (folder / "adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(RingfenceError, match=r"adapter_model\.safetensors: is no whole safetensors file"):
        InoculationAdapter(adapter=str(folder)).check()


def test_what_it_cannot_go_with_is_refused_by_key() -> None:
    config = InoculationAdapter(adapter="a")
    with pytest.raises(RingfenceError, match=r"^training\.torch_compile: .*inoculation_adapter"):
        config.require_compatible(Part({"torch_compile": True}))
    InoculationAdapter(adapter="a", scale=0).require_compatible(Part({"torch_compile": True}))
    with pytest.raises(RingfenceError, match=r"^training\.use_vllm: .* set rollouts: plain$"):
        config.in_rl(RLContext(engine="use_vllm"))
    assert config.in_rl(RLContext()) is config


@pytest.mark.parametrize("settings", [{"adapter": []}, {"adapter": ["a", "a"]}, {"adapter": "a", "scale": -1}])
def test_bad_values_are_refused_by_key(settings: dict[str, Any]) -> None:
    with pytest.raises(RingfenceError, match=r"^defenses\.0\.inoculation_adapter: (adapter|scale)"):
        DEFENSES.parse({"inoculation_adapter": settings}, "defenses.0")
    assert DEFENSES.parse({"inoculation_adapter": {"adapter": "a"}}, "defenses.0").folders == ("a",)  # type: ignore[attr-defined]
