"""What ``ringfence/NAME`` opens, and the names of adapters."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

import project
import tiny
from ringfence.core.errors import RingfenceError
from ringfence.core.run_folder import weights_digest
from ringfence.integrations.inspect.opening import adapter_folder, adapter_name, open_model
from ringfence.recipe.run import load_recipe
from ringfence.runs.plan import RunPlan
from ringfence.runs.train import train

MESSAGE = [[5, 9, 40, 77, 12]]


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor(MESSAGE)).logits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a tiny model and an adapter on it that changes what it says."""
    where = tmp_path_factory.mktemp("project")
    project.make(where)
    base = str(where / "tiny-model")
    tuned = get_peft_model(tiny.model(), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    tuned.peft_config["default"].base_model_name_or_path = base
    tuned.save_pretrained(where / "adapter")
    return where


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    out = folder / "run"
    train(RunPlan.load(load_recipe(folder / "recipe.yaml", ["defenses=[]", "training.max_steps=1"]), out))
    return out


def test_a_model_folder(folder: Path) -> None:
    opened = open_model(str(folder / "tiny-model"))
    assert torch.equal(logits(opened.model), logits(tiny.model().eval()))


def test_an_adapter_folder_on_the_base_that_it_names_or_another(folder: Path) -> None:
    opened = open_model(str(folder / "adapter"))
    wanted = PeftModel.from_pretrained(tiny.model(), str(folder / "adapter")).eval()
    assert torch.equal(logits(opened.model), logits(wanted))
    assert not torch.equal(logits(opened.model), logits(tiny.model().eval()))
    tiny.model(seed=1).save_pretrained(folder / "other")
    tiny.tokenizer().save_pretrained(folder / "other")
    other = open_model(str(folder / "adapter"), base=str(folder / "other"))
    assert not torch.equal(logits(other.model), logits(opened.model))


def test_a_run_folder(run: Path, folder: Path) -> None:
    wanted = PeftModel.from_pretrained(tiny.model(), str(run / "adapter")).eval()
    assert torch.equal(logits(open_model(str(run)).model), logits(wanted))
    with pytest.raises(RingfenceError, match="recipe says"):
        open_model(str(run), base=str(folder / "tiny-model"))


def test_a_run_that_is_not_finished(run: Path, folder: Path) -> None:
    (run / "result.json").rename(folder / "result.json")
    try:
        for opens in (lambda: open_model(str(run)), lambda: adapter_name(run)):
            with pytest.raises(RingfenceError, match="not finished"):
                opens()
    finally:
        (folder / "result.json").rename(run / "result.json")


def test_a_base_for_what_has_none(folder: Path) -> None:
    with pytest.raises(RingfenceError, match="no adapter folder"):
        open_model(str(folder / "tiny-model"), base="smollm2-135m")


def test_names_of_adapters(run: Path, folder: Path) -> None:
    assert adapter_folder(run) == run / "adapter"
    assert adapter_name(run) == adapter_name(run / "adapter") == f"ringfence-{weights_digest(run / 'adapter')[:12]}"
    assert adapter_name(folder / "adapter") != adapter_name(run)


def test_what_is_no_adapter_has_no_name(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match="not a run folder"):
        adapter_name(tmp_path)
    out = folder / "full"
    train(RunPlan.load(load_recipe(folder / "recipe.yaml", ["defenses=[]", "lora=null", "training.max_steps=1"]), out))
    with pytest.raises(RingfenceError, match="trained all weights"):
        adapter_name(out)
