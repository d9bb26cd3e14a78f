"""An adapter is put on whole, or not at all, and the base stays as it is."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import KasaConfig, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.models import adapters
from ringfence.models.adapters import Adapters, load_adapter
from training import lora


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """An adapter whose B is not zero."""
    model = get_peft_model(tiny.model(), lora())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([[5, 6, 7]])).logits


def test_a_whole_adapter_changes_the_model(saved: Path) -> None:
    assert not torch.equal(logits(load_adapter(tiny.model(), saved).eval()), logits(tiny.model().eval()))


def test_saving_it_again_asks_no_hub(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PEFT asks for the config of the base model that the adapter names, and this is a name in recipes only."""
    adapters.name_base(saved, "smollm2-135m")
    tiny.model().save_pretrained(tmp_path / "base")
    asked: list[object] = []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("peft.utils.other.file_exists", lambda *arguments, **_: asked.append(arguments))
    loaded = load_adapter(type(tiny.model()).from_pretrained(tmp_path / "base"), saved, trainable=True)
    loaded.save_pretrained(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "adapter_config.json").read_text())
    assert again["base_model_name_or_path"] == str(tmp_path / "base")
    assert not asked


def test_a_pickle_is_not_read(saved: Path) -> None:
    """PEFT would take it where there are no safetensors of that name."""
    torch.save(load_file(saved / "adapter_model.safetensors"), saved / "adapter_model.bin")
    (saved / "adapter_model.safetensors").rename(saved / "other.safetensors")
    with pytest.raises(RingfenceError, match=r"has no adapter_model\.safetensors"):
        load_adapter(tiny.model(), saved)


def renamed(saved: Path, change: dict[str, str], drop: str = "") -> None:
    file = saved / "adapter_model.safetensors"
    weights = {name: value for name, value in load_file(file).items() if not drop or drop not in name}
    ((old, new),) = change.items() if change else [("", "")]
    save_file({name.replace(old, new) if old else name: value for name, value in weights.items()}, file)


def test_other_names_raise(saved: Path) -> None:
    """As of a model with one more wrapper around it: PEFT warns, and the base answers."""
    renamed(saved, {"base_model.model.": "base_model.model.language_model."})
    with pytest.raises(RingfenceError, match=r"lacks 'base_model\.model\..*weights missing.*another model"):
        load_adapter(tiny.model(), saved)


def test_a_missing_weight_raises(saved: Path) -> None:
    renamed(saved, {}, drop="layers.0.self_attn.q_proj.lora_B")
    with pytest.raises(
        RingfenceError, match=r"lacks .*layers\.0\.self_attn\.q_proj\.lora_B.*\(1 weights missing, 0 without"
    ):
        load_adapter(tiny.model(), saved)


def test_other_shapes_raise_on_one_line(saved: Path) -> None:
    file = saved / "adapter_model.safetensors"
    save_file({name: value[..., :-1].contiguous() for name, value in load_file(file).items()}, file)
    with pytest.raises(RingfenceError, match="does not fit the model") as caught:
        load_adapter(tiny.model(), saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("left", [0, 5, 200, -1])
def test_a_cut_file_raises_on_one_line(saved: Path, left: int) -> None:
    file = saved / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(RingfenceError, match=r"adapter_model\.safetensors: is no whole safetensors file \(") as caught:
        load_adapter(tiny.model(), saved)
    assert "\n" not in str(caught.value)


# Adapters beside each other leave the base alone. -------------------------------------------------


def begun(folder: Path, hidden: int = 16, **settings: Any) -> Path:
    """An adapter that PEFT has made in some way, and that was then trained a little."""
    model = get_peft_model(
        tiny.model(hidden=hidden), LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM", **settings)
    )
    trained(model).save_pretrained(folder)
    return folder


def trained(model: PeftModel) -> PeftModel:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1)
    return model.eval()


def claiming(folder: Path, **changes: Any) -> Path:
    """A usual adapter whose settings say something else."""
    file = begun(folder) / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return folder


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def unchanged(model: torch.nn.Module, before: dict[str, torch.Tensor]) -> bool:
    """Bit by bit, and nothing more in it."""
    now = model.state_dict()
    return list(now) == list(before) and all(torch.equal(now[name], value) for name, value in before.items())


@pytest.mark.parametrize("way", ["pissa", "pissa_niter_4", "olora"])
def test_ways_to_begin_that_rewrite_the_base_are_refused(tmp_path: Path, way: str) -> None:
    folder = begun(tmp_path / "a", init_lora_weights=way)
    spoilt, before = tiny.model(), weights(tiny.model())
    PeftModel.from_pretrained(spoilt, str(folder)).unload()
    assert not unchanged(spoilt, before)  # what this is for
    base = tiny.model()
    with pytest.raises(RingfenceError, match=f"a: began as {way}, which .*path_initial_model.*, or merge it") as caught:
        Adapters(base, {"a": folder})
    assert "\n" not in str(caught.value)
    assert unchanged(base, before)


def test_kasa_is_refused_and_is_not_plain_lora(tmp_path: Path) -> None:
    folder = begun(tmp_path / "a", kasa_config=KasaConfig())
    with pytest.raises(RingfenceError, match=r"began as kasa, which .*beside others; merge it"):
        Adapters(tiny.model(), {"a": folder})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_lora_weights": "corda"}, "began as corda, .*path_initial"),
        ({"init_lora_weights": "lora_ga"}, "began as lora_ga, .*path_initial"),
        ({"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}}, "began as loftq, .*others; merge it"),
        ({"init_lora_weights": "of tomorrow"}, "began as of tomorrow, .*others; merge it"),
    ],
)
def test_ways_that_need_data_a_quantizer_or_another_peft(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RingfenceError, match=message):
        Adapters(tiny.model(), {"a": claiming(tmp_path / "a", **changes)})


@pytest.mark.parametrize("way", [True, False, "gaussian", "orthogonal", "mica", "eva"])
def test_other_ways_to_begin_leave_the_base_alone(tmp_path: Path, way: bool | str) -> None:
    base = tiny.model().eval()
    before, off = weights(base), logits(base)
    beside = Adapters(base, {"a": begun(tmp_path / "a", init_lora_weights=way)})
    assert torch.equal(logits(base), off)
    with beside.on("a"):
        assert not torch.equal(logits(base), off)
    beside.close()
    assert unchanged(base, before)


def test_pissa_saved_as_plain_lora_is_the_same_model(tmp_path: Path) -> None:
    """The way that the refusal names."""
    settings = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights="pissa")
    model = get_peft_model(tiny.model(), settings)
    model.save_pretrained(tmp_path / "initial")
    trained(model)
    wanted = logits(model)
    model.save_pretrained(tmp_path / "plain", path_initial_model_for_weight_conversion=str(tmp_path / "initial"))
    base = tiny.model().eval()
    beside = Adapters(base, {"a": tmp_path / "plain"})
    assert not torch.allclose(logits(base), wanted, atol=1e-3)
    with beside.on("a"):
        torch.testing.assert_close(logits(base), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("way", ["olora", "pissa"])
def test_a_base_that_is_rewritten_all_the_same_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(adapters, "require_beside", lambda folder: None)
    base, before = tiny.model(), weights(tiny.model())
    folders = {"a": begun(tmp_path / "a"), "b": begun(tmp_path / "b", init_lora_weights=way)}
    layers = base.config.num_hidden_layers
    with pytest.raises(
        RingfenceError, match=rf"/a, .*/b: .*changed {layers} weights .*layers\.0.*q_proj\.weight first"
    ):
        Adapters(base, folders)
    assert list(base.state_dict()) == list(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize(("start", "length"), [(0, 24), (0, 1), (0, 13), (3, 21), (8, 0)])
def test_the_checksum_adds_up_all_bits(dtype: torch.dtype, start: int, length: int) -> None:
    """Against Python's integers, the words little-endian and the bytes that are left over one by one."""
    values = torch.randint(0, 255, (start + length,), generator=torch.Generator().manual_seed(0)).to(dtype)[start:]
    raw = bytes(values.clone().view(torch.uint8).tolist())
    whole = len(raw) // 8 * 8
    total = sum(int.from_bytes(raw[at : at + 8], "little") for at in range(0, whole, 8)) + sum(raw[whole:])
    assert adapters._checksum(values) % 2**64 == total % 2**64


def test_the_checksum_sees_one_bit_and_any_stride() -> None:
    values = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    before = adapters._checksum(values.t())
    values[4, 2] = torch.nextafter(values[4, 2], torch.tensor(9.0))
    assert adapters._checksum(values.t()) != before


def test_a_first_adapter_that_does_not_fit_leaves_the_base_alone(tmp_path: Path) -> None:
    base = tiny.model()
    names, before = set(vars(base)), weights(base)
    with pytest.raises(RingfenceError, match="does not fit the model"):
        Adapters(base, {"a": begun(tmp_path / "a", hidden=32)})
    assert unchanged(base, before)
    assert set(vars(base)) == names
    Adapters(base, {"a": begun(tmp_path / "b")}).close()
